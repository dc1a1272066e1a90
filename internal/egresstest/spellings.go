// Package egresstest writes addresses in all the ways that somebody takes them, for tests
// which want that nobody does.
package egresstest

import (
	"fmt"
	"net/netip"
	"strings"
)

// Spellings are the hosts of targets that some resolver, library or router takes for
// this IPv4 address, besides its usual form, which comes first. IPv6 addresses are in
// brackets.
func Spellings(addr netip.Addr) []string {
	v := addr.As4()
	a, b, c, d := v[0], v[1], v[2], v[3]
	n := uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d)
	all := []string{addr.String()}
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }

	// What inet_aton takes: octal, hexadecimal, fewer parts, and all of them mixed.
	add("%d", n)
	add("0%o", n)
	add("0x%x", n)
	add("0X%X", n)
	add("0x00000000%x", n)
	add("00000000%o", n)
	add("%d.%d", a, n&0xffffff)
	add("%d.%d.%d", a, b, n&0xffff)
	add("0%o.0%o.0%o.0%o", a, b, c, d)
	add("0x%x.0x%x.0x%x.0x%x", a, b, c, d)
	add("0X%X.0X%X.0X%X.0X%X", a, b, c, d)
	add("0x%x.%d", a, n&0xffffff)
	add("0%o.0x%x.%d", a, b, n&0xffff)
	add("%d.%d.%d.0%o", a, b, c, d)
	add("%d.%d.%d.0x%x", a, b, c, d)
	add("%03d.%03d.%03d.%03d", a, b, c, d)
	add("%d.%d.%d.%d", int(a)+256, b, c, d) // for those who overflow
	add("%d", uint64(n)+1<<32)
	if c == 0 && b == 0 {
		add("%d.%d", a, d) // 127.1
	}
	// A final dot, dots too many, and letters that are made digits and dots of.
	add("%s.", addr)
	add("%s..", addr)
	add(".%s", addr)
	add("%d.", n)
	add("0x%x.", n)
	full := strings.NewReplacer("0", "０", "1", "１", "2", "２", "3", "３", "4", "４", "5", "５", "6", "６", "7", "７", "8", "８", "9", "９")
	add("%s", full.Replace(addr.String()))
	add("%s", strings.NewReplacer("1", "①", "2", "②", "4", "④", "6", "⑥", "9", "⑨").Replace(addr.String()))
	for _, dot := range []string{"。", "．", "｡", "․", "%2e", "%2E"} {
		add("%s", strings.ReplaceAll(addr.String(), ".", dot))
	}
	add("%s", full.Replace(fmt.Sprint(n)))
	add("%%%x%s", addr.String()[0], addr.String()[1:])
	// With something before, behind or around it.
	for _, s := range []string{"%s%%00", "%s\x00.example", "%s#.example", "%s?.example", "%s/.example", "%s\\.example", "x@%s", "x:y@%s", "a.example@%s", "[%s]", " %s", "%s ", "%s\t", "%s\n", "\u00ad%s", "%s\u200b"} {
		add(s, addr)
	}

	// IPv6 addresses that carry it.
	hi, lo := n>>16, n&0xffff
	for _, six := range []string{
		"::ffff:%[1]s", "::FFFF:%[1]s", "0:0:0:0:0:ffff:%[1]s", "0000:0000:0000:0000:0000:ffff:%[1]s", "::ffff:%[2]x:%[3]x", "0:0:0:0:0:FFFF:%04[2]X:%04[3]X", // mapped
		"::%[1]s", "::%[2]x:%[3]x", "0:0:0:0:0:0:%[2]x:%[3]x", // compatible
		"::ffff:0:%[1]s", "::ffff:0:%[2]x:%[3]x", // translated (SIIT)
		"64:ff9b::%[1]s", "64:ff9b::%[2]x:%[3]x", "64:FF9B:0:0:0:0:%[2]x:%[3]x", // NAT64
		"64:ff9b:1::%[1]s", "64:ff9b:1:%[2]x:0:%[3]x::", // NAT64 of the place
		"2002:%[2]x:%[3]x::", "2002:%[2]x:%[3]x::1", "2002:%[2]x:%[3]x:0:0:0:0:%[1]s", // 6to4
		"fe80::5efe:%[1]s", "fe80::200:5efe:%[2]x:%[3]x", // ISATAP
	} {
		s := fmt.Sprintf(six+"%[4]s", addr, hi, lo, "")
		add("[%s]", s)
	}
	add("[2001:0:%x:%x::%x:%x]", hi, lo, 0xffff, 0xfffe)     // Teredo's server
	add("[2001::%x:%x]", ^hi&0xffff, ^lo&0xffff)             // and client
	add("[2001:0:4136:e378::%x:%x]", ^hi&0xffff, ^lo&0xffff) // with a public server
	for _, zone := range []string{"%%lo", "%%1", "%%25lo", "%%eth0", "%%"} {
		add("[::ffff:%s"+zone+"]", addr)
	}
	add("[::ffff:0%o.%d.%d.%d]", a, b, c, d)
	add("::ffff:%s", addr) // without brackets
	add("[::ffff:%s", addr)
	add("[::ffff:%s].", addr)
	add("[[::ffff:%s]]", addr)
	return all
}

// Loopback6 are spellings of IPv6's own loopback and unspecified addresses.
func Loopback6() []string {
	return []string{
		"[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0001]", "[0::1]", "[::0.0.0.1]", "[::ffff:0:0]", "[::]", "[0::0]", "[::0.0.0.0]",
		"[::1%lo]", "[::1%1]", "[::1%25lo]", "[fe80::1%lo]", "[fe80::1]", "[FE80::1]", "::1", "[::1", "::1]", "[::1].", "[::１]", "[ff01::1]", "[ff02::1]",
		"localhost", "LOCALHOST", "localhost.", "LocalHost.LocalDomain", "ip6-localhost", "ip6-loopback", "localhost.example.com.localhost", "ｌｏｃａｌｈｏｓｔ", "loca\u017fhost", "xn--localhost-", "0",
	}
}

// Metadata6 are the addresses of IPv6 where clouds tell a machine its secrets.
func Metadata6() []string {
	return []string{"[fd00:ec2::254]", "[FD00:EC2::254]", "[fd00:0ec2:0:0:0:0:0:0254]", "[fd00:ec2::254%eth0]", "[fd20:ce::254]", "[fd00:c1::a9fe:a9fe]", "[fd00:42::42]", "[fd00:a9fe:a9fe::1]", "[fd00:100::100:200]"}
}
