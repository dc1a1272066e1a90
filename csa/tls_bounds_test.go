package csa

import (
	"io"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/cputime"
	"bulkhead/internal/recordtest"
)

// A peer's records are decrypted a few at a time: 65,536 of one byte held a loop for 28 ms,
// and as many with new keys between them for 213.
func TestTLSTurnIsBounded(t *testing.T) { eachLayer(t, testTLSTurnIsBounded) }

func testTLSTurnIsBounded(t *testing.T) {
	b := newBench(t)
	w := newWraps(Handshake{Config: serverConfig()})
	got, longest := 0, 0
	w.data = func(_ *CSA, p []byte) int {
		got, longest = got+len(p), max(longest, len(p))
		w.log = nil
		return len(p)
	}
	_, peer := b.tcp(w)
	g := forge(t, peer)
	_ = peer.SetDeadline(awaittest.Deadline())
	const records = 20_000
	send(t, peer, string(repeat(records, func() []byte { return g.Record(recordtest.Application, []byte("x")) })))
	b.until("all have come", func() bool { return got == records })
	if longest > recordsPerTurn {
		t.Errorf("%d records were decrypted in one turn, %d are the most", longest, recordsPerTurn)
	}
	// The same for what a handler waits for, which is collected by another way.
	got, longest = 0, 0
	b.on(func() { b.loop.Each(func(c *CSA) { c.Want(10_000) }) })
	send(t, peer, string(repeat(9_999, func() []byte { return g.Record(recordtest.Application, []byte("x")) })))
	b.turns()
	send(t, peer, string(g.Record(recordtest.Application, []byte("x"))))
	b.until("it has come", func() bool { return got == 10_000 })
	send(t, peer, string(g.Record(recordtest.Alert, []byte{1, 0})))
	_, _ = io.ReadAll(peer)
	_ = peer.Close()
	b.ended(w.script, Orderly)
}

// A turn ends by its time, too: what is between records with data is not counted there.
func TestTLSTurnHasItsTime(t *testing.T) {
	// One whose records have no data, of which each read takes 16, is over with the next read.
	// It has less time than others.
	for _, try := range []struct {
		suspect bool
		time    time.Duration
		most    int
	}{{false, tlsTurnTime, 10 + looksEvery - 1}, {true, emptyTurnTime, 11}} {
		// A busy machine's time does not count.
		turn, n := tlsTurn{began: cputime.Monotonic() + int64(time.Hour)}, 0
		for ; !turn.over(try.suspect); n++ {
			if n == 10 {
				turn.began = cputime.Monotonic() - int64(try.time) - 1
			}
		}
		if n < 10 || n > try.most {
			t.Errorf("a turn that was over after 10 records went on for %d; want %d at most (suspect: %v)", n, try.most, try.suspect)
		}
	}
	e := emptyRecords{counted: 7, full: 2}
	if e.some(9) || !e.some(10) {
		t.Error("records without data are not told from those with")
	}
}

// A peer may not go on sending records without data, which cost as much as others and are
// never too much for a window or a bandwidth.
func TestTLSEmptyRecords(t *testing.T) { eachLayer(t, testTLSEmptyRecords) }

func testTLSEmptyRecords(t *testing.T) {
	for name, try := range map[string]struct {
		between func(g *recordtest.Forger) []byte
		each    time.Duration // the clock's, between two
		want    abi.Code
	}{
		"new keys":              {func(g *recordtest.Forger) []byte { return g.NewKeys() }, 0, abi.TLS},
		"nothing":               {func(g *recordtest.Forger) []byte { return g.Record(recordtest.Application, nil) }, 0, abi.TLS},
		"new keys now and then": {func(g *recordtest.Forger) []byte { return g.NewKeys() }, time.Second / emptyRate, abi.OK},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.set.IdleTimeout, b.set.Lifetime = time.Hour, 0
			w := newWraps(Handshake{Config: serverConfig()})
			got := 0
			w.data = func(_ *CSA, p []byte) int { got += len(p); w.log = nil; return len(p) }
			_, peer := b.tcp(w)
			g := forge(t, peer)
			_ = peer.SetDeadline(awaittest.Deadline())
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			const all = 3 * mostEmpty
			for n := 0; n < all; n++ {
				if _, err := peer.Write(append(try.between(g), g.Record(recordtest.Application, []byte("x"))...)); err != nil {
					break
				}
				if try.each > 0 {
					b.clock.Advance(try.each)
					if n%100 == 0 {
						b.until("it has come", func() bool { return got == n+1 })
					}
				}
			}
			if try.want == abi.OK {
				b.until("all have come", func() bool { return got == all })
				send(t, peer, string(g.Record(recordtest.Alert, []byte{1, 0})))
				b.ended(w.script, Orderly)
			} else {
				b.ended(w.script, Reason{Code: try.want})
				if got > 2*mostEmpty {
					t.Errorf("%d came before it was too much", got)
				}
			}
			_ = peer.Close()
		})
	}
}
