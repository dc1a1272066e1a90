package csa

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

var (
	tooSilent = FirstByteTimeout.Reason()
	tooSlow   = SlowSender.Reason()
	takesNone = WriteTimeout.Reason()
	takesSlow = SlowReader.Reason()
)

// pass lets time go by, and has what is due happen.
func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	b.clock.Advance(d)
	b.turns()
}

// passSlowly is pass in steps, as in life: whether a peer takes something is looked at
// every quarter of WriteTimeout.
func (b *bench) passSlowly(d time.Duration) {
	b.t.Helper()
	for ; d > 0; d -= 5 * time.Second {
		b.pass(5 * time.Second)
	}
}

func (b *bench) alive(c *CSA, when string) {
	b.t.Helper()
	b.on(func() {
		if c.Over() {
			b.t.Errorf("%s it is over: %v", when, c.reason)
		}
	})
}

func (b *bench) hasEnded(c *CSA) (over bool) {
	b.t.Helper()
	b.on(func() { over = c.Over() })
	return over
}

// close ends a connection that a test is done with.
func (b *bench) close(c *CSA) {
	b.on(func() { c.ShutdownMicroprocess(Orderly) })
}

// lines is a handler that consumes whole lines and leaves the rest.
func lines() *script {
	s := &script{window: make([]byte, 1<<20)}
	s.data = func(_ *CSA, p []byte) int { return bytes.LastIndexByte(p, '\n') + 1 }
	return s
}

// say sends bytes and waits until they were read.
func (b *bench) say(c *CSA, w io.Writer, text string) {
	b.t.Helper()
	var before int64
	b.on(func() { before = c.received })
	send(b.t, w, text)
	b.until("it is read", func() bool { return c.received-before >= int64(len(text)) || c.Over() })
}

func TestFirstByteTimeout(t *testing.T) {
	b := newBench(t)
	b.set.FirstByteTimeout, b.set.IdleTimeout = time.Minute, 5*time.Minute
	s := &script{}
	c, _ := b.tcp(s)
	b.pass(time.Minute - 1)
	b.alive(c, "a moment early")
	b.pass(1)
	b.ended(s, tooSilent)

	// A byte just before the end will do, and then the idle timeout is what holds.
	s = &script{}
	c, peer := b.tcp(s)
	b.pass(time.Minute - 1)
	b.say(c, peer, "x")
	b.pass(5*time.Minute - 1)
	b.alive(c, "not yet idle")
	b.pass(1)
	b.ended(s, IdleTimeout.Reason())

	// One that finishes without a word has its handler's answer to that.
	s = &script{eof: func(*CSA) {}}
	c, peer = b.tcp(s)
	_ = peer.CloseWrite()
	b.until("eof", func() bool { return len(s.log) == 2 })
	b.pass(2 * time.Minute)
	b.alive(c, "after the end")
	b.close(c)
}

// A handler that speaks first has a peer that may listen, as long as bytes move.
func TestFirstByteTimeoutIsNotForThoseWhoSpeakFirst(t *testing.T) {
	b := newBench(t)
	b.set.FirstByteTimeout, b.set.IdleTimeout = time.Minute, 5*time.Minute
	s := &script{open: func(c *CSA) { c.Send([]byte("220 hello\r\n")) }}
	c, peer := b.tcp(s)
	wantRead(t, peer, "220 hello\r\n")
	for range 5 {
		b.pass(4 * time.Minute)
		b.alive(c, "listening")
		b.on(func() { c.Send([]byte("tick")) })
		wantRead(t, peer, "tick")
	}
	b.close(c)
	b.ended(s, Orderly)
}

// While the handler does not read, the peer cannot be blamed for saying nothing, and what
// was left of its time is left afterwards.
func TestFirstByteTimeoutStandsStill(t *testing.T) {
	b := newBench(t)
	b.set.FirstByteTimeout = time.Minute
	s := &script{}
	c, _ := b.tcp(s)
	b.pass(20 * time.Second)
	b.on(func() { c.Receive(false) })
	b.pass(10 * time.Minute)
	b.alive(c, "paused")
	b.on(func() { c.Receive(true) })
	b.pass(40*time.Second - 1)
	b.alive(c, "a moment early")
	b.pass(1)
	b.ended(s, tooSilent)
}

