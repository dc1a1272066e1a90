package proxy

import (
	"net/netip"
	"strings"
	"testing"
)

var (
	v4from = netip.MustParseAddrPort("192.0.2.1:4000")
	v4to   = netip.MustParseAddrPort("198.51.100.2:25")
	v6from = netip.MustParseAddrPort("[2001:db8::1]:4000")
	v6to   = netip.MustParseAddrPort("[2001:db8::2]:25")
)

// v2 is a header of version 2, from its parts.
func v2(command, family byte, rest string) string {
	return string(beginV2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const v4part = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x0f\xa0\x00\x19"

func TestParse(t *testing.T) {
	proxied := Header{Source: v4from, Destination: v4to}
	for text, want := range map[string]Header{
		"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n":  proxied,
		"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n": {Source: v6from, Destination: v6to},
		"PROXY UNKNOWN\r\n":                              {Local: true},
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":          {Local: true},
		v2(0x21, 0x11, v4part):                           proxied,
		v2(0x21, 0x11, v4part+"\x01\x00\x02h2"):          proxied, // with ALPN behind it
		v2(0x20, 0x00, ""):                               {Local: true},
		v2(0x20, 0x11, v4part):                           {Local: true},
		v2(0x21, 0x31, strings.Repeat("/a\x00\x00", 54)): {Local: true}, // unix
	} {
		for k := range len(text) {
			if _, n, err := Parse([]byte(text[:k])); n != 0 || err != nil {
				t.Fatalf("%q: %d bytes of it give %d, %v", text, k, n, err)
			}
		}
		for _, behind := range []string{"", "GET / HTTP/1.0\r\n", "PROXY "} {
			h, n, err := Parse([]byte(text + behind))
			if err != nil || n != len(text) || h != want {
				t.Errorf("%q: %+v, %d, %v; want %+v, %d", text, h, n, err, want, len(text))
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"G", "PROXi", "proxy TCP4", " PROXY", "\r\n\r\n\x00\r\nQUIR", "\x16\x03\x01",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4000\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4000 65536\r\n",
		"PROXY TCP4 2001:db8::1 198.51.100.2 4000 25\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\n",
		"PROXY TCP5 192.0.2.1 198.51.100.2 4000 25\r\n",
		"PROXY TCP4 192.0.2.999 198.51.100.2 4000 25\r\n",
		"PROXY TCP4" + strings.Repeat(" ", 100),
		v2(0x31, 0x11, v4part),
		v2(0x25, 0x11, v4part),
		v2(0x21, 0x11, v4part[:11]),
		v2(0x21, 0x21, v4part),
		v2(0x21, 0x11, strings.Repeat("x", MaxLength)),
	} {
		if h, n, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q: %+v, %d", text, h, n)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error has more than one line: %v", text, err)
		}
	}
}

func TestAppend(t *testing.T) {
	mapped := netip.AddrPortFrom(netip.AddrFrom16(v4from.Addr().As16()), v4from.Port())
	for _, version := range []int{1, 2} {
		for _, c := range []struct {
			from, to netip.AddrPort
			want     Header
		}{
			{v4from, v4to, Header{Source: v4from, Destination: v4to}},
			{v6from, v6to, Header{Source: v6from, Destination: v6to}},
			{mapped, v4to, Header{Source: v4from, Destination: v4to}},
			{netip.AddrPort{}, v4to, Header{Local: true}},
			{v4from, netip.AddrPort{}, Header{Local: true}},
		} {
			b := Append([]byte("before"), version, c.from, c.to)
			h, n, err := Parse(b[len("before"):])
			if err != nil || n != len(b)-len("before") || h != c.want {
				t.Errorf("version %d, %v to %v: %q is %+v, %v", version, c.from, c.to, b, h, err)
			}
		}
		// Two families: one that says both, or neither, but no nonsense.
		if _, _, err := Parse(Append(nil, version, v4from, v6to)); err != nil {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestSources(t *testing.T) {
	s, err := ParseSources([]string{"192.0.2.1", "10.0.0.0/8", "2001:db8::/32", "unix"})
	if err != nil || s.Empty() {
		t.Fatal(err)
	}
	for ip, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.2": false, "10.255.0.1": true, "::ffff:10.0.0.1": true, "11.0.0.1": false,
		"2001:db8:1::1": true, "2001:db9::1": false,
	} {
		if got := s.Has(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if !s.Has(netip.Addr{}) || (Sources{}).Has(netip.Addr{}) || !(Sources{}).Empty() {
		t.Error("unix sockets are taken for something else")
	}
	for entry, want := range map[string]string{"localhost": "is no address", "10.1.0.0/8": `write "10.0.0.0/8"`, "fe80::1%eth0": "is no address", "": "is no address"} {
		if _, err := ParseSources([]string{entry}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

// FuzzParse: whatever comes, the answer for a part of it is never another than that for
// all of it.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if n < 0 || n > len(b) || n > MaxLength || n > 0 && err != nil {
			t.Fatalf("%d of %d, %v", n, len(b), err)
		}
		if err == nil && n == 0 && len(b) >= MaxLength {
			t.Fatal("it asks for more and more")
		}
		if n > 0 {
			if again, m, err := Parse(b[:n]); again != h || m != n || err != nil {
				t.Fatalf("without what is behind it: %+v, %d, %v", again, m, err)
			}
			if _, m, err := Parse(b[:n-1]); m != 0 || err != nil {
				t.Fatalf("without its last byte: %d, %v", m, err)
			}
			if !h.Local && (!h.Source.IsValid() || !h.Destination.IsValid()) {
				t.Fatalf("it gives %+v", h)
			}
		}
	})
}
