package proxy

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
)

// value is one of those behind the addresses.
func value(kind byte, s string) string {
	return string([]byte{kind, byte(len(s) >> 8), byte(len(s))}) + s
}

// summed puts the checksum into a header that has room for it.
func summed(header string) string {
	b := []byte(header)
	at := strings.Index(header, value(typeCRC32C, "\x00\x00\x00\x00"))
	binary.BigEndian.PutUint32(b[at+valueHead:], crc32.Checksum(b, castagnoli))
	return string(b)
}

// What the specification has receivers accept, and what it has them refuse.
func TestParseV2(t *testing.T) {
	const noSum = "\x03\x00\x04\x00\x00\x00\x00"
	proxied, local := Header{Source: v4from, Destination: v4to}, Header{Local: true}
	six := v6from.Addr().As16()
	to := v6to.Addr().As16()
	v6part := string(six[:]) + string(to[:]) + "\x0f\xa0\x00\x19"
	good := summed(v2(0x21, 0x11, v4part+value(1, "h2")+noSum+value(2, "a.test")))
	damaged := []byte(good)
	damaged[17] ^= 1
	for name, c := range map[string]struct {
		text string
		want Header
		err  string
	}{
		"a client's certificate":          {v2(0x21, 0x11, v4part+value(0x20, "\x07\x00\x00\x00\x00"+value(0x28, strings.Repeat("c", 2100)))), proxied, ""},
		"as long as it may be":            {v2(0x21, 0x11, v4part+value(0xe0, strings.Repeat("x", MaxLength-fixedV2-len(v4part)-valueHead))), proxied, ""},
		"IPv6 with values":                {v2(0x21, 0x21, v6part+value(4, "")), Header{Source: v6from, Destination: v6to}, ""},
		"LOCAL, nobody's family":          {v2(0x20, 0x55, "abc"), local, ""},
		"LOCAL, shorter than its family":  {v2(0x20, 0x11, "abc"), local, ""},
		"LOCAL, with addresses":           {v2(0x20, 0x21, v6part), local, ""},
		"LOCAL, with anything behind":     {v2(0x20, 0x11, v4part+"abc"), local, ""},
		"PROXY, unspecified":              {v2(0x21, 0x00, ""), local, ""},
		"PROXY, unspecified, with values": {v2(0x21, 0x00, value(1, "h2")), local, ""},
		"datagrams":                       {v2(0x21, 0x12, v4part), local, ""},
		"a checksum":                      {good, proxied, ""},
		"a checksum alone":                {summed(v2(0x21, 0x11, v4part+noSum)), proxied, ""},
		"a checksum of unspecified":       {summed(v2(0x21, 0x00, noSum)), local, ""},

		"a wrong checksum":             {v2(0x21, 0x11, v4part+value(3, "\x01\x02\x03\x04")), Header{}, "its checksum does not match"},
		"a damaged address":            {string(damaged), Header{}, "its checksum does not match"},
		"a short checksum":             {v2(0x21, 0x11, v4part+value(3, "\x01\x02")), Header{}, "its checksum has 2 bytes"},
		"a value that is cut off":      {v2(0x21, 0x11, v4part+"\x01\x00\x05h2"), Header{}, "its last value is cut off"},
		"half a value":                 {v2(0x21, 0x11, v4part+"\x01\x00"), Header{}, "its last value is cut off"},
		"unspecified, and not a value": {v2(0x21, 0x00, "abcd"), Header{}, "its last value is cut off"},
		"nobody's family":              {v2(0x21, 0x55, v4part), Header{}, "no family and socket 0x55"},
		"nobody's socket":              {v2(0x21, 0x13, v4part), Header{}, "no family and socket 0x13"},
		"nobody's command":             {v2(0x22, 0x11, v4part), Header{}, "no version and command 0x22"},
		"version 3":                    {v2(0x31, 0x11, v4part), Header{}, "no version and command 0x31"},
		"too short":                    {v2(0x21, 0x21, v4part), Header{}, "too short for its addresses"},
		"too long":                     {v2(0x20, 0x00, strings.Repeat("x", MaxLength-fixedV2+1)), Header{}, "and 16384 are the most"},
	} {
		h, n, err := Parse([]byte(c.text + "behind"))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || n != 0 {
				t.Errorf("%s: %+v, %d, %v; want %q", name, h, n, err, c.err)
			}
			continue
		}
		if err != nil || n != len(c.text) || h != c.want {
			t.Errorf("%s: %+v, %d, %v; want %+v, %d", name, h, n, err, c.want, len(c.text))
		}
		for _, k := range []int{0, 1, 11, 12, 13, 15, 16, len(c.text) - 1} {
			if _, n, err := Parse([]byte(c.text[:min(k, len(c.text)-1)])); n != 0 || err != nil {
				t.Errorf("%s: %d bytes of it give %d, %v", name, k, n, err)
			}
		}
	}
}
