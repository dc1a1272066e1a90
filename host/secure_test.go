package host_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// starts is a guest that echoes; but "STARTTLS" is answered with "go" and TLS in the
// server's role, "CLIENT" with "go" and TLS in the client's role for host.test, "info"
// with what is known of TLS, and "key?" with what info says of a certificate.
func starts() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"makessl", "iiii:i"}, [2]string{"info", "iiii:i"})
	send, makessl, info := f[0], f[1], f[2]
	m.Data(100, "go host.test")
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(w.Cat(then...), w.LocalGet(1), w.Return))
	}
	sendAt := func(at int32, n []byte) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(at), n, w.Call(send), w.Drop)
	}
	// What makessl answers is said as "?" and a letter if it is an error.
	wrap := func(role, name, length int32) []byte {
		return w.Cat(sendAt(100, w.I32Const(2)),
			w.I32Const(201), w.I32Const('A'), w.LocalGet(0), w.I32Const(role), w.I32Const(name), w.I32Const(length), w.Call(makessl), w.LocalTee(2), []byte{0x6b}, w.I32Store8(0),
			w.LocalGet(2), w.If(w.I32Const(200), w.I32Const('?'), w.I32Store8(0), sendAt(200, w.I32Const(2))))
	}
	var all []byte
	for key := int32(abi.InfoServerName); key <= abi.InfoClientFingerprint; key++ {
		all = w.Cat(all, sendAt(300, w.Cat(w.LocalGet(0), w.I32Const(key), w.I32Const(300), w.I32Const(500), w.Call(info))), sendAt(102, w.I32Const(1)))
	}
	m.Func("csa_data", "ii:i", "i",
		first('S', wrap(abi.TLSServer, 0, 0)),
		first('C', wrap(abi.TLSClient, 103, 9)),
		first('i', all),
		first('k', sendAt(300, w.Cat(w.LocalGet(0), w.I32Const(abi.InfoCertificate), w.I32Const(300), w.I32Const(500), w.Call(info))), sendAt(102, w.I32Const(1))),
		sendAt(w.WindowAt, w.LocalGet(1)), w.LocalGet(1))
	return m
}

