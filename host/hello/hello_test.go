package hello_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host/hello"
	"bulkhead/internal/awaittest"
)

// recorded is a connection whose peer has sent some bytes and no more, and which keeps what is
// written to it.
type recorded struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *recorded) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *recorded) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *recorded) Close() error                { return nil }

func (c *recorded) SetDeadline(time.Time) error { return nil }

// helloOf is what crypto/tls sends first.
func helloOf(config *tls.Config) []byte {
	c := &recorded{in: strings.NewReader("")}
	_ = tls.Client(c, config).Handshake()
	return c.out.Bytes()
}

var errSeen = errors.New("seen")

// seen is what crypto/tls reads in a hello; ok is false when it refuses it.
func seen(p []byte) (name string, protocols []string, ok bool) {
	c := tls.Server(&recorded{in: bytes.NewReader(p)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, protocols, ok = h.ServerName, h.SupportedProtos, true
		return nil, errSeen
	}})
	_ = c.HandshakeContext(context.Background())
	return name, protocols, ok
}

// inRecords spreads a ClientHello over records of so many bytes.
func inRecords(p []byte, size int) []byte {
	var out []byte
	for rest := p[5:]; len(rest) > 0; {
		n := min(size, len(rest))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	return out
}

// check holds Parse to what it says of every beginning of p, and to a result.
func check(t *testing.T, p []byte, name string, protocols []string) {
	t.Helper()
	var r hello.Reader
	due := 0
	for n := range len(p) {
		h, need, err := r.Parse(p[:n])
		if err != nil || need <= n || need > len(p) || h.ServerName != nil {
			t.Fatalf("%d of %d bytes: %q, need %d, %v", n, len(p), h.ServerName, need, err)
		}
		if n < due && need < due {
			t.Fatalf("%d of %d bytes: need %d, and before it was %d", n, len(p), need, due)
		}
		due = need
	}
	for _, more := range []string{"", "\x16\x03\x01", "and whatever follows"} {
		h, need, err := r.Parse(append(bytes.Clone(p), more...))
		if err != nil || need != 0 || string(h.ServerName) != name || !slices.Equal(h.Protocols(), protocols) {
			t.Fatalf("%q, %q, need %d, %v; want %q, %q", h.ServerName, h.Protocols(), need, err, name, protocols)
		}
		for _, protocol := range protocols {
			if !h.Offers(protocol) || h.Offers(protocol+"x") || h.Offers("") {
				t.Errorf("%q: Offers is wrong", protocol)
			}
		}
	}
}

func TestHellosOfGo(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + ".example"
	for _, name := range []string{"", "host.test", "HOST.Test", "192.0.2.1", "x_y.test", long} {
		for _, protocols := range [][]string{nil, {"h2", "http/1.1"}, {strings.Repeat("p", 255)}} {
			for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				c := &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols, MaxVersion: most}
				// The others have a short key, since every beginning of each is tried.
				if name != "host.test" {
					c.CurvePreferences = []tls.CurveID{tls.X25519}
				}
				p := helloOf(c)
				want, offered, ok := seen(p)
				if !ok {
					t.Fatalf("%q: crypto/tls refuses its own hello", name)
				}
				want = strings.ToLower(want)
				check(t, p, want, offered)
				for _, size := range []int{1, 2, 5, 100, len(p) - 6} {
					check(t, inRecords(p, size), want, offered)
				}
			}
		}
	}
}