func TestLifetime(t *testing.T) {
	b := newBench(t)
	b.set.Lifetime, b.set.IdleTimeout, b.set.FirstByteTimeout = time.Hour, 5*time.Minute, time.Minute
	s := &script{data: echo}
	c, peer := b.tcp(s)
	for range 15 {
		b.say(c, peer, "x")
		wantRead(t, peer, "x")
		b.pass(4*time.Minute - 1)
	}
	b.alive(c, "a moment early")
	b.pass(15)
	b.ended(s, Lifetime.Reason())
}

// A line that comes a byte at a time has a minute, and a second more for every MinRate bytes.
func TestMinRateIn(t *testing.T) {
	b := newBench(t)
	b.set.MinRate, b.set.IdleTimeout = 100, 5*time.Minute
	s := lines()
	c, peer := b.tcp(s)
	b.pass(4 * time.Minute)
	b.alive(c, "owing nothing")
	for range 7 { // owing from the first; six more are worth 60 ms
		b.say(c, peer, "x")
		b.pass(9 * time.Second)
	}
	b.ended(s, tooSlow)

	s = lines()
	c, peer = b.tcp(s)
	b.say(c, peer, "x")
	b.pass(time.Minute - 1)
	b.alive(c, "a moment early")
	b.say(c, peer, "x") // 10 ms
	b.pass(10 * time.Millisecond)
	b.alive(c, "a moment early")
	b.pass(1)
	b.ended(s, tooSlow)

	// Fast enough, it may take for ever.
	s = lines()
	c, peer = b.tcp(s)
	for range 100 {
		b.say(c, peer, string(make([]byte, 1000)))
		b.pass(9 * time.Second)
	}
	b.alive(c, "fast enough")
	// What it had been faster is not kept for later: a minute, and no more.
	b.say(c, peer, string(make([]byte, 30_000)))
	b.pass(time.Minute - 1)
	b.alive(c, "a moment early")
	b.pass(1)
	b.ended(s, leftUnconsumed(130_000, 0))
}

// People who type slowly, in lines or even in letters, are not hit, nor is a connection that
// is kept open between messages.
func TestMinRateIsForMessages(t *testing.T) {
	b := newBench(t)
	b.set.MinRate, b.set.IdleTimeout = 100, 5*time.Minute
	s := lines()
	c, peer := b.tcp(s)
	for range 20 {
		b.say(c, peer, "he")
		b.pass(25 * time.Second)
		b.say(c, peer, "llo\nhal") // the next line begins, and so does its time
		b.pass(50 * time.Second)
		b.say(c, peer, "lo\n")
		b.pass(4 * time.Minute)
	}
	b.alive(c, "typing")
	// An unmet want is a debt when its first byte has come, not before.
	b.say(c, peer, "hello\n")
	b.on(func() { c.Want(10) })
	b.pass(4 * time.Minute)
	b.alive(c, "nothing has begun")
	b.say(c, peer, "12345")
	b.pass(time.Minute)
	b.ended(s, leftUnconsumed(5, 10))
}