func secureHost(t *testing.T, m *w.Module, more string, o host.Options) (*host.Host, *certstest.Authority) {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	path := writeModule(t, m)
	return hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connect = ["127.0.0.1:*"]
[[listener]]
name = "plain"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[[listener]]
name = "starttls"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[listener.tls]
cert = %q
key = %q
starttls = true
[[listener]]
name = "tls"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[listener.tls]
cert = %q
key = %q
client_ca = %q
client_auth = "verify"
alpn = ["b", "a"]
%s
`, hosttest.State(), path, path, cert, key, path, cert, key, ca.WriteCA(t, dir, "ca.pem"), more), o), ca
}

func TestTLSListener(t *testing.T) {
	h, ca := secureHost(t, starts(), "", host.Options{})
	config := &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test", NextProtos: []string{"a"}}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, shown := range []bool{false, true} {
			config := config.Clone()
			config.MinVersion, config.MaxVersion = version, version
			want := []string{"host.test", "a", tls.VersionName(version), "TLS_", "", "", ""}
			if shown {
				config.Certificates = []tls.Certificate{ca.Pair(t, "client.test", "192.0.2.7")}
				want[4], want[5] = "CN=client.test", "DNS:client.test\nIP:192.0.2.7"
			}
			c := tls.Client(hosttest.Dial(t, h.Addr("tls")), config)
			hosttest.Say(t, c, "hello")
			hosttest.Hear(t, c, "hello")
			hosttest.Say(t, c, "info")
			p := make([]byte, 4096)
			text := ""
			for strings.Count(text, " ") < 7+1 { // "TLS 1.x" has one
				n, err := c.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				text += string(p[:n])
			}
			fields := strings.Split(strings.Replace(text, "TLS 1", "TLS_1", 1), " ")
			want[2] = strings.Replace(want[2], " ", "_", 1)
			for i, w := range want {
				if got := fields[i]; i == 3 && !strings.HasPrefix(got, w) || i != 3 && got != w && !(i == 6 && shown && len(got) == 64) {
					t.Errorf("%v: info %d is %q; want %q", shown, i+abi.InfoServerName, got, w)
				}
			}
			_ = c.Close()
		}
	}
	// In the clear, or with another's certificate, nobody gets in.
	c := hosttest.Dial(t, h.Addr("tls"))
	hosttest.Say(t, c, "GET / HTTP/1.0\r\n\r\n")
	if p, _ := io.ReadAll(c); strings.Contains(string(p), "GET") {
		t.Errorf("it answers %q", p)
	}
	config.Certificates = []tls.Certificate{certstest.NewAuthority(t).Pair(t, "evil")}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &config.Certificates[0], nil }
	evil := tls.Client(hosttest.Dial(t, h.Addr("tls")), config)
	_, _ = evil.Write([]byte("x"))
	if _, err := evil.Read(make([]byte, 1)); err == nil {
		t.Error("another's certificate is taken")
	}
	_ = evil.Close()
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
}

func TestMakeSSL(t *testing.T) {
	h, ca := secureHost(t, starts(), "", host.Options{})
	plain := hosttest.Dial(t, h.Addr("starttls"))
	hosttest.Say(t, plain, "hello")
	hosttest.Hear(t, plain, "hello")
	hosttest.Say(t, plain, "key?")
	hosttest.Hear(t, plain, "yes ") // there is a certificate
	hosttest.Say(t, plain, "STARTTLS")
	hosttest.Hear(t, plain, "go")
	c := tls.Client(plain, &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
	hosttest.Say(t, c, "secret")
	hosttest.Hear(t, c, "secret")
	_ = c.Close()

	// A listener without certificates.
	plain = hosttest.Dial(t, h.Addr("plain"))
	hosttest.Say(t, plain, "key?")
	hosttest.Hear(t, plain, " ")
	hosttest.Say(t, plain, "STARTTLS")
	hosttest.Hear(t, plain, "go?F") // DENIED
	// The client's role, with a server that the system's authorities do not know.
	hosttest.Say(t, plain, "CLIENT")
	hosttest.Hear(t, plain, "go")
	s := tls.Server(plain, &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "host.test")}})
	_, _ = s.Write([]byte("x"))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("a certificate of nobody is taken")
	}
	_ = plain.Close()

	// Bytes behind the command are not taken for bytes of the encrypted session.
	c2 := hosttest.Dial(t, h.Addr("starttls"))
	hosttest.Say(t, c2, "STARTTLS")
	hosttest.Hear(t, c2, "go")
	hosttest.Say(t, c2, "injected")
	if p, _ := io.ReadAll(c2); strings.Contains(string(p), "injected") {
		t.Errorf("it answers %q", p)
	}
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
}

// In the client's role, with a server that is trusted: by makessl, and by connect.
func TestTLSClientRole(t *testing.T) {
	ca := certstest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "host.test", "127.0.0.1")}}
	h, _ := secureHost(t, starts(), "", host.Options{RootCAs: ca.Pool()})
	c := hosttest.Dial(t, h.Addr("plain"))
	hosttest.Say(t, c, "CLIENT")
	hosttest.Hear(t, c, "go")
	s := tls.Server(c, server)
	hosttest.Say(t, s, "hello")
	hosttest.Hear(t, s, "hello")
	_ = s.Close()

	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.(*tls.Conn).CloseWrite() }()
		}
	}()
	for _, splice := range []bool{false, true} {
		h := served(t, dialler(splice), "connection", `"127.0.0.1:*"`, host.Options{RootCAs: ca.Pool()})
		c := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, "tls://"+ln.Addr().String())
		hosttest.Hear(t, c, "=A")
		hosttest.Say(t, c, "through TLS")
		hosttest.Hear(t, c, "through TLS")
		_ = c.CloseWrite()
		if splice {
			hosttest.HearEnd(t, c)
		} else {
			hosttest.Hear(t, c, "!A")
		}
		_ = c.Close()
		hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })

		// One whose certificate is not to be trusted.
		h = served(t, dialler(splice), "connection", `"127.0.0.1:*"`, host.Options{RootCAs: certstest.NewAuthority(t).Pool()})
		c = hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, "tls://"+ln.Addr().String())
		hosttest.Hear(t, c, "!M") // TLS
		_ = c.Close()
		hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
	}
}

// A certificate that is renewed is used for the next connection, and those that are up
// go on.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "old.test")
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
[[listener]]
name = "tls"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[listener.tls]
cert = %q
key = %q
`, hosttest.State(), writeModule(t, starts()), cert, key), host.Options{})
	connect := func() (*tls.Conn, string) {
		c := tls.Client(hosttest.Dial(t, h.Addr("tls")), &tls.Config{InsecureSkipVerify: true})
		hosttest.Say(t, c, "x")
		hosttest.Hear(t, c, "x")
		return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	old, name := connect()
	if name != "old.test" {
		t.Errorf("it shows %s", name)
	}
	ca.Write(t, dir, "server", "new.test")
	h.RefreshCertificates()
	c, name := connect()
	if name != "new.test" {
		t.Errorf("then it shows %s", name)
	}
	hosttest.Say(t, old, "still there")
	hosttest.Hear(t, old, "still there")
	_, _ = c.Close(), old.Close()
}
