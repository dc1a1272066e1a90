package csa

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/abi"
)

// identity is a certificate for "host.test", and the pool that trusts it.
var identity = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptoRand{})
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "host.test"}, DNSNames: []string{"host.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(cryptoRand{}, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
})

type cryptoRand struct{}

func (cryptoRand) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return len(p), nil
}

// serverConfig is a server's, whose connections are taken over unless eachLayer says otherwise.
func serverConfig() *tls.Config {
	c, _ := identity()
	config := &tls.Config{Certificates: []tls.Certificate{c}}
	if !stays {
		TakeOver(config)
	}
	return config
}

// stays has connections stay crypto/tls's. It changes while no test runs beside.
var stays bool

// eachLayer runs a test with records of ours, and with those of crypto/tls.
func eachLayer(t *testing.T, test func(t *testing.T)) {
	for _, stays = range []bool{true, false} {
		name := "ours"
		if stays {
			name = "crypto/tls's"
		}
		t.Run(name, test)
	}
}

func clientConfig() *tls.Config {
	_, pool := identity()
	return &tls.Config{RootCAs: pool, ServerName: "host.test"}
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// wraps is a handler that has its connection secured at once, and then echoes.
type wraps struct {
	*script
	h     Handshake
	code  abi.Code // of MakeSSL
	state TLSState
}

func (w *wraps) Open(c *CSA) {
	w.script.Open(c)
	w.code = c.MakeSSL(w.h)
}

func (w *wraps) Secured(c *CSA, code abi.Code) {
	w.script.Secured(c, code)
	w.state, _ = c.TLSState()
}

func newWraps(h Handshake) *wraps {
	w := &wraps{script: &script{window: make([]byte, 64<<10)}, h: h}
	w.data = func(c *CSA, p []byte) int { n, _ := c.Send(p); return n }
	return w
}

func TestTLSEcho(t *testing.T) { eachLayer(t, testTLSEcho) }

func testTLSEcho(t *testing.T) {
	for name, version := range versions {
		for _, size := range []int{1, 1000, 100_000, 8 << 20} {
			b := newBench(t)
			hs := newPlaces(10)
			share := NewHandshakeShare(hs, nil)
			w := newWraps(Handshake{Config: serverConfig(), Share: share})
			_, peer := b.tcp(w)
			config := clientConfig()
			config.MinVersion, config.MaxVersion = version, version
			c := tls.Client(peer, config)
			sent := randomBytes(size, 7)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(50_000))
					if _, err := c.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("TLS %s: %d bytes went and %d came, or others; %v", name, len(sent), len(got), err)
			}
			_ = peer.Close()
			b.ended(w.script, Orderly)
			if w.state.Version != version || hs.Pending() != 0 {
				t.Errorf("TLS %s: %+v, %d handshakes pending", name, w.state.Version, hs.Pending())
			}
		}
	}
}

// The peer may send its records in any pieces, and take ours slowly.
func TestTLSInPieces(t *testing.T) { eachLayer(t, testTLSInPieces) }

func testTLSInPieces(t *testing.T) {
	for name, version := range versions {
		b := newBench(t)
		w := newWraps(Handshake{Config: serverConfig()})
		_, peer := b.tcp(w)
		config := clientConfig()
		config.MinVersion, config.MaxVersion = version, version
		c := tls.Client(&dribbling{Conn: peer}, config)
		text := randomBytes(30_000, 3)
		go func() { _, _ = c.Write(text) }()
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
			t.Errorf("TLS %s: other bytes came, or %v", name, err)
		}
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
}

// dribbling writes few bytes at a time.
type dribbling struct{ net.Conn }

func (d *dribbling) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := d.Conn.Write(p[n:min(len(p), n+1+rand.IntN(40))])
		if n += m; err != nil {
			return n, err
		}
		runtime.Gosched()
	}
	return n, nil
}

// The host may take the client's part.
func TestTLSClient(t *testing.T) { eachLayer(t, testTLSClient) }

