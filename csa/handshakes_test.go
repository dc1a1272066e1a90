package csa

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"bulkhead/abi"
)

// clientHello is how a handshake begins: five bytes that want more behind them.
const clientHello = "\x16\x03\x01\x02\x00\x01"

// There are no more handshakes than there may be, and those that wait for their peers
// keep nobody out. Peers who say nothing have no place.
func TestTLSHandshakesAreBounded(t *testing.T) {
	b := newBench(t)
	const most = 12 // more than compute at once
	hs := NewHandshakes(most)
	share := hs.Share(0, nil)
	want := func(n int) {
		t.Helper()
		b.until("so many are under way", func() bool { return hs.Pending() == n && share.Pending() == n })
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
	if n := share.Refused(); n != 2 {
		t.Errorf("%d were refused, want 2", n)
	}
	b.on(func() { b.loop.Each(func(c *CSA) { c.ShutdownMicroprocess(Orderly) }) })
	want(0)
	b.until("nobody is left", func() bool { return b.loop.Len() == 0 })
}

// One tenant's handshakes cannot keep another's out, however many it has.
func TestTLSHandshakesAreShared(t *testing.T) {
	take := func(s *HandshakeShare) (n int) {
		for n < 1000 && s.begin() {
			n++
		}
		return n
	}
	for _, c := range []struct{ most, shares, mostOfOne, first, others int }{
		{100, 1, 0, 100, 0},
		{100, 5, 0, 60, 10}, // the common half and its own, and then their own for the others
		{100, 5, 30, 30, 30},
		{100, 5, 7, 7, 7},
		{10, 20, 0, 6, 1},
	} {
		h := NewHandshakes(c.most)
		var all []*HandshakeShare
		for range c.shares {
			all = append(all, h.Share(c.mostOfOne, nil))
		}
		total := 0
		for i, s := range all {
			n, want := take(s), c.first
			if i > 0 {
				want = c.others
			}
			if i == 2 && c.mostOfOne == 30 {
				want = 20 // the common half is used up by then, in part
			}
			if i > 2 && c.mostOfOne == 30 {
				want = 10
			}
			if n != want {
				t.Errorf("%+v: share %d has got %d places, want %d", c, i, n, want)
			}
			total += n
		}
		if h.Pending() != total || total > c.most+c.shares {
			t.Errorf("%+v: %d are under way, want %d", c, h.Pending(), total)
		}
		for _, s := range all {
			for s.Pending() > 0 {
				s.end()
			}
		}
		if h.Pending() != 0 || h.common != 0 {
			t.Errorf("%+v: when all have ended %d are under way, %d of them common", c, h.Pending(), h.common)
		}
	}
}

// ledger gives time to whoever asks, and writes down what was used.
type ledger struct {
	sync.Mutex
	running, most int
	ns            int64
}

func (l *ledger) Begin() {
	l.Lock()
	defer l.Unlock()
	l.running++
	l.most = max(l.most, l.running)
}

func (l *ledger) End(ns int64) {
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
	hs := NewHandshakes(0)
	share := hs.Share(0, l)
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
