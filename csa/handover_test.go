package csa

import (
	"bulkhead/abi"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
)

// passer passes the loop on in the midst of some of its calls, and finishes
// them by posts. Calls that come meanwhile wait, in order.
type passer struct {
	inner   Handler
	passes  func() bool // whether to, this time
	busy    bool
	waiting []func()
	starved map[*CSA]bool
	passed  int
}

// run makes a call: now, or after those that wait. then is told its result on
// the loop.
func (p *passer) run(l *Loop, call func() int, then func(result int)) (result int) {
	if p.busy {
		p.waiting = append(p.waiting, func() { p.start(l, call, then) })
		return 0
	}
	return p.start(l, call, then)
}

func (p *passer) start(l *Loop, call func() int, then func(int)) int {
	if !p.passes() {
		return call()
	}
	p.busy = true
	p.passed++
	l.Pass()
	runtime.Gosched() // the loop goes on
	l.Post(func() {
		result := call() // as one that reaches the loop by posts
		p.busy = false
		if then != nil {
			then(result)
		}
		l.Post(func() { p.goOn(l) })
	})
	runtime.Goexit()
	panic("not reached")
}

func (p *passer) goOn(l *Loop) {
	switch {
	case p.busy:
	case len(p.waiting) > 0:
		next := p.waiting[0]
		p.waiting = p.waiting[1:]
		l.Post(func() { p.goOn(l) })
		next()
	default:
		for c := range p.starved {
			delete(p.starved, c)
			c.Offer()
		}
	}
}

func (p *passer) tell(c *CSA, f func()) {
	p.run(c.Loop(), func() int { f(); return 0 }, nil)
}

func (p *passer) Open(c *CSA)                   { p.tell(c, func() { p.inner.Open(c) }) }
func (p *passer) Writable(c *CSA)               { p.tell(c, func() { p.inner.Writable(c) }) }
func (p *passer) Secured(c *CSA, code abi.Code) { p.tell(c, func() { p.inner.Secured(c, code) }) }
func (p *passer) EOF(c *CSA)                    { p.tell(c, func() { p.inner.EOF(c) }) }
func (p *passer) Timer(c *CSA, token int32) {
	p.tell(c, func() {
		if !c.Over() {
			p.inner.Timer(c, token)
		}
	})
}
func (p *passer) Closed(c *CSA, r Reason) { p.tell(c, func() { p.inner.Closed(c, r) }) }

func (p *passer) Window(c *CSA) []byte {
	if p.busy || len(p.waiting) > 0 {
		if p.starved == nil {
			p.starved = make(map[*CSA]bool)
		}
		p.starved[c] = true
		return nil
	}
	return p.inner.Window(c)
}

func (p *passer) Data(c *CSA, b []byte) int {
	return p.start(c.Loop(), func() int {
		if c.Over() {
			return 0
		}
		return p.inner.Data(c, b)
	}, func(used int) { c.Consumed(b, used) })
}

// Whatever a handler is doing when it passes the loop on, not a byte is lost,
// nothing gets stuck, and everybody is told of the end once.
func TestLoopsArePassedOnAtAnyTime(t *testing.T) {
	seeds := someWhims()
	var passed atomic.Int64
	handlers := uint64(0)
	asTheyPlease(t, seeds, func(w *whim) Handler {
		handlers++
		rng := rand.New(rand.NewPCG(handlers, 2)) // its own, which its loop uses from here on
		often := 1 + rng.IntN(8)
		return &passer{inner: w, passes: func() bool {
			yes := rng.IntN(often) == 0
			if yes {
				passed.Add(1)
			}
			return yes
		}}
	})
	if n := passed.Load(); n < 5*int64(seeds) {
		t.Errorf("loops were passed on %d times only", n)
	}
}