func testTLSClient(t *testing.T) {
	b := newBench(t)
	w := newWraps(Handshake{Config: clientConfig(), Client: true})
	_, peer := b.tcp(w)
	s := tls.Server(peer, serverConfig())
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, "hello")
	_ = s.Close()
	b.ended(w.script, Orderly)

	// A peer whose certificate is another's is refused.
	config := clientConfig()
	config.ServerName = "other.test"
	w = newWraps(Handshake{Config: config, Client: true})
	_, peer = b.tcp(w)
	if err := tls.Server(peer, serverConfig()).Handshake(); err == nil {
		_, err = io.ReadAll(peer)
		if err != nil {
			t.Log(err)
		}
	}
	_ = peer.Close()
	b.ended(w.script, Reason{Code: abi.TLS})
	if !slices.Contains(w.log, "secured TLS") {
		t.Errorf("the handler was told %q", w.log)
	}
}

// What is no TLS ends the connection, and the peer is told in TLS's way.
func TestTLSPlainClient(t *testing.T) { eachLayer(t, testTLSPlainClient) }

func testTLSPlainClient(t *testing.T) {
	b := newBench(t)
	for _, text := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\x80\x2e\x01\x03\x01", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70_000)} {
		w := newWraps(Handshake{Config: serverConfig()})
		_, peer := b.tcp(w)
		send(t, peer, text)
		_ = peer.CloseWrite()
		_, _ = io.ReadAll(peer)
		b.ended(w.script, Reason{Code: abi.TLS})
	}
	w := newWraps(Handshake{Config: serverConfig()})
	_, peer := b.tcp(w)
	_ = peer.Close()
	b.ended(w.script, Reason{Code: abi.TLS})
}

// A peer that is silent, or stops in the middle, has its time.
func TestTLSTimeout(t *testing.T) { eachLayer(t, testTLSTimeout) }

func testTLSTimeout(t *testing.T) {
	b := newBench(t)
	hs := newPlaces(2)
	share := NewHandshakeShare(hs, nil)
	for _, text := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
		w := newWraps(Handshake{Config: serverConfig(), Timeout: time.Second, Share: share})
		c, peer := b.tcp(w)
		send(t, peer, text)
		b.until("it waits", func() bool { return c.transport.tls().stage == shaking && (text == "" || c.transport.tls().running) })
		b.clock.Advance(time.Second - 1)
		b.turns()
		b.on(func() {
			if c.Over() {
				t.Error("it is over early")
			}
		})
		b.clock.Advance(1)
		b.ended(w.script, HandshakeTimeout.Reason())
	}
	b.until("no handshake is left", func() bool { return hs.Pending() == 0 })
}

// STARTTLS: what is sent before leaves in the clear, and what is sent meanwhile waits.
func TestMakeSSL(t *testing.T) { eachLayer(t, testMakeSSL) }

func testMakeSSL(t *testing.T) {
	b := newBench(t)
	s := &script{}
	data := func(c *CSA, p []byte) int {
		if string(p) != "STARTTLS\n" {
			c.Send(bytes.ToUpper(p))
			return len(p)
		}
		c.Send([]byte("go ahead\n"))
		if code := c.MakeSSL(Handshake{Config: serverConfig()}); code != abi.OK {
			t.Errorf("it answers %v", code)
		}
		if n, code := c.Send([]byte("x")); n != 0 || code != abi.Again {
			t.Errorf("sending meanwhile answers %d, %v", n, code)
		}
		if code := c.MakeSSL(Handshake{Config: serverConfig()}); code != abi.Invalid {
			t.Errorf("again, it answers %v", code)
		}
		return len(p)
	}
	s.data = data
	_, peer := b.tcp(s)
	send(t, peer, "hello\n")
	wantRead(t, peer, "HELLO\n")
	send(t, peer, "STARTTLS\n")
	wantRead(t, peer, "go ahead\n")
	c := tls.Client(peer, clientConfig())
	send(t, c, "again\n")
	wantRead(t, c, "AGAIN\n")
	_ = c.Close()
	b.ended(s, Orderly)
	b.on(func() { // which comes when is the selector's affair
		s.log = slices.DeleteFunc(s.log, func(l string) bool { return l == "writable" })
	})
	b.wantLog(s, "open", "data hello\n", "data STARTTLS\n", "secured OK", "data again\n", "eof", "closed")
}

