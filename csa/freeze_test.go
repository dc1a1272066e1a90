package csa

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"

	"golang.org/x/sys/unix"
)

// adopt has a connection go on as another CSA, with a copy of its descriptor, as it would in
// another process. what is called while it is held still.
func (b *bench) adopt(c *CSA, h Handler, what func()) (moved *CSA) {
	b.t.Helper()
	var from *Held
	b.on(func() {
		var err error
		if from, err = c.Freeze(); err != nil {
			b.t.Errorf("freezing: %v", err)
		}
	})
	if from == nil {
		b.t.FailNow()
	}
	if what != nil {
		what()
		b.turns()
	}
	b.on(func() {
		to := b.take(from, h, nil)
		from.Leave()
		if err := to.GoOn(); err != nil {
			b.t.Error(err)
		}
		moved = to.CSA()
	})
	return moved
}

// take adopts what is held still, on the loop.
func (b *bench) take(from *Held, h Handler, touched *atomic.Uint32) *Held {
	fd, err := unix.FcntlInt(uintptr(from.Descriptor()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		b.t.Error(err)
	}
	w := Wiring{Handler: h, Settings: b.set, Budget: b.acct}
	w.Creator, _ = h.(Creator)
	w.Signal, _ = h.(Signal)
	to, err := b.loop.Adopt(from.Record, fd, w, touched)
	if err != nil {
		b.t.Error(err)
	}
	return to
}

// A connection goes on with what its handler has left, what is unsent, and what came meanwhile, in
// order, and keeps its number, its age, its traffic and its addresses. Who had it is not told of an
// end, but its creator is.
func TestAdoptedConnectionGoesOn(t *testing.T) {
	b := newBench(t)
	old, s := lines(), lines()
	s.data = func(c *CSA, p []byte) int {
		n := strings.LastIndex(string(p), "\n") + 1
		c.Send(p[:n])
		return n
	}
	c, peer := b.tcp(old)
	b.say(c, peer, "one\ntw")
	var a Account
	b.on(func() {
		c.SetAddresses(netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("192.0.2.2:8"))
		c.Want(3)
		a = c.Account()
	})
	b.pass(3 * time.Second)
	moved := b.adopt(c, s, func() { send(t, peer, "o\nthr") })
	wantRead(t, peer, "two\n")
	send(t, peer, "ee\n")
	wantRead(t, peer, "three\n")
	b.on(func() {
		have := moved.Account()
		if have.Number != a.Number || have.Age < 3*time.Second || have.Received != 14 || have.Sent != 10 || !have.Proxied || have.FirstIn != a.FirstIn {
			t.Errorf("it has %+v, and had %+v", have, a)
		}
		if moved.Peer() != "192.0.2.1:7" || moved.Local() != "192.0.2.2:8" || moved.want != 3 {
			t.Errorf("its ends are %s and %s, and it wants %d", moved.Peer(), moved.Local(), moved.want)
		}
		if old.ends != [3]int{0, 1, 1} {
			t.Errorf("who had it was told %v times of its end", old.ends)
		}
	})
	b.wantLog(old, "open", "data one\ntw")
	b.wantLog(s, "data two\nthr", "data three\n")
	_ = peer.CloseWrite()
	wantEOF(t, peer)
	b.ended(s, Orderly)
}

// What the socket has not taken is sent when it is adopted, and a handler whose Send was short
// hears of room.
func TestAdoptedInboxIsSent(t *testing.T) {
	b := newBench(t)
	old := &script{}
	c, peer := b.tcp(old)
	total := 0
	b.on(func() {
		for {
			n, code := c.Send(make([]byte, 50_000))
			total += n
			if code != abi.OK {
				return
			}
		}
	})
	b.until("the socket is full", func() bool { return c.inbox.len() > 0 })
	s := &script{writabl: func(c *CSA) { c.Send([]byte("end")); c.ProducerFinished() }}
	moved := b.adopt(c, s, nil)
	got, err := io.ReadAll(peer)
	if err != nil || len(got) != total+3 || string(got[total:]) != "end" {
		t.Errorf("%d bytes came, %v; want %d", len(got), err, total+3)
	}
	b.wantLog(s, "writable")
	_ = peer.Close()
	b.until("it is over", moved.Over)
}

// While a connection is held still its time stands still: timers and deadlines have left what they
// had.
func TestHeldTimeStandsStill(t *testing.T) {
	b := newBench(t)
	b.set.IdleTimeout, b.set.Lifetime = time.Minute, time.Hour
	old, s := &script{}, &script{}
	c, _ := b.tcp(old)
	b.on(func() {
		c.SetTimer(7, 10*time.Second)
		c.SetTimer(8, 20*time.Second)
		c.SetTimer(9, 5*time.Second)
		c.StopTimer(9)
	})
	b.pass(4 * time.Second)
	moved := b.adopt(c, s, func() { b.pass(2 * time.Hour) })
	b.pass(6*time.Second - 1)
	b.wantLog(s)
	b.pass(1)
	b.wantLog(s, "timer 7")
	b.on(func() { moved.StopTimer(8) })
	b.pass(50*time.Second - 1)
	b.alive(moved, "a moment before it is idle for a minute")
	b.pass(1)
	b.ended(s, IdleTimeout.Reason())
}

// It is the same where it goes on in place, and nobody was told anything.
func TestHeldConnectionGoesOnInPlace(t *testing.T) {
	b := newBench(t)
	b.set.FirstByteTimeout = time.Minute
	s := lines()
	c, peer := b.tcp(s)
	b.on(func() { c.SetTimer(1, 10*time.Second) })
	var h *Held
	b.on(func() { h, _ = c.Freeze() })
	send(t, peer, "a\nb")
	b.pass(time.Hour)
	b.wantLog(s, "open")
	b.on(func() {
		if _, err := c.Freeze(); err == nil {
			t.Error("it is held still twice")
		}
		if err := h.GoOn(); err != nil {
			t.Error(err)
		}
	})
	b.until("it is read", func() bool { return len(s.log) == 2 })
	b.pass(10 * time.Second)
	b.wantLog(s, "open", "data a\nb", "timer 1")
	b.close(c)
}

// A half-closed connection goes on half-closed: the end was told before, or is told where it has
// gone.
func TestAdoptedHalfClose(t *testing.T) {
	b := newBench(t)
	old := &script{eof: func(*CSA) {}}
	c, peer := b.tcp(old)
	_ = peer.CloseWrite()
	b.until("the end is told", func() bool { return c.is(eofTold) })
	s := &script{}
	moved := b.adopt(c, s, nil)
	b.on(func() { moved.Send([]byte("bye")); moved.FinishSending() })
	wantRead(t, peer, "bye")
	wantEOF(t, peer)
	b.ended(s, Orderly)
	b.wantLog(s, "closed")

	s = &script{}
	c, peer = b.tcp(&script{})
	b.adopt(c, s, func() { _ = peer.CloseWrite() })
	wantEOF(t, peer)
	b.ended(s, Orderly)
	b.wantLog(s, "eof", "closed")

	// This side has finished before.
	c, peer = b.tcp(&script{})
	b.on(c.FinishSending)
	wantEOF(t, peer)
	s = &script{}
	moved = b.adopt(c, s, nil)
	send(t, peer, "more")
	b.until("it is read", func() bool { return len(s.log) == 1 })
	_ = peer.CloseWrite()
	b.ended(s, Orderly)
	b.on(func() {
		if !moved.Over() {
			t.Error("it goes on")
		}
	})
}

// A paused connection stays paused where it goes, and one without a window is asked when it
// resumes.
func TestAdoptedPause(t *testing.T) {
	b := newBench(t)
	c, peer := b.tcp(lines())
	b.on(func() { c.Receive(false) })
	s := lines()
	moved := b.adopt(c, s, func() { send(t, peer, "x\n") })
	b.turns()
	b.wantLog(s)
	b.on(func() { moved.Receive(true) })
	b.until("it is read", func() bool { return len(s.log) == 1 })
	b.close(moved)
}

// What ends a connection that is held still has its effect when it goes on, and none if it leaves.
func TestHeldConnectionIsKilled(t *testing.T) {
	b := newBench(t)
	s := &script{}
	c, peer := b.tcp(s)
	b.on(func() {
		h, err := c.Freeze()
		if err != nil {
			t.Error(err)
			return
		}
		c.ShutdownMicroprocess(OperatorClosed.Reason())
		c.ShutdownMicroprocess(HostStopped.Reason())
		c.SetSettings(b.set)
		c.AskBudget()
		if c.Over() {
			t.Error("it is over before it goes on")
		}
		_ = h.GoOn()
	})
	b.ended(s, OperatorClosed.Reason())
	wantEOF(t, peer)
}

// What cannot be held still says why, and goes on.
func TestWhatCannotBeHeldStill(t *testing.T) {
	b := newBench(t)
	cannot := func(c *CSA, want string) {
		t.Helper()
		b.on(func() {
			if h, err := c.Freeze(); err == nil || err.Error() != want {
				t.Errorf("freezing answers %v, want %q", err, want)
				if err == nil {
					_ = h.GoOn()
				}
			}
		})
	}
	var inEvent error
	s := &script{data: func(c *CSA, p []byte) int {
		c.Send([]byte("x"))
		_, inEvent = c.Freeze()
		return len(p)
	}}
	c, peer := b.tcp(s)
	b.say(c, peer, "x")
	b.on(func() {
		if !errors.As(inEvent, new(NotNow)) {
			t.Errorf("in an event freezing answers %v", inEvent)
		}
		c.ProducerFinished()
	})
	cannot(c, "it is ending")
	b.close(c)
	cannot(c, "it has ended")

	secure, _, _ := b.secured(&script{})
	cannot(secure, "it is over TLS")
	b.close(secure)

	w := &wraps{script: &script{}, h: Handshake{Config: serverConfig()}}
	c, _ = b.tcp(w)
	cannot(c, "it is in a TLS handshake")
	b.close(c)

	one, _ := b.tcp(&script{})
	two, _ := b.tcp(&script{})
	b.on(func() { Splice(one, two) })
	cannot(one, "it is relayed")
	b.close(one)
	b.close(two)
}

// While another process has the socket, too, the end of the connection is told to the peer.
func TestAdoptedConnectionEndsThoughOthersHaveIt(t *testing.T) {
	b := newBench(t)
	for _, unsent := range []bool{false, true} {
		c, peer := b.tcp(&script{})
		var from *Held
		s := &script{}
		b.on(func() { from, _ = c.Freeze() })
		var moved *CSA
		b.on(func() {
			h := b.take(from, s, nil)
			_ = h.GoOn()
			moved = h.CSA()
		})
		if unsent {
			b.on(func() {
				for moved.inbox.len() == 0 {
					moved.Send(make([]byte, 50_000))
				}
			})
		}
		b.close(moved)
		_, err := io.Copy(io.Discard, peer)
		if unsent != (err != nil) {
			t.Errorf("the peer sees %v", err)
		}
		b.on(from.Leave)
	}
}

// Who has taken a connection back has it: the other one ends without a trace.
func TestTakenBack(t *testing.T) {
	b := newBench(t)
	old, s := lines(), &script{}
	c, peer := b.tcp(old)
	var mark atomic.Uint32
	var from *Held
	b.on(func() {
		from, _ = c.Freeze()
		_ = b.take(from, s, &mark).GoOn()
	})
	if mark.Load() != 0 {
		t.Error("it is touched, and nothing has happened")
	}
	b.on(func() {
		if !mark.CompareAndSwap(0, 2) {
			t.Error("it is touched")
		}
		_ = from.GoOn()
	})
	send(t, peer, "hello\n")
	b.until("it is read", func() bool { return len(old.log) == 2 })
	b.until("the other one is over", func() bool { return s.ends[2] == 1 })
	b.wantLog(s, "closed")
	b.on(func() { c.Send([]byte("still here")) })
	wantRead(t, peer, "still here")
	b.close(c)

	// And the other way round.
	mark.Store(0)
	c, peer = b.tcp(lines())
	s = lines()
	var moved *CSA
	b.on(func() {
		from, _ = c.Freeze()
		h := b.take(from, s, &mark)
		_ = h.GoOn()
		moved = h.CSA()
	})
	send(t, peer, "hello\n")
	b.until("it is read", func() bool { return len(s.log) == 1 })
	if mark.Load() != 1 {
		t.Error("it is not touched, and was read")
	}
	b.on(from.Leave)
	b.close(moved)
	wantEOF(t, peer)
}

// A tenant without room for what comes refuses it, and holds nothing for it.
func TestAdoptWithoutRoom(t *testing.T) {
	b := newBench(t)
	c, peer := b.tcp(lines())
	b.say(c, peer, "half")
	b.on(func() {
		from, err := c.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		fd, _ := unix.FcntlInt(uintptr(from.Descriptor()), unix.F_DUPFD_CLOEXEC, 0)
		full := &account{}
		full.limit.Store(1)
		if _, err := b.loop.Adopt(from.Record, fd, Wiring{Handler: lines(), Settings: b.set, Budget: full}, nil); err == nil {
			t.Error("it is adopted")
		}
		if full.held.Load() != 0 || full.timers.Load() != 0 {
			t.Error("something is held")
		}
		if err := unix.Close(fd); err == nil {
			t.Error("its descriptor was left open")
		}
		_ = from.GoOn()
	})
	b.close(c)
}