// Those behind the handler that passes the loop on do not wait for it, in
// none of its calls.
func TestOthersDoNotWait(t *testing.T) {
	for _, in := range []string{"open", "data", "writable", "eof", "timer", "closed"} {
		t.Run(in, func(t *testing.T) {
			b := newBench(t)
			b.set.Inbox = 4096
			release := make(chan struct{})
			s := &script{}
			long := &longCall{script: s, in: in, release: release}
			conn, peer := b.tcp(long)
			_, other := b.tcp(&script{data: func(c *CSA, p []byte) int { n, _ := c.Send(p); return n }})
			switch in {
			case "data":
				_, _ = peer.Write([]byte("x"))
			case "writable":
				b.on(func() {
					for { // until the inbox is full
						if n, _ := conn.Send(make([]byte, 4096)); n < 4096 {
							return
						}
					}
				})
				go func() { _, _ = io.Copy(io.Discard, peer) }()
			case "eof":
				_ = peer.CloseWrite()
			case "timer":
				b.on(func() { _ = conn.SetTimer(1, 0) })
			case "closed":
				b.on(func() { conn.ShutdownMicroprocess(Orderly) })
			}
			b.until("the long call is on", func() bool { return long.on })
			if in == "closed" {
				b.on(func() {
					if !slices.Equal(s.ends[1:], []int{1, 1}) {
						t.Errorf("the others waited for the handler to hear of the end: %v", s.ends)
					}
				})
			}
			for i := range 10 { // the loop serves
				want := fmt.Sprint("hello ", i)
				if _, err := io.WriteString(other, want); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(other, got); err != nil || string(got) != want {
					t.Fatalf("a neighbour got %q, %v", got, err)
				}
			}
			close(release)
			b.until("the long call is over", func() bool { return !long.on })
			other.Close()
			peer.Close()
			b.until("both are closed", func() bool { return b.loop.Len() == 0 })
		})
	}
}

// longCall passes the loop on once, in one of its calls, and does not come
// back before release.
type longCall struct {
	*script
	in      string
	release chan struct{}
	on      bool
	done    bool
}

func (h *longCall) stay(in string, c *CSA, p []byte) {
	if in != h.in || h.done {
		return
	}
	h.on, h.done = true, true
	l := c.Loop()
	l.Pass()
	<-h.release
	l.Post(func() {
		h.on = false
		c.Consumed(p, len(p))
	})
	runtime.Goexit()
}

func (h *longCall) Open(c *CSA) { h.script.Open(c); h.stay("open", c, nil) }
func (h *longCall) Data(c *CSA, p []byte) int {
	h.stay("data", c, p)
	return h.script.Data(c, p)
}
func (h *longCall) Writable(c *CSA) { h.script.Writable(c); h.stay("writable", c, nil) }
func (h *longCall) EOF(c *CSA)      { h.script.EOF(c); h.stay("eof", c, nil) }
func (h *longCall) Timer(c *CSA, token int32) {
	h.script.Timer(c, token)
	h.stay("timer", c, nil)
}
func (h *longCall) Closed(c *CSA, r Reason) { h.script.Closed(c, r); h.stay("closed", c, nil) }

// The inbox has room again, or the handler resumes reading, while a call that has passed the loop
// on still holds what has come. What the call then leaves is offered again: nothing else would
// offer it.
func TestWhatACallLeavesIsOfferedAgainWhenThatWasDueMeanwhile(t *testing.T) {
	for name, due := range map[string]func(c *CSA){
		"writable": func(c *CSA) { c.set(blocked); c.SendReady() },
		"resumed":  func(c *CSA) { c.Receive(true) },
	} {
		for _, atEnd := range []bool{false, true} {
			b := newBench(t)
			s := &script{}
			c, peer := b.tcp(s)
			release := make(chan struct{})
			calls := 0
			b.on(func() {
				s.data = func(c *CSA, p []byte) int {
					switch calls++; {
					case atEnd && !c.is(ended):
						calls-- // all of it is left until the peer has finished
						return 0
					case calls > 1:
						return len(p)
					}
					held := bytes.Clone(p)
					c.Loop().Pass()
					<-release
					c.Loop().Post(func() { c.Consumed(held, 0) })
					runtime.Goexit()
					return 0
				}
			})
			b.say(c, peer, "ab")
			if atEnd {
				if err := peer.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			b.until(name+": the call is under way", func() bool { return c.pendingData != nil })
			b.on(func() { due(c) })
			close(release)
			b.until(name+": what it left is offered again", func() bool { return calls == 2 })
		}
	}
}
