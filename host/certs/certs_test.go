package certs_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host/certs"
	"bulkhead/internal/certstest"
)

// shake has a client shake hands, and returns what it has seen, or the error of either
// side.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	// Not net.Pipe, on which two sides that both have something to say, an alert and the
	// rest of a flight, wait for each other for ever.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, client)
	_, err = c.Read(make([]byte, 1))
	state := c.ConnectionState()
	b.Close()
	if other := <-done; err == nil {
		err = other
	}
	return state, err
}

func load(t *testing.T, o certs.Options) *certs.Certificates {
	t.Helper()
	c, err := certs.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChosenByName(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewAuthority(t)
	var o certs.Options
	for _, names := range [][]string{{"first.test", "127.0.0.1"}, {"*.wild.test"}, {"own.wild.test"}, {"UPPER.test"}} {
		cert, key := ca.Write(t, dir, strings.Trim(names[0], "*."), names...)
		o.Pairs = append(o.Pairs, certs.Pair{Cert: cert, Key: key})
	}
	c := load(t, o)
	for name, want := range map[string]string{
		"first.test": "first.test", "own.wild.test": "own.wild.test", "any.wild.test": "*.wild.test",
		"ANY.wild.test": "*.wild.test", "upper.test": "UPPER.test", "": "first.test",
		"a.b.wild.test": "first.test", "wild.test": "first.test", "nobody.test": "first.test",
	} {
		s, err := shake(t, c.Config(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("%q: %v", name, err)
		} else if got := s.PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q gets the certificate of %s; want %s", name, got, want)
		}
	}
	if c.Expires().IsZero() {
		t.Error("they never expire")
	}
}

func TestWhatClientsMustBring(t *testing.T) {
	dir, ca, other := t.TempDir(), certstest.NewAuthority(t), certstest.NewAuthority(t)
	cert, key := ca.Write(t, dir, "server", "server.test")
	o := certs.Options{Pairs: []certs.Pair{{Cert: cert, Key: key}}, ClientCA: ca.WriteCA(t, dir, "ca.pem"), ALPN: []string{"b", "a"}}
	good, bad := ca.Pair(t, "client"), other.Pair(t, "client")
	for auth, want := range map[string][3]bool{ // none, good, bad
		"off": {true, true, true}, "verify": {true, true, false}, "require": {false, true, false}, "": {true, true, true},
	} {
		o.ClientAuth = auth
		c := load(t, o)
		for i, show := range [][]tls.Certificate{nil, {good}, {bad}} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				client := &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test", MinVersion: version, MaxVersion: version}
				// Shown whatever authorities the server names.
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if show == nil {
						return new(tls.Certificate), nil
					}
					return &show[0], nil
				}
				if _, err := shake(t, c.Config(), client); (err == nil) != want[i] {
					t.Errorf("%q, certificate %d, %s: %v", auth, i, tls.VersionName(version), err)
				}
			}
		}
	}
	o.ClientAuth, o.MinVersion = "off", "1.3"
	c := load(t, o)
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test", MaxVersion: tls.VersionTLS12}
	if _, err := shake(t, c.Config(), client); err == nil {
		t.Error("TLS 1.2 is taken")
	}
	client.MaxVersion = 0
	for offer, want := range map[string]string{"a,b": "b", "a": "a", "": ""} {
		client.NextProtos = strings.FieldsFunc(offer, func(r rune) bool { return r == ',' })
		if s, err := shake(t, c.Config(), client); err != nil || s.NegotiatedProtocol != want {
			t.Errorf("of %q it takes %q, %v", offer, s.NegotiatedProtocol, err)
		}
	}
	client.NextProtos = []string{"c"}
	if _, err := shake(t, c.Config(), client); err == nil {
		t.Error("an unknown protocol is taken")
	}
}

// New files are used, bad ones are not, and what is bad is told once.
func TestRefresh(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewAuthority(t)
	cert, key := ca.Write(t, dir, "server", "old.test")
	c := load(t, certs.Options{Pairs: []certs.Pair{{Cert: cert, Key: key}}, ClientCA: ca.WriteCA(t, dir, "ca.pem"), ClientAuth: "verify"})
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "x.test", ClientSessionCache: tls.NewLRUClientSessionCache(2)}
	now := func(want string, resumed bool) {
		t.Helper()
		s, err := shake(t, c.Config(), client)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.PeerCertificates[0].Subject.CommonName; got != want || s.DidResume != resumed {
			t.Errorf("it shows %s, resumed: %v; want %s, %v", got, s.DidResume, want, resumed)
		}
	}
	refresh := func(want bool, wrong string) {
		t.Helper()
		changed, err := c.Refresh()
		if changed != want || (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("refreshing gives %v, %v; want %v, %q", changed, err, want, wrong)
		}
	}
	refresh(false, "")
	now("old.test", false)
	now("old.test", true)
	config := c.Config()
	ca.Write(t, dir, "server", "new.test")
	refresh(true, "")
	if c.Config() != config {
		t.Error("the keys of tickets are lost")
	}
	client.ClientSessionCache = tls.NewLRUClientSessionCache(2)
	now("new.test", false)
	if err := os.WriteFile(cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	refresh(false, cert)
	refresh(false, "")
	now("new.test", true)
	ca.Write(t, dir, "other", "other.test")
	if err := os.Rename(filepath.Join(dir, "other.key"), key); err != nil {
		t.Fatal(err)
	}
	refresh(false, cert)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	refresh(false, cert)
	ca.Write(t, dir, "server", "third.test")
	refresh(true, "")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(2)
	now("third.test", false)
	// Other authorities: nobody resumes what the old ones have vouched for.
	certstest.NewAuthority(t).WriteCA(t, dir, "ca.pem")
	refresh(true, "")
	now("third.test", false)
}

func TestSelfSigned(t *testing.T) {
	c := load(t, certs.Options{SelfSigned: []string{"localhost", "127.0.0.1"}})
	for _, name := range []string{"localhost", "127.0.0.1"} {
		s, err := shake(t, c.Config(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil || s.PeerCertificates[0].VerifyHostname(name) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if changed, err := c.Refresh(); changed || err != nil {
		t.Errorf("refreshing gives %v, %v", changed, err)
	}
}

func TestBadFiles(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewAuthority(t)
	cert, key := ca.Write(t, dir, "a", "a.test")
	otherCert, _ := ca.Write(t, dir, "b", "b.test")
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]certs.Options{
		"there is no certificate": {},
		"nowhere":                 {Pairs: []certs.Pair{{Cert: filepath.Join(dir, "nowhere"), Key: key}}},
		"belong together":         {Pairs: []certs.Pair{{Cert: otherCert, Key: key}}},
		"has no certificate in it, but nothing in PEM": {Pairs: []certs.Pair{{Cert: empty, Key: key}}},
		"client_ca":                {Pairs: []certs.Pair{{Cert: cert, Key: key}}, ClientAuth: "verify"},
		"has no certificate in it": {Pairs: []certs.Pair{{Cert: cert, Key: key}}, ClientAuth: "require", ClientCA: empty},
		"is not that of the key":   {Pairs: []certs.Pair{{Cert: otherCert, Key: key}}},
	} {
		if _, err := certs.Load(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", want, err)
		}
	}
}
