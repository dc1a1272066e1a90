package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// captured is what a client of crypto/tls sends first.
func captured(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	s := &sink{}
	_ = tls.Client(s, c).Handshake()
	if len(s.sent) == 0 {
		t.Fatal("the client has sent nothing")
	}
	return s.sent
}

// sink is a connection whose peer never answers.
type sink struct {
	net.Conn
	sent []byte
	from io.Reader // nil: nothing comes
}

func (s *sink) Write(p []byte) (int, error) { s.sent = append(s.sent, p...); return len(p), nil }
func (s *sink) Read(p []byte) (int, error) {
	if s.from == nil {
		return 0, io.EOF
	}
	return s.from.Read(p)
}
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

// inRecords spreads a message in one record over records of n bytes.
func inRecords(hello []byte, n int) []byte {
	var out []byte
	for body := hello[5:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		out = append(append(out, 22, 3, 1, byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

func manyProtocols(n int) []string {
	var all []string
	for i := range n {
		all = append(all, strings.Repeat("p", 1+i%200))
	}
	return all
}

func TestRealHellos(t *testing.T) {
	for name, test := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"a name":        {&tls.Config{ServerName: "www.example.com"}, "www.example.com"},
		"capitals":      {&tls.Config{ServerName: "WWW.Example.COM"}, "www.example.com"},
		"TLS 1.2":       {&tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}, "a.example"},
		"TLS 1.3":       {&tls.Config{ServerName: "a.example", MinVersion: tls.VersionTLS13}, "a.example"},
		"many ALPN":     {&tls.Config{ServerName: "a.example", NextProtos: manyProtocols(100)}, "a.example"},
		"an IP address": {&tls.Config{ServerName: "192.0.2.1"}, ""}, // crypto/tls does not ask for those
		"no name":       {&tls.Config{InsecureSkipVerify: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			whole := captured(t, test.config)
			for _, hello := range [][]byte{whole, inRecords(whole, 1), inRecords(whole, 7), inRecords(whole, 4), inRecords(whole, 200)} {
				if len(hello) > maxHello {
					continue
				}
				checkPrefixes(t, hello)
				if got, need, err := serverName(append(bytes.Clone(hello), 0xff, 0xff)); got != test.want || need != 0 || err != nil {
					t.Errorf("%q, %d, %v", got, need, err)
				}
			}
		})
	}
}

// checkPrefixes wants every beginning of a good hello, or of a long one many, to be waited
// on, for no more than there is.
func checkPrefixes(t *testing.T, hello []byte) {
	t.Helper()
	for i := 0; i < len(hello); i += 1 + len(hello)/1000 {
		if name, need, err := serverName(hello[:i]); name != "" || need <= i || need > len(hello) || err != nil {
			t.Fatalf("%d bytes of %d: %q, %d, %v", i, len(hello), name, need, err)
		}
	}
}

// build makes a hello with these extensions, written out.
func build(extensions string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00"
	if extensions != "none" {
		body += counted(extensions)
	}
	message := "\x01\x00" + counted(body)
	return []byte("\x16\x03\x01" + counted(message))
}

func counted(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

// sni is the extension for a list of names, each with its type.
func sni(list string) string { return "\x00\x00" + counted(counted(list)) }

func TestHellos(t *testing.T) {
	good := sni("\x00" + counted("a.example"))
	for name, test := range map[string]struct {
		hello []byte
		want  string
		err   error
	}{
		"good":               {build(good), "a.example", nil},
		"GREASE around it":   {build("\x0a\x0a\x00\x00" + good + "\x1a\x1a\x00\x01\x00"), "a.example", nil},
		"no extensions":      {build("none"), "", nil},
		"none of them":       {build(""), "", nil},
		"a final dot":        {build(sni("\x00" + counted("a.example."))), "a.example", nil},
		"twice":              {build(good + good), "", errHello},
		"two names":          {build(sni("\x00" + counted("a.example") + "\x00" + counted("b.example"))), "", errHello},
		"no name":            {build(sni("")), "", errHello},
		"an empty name":      {build(sni("\x00" + counted(""))), "", errHello},
		"another type":       {build(sni("\x01" + counted("a.example"))), "", errHello},
		"nul":                {build(sni("\x00" + counted("a.example\x00.b"))), "", errHello},
		"a space":            {build(sni("\x00" + counted("a example"))), "", errHello},
		"two dots":           {build(sni("\x00" + counted("a..example"))), "", errHello},
		"a long label":       {build(sni("\x00" + counted(strings.Repeat("a", 64)))), "", errHello},
		"a long name":        {build(sni("\x00" + counted(strings.Repeat("a.", 127)+"a"))), "", errHello},
		"not ASCII":          {build(sni("\x00" + counted("ä.example"))), "", errHello},
		"bytes behind name":  {build("\x00\x00" + counted(counted("\x00"+counted("a.example"))+"x")), "", errHello},
		"a length too big":   {build("\x00\x00\x00\x10\x00"), "", errHello},
		"half an extension":  {build("\x00\x00\x00"), "", errHello},
		"not a ClientHello":  {[]byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), "", errHello},
		"an empty one":       {[]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), "", errHello},
		"a record of 0":      {[]byte("\x16\x03\x01\x00\x00"), "", errNotTLS},
		"a record too long":  {[]byte("\x16\x03\x01\x40\x01"), "", errNotTLS},
		"another record":     {[]byte("\x17\x03\x01\x00\x01"), "", errNotTLS},
		"HTTP":               {[]byte("GET / HTTP/1.1\r\n"), "", errNotTLS},
		"SSL 2":              {[]byte("\x80\x2e\x01\x03\x01"), "", errNotTLS},
		"sixteen megabytes":  {[]byte("\x16\x03\x01\x00\x04\x01\xff\xff\xff"), "", errTooLong},
		"a record in a row":  {append(build(good)[:20], 0), "", nil},
		"an alert inside it": {append(inRecords(build(good), 10)[:15], 21, 3, 1, 0, 2, 1, 0), "", errNotTLS},
	} {
		t.Run(name, func(t *testing.T) {
			got, need, err := serverName(test.hello)
			if got != test.want || err != test.err || need > 0 != (name == "a record in a row") {
				t.Errorf("%q, %d, %v", got, need, err)
			}
		})
	}
}

// In records of a byte each a hello is six times as long, and bounded all the same.
func TestLongHellos(t *testing.T) {
	pad := func(n int) []byte { return build("\x00\x15" + counted(strings.Repeat("\x00", n))) }
	if _, need, err := serverName(pad(16000)); need != 0 || err != nil {
		t.Errorf("16,000 bytes: %d, %v", need, err)
	}
	if _, _, err := serverName(inRecords(pad(16000), 1)); !errors.Is(err, errTooLong) {
		t.Errorf("16,000 records: %v", err)
	}
}

// Nothing is read out of bounds, every beginning of a good hello is waited on, and
// the name is the one that crypto/tls sees.
func FuzzHello(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) {
		name, need, err := serverName(p)
		switch {
		case err != nil && (name != "" || need != 0):
			t.Fatalf("%q, %d, %v", name, need, err)
		case need != 0 && (name != "" || need <= len(p) || need > maxHello):
			t.Fatalf("%q, asks for %d after %d", name, need, len(p))
		case err != nil || need != 0:
			return
		}
		for i := range p {
			if early, need, err := serverName(p[:i]); err != nil || need == 0 && early != name {
				t.Fatalf("%d bytes of %d: %q, %d, %v", i, len(p), early, need, err)
			}
		}
		var theirs *tls.ClientHelloInfo
		_ = tls.Server(&sink{from: bytes.NewReader(p)}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			theirs = i
			return nil, os.ErrInvalid
		}}).Handshake()
		if theirs != nil && strings.ToLower(theirs.ServerName) != name {
			t.Errorf("%q, and crypto/tls sees %q", name, theirs.ServerName)
		}
	})
}
