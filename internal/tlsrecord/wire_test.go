package tlsrecord

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	_ "unsafe" // for linkname
)

// suites13 are what crypto/tls offers and chooses of TLS 1.3, which no configuration can say.
//
//go:linkname suites13 crypto/tls.defaultCipherSuitesTLS13
var suites13 []uint16

//go:linkname suites13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var suites13NoAES []uint16

// forceSuite has crypto/tls know one suite of TLS 1.3 alone until the test ends. No test beside it
// may shake hands.
func forceSuite(t testing.TB, id uint16) {
	was, wasNoAES := suites13, suites13NoAES
	suites13, suites13NoAES = []uint16{id}, []uint16{id}
	t.Cleanup(func() { suites13, suites13NoAES = was, wasNoAES })
}

// link is one direction between two sides. While both shake hands, reading waits; later it does
// not.
type link struct {
	mu    sync.Mutex
	come  sync.Cond
	b     []byte
	all   []byte // everything that was written
	still bool
}

func newLink() *link {
	l := &link{}
	l.come.L = &l.mu
	return l
}

func (l *link) write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b, l.all = append(l.b, p...), append(l.all, p...)
	l.come.Broadcast()
}

type again struct{}

func (again) Error() string   { return "nothing to read now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// read gives no more than to the end of the record that it begins in: need is what is left of that.
func (l *link) read(p []byte, need *int, head *[]byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.b) == 0 {
		if l.still {
			return 0, again{}
		}
		l.come.Wait()
	}
	if *need == 0 { // in a header
		n := copy(p[:min(len(p), Header-len(*head))], l.b)
		*head = append(*head, l.b[:n]...)
		l.b = l.b[n:]
		if len(*head) == Header {
			*need, *head = int(binary.BigEndian.Uint16((*head)[3:])), nil
		}
		return n, nil
	}
	n := copy(p[:min(len(p), *need)], l.b)
	*need -= n
	l.b = l.b[n:]
	return n, nil
}

// end is one end of a connection in memory.
type end struct {
	in, out *link
	need    int
	head    []byte
}

func (e *end) Read(p []byte) (int, error)       { return e.in.read(p, &e.need, &e.head) }
func (e *end) Write(p []byte) (int, error)      { e.out.write(p); return len(p), nil }
func (e *end) Close() error                     { return nil }
func (e *end) LocalAddr() net.Addr              { return nil }
func (e *end) RemoteAddr() net.Addr             { return nil }
func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

// take has all that waits for this end.
func (e *end) take() []byte {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	b := e.in.b
	e.in.b = nil
	return b
}

// side is one side of a connection after the handshake.
type side struct {
	*end
	tls *tls.Conn
	log KeyLog
}

// certificate is one that the suite can use.
func (w way) certificate(t testing.TB) tls.Certificate {
	t.Helper()
	var key crypto.Signer
	var err error
	if strings.Contains(w.name, "_RSA_") {
		key, err = rsaKey()
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// way is a kind of connection.
type way struct {
	name           string
	version, suite uint16
	resumed        bool
	asksClient     bool
}

// ways are all suites of both versions, anew and resumed.
func ways() (all []way) {
	for id := range suites {
		version := uint16(tls.VersionTLS12)
		switch id {
		case tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256:
			version = tls.VersionTLS13
		}
		for _, resumed := range []bool{false, true} {
			name := tls.CipherSuiteName(id)
			if resumed {
				name += " resumed"
			}
			all = append(all, way{name: name, version: version, suite: id, resumed: resumed, asksClient: id%2 == 0})
		}
	}
	return all
}

// shake makes the handshake of a client and a server.
func (w way) shake(t testing.TB) (client, server *side) {
	t.Helper()
	if w.version == tls.VersionTLS13 {
		forceSuite(t, w.suite)
	}
	serverConfig := &tls.Config{
		Certificates: []tls.Certificate{w.certificate(t)}, MinVersion: w.version, MaxVersion: w.version, CipherSuites: []uint16{w.suite},
		NextProtos: []string{"a"},
	}
	if w.asksClient {
		serverConfig.ClientAuth = tls.RequireAnyClientCert
	}
	clientConfig := &tls.Config{
		InsecureSkipVerify: true, MinVersion: w.version, MaxVersion: w.version, CipherSuites: []uint16{w.suite}, ServerName: "localhost",
		Certificates: []tls.Certificate{w.certificate(t)}, ClientSessionCache: tls.NewLRUClientSessionCache(4), NextProtos: []string{"a"},
	}
	client, server = shake(t, clientConfig, serverConfig)
	if w.resumed {
		if _, err := client.tls.Read(make([]byte, 1)); !errors.Is(err, again{}) { // the ticket
			t.Fatal(err)
		}
		client, server = shake(t, clientConfig, serverConfig)
	}
	if state := server.tls.ConnectionState(); state.CipherSuite != w.suite || state.DidResume != w.resumed {
		t.Fatalf("%s, resumed %v", tls.CipherSuiteName(state.CipherSuite), state.DidResume)
	}
	return client, server
}

func shake(t testing.TB, clientConfig, serverConfig *tls.Config) (client, server *side) {
	t.Helper()
	there, back := newLink(), newLink()
	client, server = &side{end: &end{in: back, out: there}}, &side{end: &end{in: there, out: back}}
	// As a host does it: a copy of the configuration for each connection, whose tickets' keys stay
	// the original's.
	serverConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return server.log.Watch(serverConfig), nil
	}
	client.tls, server.tls = tls.Client(client.end, client.log.Watch(clientConfig)), tls.Server(server.end, serverConfig)
	done := make(chan error, 1)
	go func() { done <- client.tls.Handshake() }()
	if err := server.tls.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, l := range []*link{there, back} {
		l.mu.Lock()
		l.still = true
		l.mu.Unlock()
	}
	return client, server
}

// takeOver takes a side over. The bytes that it has not read yet are none of its handshake's.
func (s *side) takeOver(t testing.TB, client bool) *Conn {
	t.Helper()
	received := s.in.all[:len(s.in.all)-len(s.in.b)]
	c, err := TakeOver(s.tls.ConnectionState(), client, &s.log, s.out.all, received)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readAll is what crypto/tls gives until nothing more is there; err is io.EOF after close_notify,
// nil if more may come.
func (s *side) readAll() (all []byte, err error) {
	b := make([]byte, 1<<15)
	for {
		n, err := s.tls.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			if errors.Is(err, again{}) {
				err = nil
			}
			return all, err
		}
	}
}

// openAll opens all records of b.
func openAll(c *Conn, b []byte) (all []byte, got []Got, err error) {
	for len(b) > 0 {
		n, err := c.Length(b)
		if err != nil || n == 0 || n > len(b) {
			return all, got, errors.Join(err, io.ErrUnexpectedEOF)
		}
		plain, g, err := c.Open(nil, b[:n])
		if err != nil {
			return all, got, err
		}
		all, got, b = append(all, plain...), append(got, g), b[n:]
	}
	return all, got, nil
}