// What openssl sends is read as crypto/tls reads it.
func TestHellosOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	for _, args := range []string{"", "-noservername", "-servername Some.Where.test", "-servername a.test -alpn h2,http/1.1", "-servername a.test -tls1_2 -alpn x",
		"-noservername -tls1_2", "-servername a.test -groups X25519:P-256:P-384"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(openssl, append([]string{"s_client", "-connect", ln.Addr().String()}, strings.Fields(args)...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = ln.(*net.TCPListener).SetDeadline(awaittest.Deadline())
		c, err := ln.Accept()
		if err != nil {
			t.Skipf("openssl %s does not connect: %v", args, err)
		}
		var r hello.Reader
		var p []byte
		for need := 1; need > 0; {
			one := make([]byte, need-len(p))
			n, err := c.Read(one)
			if err != nil {
				t.Fatal(err)
			}
			p = append(p, one[:n]...)
			if _, need, err = r.Parse(p); err != nil {
				t.Fatalf("openssl %s: %v\n%q", args, err, p)
			}
		}
		_, _ = c.Close(), ln.Close()
		_ = cmd.Wait()
		name, protocols, ok := seen(p)
		if !ok {
			t.Fatalf("openssl %s: crypto/tls refuses it", args)
		}
		check(t, p, strings.ToLower(name), protocols)
	}
}

// extension is one extension with its header.
func extension(kind int, data string) string {
	return string([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}) + data
}

// list16 is a list behind its length of two bytes.
func list16(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

// record is a whole hello with these extensions.
func record(extensions string) []byte {
	return whole("\x03\x03"+strings.Repeat("r", 32)+"\x00"+list16("\x13\x01")+"\x01\x00", list16(extensions))
}

func whole(parts ...string) []byte {
	body := strings.Join(parts, "")
	message := string([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}) + body
	return []byte("\x16\x03\x01" + list16(message))
}

func sni(names ...string) string {
	all := ""
	for _, name := range names {
		all += "\x00" + list16(name)
	}
	return extension(0, list16(all))
}

func TestBytesThatAreNone(t *testing.T) {
	const grease = "\x0a\x0a"
	good := record(extension(0x0a0a, "") + sni("a.test") + extension(16, list16("\x02"+grease+"\x02h2")) + extension(0xfafa, "\x00"))
	check(t, good, "a.test", []string{grease, "h2"})
	check(t, whole("\x03\x01"+strings.Repeat("r", 32)+"\x00"+list16("\x00\x2f")+"\x01\x00"), "", nil)

	begin := "\x03\x03" + strings.Repeat("r", 32)
	for what, test := range map[string]struct {
		p    []byte
		want error
	}{
		"HTTP":                         {[]byte("GET / HTTP/1.1\r\n"), hello.ErrNotTLS},
		"SSH":                          {[]byte("SSH-2.0-x\r\n"), hello.ErrNotTLS},
		"a record of another version":  {[]byte("\x16\x02\x01\x00\x05"), hello.ErrNotTLS},
		"the hello of SSL 2":           {[]byte("\x80\x2e\x01\x03\x01"), hello.ErrNotTLS},
		"an empty record":              {[]byte("\x16\x03\x01\x00\x00"), hello.ErrNotTLS},
		"a record that is too long":    {[]byte("\x16\x03\x01\x40\x01"), hello.ErrNotTLS},
		"another message":              {[]byte("\x16\x03\x01\x00\x04\x02"), hello.ErrMalformed},
		"a hello that is too long":     {[]byte("\x16\x03\x01\x40\x00\x01\x01\x00\x00"), hello.ErrTooLong},
		"a hello of megabytes":         {[]byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), hello.ErrTooLong},
		"an alert in it":               {append(inRecords(good, 50)[:55], "\x15\x03\x01\x00\x02"...), hello.ErrMalformed},
		"an empty record in it":        {append(inRecords(good, 50)[:55], "\x16\x03\x01\x00\x00"...), hello.ErrMalformed},
		"nothing in it":                {whole(""), hello.ErrMalformed},
		"a session that is too long":   {whole(begin, "\x21"+strings.Repeat("s", 33), list16("\x13\x01"), "\x01\x00"), hello.ErrMalformed},
		"no cipher":                    {whole(begin, "\x00", list16(""), "\x01\x00"), hello.ErrMalformed},
		"half a cipher":                {whole(begin, "\x00", list16("\x13\x01\x13"), "\x01\x00"), hello.ErrMalformed},
		"no compression":               {whole(begin, "\x00", list16("\x13\x01"), "\x00"), hello.ErrMalformed},
		"more behind the extensions":   {whole(begin, "\x00", list16("\x13\x01"), "\x01\x00", list16(""), "x"), hello.ErrMalformed},
		"extensions that are cut off":  {whole(begin, "\x00", list16("\x13\x01"), "\x01\x00", "\x00\x09abc"), hello.ErrMalformed},
		"an extension that is cut off": {record("\x00\x00\x00\x09abc"), hello.ErrMalformed},
		"two extensions with names":    {record(sni("a.test") + sni("a.test")), hello.ErrMalformed},
		"two names":                    {record(sni("a.test", "b.test")), hello.ErrMalformed},
		"no name":                      {record(sni()), hello.ErrMalformed},
		"an empty name":                {record(sni("")), hello.ErrMalformed},
		"a name with two dots":         {record(sni("a.test..")), hello.ErrMalformed},
		"a name that is a dot":         {record(sni(".")), hello.ErrMalformed},
		"a long name with a dot":       {record(sni(strings.Repeat("a.", 127) + ".")), hello.ErrMalformed},
		"a name with a NUL":            {record(sni("a.test\x00.evil")), hello.ErrMalformed},
		"a name with a blank":          {record(sni("a test")), hello.ErrMalformed},
		"a name with an empty label":   {record(sni("a..test")), hello.ErrMalformed},
		"a label that is too long":     {record(sni(strings.Repeat("a", 64) + ".test")), hello.ErrMalformed},
		"a name that is too long":      {record(sni(strings.Repeat("a.", 127) + "a")), hello.ErrMalformed},
		"a name of another kind":       {record(extension(0, list16("\x01"+list16("a.test")))), hello.ErrMalformed},
		"more behind the names":        {record(extension(0, list16("\x00"+list16("a.test"))+"x")), hello.ErrMalformed},
		"two extensions with ALPN":     {record(extension(16, list16("\x01a")) + extension(16, list16("\x01a"))), hello.ErrMalformed},
		"no protocol":                  {record(extension(16, list16(""))), hello.ErrMalformed},
		"an empty protocol":            {record(extension(16, list16("\x00\x01a"))), hello.ErrMalformed},
		"a protocol that is cut off":   {record(extension(16, list16("\x05a"))), hello.ErrMalformed},
	} {
		var r hello.Reader
		if h, need, err := r.Parse(test.p); err != test.want || need != 0 || h.ServerName != nil {
			t.Errorf("%s: %q, need %d, %v; want %v", what, h.ServerName, need, err, test.want)
		}
	}
	// As long as it may be, and a byte longer.
	const full = 16 << 10
	room := hello.MaxLength - len(record(extension(21, ""))) - 3*5
	p := inRecords(record(extension(21, strings.Repeat("x", room))), full)
	if len(p) != hello.MaxLength {
		t.Fatalf("it has %d bytes", len(p))
	}
	var r hello.Reader
	looks := 0
	for have := 0; have < len(p); looks++ {
		_, need, err := r.Parse(p[:have])
		if err != nil || need <= have || need > len(p) {
			t.Fatalf("%d of %d bytes: need %d, %v", have, len(p), need, err)
		}
		have = need
	}
	if h, need, err := r.Parse(p); err != nil || need != 0 || h.ServerName != nil || looks > 8 {
		t.Errorf("whole: need %d, %v, after %d looks", need, err, looks)
	}
	if _, _, err := r.Parse(inRecords(record(extension(21, strings.Repeat("x", room+1))), full)); err != hello.ErrTooLong {
		t.Errorf("a byte too long: %v", err)
	}
	// In records of a byte it reaches the bound long before that, and is not looked at for each.
	p = inRecords(record(extension(21, strings.Repeat("x", 10_000))), 1)
	looks = 0
	for have := 0; have < len(p); looks++ {
		_, need, err := r.Parse(p[:have])
		if err != nil || need <= have {
			t.Fatalf("in many records, %d of %d bytes: need %d, %v", have, len(p), need, err)
		}
		have = need
	}
	if looks > 100 {
		t.Errorf("in many records it is looked at %d times", looks)
	}
	p = inRecords(record(extension(21, strings.Repeat("x", 12_000))), 1)
	if _, _, err := r.Parse(p); err != hello.ErrTooLong {
		t.Errorf("in many records: %v", err)
	}
}

// The dot of the root is no part of the name.
func TestRootDot(t *testing.T) {
	check(t, record(sni("A.test.")+extension(16, list16("\x02h2"))), "a.test", []string{"h2"})
	check(t, record(sni(strings.Repeat("a.", 126)+"a.")), strings.Repeat("a.", 126)+"a", nil)
}

func TestParseDoesNotAllocate(t *testing.T) {
	var r hello.Reader
	p := helloOf(&tls.Config{ServerName: "Host.test", NextProtos: []string{"h2"}})
	spread := inRecords(p, 100)
	_, _, _ = r.Parse(spread)
	if n := testing.AllocsPerRun(100, func() {
		for _, p := range [][]byte{p, spread, p[:100]} {
			h, _, err := r.Parse(p)
			if err != nil || h.Offers("x") {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse holds Parse to crypto/tls: what it takes, crypto/tls must see in the same way,
// unless that refuses it. It must say the same of the bytes in one piece and of a part of them.
func FuzzParse(f *testing.F) {
	for _, p := range [][]byte{
		helloOf(&tls.Config{ServerName: "host.test", NextProtos: []string{"h2", "http/1.1"}}),
		helloOf(&tls.Config{ServerName: "host.test", MaxVersion: tls.VersionTLS12}),
		record(sni("a.test") + extension(16, list16("\x02h2"))), record(sni("A.test.")), record(sni(".")),
		inRecords(record(sni("a.test")), 20), record(sni("a", "b")), []byte("GET / HTTP/1.0\r\n\r\n"), []byte("\x16\x03\x01\x00\x04\x02"),
	} {
		f.Add(p, 30)
	}
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var r hello.Reader
		h, need, err := r.Parse(p)
		name, protocols := string(h.ServerName), h.Protocols()
		if err != nil && (need != 0 || name != "" || protocols != nil) || need > 0 && need <= len(p) || need > hello.MaxLength {
			t.Fatalf("%q, %q, need %d of %d, %v", name, protocols, need, len(p), err)
		}
		if cut > 0 && cut < len(p) {
			switch _, part, perr := r.Parse(p[:cut]); {
			case perr != nil && perr != err:
				t.Fatalf("%v, and of a part %v", err, perr)
			case perr == nil && part == 0 && (err != nil || need > 0):
				t.Fatalf("need %d, %v, and a part is enough", need, err)
			case need > 0 && part > need:
				t.Fatalf("need %d, and a part needs %d", need, part)
			}
		}
		if err == hello.ErrNotTLS == hello.Begins(p) && len(p) < 5 {
			t.Fatalf("%v, and Begins says %v", err, hello.Begins(p))
		}
		if err != nil || need > 0 {
			return
		}
		if other, offered, ok := seen(p); ok && (strings.ToLower(other) != name || !slices.Equal(offered, protocols)) {
			t.Fatalf("%q, %q; crypto/tls sees %q, %q", name, protocols, other, offered)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var r hello.Reader
	for _, name := range []string{"", "host.test"} {
		p := helloOf(&tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		b.Run(fmt.Sprintf("name %q, %d bytes", name, len(p)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Parse(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
