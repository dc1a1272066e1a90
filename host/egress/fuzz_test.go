package egress

import (
	"context"
	"math/big"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// anywhere lists the widest that a list can say, and no special address.
func anywhere(t testing.TB) *Policy {
	p := policy(t, "0.0.0.0/0:*", "[::/0]:*", "localhost:*", "*.localhost:*", "*.com:*", "*.example:*", "*.internal:*", "unix:///run/acme/*")
	p.own = func() []netip.Prefix { return nil }
	return p
}

// FuzzTarget gives ParseTarget any text. Whatever it takes leads nowhere but
// to public addresses, also when the DNS answers with all the others.
func FuzzTarget(f *testing.F) {
	for _, s := range badTargets {
		f.Add(s)
	}
	for _, s := range []string{"tcp://a.example:80", "tls://[2606:4700::1111]:443", "tcp://[::ffff:8.8.8.8]:53", "tcp://[64:ff9b::7f00:1]:80", "tcp://127.0.0.1:80", "tls://A.b.localhost.:443", "unix:///run/acme/x", "unix:///run/db"} {
		f.Add(s)
	}
	p := anywhere(f)
	all := addrs("93.184.216.34", "2606:4700::1111")
	for _, kind := range forbidden {
		all = append(all, addrs(kind...)...)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tg, err := ParseTarget(s)
		if err != nil {
			if KindOf(err) != Invalid || tg != (Target{}) {
				t.Fatalf("%+v, a %v error", tg, KindOf(err))
			}
			checkText(t, err)
			return
		}
		if again, err := ParseTarget(tg.String()); err != nil || again != tg || again.String() != tg.String() {
			t.Fatalf("%s is %+v, then %+v, %v", tg, tg, again, err)
		}
		if tg.Network() == "unix" {
			if !path.IsAbs(tg.Path()) || path.Clean(tg.Path()) != tg.Path() || strings.ContainsRune(tg.Path(), 0) {
				t.Fatalf("the path %q", tg.Path())
			}
			if p.Check(tg) == nil && path.Dir(tg.Path()) != "/run/acme" {
				t.Fatalf("the path %q is not in the folder", tg.Path())
			}
			return
		}
		if tg.Port() == 0 || tg.Host() == "" {
			t.Fatalf("%+v", tg)
		}
		if !tg.addr.IsValid() && (isNumber(tg.Host()) || !isPlain(tg.Host())) {
			t.Fatalf("%q is taken for a name", tg.Host())
		}
		asked := 0
		r := lookup(func(_ context.Context, host string) ([]netip.Addr, error) {
			if asked++; host != tg.Host() || tg.addr.IsValid() {
				t.Fatalf("the DNS is asked for %q by %s", host, tg)
			}
			return all, nil
		})
		got, err := p.Resolve(t.Context(), r, tg)
		if err != nil && KindOf(err) != Denied || asked > 1 || err != nil && asked > 0 {
			t.Fatalf("%v after %d questions", err, asked)
		}
		for _, a := range got {
			if !public(a.Addr()) || a.Port() != tg.Port() || a.Addr().Is4In6() {
				t.Fatalf("%s leads to %s", tg, a)
			}
		}
	})
}

// isPlain tells whether name may go to any resolver as it is.
func isPlain(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.HasSuffix(name, ".") && !strings.HasPrefix(name, ".") && !strings.Contains(name, "..") && len(name) <= 253
}

// isNumber tells whether inet_aton would take name for an address: one to four
// numbers, each decimal, octal or hexadecimal, of any size, as C or Go write them.
func isNumber(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return false
	}
	for _, part := range parts {
		if part == "0x" { // some take it for 0
			part = "0"
		}
		if _, ok := new(big.Int).SetString(part, 0); !ok || strings.Trim(part, "0123456789abcdefxo") != "" {
			return false
		}
	}
	return true
}