// Whoever holds things up otherwise than by being slow costs the peer no time.
func TestMinRateStandsStill(t *testing.T) {
	b := newBench(t)
	b.set.MinRate, b.set.Inbox = 100, 4096
	for name, hold := range map[string]struct {
		steps      int // of 30 s
		begin, end func(c *CSA, s *script, peer net.Conn)
	}{
		"paused": {10,
			func(c *CSA, _ *script, _ net.Conn) { b.on(func() { c.Receive(false) }) },
			func(c *CSA, _ *script, _ net.Conn) { b.on(func() { c.Receive(true) }) },
		},
		"no window": {10,
			func(c *CSA, s *script, peer net.Conn) {
				b.on(func() { s.none = true })
				send(t, peer, "y")
				b.until("it has none", func() bool { return c.is(full) })
			},
			func(c *CSA, s *script, _ net.Conn) { b.on(func() { s.none = false; c.Offer() }) },
		},
		"bandwidth": {10,
			func(c *CSA, _ *script, peer net.Conn) {
				b.acct.waitIn.Store(int64(time.Second))
				send(t, peer, "y")
				b.until("it is slowed down", func() bool { return c.is(slowIn) })
			},
			func(c *CSA, _ *script, _ net.Conn) {
				b.acct.waitIn.Store(0)
				b.clock.Advance(time.Second)
				b.until("it goes on", func() bool { return !c.is(slowIn) })
			},
		},
		"answer": {1, // it could not send, and takes no more until it can
			func(c *CSA, _ *script, peer net.Conn) {
				b.on(func() {
					for {
						if n, _ := c.Send(make([]byte, 4096)); n < 4096 {
							return
						}
					}
				})
			},
			func(c *CSA, _ *script, peer net.Conn) {
				go func() { _, _ = io.Copy(io.Discard, peer) }()
				b.until("it can send", func() bool { return !c.is(blocked) })
			},
		},
	} {
		s := lines()
		c, peer := b.tcp(s)
		b.say(c, peer, "xx")
		b.pass(20 * time.Second)
		hold.begin(c, s, peer)
		for range hold.steps {
			b.pass(30 * time.Second)
		}
		b.alive(c, name)
		left := 2
		if name == "no window" || name == "bandwidth" {
			left = 3 // with the y
		}
		hold.end(c, s, peer)
		b.until("all it has sent is there", func() bool { return c.unconsumed.len() == left })
		b.pass(35 * time.Second)
		b.alive(c, name+", a while after")
		b.pass(10 * time.Second)
		b.ended(s, leftUnconsumed(left, 0))
	}
}

// A call that has passed the loop on has all the time it takes.
func TestMinRateAndBackgroundCalls(t *testing.T) {
	b := newBench(t)
	b.set.MinRate = 100
	release := make(chan struct{})
	s := &script{}
	c, peer := b.tcp(s)
	b.on(func() {
		s.data = func(c *CSA, p []byte) int {
			held := bytes.Clone(p)
			if len(p) < 2 {
				return 0
			}
			c.Loop().Pass()
			<-release
			c.Loop().Post(func() { c.Consumed(held, 0) })
			runtime.Goexit()
			return 0
		}
	})
	b.say(c, peer, "x")
	b.pass(50 * time.Second)
	b.say(c, peer, "y")
	b.until("it is under way", func() bool { return c.pendingData != nil })
	b.pass(10 * time.Minute)
	b.alive(c, "while its handler thinks")
	close(release)
	b.until("it is over", func() bool { return c.pendingData == nil })
	b.pass(10 * time.Second)
	b.alive(c, "a while after")
	b.pass(time.Second)
	b.ended(s, leftUnconsumed(2, 0))
}

// fills has a connection whose peer does not read, and bytes that wait for it.
func (b *bench) fills(s *script) (*CSA, *net.TCPConn) {
	b.t.Helper()
	c, peer := b.tcp(s)
	_ = peer.SetReadBuffer(64 << 10)
	b.fill(c)
	return c, peer
}

// fill has bytes wait for the peer.
func (b *bench) fill(c *CSA) {
	b.t.Helper()
	b.until("bytes wait", func() bool {
		for !c.is(blocked) && !c.Over() {
			c.Send(make([]byte, 64<<10))
		}
		return c.Over() || c.behind != nil && c.behind.state == runs
	})
	b.settled(c)
}

// settled waits until the kernel moves nothing any more, as far as can be told.
func (b *bench) settled(c *CSA) {
	b.t.Helper()
	var last int64
	since := time.Now()
	b.until("the kernel is done", func() bool {
		if now := c.takenNow(); now != last {
			last, since = now, time.Now()
		}
		b.taken = last
		return time.Since(since) > 50*time.Millisecond
	})
}

