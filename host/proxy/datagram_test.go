package proxy

import (
	"strings"
	"testing"
)

// A datagram has all of its header, of version 2, or none.
func TestParseDatagram(t *testing.T) {
	proxied, local := Header{Source: v4from, Destination: v4to}, Header{Local: true}
	six, to := v6from.Addr().As16(), v6to.Addr().As16()
	v6part := string(six[:]) + string(to[:]) + "\x0f\xa0\x00\x19"
	for text, want := range map[string]Header{
		v2(0x21, 0x12, v4part):                           proxied,
		v2(0x21, 0x12, v4part+value(1, "h2")):            proxied,
		v2(0x21, 0x11, v4part):                           proxied,
		v2(0x21, 0x22, v6part):                           {Source: v6from, Destination: v6to},
		v2(0x21, 0x21, v6part):                           {Source: v6from, Destination: v6to},
		v2(0x20, 0x12, v4part):                           local,
		v2(0x20, 0x00, ""):                               local,
		v2(0x21, 0x00, ""):                               local,
		v2(0x21, 0x32, strings.Repeat("/a\x00\x00", 54)): local,
	} {
		for _, behind := range []string{"", "a question", "PROXY "} {
			h, n, err := ParseDatagram([]byte(text + behind))
			if err != nil || n != len(text) || h != want {
				t.Errorf("%q: %+v, %d, %v; want %+v, %d", text, h, n, err, want, len(text))
			}
		}
		for k := range len(text) {
			if _, n, err := ParseDatagram([]byte(text[:k])); n != 0 || err == nil {
				t.Fatalf("%q: %d bytes of it give %d, %v", text, k, n, err)
			}
		}
	}
	for _, text := range []string{
		"", "a question", "PROXY UDP4 192.0.2.1 198.51.100.2 4000 25\r\n", "PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n",
		v2(0x11, 0x12, v4part), v2(0x22, 0x12, v4part), v2(0x21, 0x13, v4part), v2(0x21, 0x42, v4part),
		v2(0x21, 0x12, v4part[1:]), v2(0x21, 0x22, v4part), v2(0x21, 0x12, v4part+"\x01\x00"),
		v2(0x21, 0x12, v4part+value(typeCRC32C, "\x01\x02\x03\x04")),
		v2(0x21, 0x12, strings.Repeat("x", MaxLength)),
	} {
		if h, n, err := ParseDatagram([]byte(text)); err == nil || n != 0 {
			t.Errorf("%.60q: %+v, %d; want an error", text, h, n)
		}
	}
}

// FuzzParseDatagram: an answer is one about the header alone, and whole.
func FuzzParseDatagram(f *testing.F) {
	f.Add([]byte(v2(0x21, 0x12, v4part) + "a question"))
	f.Add([]byte(v2(0x20, 0x00, "")))
	f.Add([]byte(v2(0x21, 0x12, v4part+value(typeCRC32C, "\x00\x00\x00\x00"))))
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseDatagram(b)
		if n < 0 || n > len(b) || n > MaxLength || (n == 0) != (err != nil) {
			t.Fatalf("%d of %d, %v", n, len(b), err)
		}
		if err != nil {
			return
		}
		if again, m, err := ParseDatagram(b[:n]); again != h || m != n || err != nil {
			t.Fatalf("without what is behind it: %+v, %d, %v", again, m, err)
		}
		if _, m, err := ParseDatagram(b[:n-1]); m != 0 || err == nil {
			t.Fatalf("without its last byte: %d, %v", m, err)
		}
		if !h.Local && (!h.Source.IsValid() || !h.Destination.IsValid()) {
			t.Fatalf("it gives %+v", h)
		}
	})
}
