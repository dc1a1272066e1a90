package csa

import (
	"testing"
	"time"

	"bulkhead/internal/cputime"
)

// What a loop does for a connection is booked to its tenant and to nobody else; what its handler
// says is booked already is not booked again.
func TestTheTimeOfALoopIsBooked(t *testing.T) {
	b := newBench(t)
	const work = int64(time.Millisecond)
	spin := func() (ns int64) {
		for began := nanotime(); ns < work; {
			ns = nanotime() - began
		}
		return ns
	}
	h := func() *script {
		return &script{data: func(c *CSA, p []byte) int {
			switch p[0] {
			case 'x':
				spin()
			case 'y':
				b.loop.Booked(spin())
			}
			return len(p)
		}}
	}
	busy, rests := b.acct, &account{}
	one, peer := b.tcp(h())
	b.acct = rests
	two, _ := b.tcp(h())
	b.acct = busy
	var want int64
	send := func(s string) {
		t.Helper()
		want += int64(len(s))
		if _, err := peer.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		b.until(s+" has come", func() bool { return one.received == want })
	}
	send("x")
	idle := rests.booked.Load()
	for range 4 {
		send("x")
	}
	if got := busy.booked.Load(); got < 5*work {
		t.Errorf("%d ns are booked for five milliseconds of work", got)
	}
	if got := b.loop.LongestEvent(); int64(got) < work {
		t.Errorf("the longest event took %v", got)
	}
	before := busy.booked.Load()
	for range 5 {
		send("y")
	}
	if got := busy.booked.Load() - before; got > 4*work {
		t.Errorf("%d ns are booked beside five milliseconds that were", got)
	}
	// A timer's work, and a post's where somebody says whose it is, are booked likewise.
	before = busy.booked.Load()
	b.on(func() { b.loop.NewTimer(func() { b.loop.Charge(busy); spin() }).Reset(0) })
	b.clock.Advance(time.Millisecond)
	b.on(func() { b.loop.Charge(busy); spin() })
	b.until("both are booked", func() bool { return busy.booked.Load()-before >= 2*work })
	if got := rests.booked.Load(); got != idle {
		t.Errorf("%d ns are booked to a tenant that does nothing", got-idle)
	}
	b.on(func() {
		one.ShutdownMicroprocess(Orderly)
		two.ShutdownMicroprocess(Orderly)
	})
}

// dear is a selector that it costs an hour to wake up.
type dear struct{ sleeper }

func (dear) SleepCost() int64 { return int64(time.Hour) }

// Whoever has a loop wake up pays for that, once for each time it slept, and nobody else does.
func TestWakingUpIsBooked(t *testing.T) {
	b := newBench(t)
	busy, rests := b.acct, &account{}
	one, peer := b.tcp(&script{})
	b.acct = rests
	two, _ := b.tcp(&script{})
	b.acct = busy
	const wake = wakes * int64(time.Hour)
	b.on(func() { b.loop.time.sel = dear{b.loop.sel} })
	idle := rests.booked.Load()
	before := busy.booked.Load()
	for n := int64(1); n <= 3; n++ {
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		b.until("the byte has come", func() bool { return one.received == n })
	}
	b.until("a wake-up is booked", func() bool { return busy.booked.Load()-before >= wake })
	b.on(func() {
		if sleeps, paid := int64(b.loop.sel.Sleeps()), (busy.booked.Load()-before)/wake; paid > sleeps {
			t.Errorf("%d wake-ups are booked, and the loop slept %d times", paid, sleeps)
		}
	})
	if got := rests.booked.Load(); got-idle >= wake { // what it did before may be booked only now
		t.Errorf("%d ns are booked to a tenant that does nothing", got-idle)
	}
	b.on(func() {
		b.loop.time.sel = b.loop.sel
		one.ShutdownMicroprocess(Orderly)
		two.ShutdownMicroprocess(Orderly)
	})
}

// By the thread, what the machine does elsewhere is not in the longest event.
func TestTheLongestEventByTheThread(t *testing.T) {
	b := newBench(t)
	const work = 2 * time.Millisecond
	b.on(b.loop.ByThread)
	b.on(func() { time.Sleep(20 * work) }) // on the thread it has gone to sleep on, or on another
	if got := b.loop.LongestEvent(); got >= 20*work {
		t.Errorf("an event that slept took %v of processor time", got)
	}
	for lost := b.loop.LostEvents(); ; lost = b.loop.LostEvents() {
		b.on(func() {
			var w cputime.Span
			for w.Start(); ; {
				if ns, ok := w.Elapsed(); !ok || ns > int64(work) {
					return
				}
			}
		})
		b.turns()
		if b.loop.LostEvents() == lost {
			break // it has stayed on its thread
		}
	}
	if got := b.loop.LongestEvent(); got < work {
		t.Errorf("an event that took %v of processor time is told as %v", work, got)
	}
}