// FuzzList gives Parse any list, one entry a line. What it takes gives a name
// nothing but public addresses and those that an entry spells out, and a name
// that no entry can mean is never asked for.
func FuzzList(f *testing.F) {
	for _, list := range []string{
		"a.example.com:80", "*.example.com:443\n10.0.0.0/8:443", "127.0.0.1:*", "[::1]:1-65535\n0.0.0.0/0:80", "[::ffff:127.0.0.1]:80", "[64:ff9b::/96]:*\n*.com:*",
		"169.254.0.0/16:80\n*.example.com:*", "100.64.0.0/10:*\n*.example.com:*", "[fc00::/7]:*", "unix:///run/*\nunix:///*", "224.0.0.0/3:*", "128.0.0.0/1:*\na.example.com:*", "*.:80", "*:*", "[2002::/16]:443",
	} {
		for _, addr := range []string{"127.0.0.1", "169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::", "::1", "8.8.8.8"} {
			f.Add(list, netip.MustParseAddr(addr).AsSlice(), uint16(443))
		}
	}
	f.Fuzz(func(t *testing.T, text string, raw []byte, port uint16) {
		list := strings.Split(text, "\n")
		p, err := Parse(list)
		if err != nil {
			all, ok := err.(interface{ Unwrap() []error })
			if p != nil || !ok {
				t.Fatalf("%v %v", p, err)
			}
			last := -1
			for _, one := range all.Unwrap() {
				bad, ok := one.(*EntryError)
				if !ok || bad.Index <= last || bad.Index >= len(list) || bad.Entry != list[bad.Index] || bad.Problem == "" || bad.Mend == "" {
					t.Fatalf("a bad error: %v", one)
				}
				last = bad.Index
				checkText(t, one)
			}
			return
		}
		p.own = func() []netip.Prefix { return nil }
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || port == 0 {
			return
		}
		name := Target{network: "tcp", name: "a.example.com", port: port}
		literal := target(t, "tcp://"+netip.AddrPortFrom(addr, port).String())
		asked := false
		r := lookup(func(context.Context, string) ([]netip.Addr, error) { asked = true; return []netip.Addr{addr}, nil })
		for _, tg := range []Target{name, literal} {
			got, err := p.Resolve(t.Context(), r, tg)
			if err != nil {
				if KindOf(err) != Denied {
					t.Fatal(err)
				}
				continue
			}
			if len(got) != 1 || got[0] != netip.AddrPortFrom(addr.Unmap(), port) {
				t.Fatalf("%s leads to %v", tg, got)
			}
			if (tg == literal || !public(addr)) && !slices.ContainsFunc(list, func(entry string) bool { return spells(entry, addr.Unmap(), port) }) {
				t.Fatalf("%q: %s leads to %s", list, tg, got[0])
			}
		}
		if asked && !slices.ContainsFunc(list, func(entry string) bool {
			entry = strings.ToLower(entry)
			return strings.HasPrefix(entry, "a.example.com") || strings.HasPrefix(entry, "*.example.com") || strings.HasPrefix(entry, "*.com")
		}) {
			t.Fatalf("%q: the DNS was asked", list)
		}
	})
}

// spells tells whether an entry is a network or an address that has addr in
// it, with the port, and, when addr is not public, nothing that is.
func spells(entry string, addr netip.Addr, port uint16) bool {
	colon := strings.LastIndexByte(entry, ':')
	host := strings.Trim(entry[:max(colon, 0)], "[]")
	if !strings.Contains(host, "/") {
		host += "/" + strconv.Itoa(addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(host)
	if err != nil || !prefix.Contains(addr) {
		return false
	}
	low, high, isRange := strings.Cut(entry[colon+1:], "-")
	if low == "*" {
		low, high, isRange = "1", "65535", true
	}
	if !isRange {
		high = low
	}
	from, _ := strconv.Atoi(low)
	to, _ := strconv.Atoi(high)
	if int(port) < from || int(port) > to {
		return false
	}
	if public(addr) {
		return true
	}
	// The ends of a network that is all special are not public either.
	raw := prefix.Addr().AsSlice()
	for i := prefix.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	metadata := addr == netip.MustParseAddr("169.254.169.254") || addr == netip.MustParseAddr("100.100.100.200")
	return !public(prefix.Addr()) && !public(last) && (!metadata || prefix.IsSingleIP()) && !addr.IsMulticast() && !addr.IsUnspecified()
}