// Bytes that came in the clear are not taken for bytes that came after the handshake:
// CVE-2011-0411 and its kind.
func TestNoInjection(t *testing.T) { eachLayer(t, testNoInjection) }

func testNoInjection(t *testing.T) {
	b := newBench(t)
	s := &script{}
	s.data = func(c *CSA, p []byte) int {
		c.MakeSSL(Handshake{Config: serverConfig()})
		return len("STARTTLS\n")
	}
	_, peer := b.tcp(s)
	send(t, peer, "STARTTLS\nevil\n")
	_, _ = io.ReadAll(peer)
	b.ended(s, Reason{Code: abi.TLS})
	// Sent right behind, but read later: it is no handshake.
	s = &script{}
	s.data = func(c *CSA, p []byte) int {
		c.MakeSSL(Handshake{Config: serverConfig()})
		return len(p)
	}
	_, peer = b.tcp(s)
	send(t, peer, "STARTTLS\n")
	b.until("it waits", func() bool { return b.loop.first != nil && b.loop.first.is(securing) })
	send(t, peer, "evil\n")
	_, _ = io.ReadAll(peer)
	b.ended(s, Reason{Code: abi.TLS})
	if slices.Contains(s.log, "data evil\n") {
		t.Error("it is handed over")
	}
}

// With Early, what is unconsumed is the handshake's beginning.
func TestTLSEarly(t *testing.T) { eachLayer(t, testTLSEarly) }

func testTLSEarly(t *testing.T) {
	b := newBench(t)
	s := &script{window: make([]byte, 8<<10)}
	seen := 0
	s.data = func(c *CSA, p []byte) int {
		if c.transport.tls() == nil {
			seen = len(p)
			c.MakeSSL(Handshake{Config: serverConfig(), Early: true})
			return 0
		}
		c.Send(p)
		return len(p)
	}
	_, peer := b.tcp(s)
	c := tls.Client(peer, clientConfig())
	send(t, c, "hello")
	wantRead(t, c, "hello")
	_ = c.Close()
	b.ended(s, Orderly)
	if seen == 0 {
		t.Error("nothing was seen of the handshake")
	}
}

// A peer that vanishes without close_notify may have been cut off.
func TestTLSTruncation(t *testing.T) { eachLayer(t, testTLSTruncation) }

func testTLSTruncation(t *testing.T) {
	b := newBench(t)
	w := newWraps(Handshake{Config: serverConfig()})
	_, peer := b.tcp(w)
	c := tls.Client(peer, clientConfig())
	send(t, c, "hello")
	wantRead(t, c, "hello")
	_ = peer.Close()
	b.ended(w.script, Reason{Code: abi.TLS})
	if slices.Contains(w.log, "eof") {
		t.Error("it takes that for the end")
	}
}

// Half-close: the peer has finished, and is still answered; and the other way round.
func TestTLSHalfClose(t *testing.T) { eachLayer(t, testTLSHalfClose) }

