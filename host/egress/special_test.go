package egress

import (
	"net/netip"
	"testing"
)

// public is a second opinion on which addresses are the internet's, made
// another way than the table.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	if a.Is4() {
		v := a.As4()
		switch {
		case v[0] == 0, v[0] >= 224,
			v[0] == 100 && v[1]>>6 == 1,
			v[0] == 192 && v[1] == 0 && (v[2] == 0 || v[2] == 2),
			v[0] == 192 && v[1] == 88 && v[2] == 99,
			v[0] == 198 && v[1]&^1 == 18,
			v[0] == 198 && v[1] == 51 && v[2] == 100,
			v[0] == 203 && v[1] == 0 && v[2] == 113,
			v == [4]byte{168, 63, 129, 16}:
			return false
		}
		return true
	}
	v := a.As16()
	four := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(v[i : i+4])) }
	switch {
	case [12]byte(v[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}:
		return public(four(12))
	case v[0]>>5 != 1:
		return false
	case v[0] == 0x20 && v[1] == 0x02:
		return public(four(2))
	case v[0] == 0x20 && v[1] == 0x01 && v[2]>>1 == 0,
		v[0] == 0x20 && v[1] == 0x01 && v[2] == 0x0d && v[3] == 0xb8,
		v[0] == 0x3f && v[1] == 0xff && v[2]>>4 == 0:
		return false
	}
	return true
}

// forbidden are addresses that no name gives access to, by kind.
var forbidden = map[string][]string{
	"loopback": {
		"127.0.0.1", "127.0.0.0", "127.255.255.255", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
		"64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1", "64:ff9b:1:7f00:0:100::", "2002:7f00:1::", "2002:7f00:1:ffff::1",
		"2001:0:7f00:1::80ff:fffe", "2001:0:808:808::80ff:fffe", // Teredo: the server; the client, inverted
	},
	"metadata": {
		"169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::169.254.169.254", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:808:808::5601:5601",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "100.100.100.200", "::ffff:100.100.100.200", "64:ff9b::100.100.100.200",
		"168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16", "2002:a83f:8110::", "192.0.0.192", "169.254.170.2", "169.254.42.42", "169.254.0.23",
	},
	"private": {
		"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "2002:c0a8:101::1",
		"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::1",
	},
	"shared":      {"100.64.0.0", "100.127.255.255", "64:ff9b::100.64.0.1"},
	"link-local":  {"169.254.0.0", "169.254.255.255", "fe80::", "fe80::1", "febf:ffff::1", "::ffff:169.254.1.1"},
	"unspecified": {"0.0.0.0", "0.0.0.1", "0.255.255.255", "::", "::ffff:0.0.0.0", "64:ff9b::", "2002::"},
	"multicast":   {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "64:ff9b::224.0.0.1"},
	"reserved":    {"240.0.0.1", "255.255.255.255", "::ffff:255.255.255.255", "192.0.0.1", "192.88.99.1", "::2", "1::", "100::1", "100:0:0:1::", "4000::1", "5f00::1", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::"},
	"benchmarks":  {"198.18.0.0", "198.19.255.255", "2001:2::1"},
	"examples":    {"192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff:ffff::1"},
}

// publics lie beside the blocks.
var publics = []string{
	"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
	"192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.112.255", "203.0.114.0", "223.255.255.255", "8.8.8.8", "::ffff:8.8.8.8",
	"2000::", "2001:200::", "2001:4860:4860::8888", "2001:db7:ffff::", "2001:db9::", "2003::", "2606:4700::1111", "3ffe:ffff::", "3fff:1000::", "64:ff9b::8.8.8.8", "2002:808:808::1",
}

func TestBlocks(t *testing.T) {
	for kind, all := range forbidden {
		for _, s := range all {
			if _, ok := blockOf(netip.MustParseAddr(s)); !ok {
				t.Errorf("%s: %s is taken for public", kind, s)
			}
			if public(netip.MustParseAddr(s)) {
				t.Errorf("%s: the test's own opinion is that %s is public", kind, s)
			}
		}
	}
	for _, s := range publics {
		if b, ok := blockOf(netip.MustParseAddr(s)); ok {
			t.Errorf("%s is taken for %s", s, b.what)
		}
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("the test's own opinion is that %s is not public", s)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("2606:4700::1%eth0"), netip.MustParseAddr("::ffff:8.8.8.8%eth0")} {
		if b, ok := blockOf(a); !ok || !b.never {
			t.Errorf("%q is good for dialling", a)
		}
	}
}

// The edges of each block, and what lies next to them, are judged alike by the
// table and by the test.
func TestBlockEdges(t *testing.T) {
	for _, b := range special {
		first := b.prefix.Addr()
		last := first
		raw := first.AsSlice()
		for i := b.prefix.Bits(); i < len(raw)*8; i++ {
			raw[i/8] |= 0x80 >> (i % 8)
		}
		last, _ = netip.AddrFromSlice(raw)
		for _, a := range []netip.Addr{first, first.Next(), first.Prev(), last, last.Prev(), last.Next()} {
			if !a.IsValid() {
				continue
			}
			if _, isSpecial := blockOf(a); isSpecial == public(a) {
				t.Errorf("%s, of %s: in a block is %v", a, b.prefix, isSpecial)
			}
		}
		if got, ok := blockOf(first); !ok || got.prefix.Bits() < b.prefix.Bits() {
			t.Errorf("%s is found in %s, which is wider", first, got.prefix)
		}
	}
}

// What stands for an IPv4 address is in the translated block of that address.
func TestLiftedBlocks(t *testing.T) {
	for addr, want := range map[string]string{
		"64:ff9b::10.1.2.3":        "64:ff9b::a00:0/104",
		"64:ff9b::169.254.169.254": "64:ff9b::a9fe:a9fe/128",
		"2002:a01:203::9":          "2002:a00::/24",
		"2002:a9fe:a9fe::":         "2002:a9fe:a9fe::/48",
	} {
		if b, ok := blockOf(netip.MustParseAddr(addr)); !ok || b.prefix.String() != want {
			t.Errorf("%s is in %s, want %s", addr, b.prefix, want)
		}
	}
}
