package csa

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/selector"
)

// tallied has the bench's connections be counted from now on, as those of the second loop of two.
func (b *bench) tallied() *Tally {
	all := NewTallies(2)
	b.set.Tallies = all
	var own *Tally
	b.on(func() {
		b.loop.SetPlace(1)
		own = all.at(1)
	})
	b.t.Cleanup(func() {
		if all.slots[0] != nil {
			b.t.Errorf("another loop has counted %+v", all.slots[0].own)
		}
		if own.Opened != own.Closed {
			b.t.Errorf("%d have opened, and %d closed", own.Opened, own.Closed)
		}
	})
	return own
}

func total(h *Histogram) (n int64) {
	for _, one := range h.Counts {
		n += one
	}
	return n
}

// The bytes of a connection count while it is open, and its handler's first byte by how long it
// took.
func TestTally(t *testing.T) {
	b := newBench(t)
	tally := b.tallied()
	s := &script{data: func(c *CSA, p []byte) int {
		if string(p) != "quiet" {
			c.Send([]byte("four"))
		}
		return len(p)
	}}
	_, peer := b.tcp(s)
	send(t, peer, "quiet")
	b.until("it has come", func() bool { return tally.Received == 5 })
	b.on(func() {
		if tally.Sent != 0 || tally.FirstByte != (Histogram{}) {
			t.Errorf("nothing was sent, and counted is %+v", *tally)
		}
	})
	b.clock.Advance(5 * time.Millisecond)
	for range 3 {
		send(t, peer, "x")
		wantRead(t, peer, "four")
	}
	b.on(func() {
		if tally.Received != 8 || tally.Sent != 12 || tally.Handshakes != 0 {
			t.Errorf("counted is %+v", *tally)
		}
		want := Histogram{Sum: 5 * time.Millisecond, Counts: [...]int64{4: 1, 7: 0}}
		if tally.FirstByte != want {
			t.Errorf("the first byte: %+v, want %+v", tally.FirstByte, want)
		}
		if n := total(&tally.Events); n < 5 {
			t.Errorf("%d events, want those of opening and of 4 messages at least", n)
		}
		if tally.Opened != 1 || tally.Closed != 0 {
			t.Errorf("%d have opened, and %d closed", tally.Opened, tally.Closed)
		}
	})
	var own Tally
	b.on(func() {
		if shown := b.set.Tallies.Shown(); shown != (Tally{}) {
			t.Errorf("before it shows anything, shown is %+v", shown)
		}
		b.set.Tallies.Show(b.loop)
		own = *tally
	})
	if shown := b.set.Tallies.Shown(); shown != own {
		t.Errorf("shown is %+v, want %+v", shown, own)
	}
	peer.Close()
	b.until("it is gone", func() bool { return tally.Closed == 1 })
	b.on(func() {
		b.set.Tallies.ShowAll()
		own = *tally
	})
	if shown := b.set.Tallies.Shown(); shown != own {
		t.Errorf("at the end, shown is %+v, want %+v", shown, own)
	}
}

// BenchmarkShow is how long a loop shows what it has counted of a thousand listeners that all had
// something to count since it did so last.
func BenchmarkShow(b *testing.B) {
	sel, err := selector.New(selector.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		go sel.Run()
		sel.Stop()
		<-sel.Done()
	}()
	l := NewLoop(sel)
	all := make([]*Tallies, 1000)
	for i := range all {
		all[i] = NewTallies(2)
	}
	for b.Loop() {
		for _, a := range all {
			t := a.at(0)
			t.Received += 64
			t.Sent += 64
			t.Events.Observe(5 * time.Microsecond)
			a.Show(l)
		}
	}
}

// A handshake counts, and whether it went on with an earlier session.
func TestTallyOfHandshakes(t *testing.T) {
	b := newBench(t)
	tally := b.tallied()
	server, client := serverConfig(), clientConfig()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		w := newWraps(Handshake{Config: server})
		_, peer := b.tcp(w)
		c := tls.Client(peer, client)
		send(t, c, "x")
		wantRead(t, c, "x")
		_ = c.Close()
		b.ended(w.script, Orderly)
	}
	b.on(func() {
		if tally.Handshakes != 2 || tally.Resumed != 1 {
			t.Errorf("%d handshakes, %d of them resumed, want 2 and 1", tally.Handshakes, tally.Resumed)
		}
		if n := total(&tally.FirstByte); n != 2 {
			t.Errorf("%d first bytes, want 2: what TLS itself sends is none", n)
		}
	})
}

// Datagrams count as bytes of a stream do.
func TestTallyOfDatagrams(t *testing.T) {
	b := newBench(t)
	tally := b.tallied()
	g := &guests{handler: &script{window: make([]byte, 100), data: func(c *CSA, p []byte) int {
		c.Send([]byte("answer"))
		return len(p)
	}}}
	_, at := b.udp("udp", "127.0.0.1:0", g)
	peer, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	for range 2 {
		send(t, peer, "ask")
		wantRead(t, peer, "answer")
	}
	b.on(func() {
		if tally.Received != 6 || tally.Sent != 12 || tally.DatagramsIn != 2 || tally.DatagramsOut != 2 || total(&tally.FirstByte) != 1 || total(&tally.Events) < 2 {
			t.Errorf("counted is %+v", *tally)
		}
	})
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for i, bound := range HistogramBounds {
		h = Histogram{}
		h.Observe(bound)
		h.Observe(bound + 1)
		if h.Counts[i] != 1 || h.Counts[i+1] != 1 || h.Sum != 2*bound+1 {
			t.Errorf("%v and 1 ns more: %+v", bound, h)
		}
	}
	h = Histogram{}
	h.Observe(-time.Second)
	if h.Sum != 0 || h.Counts[0] != 1 {
		t.Errorf("a time below zero: %+v", h)
	}
}

// BenchmarkTally is what counting a message costs: as it is done, by plain numbers that the loop
// owns, and as it could be, by atomic ones that anybody can read, whose only writer is the loop.
func BenchmarkTally(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		t := new(Tally)
		for b.Loop() {
			t.Received += 64
			t.Sent += 64
			t.Events.Observe(5 * time.Microsecond)
		}
	})
	b.Run("atomic", func(b *testing.B) {
		var received, sent, sum atomic.Int64
		var counts [len(HistogramBounds) + 1]atomic.Int64
		for b.Loop() {
			received.Store(received.Load() + 64)
			sent.Store(sent.Load() + 64)
			counts[0].Store(counts[0].Load() + 1)
			sum.Store(sum.Load() + int64(5*time.Microsecond))
		}
	})
}
