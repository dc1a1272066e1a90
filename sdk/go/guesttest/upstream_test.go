package guesttest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

// secured is a script that hears of handshakes as well.
type secured struct {
	script
	secured func(c *guest.Conn, err error)
}

func (s *secured) Secured(c *guest.Conn, err error) {
	if s.secured != nil {
		s.secured(c, err)
	}
}

// dialler keeps what it is told, and what it has connected.
type dialler struct {
	script
	opened []*guest.Conn
	closed []*guest.Conn
	why    []error
}

func newDialler() *dialler {
	d := &dialler{}
	d.open = func(c *guest.Conn) error { d.opened = append(d.opened, c); return nil }
	d.script.closed = func(c *guest.Conn, reason error) {
		d.closed = append(d.closed, c)
		d.why = append(d.why, reason)
	}
	return d
}

func connect(t *testing.T, address string) *guest.Conn {
	t.Helper()
	c, err := guest.Connect(address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	c.Value = address
	return c
}

func TestConnect(t *testing.T) {
	d := newDialler()
	h := guesttest.New(t, d, guesttest.Options{})
	c := connect(t, "tcp://db.internal:5432?proxy=v2")
	if !c.Dialled() || c.Peer() != "" || c.Transport() != "" || len(d.opened) != 0 || h.Connections() != 0 {
		t.Errorf("before it is up: dialled %v, peer %q, opened %v", c.Dialled(), c.Peer(), d.opened)
	}
	if n, err := c.Send([]byte("x")); n != 0 || err != guest.Again {
		t.Errorf("Send before it is up: %d, %v", n, err)
	}
	if n, err := c.WriteString("hello"); n != 5 || err != nil {
		t.Errorf("Write before it is up: %d, %v", n, err)
	}
	if err := c.SetTimer(1, 0); err != guest.Again {
		t.Errorf("SetTimer before it is up: %v", err)
	}
	if len(h.Dials()) != 1 || h.Dials()[0].Address != "tcp://db.internal:5432?proxy=v2" || !h.Dials()[0].Pending() {
		t.Fatalf("the dials are %v", h.Dials())
	}
	p := h.Dials()[0].Accept()
	if len(d.opened) != 1 || d.opened[0] != c || h.Dials()[0].Pending() || h.Connections() != 1 {
		t.Fatalf("opened %v", d.opened)
	}
	p.Expect("hello")
	p.Send("echo")
	p.Expect("echo")
	if c.Peer() != "198.51.100.1:5432" || c.Transport() != "tcp" || c.TLSVersion() != "" || !strings.HasPrefix(c.Local(), "192.0.2.2:") {
		t.Errorf("info: %q %q %q %q", c.Peer(), c.Local(), c.Transport(), c.TLSVersion())
	}
	if q := h.Connect(); d.opened[1].Dialled() {
		t.Errorf("%v came by itself", q)
	}
	p.CloseWrite()
	p.ExpectClosed(nil)
	if want := []string{"csa_open", "csa_writable", "csa_data", "csa_eof", "csa_closed"}; !slices.Equal(p.Events(), want) {
		t.Errorf("the callbacks were %v, want %v", p.Events(), want)
	}
}

func TestConnectKindsOfAddress(t *testing.T) {
	d := newDialler()
	h := guesttest.New(t, d, guesttest.Options{})
	tls, unix, six := connect(t, "tls://example.com:443"), connect(t, "unix:///run/db.sock"), connect(t, "tcp://[2001:db8::1]:80")
	for _, dial := range h.Dials() {
		dial.Accept()
	}
	if tls.TLSVersion() != "TLS 1.3" || tls.ServerName() != "example.com" || tls.Cipher() == "" {
		t.Errorf("tls: %q %q %q", tls.TLSVersion(), tls.ServerName(), tls.Cipher())
	}
	if unix.Peer() != "/run/db.sock" || unix.Transport() != "unix" || unix.Local() != "" || six.Peer() != "[2001:db8::1]:80" {
		t.Errorf("unix: %q %q; IPv6: %q", unix.Peer(), unix.Transport(), six.Peer())
	}
}

func TestConnectOverUDP(t *testing.T) {
	d := newDialler()
	h := guesttest.New(t, d, guesttest.Options{})
	c := connect(t, "udp://ns.example:53")
	if n, err := c.Send([]byte("early")); n != 0 || err != guest.Again || c.Transport() != "" {
		t.Errorf("before it is up: %d, %v, transport %q", n, err, c.Transport())
	}
	if n, err := c.Send(nil); n != 0 || err != guest.Again {
		t.Errorf("an empty datagram before it is up: %d, %v", n, err)
	}
	var heard []string
	d.data = func(_ *guest.Conn, p []byte) (int, error) { heard = append(heard, string(p)); return len(p), nil }
	p := h.Dials()[0].Accept()
	if c.Transport() != "udp" || c.Peer() != "198.51.100.1:53" {
		t.Errorf("info: %q %q", c.Transport(), c.Peer())
	}
	for _, what := range []string{"one", "two"} {
		if n, err := c.Send([]byte(what)); n != 3 || err != nil {
			t.Errorf("Send: %d, %v", n, err)
		}
	}
	if a, b := p.ReceiveDatagram(), p.ReceiveDatagram(); a != "one" || b != "two" {
		t.Errorf("received %q, %q", a, b)
	}
	p.Send("three")
	p.Send("four")
	if !slices.Equal(heard, []string{"three", "four"}) {
		t.Errorf("heard %q", heard)
	}
	p.Drop(guest.Refused)
	if len(d.why) != 1 || d.why[0] != guest.Refused {
		t.Errorf("it ended with %v", d.why)
	}
}

func TestConnectRefusesAtOnce(t *testing.T) {
	d := newDialler()
	var atStart error
	d.start = func([]byte) error { _, atStart = guest.Connect("tcp://a:1"); return nil }
	h := guesttest.New(t, d, guesttest.Options{MayDial: func(address string) guest.Code {
		switch address {
		case "tcp://secret:1":
			return guest.Denied
		case "tcp://many:1":
			return guest.Quota
		}
		return guest.OK
	}})
	if atStart != guest.Denied {
		t.Errorf("Connect in Start: %v", atStart)
	}
	for address, want := range map[string]error{
		"tcp://secret:1": guest.Denied, "tcp://many:1": guest.Quota, "": guest.Invalid, "tcp://": guest.Invalid, "tcp://a": guest.Invalid,
		"tcp://a:0": guest.Invalid, "tcp://a:65536": guest.Invalid, "tcp://:1": guest.Invalid, "udp://a:1?proxy=v2": guest.Invalid, "udp://a": guest.Invalid, "udp4://a:1": guest.Invalid, "tcp://a/b:1": guest.Invalid,
		"tcp://a b:1": guest.Invalid, "tcp://a:1\n": guest.Invalid, "unix://run": guest.Invalid, "unix:///": guest.Invalid, "tcp://a:1?proxy=v3": guest.Invalid,
		"tcp://[::1:1": guest.Invalid, "tcp://a:b:1": guest.Invalid, "tcp://" + strings.Repeat("a", guest.MaxAddress) + ":1": guest.Invalid,
	} {
		if c, err := guest.Connect(address); c != nil || err != want {
			t.Errorf("%q: %v, %v, want %v", address, c, err, want)
		}
	}
	if len(h.Dials()) != 0 || len(d.closed) != 0 {
		t.Errorf("dialled %v, closed %v", h.Dials(), d.closed)
	}
}

func TestConnectFails(t *testing.T) {
	d := newDialler()
	h := guesttest.New(t, d, guesttest.Options{})
	want := []error{guest.Refused, guest.Timeout, guest.NotFound, guest.Denied}
	for i, code := range want {
		c := connect(t, "tcp://a:1")
		_, _ = c.WriteString("never sent")
		h.Dials()[i].Refuse(code.(guest.Code))
		if len(d.closed) != i+1 || d.closed[i] != c || c.Value != "tcp://a:1" || c.Close() != guest.BadHandle {
			t.Errorf("closed %v, and answers %v", d.closed, c.Close())
		}
	}
	if !slices.Equal(d.why, want) || len(d.opened) != 0 || h.Connections() != 0 {
		t.Errorf("closed with %v, opened %d", d.why, len(d.opened))
	}
}

func TestConnectGivenUp(t *testing.T) {
	for name, give := range map[string]func(c *guest.Conn) error{"Close": (*guest.Conn).Close, "Abort": (*guest.Conn).Abort} {
		d := newDialler()
		d.data = func(*guest.Conn, []byte) (int, error) { t.Errorf("%s: data", name); return 0, nil }
		h := guesttest.New(t, d, guesttest.Options{})
		c := connect(t, "tcp://a:1")
		if err := give(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.Advance(0)
		if h.Dials()[0].Pending() || len(d.closed) != 1 || d.why[0] != nil {
			t.Errorf("%s: closed %v with %v", name, d.closed, d.why)
		}
	}
}

// What was said before the connection was up is done when it is, in this order.
func TestConnectCloseLater(t *testing.T) {
	for name, end := range map[string]func(c *guest.Conn) error{"Close": (*guest.Conn).Close, "CloseWrite": (*guest.Conn).CloseWrite} {
		d := newDialler()
		h := guesttest.New(t, d, guesttest.Options{Inbox: 4})
		c := connect(t, "tcp://a:1")
		_, _ = c.WriteString("last words")
		if err := end(c); err != nil {
			t.Fatal(err)
		}
		p := h.Dials()[0].Accept()
		if got := len(d.opened); got != map[string]int{"Close": 0, "CloseWrite": 1}[name] {
			t.Errorf("%s: opened %d times", name, got)
		}
		p.Expect("last words")
		if !p.Finished() {
			t.Errorf("%s: the peer does not know that this was all", name)
		}
		if _, closed := p.Closed(); closed != (name == "Close") {
			t.Errorf("%s: closed %v", name, closed)
		}
	}
	h := guesttest.New(t, newDialler(), guesttest.Options{})
	_ = connect(t, "tcp://a:1").CloseWrite()
	if p := h.Dials()[0].Accept(); !p.Finished() {
		t.Error("a CloseWrite with nothing queued was forgotten")
	} else if _, closed := p.Closed(); closed {
		t.Error("and the connection closed")
	}
}

func TestOpenRefusesWhatItDialled(t *testing.T) {
	d := newDialler()
	d.open = func(c *guest.Conn) error { return guest.Refused }
	h := guesttest.New(t, d, guesttest.Options{})
	connect(t, "tcp://a:1")
	h.Dials()[0].Accept().ExpectClosed(guest.Refused)
	if !slices.Equal(d.why, []error{guest.Refused}) {
		t.Errorf("closed with %v", d.why)
	}
}

// starttls is a handler that upgrades at "STARTTLS" and echoes otherwise.
func starttls(t *testing.T, role guest.Role, name string) (*secured, *[]error) {
	var heard []error
	s := &secured{secured: func(c *guest.Conn, err error) { heard = append(heard, err) }}
	s.data = func(c *guest.Conn, p []byte) (int, error) {
		const word = "STARTTLS\n"
		if !strings.HasPrefix(string(p), word) {
			return c.Write(p)
		}
		if _, err := c.WriteString("go\n"); err != nil {
			t.Error(err)
		}
		if err := c.MakeSSL(role, name); err != nil {
			t.Error(err)
		}
		return len(word), nil
	}
	return s, &heard
}

func TestMakeSSL(t *testing.T) {
	s, heard := starttls(t, guest.TLSServer, "")
	var conn *guest.Conn
	s.open = func(c *guest.Conn) error { conn = c; return nil }
	h := guesttest.New(t, s, guesttest.Options{Certificate: true})
	p := h.Connect()
	if conn.TLSVersion() != "" || conn.ServerName() != "" || conn.ClientNames() != nil {
		t.Error("TLS is there before it is")
	}
	p.Send("clear")
	p.SendChunks("STARTTLS\n", 100)
	p.Expect("cleargo\n")
	if role, name, ok := p.Securing(); !ok || role != guest.TLSServer || name != "" {
		t.Errorf("securing %v as %v, %q", ok, role, name)
	}
	if n, err := conn.Send([]byte("x")); n != 0 || err != guest.Again {
		t.Errorf("Send in mid-handshake: %d, %v", n, err)
	}
	if err := conn.MakeSSL(guest.TLSServer, ""); err != guest.Invalid {
		t.Errorf("MakeSSL in mid-handshake: %v", err)
	}
	_, _ = conn.WriteString("first;")
	p.Send("behind") // is held back, like what comes behind a handshake
	p.Expect("")
	p.HandshakeTLS(guesttest.TLS{ServerName: "a.example", ALPN: "smtp", Version: "TLS 1.2", Cipher: "X", ClientSubject: "CN=me",
		ClientNames: []string{"DNS:me.example", "email:me@me.example"}, ClientFingerprint: strings.Repeat("ab", 32)})
	p.Expect("first;behind")
	if !slices.Equal(*heard, []error{nil}) {
		t.Errorf("heard %v", *heard)
	}
	if conn.ServerName() != "a.example" || conn.ALPN() != "smtp" || conn.TLSVersion() != "TLS 1.2" || conn.Cipher() != "X" || conn.ClientSubject() != "CN=me" ||
		!slices.Equal(conn.ClientNames(), []string{"DNS:me.example", "email:me@me.example"}) || conn.ClientFingerprint() != strings.Repeat("ab", 32) {
		t.Errorf("info: %q %q %q %q %q %q", conn.ServerName(), conn.ALPN(), conn.TLSVersion(), conn.Cipher(), conn.ClientSubject(), conn.ClientNames())
	}
	if err := conn.MakeSSL(guest.TLSServer, ""); err != guest.Invalid {
		t.Errorf("MakeSSL a second time: %v", err)
	}
	p.CloseWrite()
	p.ExpectClosed(nil)
	if conn.TLSVersion() != "" || conn.MakeSSL(guest.TLSServer, "") != guest.BadHandle {
		t.Error("a stale connection has TLS")
	}
}

// Bytes that were sent in the clear are not taken for bytes that were sent under
// TLS.
func TestMakeSSLWithBytesBehind(t *testing.T) {
	for _, behind := range []string{"x", "RSET\n", strings.Repeat("y", 2*guest.DefaultWindow)} {
		s, heard := starttls(t, guest.TLSServer, "")
		h := guesttest.New(t, s, guesttest.Options{Certificate: true})
		p := h.Connect()
		p.Send("STARTTLS\n" + behind)
		p.ExpectClosed(guest.TLS)
		if len(*heard) != 0 {
			t.Errorf("heard %v of a handshake that never was", *heard)
		}
	}
}

// What HasCertificate says is what MakeSSL does.
func TestHasCertificate(t *testing.T) {
	for _, certificate := range []bool{false, true} {
		var c *guest.Conn
		s := &secured{}
		s.open = func(opened *guest.Conn) error { c = opened; return nil }
		h := guesttest.New(t, s, guesttest.Options{Certificate: certificate})
		h.ConnectUDP()
		if c.HasCertificate() {
			t.Error("there is TLS over UDP")
		}
		h.Connect()
		if c.HasCertificate() != certificate {
			t.Errorf("HasCertificate is %v; want %v", !certificate, certificate)
		}
		if err := c.MakeSSL(guest.TLSServer, ""); (err == nil) != certificate {
			t.Errorf("certificate %v: MakeSSL says %v", certificate, err)
		}
	}
}

func TestMakeSSLFromATimer(t *testing.T) {
	for _, left := range []string{"", "left"} {
		s := &secured{}
		s.data = func(c *guest.Conn, p []byte) (int, error) { return 0, c.SetTimer(1, guest.Second) }
		s.open = func(c *guest.Conn) error { return c.SetTimer(1, guest.Second) }
		s.timer = func(c *guest.Conn, _ int32) {
			if err := c.MakeSSL(guest.TLSServer, ""); err != nil {
				t.Error(err)
			}
		}
		h := guesttest.New(t, s, guesttest.Options{Certificate: true})
		p := h.Connect()
		p.Send(left)
		h.Advance(guest.Second)
		if reason, closed := p.Closed(); closed != (left != "") || closed && reason != guest.TLS {
			t.Errorf("with %q unconsumed: closed %v with %v", left, closed, reason)
		}
	}
}

func TestHandshakeFails(t *testing.T) {
	for name, test := range map[string]struct {
		fail func(p *guesttest.Peer)
		want guest.Code
	}{
		"without a code":     {func(p *guesttest.Peer) { p.Handshake(errors.New("no cipher in common")) }, guest.TLS},
		"with a code":        {func(p *guesttest.Peer) { p.Handshake(fmt.Errorf("x: %w", guest.Timeout)) }, guest.Timeout},
		"the peer has ended": {func(p *guesttest.Peer) { p.CloseWrite() }, guest.TLS},
	} {
		s, heard := starttls(t, guest.TLSServer, "")
		old := s.secured
		s.secured = func(c *guest.Conn, err error) {
			old(c, err)
			if _, err := c.WriteString("?"); err != guest.Closed {
				t.Errorf("%s: Write answers %v", name, err)
			}
		}
		s.eof = func(*guest.Conn) { t.Errorf("%s: EOF", name) }
		var why error
		s.closed = func(_ *guest.Conn, reason error) { why = reason }
		p := guesttest.New(t, s, guesttest.Options{Certificate: true}).Connect()
		p.Send("STARTTLS\n")
		test.fail(p)
		p.ExpectClosed(test.want)
		if !slices.Equal(*heard, []error{test.want}) || why != test.want {
			t.Errorf("%s: heard %v, closed with %v", name, *heard, why)
		}
		if want := []string{"csa_open", "csa_data", "csa_secured", "csa_closed"}; !slices.Equal(p.Events(), want) {
			t.Errorf("%s: the callbacks were %v", name, p.Events())
		}
	}
}

// A handler that has closed a connection in mid-handshake hears Closed alone.
func TestCloseInMidHandshake(t *testing.T) {
	for _, failed := range []error{nil, guest.TLS} {
		s, heard := starttls(t, guest.TLSServer, "")
		var conn *guest.Conn
		s.open = func(c *guest.Conn) error { conn = c; return nil }
		p := guesttest.New(t, s, guesttest.Options{Certificate: true}).Connect()
		p.Send("STARTTLS\n")
		_, _ = conn.WriteString("bye")
		_ = conn.Close()
		p.Handshake(failed)
		if len(*heard) != 0 {
			t.Errorf("heard %v", *heard)
		}
		p.ExpectClosed(failed)
		if failed == nil {
			p.Expect("go\nbye")
		}
	}
}

func TestMakeSSLRefuses(t *testing.T) {
	var conn *guest.Conn
	s := &secured{}
	s.open = func(c *guest.Conn) error { conn = c; return nil }
	h := guesttest.New(t, s, guesttest.Options{Inbox: 3})
	p := h.Connect()
	try := func(want error, role guest.Role, name string) {
		t.Helper()
		if err := conn.MakeSSL(role, name); err != want {
			t.Errorf("MakeSSL(%d, %q): %v, want %v", role, name, err, want)
		}
	}
	try(guest.Denied, guest.TLSServer, "") // no certificate
	try(guest.Invalid, guest.TLSServer, "a.example")
	try(guest.Invalid, guest.TLSClient, "")
	try(guest.Invalid, 2, "")
	_, _ = conn.WriteString("queued")
	try(guest.Again, guest.TLSClient, "a.example")
	p.Expect("queued")
	try(nil, guest.TLSClient, "a.example")
	if role, name, ok := p.Securing(); !ok || role != guest.TLSClient || name != "a.example" {
		t.Errorf("securing %v as %v, %q", ok, role, name)
	}
	p.Handshake(nil)
	if conn.ServerName() != "a.example" {
		t.Errorf("the server is %q", conn.ServerName())
	}
	conn = connect(t, "tcp://a:1")
	upstream := conn
	try(guest.Again, guest.TLSClient, "a.example")
	h.Dials()[0].Accept()
	conn = upstream
	_ = conn.CloseWrite()
	try(guest.Closed, guest.TLSClient, "a.example")
}

func TestConnectTLS(t *testing.T) {
	var got string
	h := guesttest.New(t, &script{open: func(c *guest.Conn) error {
		got = c.ServerName() + " " + c.TLSVersion() + " " + c.Cipher()
		return c.MakeSSL(guest.TLSServer, "")
	}}, guesttest.Options{Certificate: true})
	h.ConnectTLS(guesttest.TLS{ServerName: "a.example"}).ExpectClosed(guest.Invalid)
	if got != "a.example TLS 1.3 TLS_AES_128_GCM_SHA256" {
		t.Errorf("info: %q", got)
	}
}

// pair is a client and an upstream, which are spliced when join is called.
func pair(t *testing.T, o guesttest.Options) (h *guesttest.Host, d *dialler, client, up *guesttest.Peer) {
	t.Helper()
	d = newDialler()
	d.data = func(*guest.Conn, []byte) (int, error) { return 0, nil }
	h = guesttest.New(t, d, o)
	client = h.Connect()
	connect(t, "tcp://a:1")
	return h, d, client, h.Dials()[0].Accept()
}

func TestSplice(t *testing.T) {
	h, d, client, up := pair(t, guesttest.Options{Inbox: 10})
	a, b := d.opened[0], d.opened[1]
	_ = a.SetTimer(1, guest.Second)
	d.timer = func(*guest.Conn, int32) { t.Error("a timer of a spliced connection") }
	_ = a.Pause()
	client.Send("early")
	_, _ = a.WriteString("hello,")
	if err := guest.Splice(a, b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Abort(), b.Close()); !errors.Is(err, guest.BadHandle) || a.Peer() != "" {
		t.Errorf("a spliced connection answers %v", err)
	}
	if err := guest.Splice(a, b); err != guest.BadHandle {
		t.Errorf("Splice a second time: %v", err)
	}
	h.Advance(guest.Minute)
	up.Expect("early")
	long := strings.Repeat("more than an inbox ", 10)
	up.Send(long)
	client.Expect("hello," + long)
	client.Send("x")
	up.Expect("x")
	client.CloseWrite()
	if !up.Finished() || client.Finished() {
		t.Error("the half-close was not passed on, or the wrong way")
	}
	if _, closed := client.Closed(); closed || h.Connections() != 2 {
		t.Error("closed after one direction has ended")
	}
	up.Send("answer")
	up.CloseWrite()
	client.Expect("answer")
	client.ExpectClosed(nil)
	up.ExpectClosed(nil)
	if len(d.closed) != 0 || h.Connections() != 0 || slices.Contains(client.Events(), "csa_eof") {
		t.Errorf("the handler heard %v and %v", client.Events(), up.Events())
	}
}

// Splice in the middle of Data: what Data has not consumed goes first.
func TestSpliceInData(t *testing.T) {
	_, d, client, up := pair(t, guesttest.Options{})
	d.data = func(c *guest.Conn, p []byte) (int, error) {
		return len("HEAD "), guest.Splice(d.opened[1], c)
	}
	client.Send("HEAD body")
	client.Send(", more")
	up.Expect("body, more")
	up.Send("fine")
	client.Expect("fine")
	client.Break()
	up.ExpectClosed(guest.Reset)
	up.Send("lost")
}

// Splice in the moment in which the upstream is up.
func TestSpliceInOpen(t *testing.T) {
	d := newDialler()
	var client *guest.Conn
	d.eof = func(*guest.Conn) {} // the upstream still has to hear all of it
	d.data = func(c *guest.Conn, p []byte) (int, error) {
		if client == nil {
			client = connect(t, "tcp://a:1")
			client, client.Value = c, c
			d.open = func(up *guest.Conn) error { return guest.Splice(client, up) }
		}
		return 0, nil
	}
	h := guesttest.New(t, d, guesttest.Options{})
	p := h.Connect()
	p.SendChunks("all of this", 1)
	p.CloseWrite()
	up := h.Dials()[0].Accept()
	up.Expect("all of this")
	if !up.Finished() {
		t.Error("the end that had come before was not passed on")
	}
}

func TestSpliceRefuses(t *testing.T) {
	_, d, client, up := pair(t, guesttest.Options{Inbox: 3, Certificate: true})
	a, b := d.opened[0], d.opened[1]
	try := func(want error, a, b *guest.Conn) {
		t.Helper()
		if err := guest.Splice(a, b); err != want {
			t.Errorf("answers %v, want %v", err, want)
		}
	}
	try(guest.Invalid, a, a)
	try(guest.Again, a, connect(t, "tcp://b:1"))
	_, _ = b.WriteString("queued")
	try(guest.Again, a, b)
	up.Expect("queued")
	if err := a.MakeSSL(guest.TLSServer, ""); err != nil {
		t.Fatal(err)
	}
	try(guest.Again, a, b)
	client.Handshake(nil)
	_ = b.CloseWrite()
	try(guest.Closed, a, b)
	up.Break()
	try(guest.BadHandle, a, b)
	if _, closed := client.Closed(); closed {
		t.Error("a Splice that was refused has closed something")
	}
}

func TestDatagrams(t *testing.T) {
	var conn *guest.Conn
	var got []string
	h := guesttest.New(t, &script{
		open: func(c *guest.Conn) error { conn = c; return nil },
		data: func(c *guest.Conn, p []byte) (int, error) {
			got = append(got, string(p))
			_, err := c.Send(p)
			return 1, err // what is left is lost
		},
	}, guesttest.Options{Inbox: 10})
	p := h.ConnectUDP()
	if conn.Transport() != "udp" {
		t.Errorf("the transport is %q", conn.Transport())
	}
	p.Send("one")
	p.Send("four")
	p.Send("there is no room for this") // and Again is no error
	if !slices.Equal(got, []string{"one", "four", "there is no room for this"}) {
		t.Errorf("the handler was given %q", got)
	}
	if a, b, c := p.ReceiveDatagram(), p.ReceiveDatagram(), p.ReceiveDatagram(); a != "one" || b != "four" || c != "" {
		t.Errorf("received %q, %q, %q", a, b, c)
	}
	p.Drop(guest.Timeout)
	p.ExpectClosed(guest.Timeout)
}

func TestDatagramsThatAreLostOrEmpty(t *testing.T) {
	var got []int
	h := guesttest.New(t, &script{
		start: func([]byte) error { guest.SetWindow(guest.MinWindow); return nil },
		data: func(c *guest.Conn, p []byte) (int, error) {
			got = append(got, len(p))
			if n, err := c.Send(make([]byte, 65508)); n != 0 || err != guest.Invalid {
				t.Errorf("more than a datagram can have: %d, %v", n, err)
			}
			if len(p) == 3 {
				_ = c.Pause()
				_ = c.SetTimer(1, guest.Second)
			}
			_, err := c.Send(p)
			return 0, err
		},
		timer: func(c *guest.Conn, _ int32) { _ = c.Resume() },
	}, guesttest.Options{})
	p := h.ConnectUDP()
	p.Send("")
	if p.Datagrams() != 1 || p.ReceiveDatagram() != "" || p.Datagrams() != 0 {
		t.Error("the empty datagram did not come back")
	}
	p.Send(strings.Repeat("x", guest.MinWindow+1))
	p.Send(strings.Repeat("x", guest.MinWindow))
	p.Send("abc") // pauses
	for range 20 {
		p.Send("later")
	}
	if want := []int{0, guest.MinWindow, 3}; !slices.Equal(got, want) {
		t.Errorf("the handler was given %v bytes, want %v", got, want)
	}
	h.Advance(guest.Second)
	if len(got) != 3+16 {
		t.Errorf("%d datagrams came after the pause", len(got)-3)
	}
}