// endsUntaken lets d go by, in which a WriteTimeout of a minute has to end the connection of a peer
// that takes nothing. A busy machine's kernel may move something long after [bench.settled] has
// seen it still, and has the time begin again: then as much goes by as has to be enough from there.
func (b *bench) endsUntaken(c *CSA, s *script, d time.Duration) {
	b.t.Helper()
	moved := func() (moved bool) {
		b.on(func() {
			if moved = !c.Over() && c.takenNow() != b.taken; moved {
				b.taken = c.takenNow()
			}
		})
		return moved
	}
	for b.passSlowly(d); moved(); {
		b.passSlowly(75 * time.Second)
	}
	b.ended(s, takesNone)
}

// takes has the peer read n bytes, and waits until its kernel has said so.
func (b *bench) takes(c *CSA, peer net.Conn, n int) {
	b.t.Helper()
	var before int64
	b.on(func() { before = c.takenNow() })
	if _, err := io.ReadFull(peer, make([]byte, n)); err != nil {
		b.t.Fatal(err)
	}
	b.until("it is acknowledged", func() bool { return c.Over() || c.takenNow() > before })
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.set.WriteTimeout = time.Minute
	s := &script{}
	c, peer := b.fills(s)
	b.pass(59 * time.Second)
	b.alive(c, "early")
	for range 20 { // taking something now and then, though the socket says nothing of it
		b.takes(c, peer, 200_000)
		b.fill(c)
		b.pass(50 * time.Second)
		b.alive(c, "taking some")
	}
	b.endsUntaken(c, s, 75*time.Second)

	// A half-close changes nothing: it has finished sending, and has still to take.
	s = &script{eof: func(c *CSA) { c.FinishSending() }}
	c, peer = b.fills(s)
	_ = peer.CloseWrite()
	b.until("eof", func() bool { return s.log[len(s.log)-1] == "eof" })
	b.pass(59 * time.Second)
	b.alive(c, "early")
	b.endsUntaken(c, s, 75*time.Second)

	// One that takes all of it has no deadline any more.
	s = &script{}
	c, peer = b.fills(s)
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	b.until("nothing waits", func() bool { return !c.unsent() && c.behind.state == unset })
	b.pass(time.Hour)
	b.alive(c, "with nothing to take")
	b.close(c)
}

// Whoever takes what waits, but slowly, has a minute and what its bytes are worth.
func TestMinRateOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.set.MinRate = 100_000
	s := &script{}
	c, peer := b.fills(s)
	for range 15 { // 10 s are worth a MB
		b.takes(c, peer, 1_100_000)
		b.fill(c)
		b.pass(10 * time.Second)
		b.alive(c, "fast enough")
	}
	for range 10 { // whenever nothing waits, a minute begins: that is once, at most
		if !b.hasEnded(c) {
			b.takes(c, peer, 100_000)
			b.fill(c)
		}
		b.pass(20 * time.Second)
	}
	b.ended(s, takesSlow)
}

// The tenant's bandwidth, used up, is not the peer's fault.
func TestWaitingForBandwidthIsNotThePeersFault(t *testing.T) {
	b := newBench(t)
	b.set.WriteTimeout, b.set.MinRate = time.Minute, 100
	s := &script{}
	b.acct.waitOut.Store(int64(time.Second))
	c, peer := b.tcp(s)
	b.on(func() { c.Send([]byte("hello")) })
	for range 300 {
		b.pass(time.Second)
	}
	b.alive(c, "without bandwidth")
	b.acct.waitOut.Store(0)
	b.pass(time.Second)
	wantRead(t, peer, "hello")
	b.close(c)
	b.ended(s, Orderly)

	// The same of a peer that was slow before.
	s = &script{}
	c, peer = b.fills(s)
	b.pass(40 * time.Second)
	b.acct.waitOut.Store(int64(time.Second))
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(io.Discard, peer) }()
	b.until("it is slowed down", func() bool { return c.is(slowOut) })
	for range 300 {
		b.pass(time.Second)
	}
	b.alive(c, "without bandwidth")
	b.acct.waitOut.Store(0)
	b.pass(time.Second)
	b.until("nothing waits", func() bool { return !c.unsent() })
	b.close(c)
	b.ended(s, Orderly)
	<-drained
}