func testTLSHalfClose(t *testing.T) {
	b := newBench(t)
	w := newWraps(Handshake{Config: serverConfig()})
	w.eof = func(c *CSA) {
		c.Send([]byte("last words"))
		c.FinishSending()
	}
	_, peer := b.tcp(w)
	c := tls.Client(peer, clientConfig())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if p, err := io.ReadAll(c); string(p) != "last words" || err != nil {
		t.Errorf("it answers %q, %v", p, err)
	}
	b.ended(w.script, Orderly)

	w = newWraps(Handshake{Config: serverConfig()})
	w.data = func(c *CSA, p []byte) int {
		c.FinishSending()
		return len(p)
	}
	_, peer = b.tcp(w)
	c = tls.Client(peer, clientConfig())
	send(t, c, "x")
	wantEOF(t, c)
	for range 3 {
		send(t, c, "more")
	}
	_ = c.Close()
	b.ended(w.script, Orderly)
	if n := strings.Count(strings.Join(w.log, ""), "more"); n != 3 {
		t.Errorf("%d of 3 messages came after the half-close", n)
	}
}

// producerFinished flushes in TLS, too, and close_notify is said.
func TestTLSFlushesBeforeClosing(t *testing.T) { eachLayer(t, testTLSFlushesBeforeClosing) }

func testTLSFlushesBeforeClosing(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 1 << 20
	w := newWraps(Handshake{Config: serverConfig()})
	text := randomBytes(1<<20, 5)
	w.data = func(c *CSA, p []byte) int {
		if n, _ := c.Send(text); n != len(text) {
			t.Errorf("it takes %d", n)
		}
		c.ProducerFinished()
		return len(p)
	}
	_, peer := b.tcp(w)
	c := tls.Client(peer, clientConfig())
	send(t, c, "x")
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes came of %d, or others; %v", len(got), len(text), err)
	}
	_ = c.Close()
	b.ended(w.script, Orderly)
}

// A connection that ends in the middle of a handshake leaves no goroutine and nothing
// charged; newBench looks.
func TestTLSAbandoned(t *testing.T) { eachLayer(t, testTLSAbandoned) }

