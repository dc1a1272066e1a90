package csa

import (
	"bytes"
	stdflag "flag" // the package has a type flag
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
)

// whim echoes, but as it pleases: it consumes some of what it could send,
// pauses and resumes by timers, wants more than there is, and takes its time to
// finish. Whatever it does is allowed, so not a byte may
// be lost and no connection may get stuck.
type whim struct {
	rng    *rand.Rand
	window []byte
	events int
	ended  bool
	closed bool
	reason Reason
	order  []string
}

func (w *whim) Open(c *CSA) { w.note("open"); w.mood(c) }

func (w *whim) Window(*CSA) []byte { return w.window }

func (w *whim) Data(c *CSA, p []byte) int {
	w.note("data")
	n := len(p)
	if w.rng.IntN(3) == 0 {
		n = 1 + w.rng.IntN(n) // never nothing: that would mean it waits for more
	}
	taken := 0
	for taken < n { // in pieces, of one event
		piece := min(1+w.rng.IntN(n), n-taken)
		k, code := c.Send(p[taken : taken+piece])
		taken += k
		if code != abi.OK || k < piece {
			break
		}
	}
	w.mood(c)
	return taken
}

// mood is what it does to its connection besides.
func (w *whim) mood(c *CSA) {
	switch w.rng.IntN(8) {
	case 0:
		c.Receive(false)
		_ = c.SetTimer(1, time.Duration(w.rng.IntN(5))*time.Millisecond)
	case 1:
		c.Want(w.rng.IntN(64))
		_ = c.SetTimer(2, time.Duration(w.rng.IntN(5))*time.Millisecond)
	case 2:
		c.Receive(true)
	}
}

func (w *whim) Writable(c *CSA) { w.note("writable"); w.mood(c) }

func (w *whim) Secured(*CSA, abi.Code) { w.note("secured") }

func (w *whim) EOF(c *CSA) {
	w.note("eof")
	w.ended = true
	_ = c.SetTimer(3, time.Duration(w.rng.IntN(5))*time.Millisecond)
}

func (w *whim) Timer(c *CSA, token int32) {
	w.note("timer")
	switch token {
	case 1:
		c.Receive(true)
	case 2:
		c.Want(0)
		c.Receive(true)
	case 3:
		c.ProducerFinished()
	}
}

func (w *whim) Closed(_ *CSA, r Reason) { w.note("closed"); w.closed, w.reason = true, r }

func (w *whim) note(event string) {
	if w.closed || w.ended && event == "data" {
		w.order = append(w.order, event+" out of order")
	}
	w.events++
}

var whims = stdflag.Int("whims", 100, "how many random handlers TestHandlersAsTheyPlease and TestLoopsArePassedOnAtAnyTime have each; 40 at most with -short")

// someWhims are as many as the flags say.
func someWhims() int {
	if testing.Short() {
		return min(*whims, 40)
	}
	return *whims
}

func TestHandlersAsTheyPlease(t *testing.T) {
	t.Parallel()
	asTheyPlease(t, someWhims(), func(w *whim) Handler { return w })
}

// asTheyPlease runs a whim a seed, each as the handler that wire makes of it.
func asTheyPlease(t *testing.T, seeds int, wire func(*whim) Handler) {
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 11))
		b := newBench(t)
		b.set.Inbox = 1 << (8 + rng.IntN(9))
		b.set.MinRate, b.set.WriteTimeout = 1<<rng.IntN(20), time.Hour
		b.set.IdleTimeout, b.set.Lifetime, b.set.FirstByteTimeout = time.Hour, time.Hour, time.Hour
		w := &whim{rng: rand.New(rand.NewPCG(seed, 12)), window: make([]byte, 64+rng.IntN(20_000))}
		conn, peer := b.tcp(wire(w))
		stop := make(chan struct{})
		go func() { // time goes by, but never as much as a peer has that a busy machine makes slow
			for range 50_000 {
				select {
				case <-stop:
					return
				default:
					b.clock.Advance(time.Millisecond)
					time.Sleep(20 * time.Microsecond)
				}
			}
		}()
		sent := make([]byte, rng.IntN(200_000))
		for i := range sent {
			sent[i] = byte(rng.Uint32())
		}
		_ = peer.SetDeadline(awaittest.Deadline())
		pieces := rand.New(rand.NewPCG(seed, 13))
		go func() {
			for p := sent; len(p) > 0; {
				n := min(1+pieces.IntN(5000), len(p))
				if _, err := peer.Write(p[:n]); err != nil {
					return // the reader says so
				}
				p = p[n:]
			}
			_ = peer.CloseWrite()
		}()
		wrong := make(chan string, 1)
		go func() { // the clocks run when they should, whatever has happened
			for {
				select {
				case <-stop:
					close(wrong)
					return
				default:
				}
				done := make(chan string, 1)
				if b.loop.Post(func() { done <- conn.wrongClocks() }) {
					if what := <-done; what != "" {
						wrong <- what
						close(wrong)
						return
					}
				}
				time.Sleep(50 * time.Microsecond)
			}
		}()
		got, err := io.ReadAll(peer)
		close(stop)
		if what := <-wrong; what != "" {
			t.Errorf("seed %d: %s", seed, what)
		}
		if err != nil || !bytes.Equal(got, sent) {
			b.on(func() {
				t.Logf("flags %b (paused 1, full 2, offering 4, blocked 8), rest %d, inbox %d, want %d, armed %t, descriptor %+v", conn.flags, conn.unconsumed.len(), conn.inbox.len(), conn.want, conn.d.Reading(), conn.d)
			})
			t.Errorf("seed %d: %d bytes of %d came back, or they differ: %v", seed, len(got), len(sent), err)
		}
		peer.Close()
		b.until("it is closed", func() bool { return w.closed })
		b.on(func() {
			if w.reason.Code != abi.OK || len(w.order) > 0 {
				t.Errorf("seed %d: it died of %v; %v", seed, w.reason, w.order)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// wrongClocks says what is wrong with the clocks of a connection between two events; "" is
// nothing.
func (c *CSA) wrongClocks() string {
	if c.is(dying | dead | finishing) {
		return ""
	}
	if running := c.owed > 0; running != (c.owes() && c.transport.reads(c)) {
		return fmt.Sprintf("inwards: running %t, owes %t, its turn %t, flags %b", running, c.owes(), c.transport.reads(c), c.flags)
	}
	if c.owed > 0 && !c.timer.Set() {
		return "inwards: it runs and no timer is set"
	}
	running := c.behind != nil && c.behind.state == runs
	// When the kernel has said that there is room, SendReady is on its way.
	if waits := c.unsent() && !c.is(slowOut); running != waits && !(c.unsent() && c.d.WriteReady()) {
		return fmt.Sprintf("outwards: running %t, waits %t, flags %b", running, waits, c.flags)
	}
	return ""
}