// secured is a connection whose TLS is up, and its peer, which can also write in the raw.
func (b *bench) secured(s *script) (*CSA, *tls.Conn, *net.TCPConn) {
	b.t.Helper()
	w := &wraps{script: s, h: Handshake{Config: serverConfig()}}
	c, peer := b.tcp(w)
	conn := tls.Client(peer, clientConfig())
	if err := conn.Handshake(); err != nil {
		b.t.Fatal(err)
	}
	b.until("it is up", func() bool { return c.isSecure() })
	return c, conn, peer
}

// holdBack keeps what is written to it.
type holdBack struct {
	net.Conn
	b bytes.Buffer
}

func (h *holdBack) Write(p []byte) (int, error) { return h.b.Write(p) }

// The first byte is one inside of TLS; the handshake has its own time before it.
func TestTLSFirstByteTimeout(t *testing.T) {
	b := newBench(t)
	b.set.FirstByteTimeout = time.Minute
	s := &script{}
	w := &wraps{script: s, h: Handshake{Config: serverConfig()}}
	c, peer := b.tcp(w)
	b.pass(9 * time.Second)
	if err := tls.Client(peer, clientConfig()).Handshake(); err != nil {
		t.Fatal(err)
	}
	b.until("it is up", func() bool { return c.isSecure() })
	b.pass(time.Minute - 1)
	b.alive(c, "a moment early")
	b.pass(1)
	b.ended(s, tooSilent)

	s = &script{}
	c, conn, _ := b.secured(s)
	b.pass(time.Minute - 1)
	b.say(c, conn, "x")
	b.pass(time.Hour)
	b.alive(c, "having spoken")
	b.close(c)
	b.ended(s, Reason{})
}

// A record that never becomes whole is something begun, though no handler sees a byte of
// it. Records that do, each in its time, are not.
func TestTLSTrickle(t *testing.T) {
	b := newBench(t)
	b.set.MinRate, b.set.IdleTimeout, b.set.FirstByteTimeout = 100, 5*time.Minute, time.Minute
	held := &holdBack{}
	begin := func(s *script) (*CSA, *tls.Conn) {
		w := &wraps{script: s, h: Handshake{Config: serverConfig()}}
		c, peer := b.tcp(w)
		through := &through{Conn: peer}
		conn := tls.Client(through, clientConfig())
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		b.until("it is up", func() bool { return c.isSecure() })
		held.Conn = peer
		through.hold = held
		return c, conn
	}
	s := &script{window: make([]byte, 64<<10)}
	c, conn := begin(s)
	for range 8 {
		b.pass(4 * time.Minute / 8)
		send(t, conn, "whole")
		b.say(c, held.Conn, held.b.String())
		held.b.Reset()
	}
	b.pass(4 * time.Minute)
	b.alive(c, "owing nothing")
	send(t, conn, string(make([]byte, 2000)))
	for n := range 7 {
		b.say(c, held.Conn, string(held.b.Bytes()[n:n+1]))
		b.pass(9 * time.Second)
	}
	b.ended(s, tooSlow)

	// A long upload: it is in the midst of some record whenever one looks, and each is a
	// beginning of its own.
	held.b.Reset()
	s = &script{window: make([]byte, 64<<10)}
	c, conn = begin(s)
	for range 20 {
		send(t, conn, string(make([]byte, 1000)))
		p := held.b.Bytes()
		b.say(c, held.Conn, string(p[:len(p)-500]))
		held.b.Next(len(p) - 500)
		b.pass(50 * time.Second)
	}
	b.alive(c, "record by record")
	b.close(c)
	b.ended(s, Reason{})
}