func testTLSAbandoned(t *testing.T) {
	b := newBench(t)
	b.turns() // it runs
	before := runtime.NumGoroutine()
	for n := range 20 {
		w := newWraps(Handshake{Config: serverConfig()})
		c, peer := b.tcp(w)
		conn := tls.Client(peer, clientConfig())
		failed := make(chan error, 1)
		go func() { failed <- conn.Handshake() }()
		if n%2 == 0 {
			b.until("it is under way", func() bool { return c.transport.tls().running || c.Over() })
		}
		b.on(func() { c.ShutdownMicroprocess(Reason{Code: abi.Closed}) })
		<-failed
		_ = peer.Close()
		b.until("it is gone", func() bool { return w.ends[2] == 1 })
	}
	b.until("the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// Two with TLS, and one with and one without, can be spliced.
func TestSpliceTLS(t *testing.T) { eachLayer(t, testSpliceTLS) }

func testSpliceTLS(t *testing.T) {
	for _, both := range []bool{true, false} {
		b := newBench(t)
		wa := newWraps(Handshake{Config: serverConfig()})
		ca, pa := b.tcp(wa)
		var hb Handler = &script{}
		if both {
			hb = newWraps(Handshake{Config: serverConfig()})
		}
		cb, pb := b.tcp(hb)
		a := net.Conn(tls.Client(pa, clientConfig()))
		z := net.Conn(pb)
		if both {
			z = tls.Client(pb, clientConfig())
			if err := z.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
		}
		b.on(func() {
			if code := Splice(ca, cb); code != abi.Again && !ca.isSecure() {
				t.Errorf("before the handshake it answers %v", code)
			}
		})
		if err := a.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
		b.until("both are up", func() bool { return ca.isSecure() && (!both || cb.isSecure()) })
		b.on(func() {
			if code := Splice(ca, cb); code != abi.OK && !ca.Spliced() {
				t.Errorf("it answers %v", code)
			}
		})
		there, back := randomBytes(3<<20, 1), randomBytes(2<<20, 2)
		write := func(c net.Conn, p []byte) {
			_, _ = c.Write(p)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		}
		go write(a, there)
		go write(z, back)
		got := make(chan []byte, 1)
		go func() {
			p, _ := io.ReadAll(a)
			got <- p
		}()
		if p, err := io.ReadAll(z); err != nil || !bytes.Equal(p, there) {
			t.Errorf("%d bytes went there; %d came, or others; %v", len(there), len(p), err)
		}
		if p := <-got; !bytes.Equal(p, back) {
			t.Errorf("%d bytes went back; %d came, or others", len(back), len(p))
		}
		b.until("both are gone", func() bool { return b.loop.Len() == 0 })
		_, _ = pa.Close(), pb.Close()
	}
}

// The bandwidth, the tenant's memory, and a session that is resumed.
func TestTLSBudgets(t *testing.T) { eachLayer(t, testTLSBudgets) }

func testTLSBudgets(t *testing.T) {
	b := newBench(t)
	b.acct.limit.Store(secureOverhead - 1)
	w := newWraps(Handshake{Config: serverConfig()})
	_, peer := b.tcp(w)
	b.on(func() {
		if w.code != abi.Quota {
			t.Errorf("without memory it answers %v", w.code)
		}
		b.acct.limit.Store(0)
		b.loop.first.ShutdownMicroprocess(Orderly)
	})
	_ = peer.Close()

	config, server := clientConfig(), serverConfig()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for n := range 2 {
		w := newWraps(Handshake{Config: server})
		_, peer := b.tcp(w)
		c := tls.Client(peer, config)
		send(t, c, "x")
		wantRead(t, c, "x")
		if n == 1 && !c.ConnectionState().DidResume {
			t.Error("the session is not resumed")
		}
		b.acct.waitIn.Store(int64(time.Second))
		send(t, c, "y")
		b.until("it is slowed down", func() bool { return b.loop.first.is(slowIn) })
		b.acct.waitIn.Store(0)
		b.clock.Advance(time.Second)
		wantRead(t, c, "y")
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
}

// A tenant over its bandwidth while a handshake is under way holds the handshake up, and no
// longer than that.
func TestTLSHandshakeIsSlowedDown(t *testing.T) { eachLayer(t, testTLSHandshakeIsSlowedDown) }

func testTLSHandshakeIsSlowedDown(t *testing.T) {
	for name, version := range versions {
		b := newBench(t)
		b.acct.waitIn.Store(int64(time.Second))
		w := newWraps(Handshake{Config: serverConfig()})
		_, peer := b.tcp(w)
		config := clientConfig()
		config.MinVersion, config.MaxVersion = version, version
		c := tls.Client(peer, config)
		done := make(chan error)
		go func() { done <- c.Handshake() }()
		b.until("it is slowed down", func() bool { return b.loop.first.is(slowIn) })
		b.acct.waitIn.Store(0)
		b.clock.Advance(time.Second)
		if err := <-done; err != nil {
			t.Errorf("TLS %s: %v", name, err)
		}
		send(t, c, "x")
		wantRead(t, c, "x")
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
}

// FuzzTLS feeds a server garbage, at first and behind a handshake.
func FuzzTLS(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), false)
	f.Add([]byte("\x17\x03\x03\x00\x05hello"), true)
	f.Add([]byte("\x15\x03\x03\x00\x02\x01\x00"), true)
	f.Fuzz(func(t *testing.T, p []byte, after bool) {
		b := newBench(t)
		w := newWraps(Handshake{Config: serverConfig()})
		_, peer := b.tcp(w)
		if after {
			if err := tls.Client(peer, clientConfig()).Handshake(); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = peer.Write(p)
		_ = peer.CloseWrite()
		if _, err := io.ReadAll(peer); err != nil && !errors.Is(err, net.ErrClosed) {
			_ = fmt.Sprint(err)
		}
		_ = peer.Close()
		b.until("it ends", func() bool { return w.ends[2] == 1 })
		if slices.ContainsFunc(w.log, func(s string) bool { return strings.HasPrefix(s, "data ") }) {
			t.Errorf("garbage is handed over: %q", w.log)
		}
	})
}
