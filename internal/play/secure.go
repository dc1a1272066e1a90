package play

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"bulkhead/internal/talk"
)

// secure is TLS of a party. crypto/tls runs on a goroutine, which waits in Read of its wire until
// the party feeds it. A nil *secure is a party without TLS.
type secure struct {
	of   *party
	conn *tls.Conn

	mu    sync.Mutex
	fed   *sync.Cond
	in    []byte
	ended bool
	waits bool  // the goroutine, for more to be fed
	done  bool  // the handshake is over
	err   error // with this
	over  bool  // the goroutine
}

// issue has one certificate for all names, which the host trusts, made once a process.
var issue = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bulkhead try"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	root, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool.AddCert(root)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: root}, pool
})

// trusted are the authorities that the host trusts.
func trusted() *x509.CertPool { _, pool := issue(); return pool }

// certificate is one for a name, signed by the authority.
func certificate(name string) (*tls.Certificate, error) {
	authority, _ := issue()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: authority.Leaf.NotBefore, NotAfter: authority.Leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(name); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{name}
	}
	key := authority.PrivateKey.(*ecdsa.PrivateKey)
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority.Leaf, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, authority.Certificate[0]}, PrivateKey: key}, nil
}

// serveTLS has the party be a server of TLS from here on.
func (o *party) serveTLS(name string) {
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "" {
			return certificate(hello.ServerName)
		}
		return certificate(name)
	}}
	o.begin(func(wire net.Conn) *tls.Conn { return tls.Server(wire, config) })
}

// begin begins TLS. What the party has got and no step has compared is of TLS.
func (o *party) begin(make func(net.Conn) *tls.Conn) {
	s := &secure{of: o}
	s.fed = sync.NewCond(&s.mu)
	s.conn = make(wire{s})
	o.mu.Lock()
	s.in = append(s.in, o.got[o.taken:]...)
	o.got = o.got[:o.taken]
	o.mu.Unlock()
	o.secure = s
	go s.run()
}

// run shakes hands, and then has what comes be the party's.
func (s *secure) run() {
	err := s.conn.Handshake()
	s.mu.Lock()
	s.done, s.err = true, err
	s.mu.Unlock()
	b := make([]byte, 16<<10)
	for err == nil {
		var n int
		n, err = s.conn.Read(b)
		s.of.mu.Lock()
		s.of.got = append(s.of.got, b[:n]...)
		if err == io.EOF {
			s.of.eof = true
		}
		s.of.mu.Unlock()
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// feed is called with of.mu held.
func (s *secure) feed(b []byte) {
	s.mu.Lock()
	s.in = append(s.in, b...)
	s.waits = false
	s.mu.Unlock()
	s.fed.Broadcast()
}

// end says that nothing more is fed.
func (s *secure) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.ended = true
	s.waits = false
	s.mu.Unlock()
	s.fed.Broadcast()
}

// idle reports whether its goroutine has nothing to do until more is fed.
func (s *secure) idle() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || s.waits && len(s.in) == 0
}

// write encrypts b for the party's socket. The handshake is over.
func (s *secure) write(b []byte) { _, _ = s.conn.Write(b) }

// finish sends close_notify.
func (s *secure) finish() { _ = s.conn.CloseWrite() }

// wire is what crypto/tls reads and writes.
type wire struct{ s *secure }

func (w wire) Read(b []byte) (int, error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.in) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		s.waits = true
		s.fed.Wait()
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (w wire) Write(b []byte) (int, error) {
	o := w.s.of
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out = append(o.out, b...)
	return len(b), nil
}

func (w wire) Close() error                     { return nil }
func (w wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w wire) SetDeadline(time.Time) error      { return nil }
func (w wire) SetReadDeadline(time.Time) error  { return nil }
func (w wire) SetWriteDeadline(time.Time) error { return nil }

// secured has the handshake that the handler has begun take place, and compares how it ends.
func (p *player) secured(s *talk.Step, one *party) error {
	if one.secure == nil {
		if p.dials.expects(one.name) {
			one.serveTLS("localhost")
		} else {
			// The host has made its certificate itself.
			config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
			if s.Code != "" {
				config.InsecureSkipVerify, config.RootCAs = false, x509.NewCertPool()
			}
			one.begin(func(wire net.Conn) *tls.Conn { return tls.Client(wire, config) })
		}
	}
	if err := p.settle(s.Line); err != nil {
		return err
	}
	one.secure.mu.Lock()
	done, err := one.secure.done, one.secure.err
	one.secure.mu.Unlock()
	switch {
	case !done:
		return failed(s.Line, "%s waits for TLS, and the handler has not begun with it", one.who())
	case err != nil && s.Code == "":
		return failed(s.Line, "the handshake of %s has failed: %v", one.who(), err)
	case err == nil && s.Code != "":
		return failed(s.Line, "the handshake of %s has gone well", one.who())
	}
	return nil
}