// through writes to the connection, or, when it is there, to hold.
type through struct {
	net.Conn
	first, hold io.Writer // first is where all but the first write goes
}

func (t *through) Write(p []byte) (int, error) {
	if t.hold != nil {
		return t.hold.Write(p)
	}
	if t.first != nil {
		t.hold = t.first
	}
	return t.Conn.Write(p)
}

// A relay has a peer that does not take what comes, or hardly, on either way through it.
func TestSpliceSlowReader(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		for name, set := range map[string]Settings{"none": {WriteTimeout: time.Minute}, "slow": {MinRate: 50_000}} {
			j := newJoined(t)
			*j.set = set
			_ = j.pb.SetReadBuffer(64 << 10)
			j.splice()
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				size := 1000
				if bulk {
					size = 1 << 20
				}
				for {
					if _, err := j.pa.Write(make([]byte, size)); err != nil {
						return
					}
				}
			}()
			j.until("its clock runs", func() bool { return j.cb.behind != nil && j.cb.behind.state == runs })
			j.settled(j.cb)
			j.on(func() {
				if !j.cb.unsent() || bulk && j.cb.inbox.len() == 0 && !j.cb.transport.holds() {
					t.Error("nothing waits")
				}
			})
			j.pass(50 * time.Second)
			j.alive(j.cb, "early")
			for range 10 {
				if name == "slow" && !j.hasEnded(j.cb) {
					j.takes(j.cb, j.pb, 200_000)
					j.settled(j.cb)
				}
				j.pass(10 * time.Second)
			}
			j.gone()
			<-stop
			want := takesNone
			if name == "slow" {
				want = takesSlow
			}
			j.wantReason(j.cb, want)
			j.wantReason(j.ca, RelayEnded.With(want.Code, "the other end of its relay ended: "+want.Why))
		}
	}
}

// One that trickles a TLS record into a relay is cut as well; what it sends whole is its
// upstream's to judge.
func TestSpliceTrickle(t *testing.T) {
	b := newBench(t)
	b.set.MinRate, b.set.IdleTimeout = 100, 5*time.Minute
	ca, _, peer := b.secured(&script{})
	cb, up := b.tcp(&script{})
	b.on(func() { Splice(ca, cb) })
	for range 9 {
		b.say(cb, up, "x") // in the clear, a byte a minute
		b.pass(time.Minute)
		b.alive(cb, "byte by byte")
	}
	for _, x := range []byte("\x17\x03\x03\x00\xff\x00\x00") {
		b.say(ca, peer, string(x))
		b.pass(9 * time.Second)
	}
	b.until("both are gone", func() bool { return b.loop.Len() == 0 })
	b.on(func() {
		if ca.reason != tooSlow {
			t.Errorf("it ended with %v", ca.reason)
		}
	})
}

// A record of every length, in pieces of every length.
func TestRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var stream []byte
		whole := make(map[int]bool) // after how many bytes no record is under way
		for range 20 {
			n := []int{0, 1, 255, 256, 16 << 10, rng.IntN(17 << 10)}[rng.IntN(6)]
			stream = append(stream, 23, 3, 3, byte(n>>8), byte(n))
			stream = append(stream, make([]byte, n)...)
			whole[len(stream)] = true
		}
		var r records
		for at := 0; at < len(stream); {
			n := min(len(stream)-at, 1+rng.IntN([]int{1, 7, 5000, 40_000}[rng.IntN(4)]))
			completes := false
			for k := at + 1; k <= at+n; k++ {
				completes = completes || whole[k]
			}
			r.see(stream[at : at+n])
			at += n
			if r.partial() == whole[at] || r.complete != completes {
				t.Fatalf("after %d bytes: partial %v, complete %v", at, r.partial(), r.complete)
			}
			r.complete = false
		}
	}
}
