package csa

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"bulkhead/abi"
)

// clientHello is how a handshake begins: five bytes that want more behind them.
const clientHello = "\x16\x03\x01\x02\x00\x01"

// places are so many for handshakes.
type places struct{ most, taken, refused atomic.Int64 }

func newPlaces(most int64) *places {
	p := &places{}
	p.most.Store(most)
	return p
}

func (p *places) TakeHandshake() bool {
	if p.taken.Add(1) > p.most.Load() {
		p.taken.Add(-1)
		p.refused.Add(1)
		return false
	}
	return true
}

func (p *places) ReturnHandshake() { p.taken.Add(-1) }

// Pending is how many are taken.
func (p *places) Pending() int { return int(p.taken.Load()) }

// There are no more handshakes than there may be, and those that wait for their peers
// keep nobody out. Peers who say nothing have no place.
func TestTLSHandshakesAreBounded(t *testing.T) {
	b := newBench(t)
	const most = 12 // more than compute at once
	hs := newPlaces(most)
	share := NewHandshakeShare(hs, nil)
	want := func(n int) {
		t.Helper()
		b.until("so many are under way", func() bool { return hs.Pending() == n })
	}
	for range 2 * most {
		b.tcp(newWraps(Handshake{Config: serverConfig(), Share: share}))
	}
	want(0)
	for range most - 1 {
		_, peer := b.tcp(newWraps(Handshake{Config: serverConfig(), Share: share}))
		send(t, peer, clientHello)
	}
	want(most - 1)
	w := newWraps(Handshake{Config: serverConfig(), Share: share})
	_, peer := b.tcp(w)
	good := tls.Client(peer, clientConfig())
	send(t, good, "x")
	wantRead(t, good, "x")
	want(most - 1)
	_, peer = b.tcp(newWraps(Handshake{Config: serverConfig(), Share: share}))
	send(t, peer, clientHello)
	want(most)
	over := newWraps(Handshake{Config: serverConfig(), Share: share})
	_, peer = b.tcp(over)
	send(t, peer, clientHello)
	b.ended(over.script, Reason{Code: abi.Quota})
	dials := newWraps(Handshake{Config: clientConfig(), Client: true, Share: share})
	b.tcp(dials)
	b.on(func() {
		if dials.code != abi.Quota {
			t.Errorf("a client's, with no place left, answers %v", dials.code)
		}
	})
	if n := hs.refused.Load(); n != 2 {
		t.Errorf("%d were refused, want 2", n)
	}
	b.on(func() { b.loop.Each(func(c *CSA) { c.ShutdownMicroprocess(Orderly) }) })
	want(0)
	b.until("nobody is left", func() bool { return b.loop.Len() == 0 })
}

// ledger gives time to whoever asks, and writes down what was used.
type ledger struct {
	sync.Mutex
	running, most int
	ns            int64
}

func (l *ledger) Acquire() {
	l.Lock()
	defer l.Unlock()
	l.running++
	l.most = max(l.most, l.running)
}

func (l *ledger) Release(ns int64) {
	l.Lock()
	defer l.Unlock()
	l.running--
	l.ns += ns
}

// What handshakes compute is told to whoever gives them time, and they are no more at once
// than may be.
func TestTLSHandshakesAreOnTheBooks(t *testing.T) {
	b := newBench(t)
	l := &ledger{}
	hs := newPlaces(1000)
	share := NewHandshakeShare(hs, l)
	var all sync.WaitGroup
	for range 3 * mostComputing {
		_, peer := b.tcp(newWraps(Handshake{Config: serverConfig(), Share: share}))
		all.Go(func() {
			c := tls.Client(peer, clientConfig())
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			_ = net.Conn(peer).Close()
		})
	}
	all.Wait()
	b.until("nobody is left", func() bool { return b.loop.Len() == 0 && hs.Pending() == 0 })
	l.Lock()
	defer l.Unlock()
	if l.running != 0 || l.most > mostComputing || l.ns == 0 {
		t.Errorf("%d run, %d ran at once, for %d ns in all", l.running, l.most, l.ns)
	}
}

// A handshake that computes says so, from when its peer's bytes are there until it waits for more
// of them or is over: nothing else shows then that something goes on.
func TestTLSHandshakeComputes(t *testing.T) {
	b := newBench(t)
	looks := func(c *CSA, what string, want State) {
		t.Helper()
		b.until(what, func() bool { return c.Account().State&(Shaking|Computing) == want })
	}
	asked, goOn := make(chan struct{}), make(chan struct{})
	config := serverConfig()
	certificate := config.Certificates[0]
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		close(asked)
		<-goOn
		return &certificate, nil
	}
	c, peer := b.tcp(newWraps(Handshake{Config: config}))
	looks(c, "it waits for its peer to begin", Shaking)
	good := tls.Client(peer, clientConfig())
	shaken := make(chan error, 1)
	go func() { shaken <- good.Handshake() }()
	<-asked
	looks(c, "it makes its answer", Shaking|Computing)
	close(goOn)
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	looks(c, "it is over", 0)
	good.Close()

	c, peer = b.tcp(newWraps(Handshake{Config: serverConfig()}))
	send(t, peer, clientHello)
	looks(c, "it waits for its peer to go on", Shaking)
	peer.Close()
	b.until("they are gone", func() bool { return b.loop.Len() == 0 })
}
