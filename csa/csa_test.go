package csa

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/awaittest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// script is a handler that does what a test says and writes down what it was
// told.
type script struct {
	window  []byte
	none    bool // it has no window
	open    func(c *CSA)
	data    func(c *CSA, p []byte) int
	writabl func(c *CSA)
	eof     func(c *CSA)
	timer   func(c *CSA, token int32)
	log     []string
	reason  Reason
	ends    [3]int // Closed, SocketShutdown, ShutdownCSA
}

func (s *script) Open(c *CSA) {
	s.log = append(s.log, "open")
	if s.open != nil {
		s.open(c)
	}
}

func (s *script) Window(*CSA) []byte {
	if s.none {
		return nil
	}
	if s.window == nil {
		s.window = make([]byte, 4096)
	}
	return s.window
}

func (s *script) Data(c *CSA, p []byte) int {
	s.log = append(s.log, "data "+string(p))
	if s.data != nil {
		return s.data(c, p)
	}
	return len(p)
}

func (s *script) Writable(c *CSA) {
	s.log = append(s.log, "writable")
	if s.writabl != nil {
		s.writabl(c)
	}
}

func (s *script) Secured(_ *CSA, code abi.Code) {
	s.log = append(s.log, fmt.Sprint("secured ", code))
}

func (s *script) EOF(c *CSA) {
	s.log = append(s.log, "eof")
	if s.eof != nil {
		s.eof(c)
	} else {
		c.ProducerFinished()
	}
}

func (s *script) Timer(c *CSA, token int32) {
	s.log = append(s.log, fmt.Sprint("timer ", token))
	if s.timer != nil {
		s.timer(c, token)
	}
}

func (s *script) Closed(c *CSA, r Reason) {
	s.log = append(s.log, "closed")
	s.reason = r
	s.ends[0]++
}

func (s *script) SocketShutdown(c *CSA, r Reason) { s.ends[1]++ }
func (s *script) ShutdownCSA(c *CSA)              { s.ends[2]++ }

// account is a budget that counts, and may be bounded.
type account struct {
	held, limit     atomic.Int64
	waitIn, waitOut atomic.Int64
	waitAfter       atomic.Int64 // once, when bytes have come
	timers          atomic.Int64
	booked, rest    atomic.Int64
}

func (a *account) Book(ns int64)  { a.booked.Add(ns) }
func (a *account) CPUWait() int64 { return a.rest.Load() }

func (a *account) Reserve(n int) bool {
	if l := a.limit.Load(); l != 0 && a.held.Load()+int64(n) > l {
		return false
	}
	a.held.Add(int64(n))
	return true
}
func (a *account) Release(n int)       { a.held.Add(-int64(n)) }
func (a *account) ReserveTimer() bool  { return a.timers.Add(1) <= 1000 }
func (a *account) ReleaseTimers(n int) { a.timers.Add(-int64(n)) }
func (a *account) Received(n int, _ int64) int64 {
	if n > 0 && a.waitAfter.Load() > 0 {
		return a.waitAfter.Swap(0)
	}
	return a.waitIn.Load()
}
func (a *account) Sent(n int, _ int64) int64 { return a.waitOut.Load() }

// bench is a running loop with a manual clock.
type bench struct {
	t     testing.TB
	loop  *Loop
	clock *selector.Manual
	acct  *account
	set   *Settings
	taken int64 // what the peer had taken when the kernel had settled
}

func newBench(t testing.TB) *bench {
	t.Helper()
	clock := &selector.Manual{}
	sel, err := selector.New(selector.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, loop: NewLoop(sel), clock: clock, acct: &account{}, set: &Settings{Linger: 10 * time.Second}}
	b.loop.kernel = timeless{b.loop.kernel} // its clock is not ours
	go sel.Run()
	t.Cleanup(func() {
		b.on(func() {
			if n := b.loop.Len(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
			b.loop.Each(func(c *CSA) { c.ShutdownMicroprocess(Orderly) })
		})
		if held := b.acct.held.Load(); held != 0 {
			t.Errorf("%d bytes of buffers are still held", held)
		}
		if n := b.acct.timers.Load(); n != 0 {
			t.Errorf("%d timers are still held", n)
		}
		sel.Stop()
		<-sel.Done()
	})
	return b
}

// timeless is a kernel that says nothing of what a socket holds when the connection's timer asks:
// when the peer's system acknowledges something is not on the tests' clock.
type timeless struct{ kernel }

func (timeless) look(int, *peerInfo) {}

func (b *bench) on(f func()) {
	b.t.Helper()
	done := make(chan struct{})
	// In a post of its own: f may call a handler that passes the loop on.
	if !b.loop.Post(f) || !b.loop.Post(func() { close(done) }) {
		b.t.Fatal("the loop has stopped")
	}
	<-done
}

// until waits for a condition on the loop.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	awaittest.Until(b.t, what, func() (ok bool) {
		b.on(func() { ok = cond() })
		return ok
	})
}

func (b *bench) turns() {
	for range 4 {
		b.on(func() {})
	}
}

func (b *bench) wire(fd int, h Handler) *CSA {
	b.t.Helper()
	var c *CSA
	b.on(func() {
		w := Wiring{Handler: h, Settings: b.set, Budget: b.acct}
		w.Creator, _ = h.(Creator)
		w.Signal, _ = h.(Signal)
		if _, err := b.loop.NewCSA(fd, netip.AddrPort{}, w); err != nil {
			b.t.Error(err)
		}
	})
	b.on(func() { c = b.loop.first }) // the newest
	return c
}

// tcp wires a handler to one end of a TCP connection and returns the other.
func (b *bench) tcp(h Handler) (*CSA, *net.TCPConn) {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { peer.Close() })
	ours, err := ln.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	defer ours.Close()
	return b.wire(dup(b.t, ours.(*net.TCPConn)), h), peer.(*net.TCPConn)
}

func dup(t testing.TB, conn *net.TCPConn) (fd int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(have uintptr) {
		fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil || fd < 0 {
		t.Fatal(err)
	}
	return fd
}

// records wires a handler to a socket that keeps the bounds of every write,
// so that system calls can be counted from the other end.
func (b *bench) records(h Handler) (c *CSA, peer int) {
	b.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		b.t.Skip("no SOCK_SEQPACKET on this system: ", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { unix.Close(fds[1]) })
	return b.wire(fds[0], h), fds[1]
}

func (b *bench) ended(s *script, want Reason) {
	b.t.Helper()
	b.until("the connection ends", func() bool { return s.ends[2] > 0 })
	b.turns()
	b.on(func() {
		if s.ends != [3]int{1, 1, 1} {
			b.t.Errorf("Closed, SocketShutdown, ShutdownCSA were called %v times; want once each", s.ends)
		}
		if s.reason.Code != want.Code || want.Why != "" && s.reason.Why != want.Why {
			b.t.Errorf("it died of %v, want %v", s.reason, want)
		}
		if last := s.log[len(s.log)-1]; last != "closed" {
			b.t.Errorf("%q came after closed", last)
		}
	})
}

func (b *bench) wantLog(s *script, want ...string) {
	b.t.Helper()
	b.on(func() {
		if have := strings.Join(s.log, "|"); have != strings.Join(want, "|") {
			b.t.Errorf("the handler was told\n %s\nwant\n %s", have, strings.Join(want, "|"))
		}
	})
}

func send(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	have := make([]byte, len(want))
	if _, err := io.ReadFull(r, have); err != nil || string(have) != want {
		t.Fatalf("read %q, %v; want %q", have, err, want)
	}
}

func wantEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

func echo(c *CSA, p []byte) int { n, _ := c.Send(p); return n }

func TestEchoAndOrderlyEnd(t *testing.T) {
	b := newBench(t)
	s := &script{data: echo}
	_, peer := b.tcp(s)
	send(t, peer, "hello")
	wantRead(t, peer, "hello")
	peer.CloseWrite()
	wantEOF(t, peer)
	b.ended(s, Orderly)
	b.wantLog(s, "open", "data hello", "eof", "closed")
}

func TestSendsOfOneEventLeaveInOneSystemCall(t *testing.T) {
	b := newBench(t)
	s := &script{data: func(c *CSA, p []byte) int {
		for _, word := range []string{"one ", "two ", "three"} {
			if n, code := c.Send([]byte(word)); n != len(word) || code != abi.OK {
				t.Errorf("Send: %d, %v", n, code)
			}
		}
		return len(p)
	}}
	c, peer := b.records(s)
	if _, err := unix.Write(peer, []byte("x")); err != nil {
		t.Fatal(err)
	}
	var buf [64]byte
	n, err := unix.Read(peer, buf[:])
	if err != nil || string(buf[:n]) != "one two three" {
		t.Errorf("the first write was %q, %v", buf[:n], err)
	}
	b.on(func() { c.ShutdownMicroprocess(Orderly) })
}

func TestALongSendIsWrittenWhereItStands(t *testing.T) {
	b := newBench(t)
	long := bytes.Repeat([]byte("x"), direct)
	var heldInEvent int64
	s := &script{data: func(c *CSA, p []byte) int {
		c.Send(long)
		heldInEvent = b.acct.held.Load()
		return len(p)
	}}
	_, peer := b.tcp(s)
	send(t, peer, "go")
	wantRead(t, peer, string(long))
	b.on(func() {
		if heldInEvent != 0 {
			t.Errorf("%d bytes were buffered though the socket had room", heldInEvent)
		}
	})
	peer.CloseWrite()
	b.ended(s, Orderly)
}

// With InboxOnly a Send is as short as the inbox is small, though the socket has room, and Writable
// follows.
func TestInboxOnly(t *testing.T) {
	b := newBench(t)
	b.set.Inbox, b.set.InboxOnly = 5, true
	rest := bytes.Repeat([]byte("0123456789"), direct/5)
	want := string(rest)
	var most int
	pump := func(c *CSA) {
		n, _ := c.Send(rest)
		rest, most = rest[n:], max(most, n)
		if len(rest) == 0 {
			c.ProducerFinished()
		}
	}
	s := &script{open: pump, writabl: pump}
	_, peer := b.tcp(s)
	wantRead(t, peer, want)
	peer.CloseWrite()
	b.ended(s, Orderly)
	if most != 5 {
		t.Errorf("a send took %d bytes, of an inbox of 5", most)
	}
}

// A peer that does not read: the inbox fills and no further, Send answers
// AGAIN, Writable comes once there is room, and not a byte is lost.
func TestBoundedInbox(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 32 << 10
	var sent, hash = 0, sha256.New()
	pattern := make([]byte, 3000)
	for i := range pattern {
		pattern[i] = byte(i * 7)
	}
	const total = 64 << 20
	pump := func(c *CSA) {
		for sent < total {
			n, code := c.Send(pattern)
			hash.Write(pattern[:n])
			sent += n
			if c.inbox.len() > b.set.Inbox {
				t.Errorf("the inbox holds %d", c.inbox.len())
			}
			if code == abi.Again {
				return
			}
			if code != abi.OK {
				t.Errorf("Send: %v", code)
				return
			}
		}
		c.ProducerFinished()
	}
	s := &script{open: pump, writabl: pump}
	c, peer := b.tcp(s)
	b.until("the inbox is full", func() bool { return c.is(blocked) })
	if held := b.acct.held.Load(); held > 64<<10 {
		t.Errorf("%d bytes are held for an inbox of 32 KiB", held)
	}
	there := sha256.New()
	if _, err := io.Copy(there, peer); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	b.ended(s, Orderly)
	if !bytes.Equal(there.Sum(nil), hash.Sum(nil)) {
		t.Error("the peer did not get what was sent")
	}
}

// A handler that cannot send and so does not consume stops the reading.
func TestSlowReaderStopsTheReading(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 8 << 10
	s := &script{data: echo, window: make([]byte, 4096)}
	c, peer := b.tcp(s)
	_ = peer.SetWriteDeadline(awaittest.Deadline())
	var wrote atomic.Int64
	writing := make(chan struct{})
	src := rand.New(rand.NewPCG(3, 4))
	sum := sha256.New()
	go func() {
		defer close(writing)
		buf := make([]byte, 5000)
		for wrote.Load() < 32<<20 {
			for i := range buf {
				buf[i] = byte(src.Uint32())
			}
			n, err := peer.Write(buf)
			if err != nil {
				t.Error(err)
				return
			}
			sum.Write(buf[:n])
			wrote.Add(int64(n))
		}
		peer.CloseWrite()
	}()
	b.until("both directions are stuck", func() bool { return c.is(blocked) && !c.d.Reading() })
	if held := b.acct.held.Load(); held > 16<<10+8<<10 {
		t.Errorf("%d bytes are held", held)
	}
	there := sha256.New()
	if _, err := io.Copy(there, peer); err != nil {
		t.Fatal(err)
	}
	<-writing
	b.ended(s, Orderly)
	if !bytes.Equal(there.Sum(nil), sum.Sum(nil)) {
		t.Error("the echo differs")
	}
}

func TestUnconsumedRestComesAgainWithMoreBehindIt(t *testing.T) {
	b := newBench(t)
	s := &script{}
	// It takes whole lines only.
	s.data = func(c *CSA, p []byte) int { return bytes.LastIndexByte(p, '\n') + 1 }
	_, peer := b.tcp(s)
	for _, piece := range []struct{ send, told string }{
		{"one\ntw", "data one\ntw"}, {"o", "data two"}, {"\nthr", "data two\nthr"},
	} {
		send(t, peer, piece.send)
		b.until(piece.told, func() bool { return s.log[len(s.log)-1] == piece.told })
	}
	peer.CloseWrite()
	b.ended(s, Orderly)
	b.wantLog(s, "open", "data one\ntw", "data two", "data two\nthr", "data thr", "eof", "closed")
}

func TestPauseAndResume(t *testing.T) {
	b := newBench(t)
	s := &script{}
	s.data = func(c *CSA, p []byte) int { c.Receive(false); return 1 }
	c, peer := b.tcp(s)
	send(t, peer, "abc")
	b.until("data", func() bool { return len(s.log) == 2 })
	send(t, peer, "def")
	peer.CloseWrite()
	b.turns()
	b.wantLog(s, "open", "data abc")
	b.on(func() { c.Receive(true) })
	b.until("the rest", func() bool { return len(s.log) == 3 })
	b.turns()
	b.on(func() { s.data = nil; c.Receive(true) })
	b.ended(s, Orderly)
	b.wantLog(s, "open", "data abc", "data bcdef", "data cdef", "eof", "closed")
}

func TestWant(t *testing.T) {
	b := newBench(t)
	s := &script{open: func(c *CSA) { c.Want(6) }}
	_, peer := b.tcp(s)
	for _, piece := range []string{"a", "bc", "de"} {
		send(t, peer, piece)
		b.turns()
	}
	b.wantLog(s, "open")
	send(t, peer, "f")
	b.until("six bytes", func() bool { return len(s.log) == 2 })
	send(t, peer, "gh")
	peer.CloseWrite() // the end: what there is comes, short as it is
	b.ended(s, Orderly)
	b.wantLog(s, "open", "data abcdef", "data gh", "eof", "closed")
}

func TestFullWindowOfAHandlerThatTakesNothing(t *testing.T) {
	b := newBench(t)
	b.set.IdleTimeout = time.Minute
	s := &script{window: make([]byte, 4), data: func(*CSA, []byte) int { return 0 }}
	c, peer := b.tcp(s)
	send(t, peer, "abcdefgh")
	b.until("it is full", func() bool { return c.is(full) })
	b.turns()
	b.wantLog(s, "open", "data abcd")
	b.on(func() { s.data = nil; c.Receive(true) })
	b.until("the rest", func() bool { return len(s.log) >= 4 })
	b.wantLog(s, "open", "data abcd", "data abcd", "data efgh")
	peer.CloseWrite()
	b.ended(s, Orderly)
}

func TestNonsenseFromDataClosesIt(t *testing.T) {
	for _, result := range []int{-1, 4, 1 << 30} {
		b := newBench(t)
		s := &script{data: func(*CSA, []byte) int { return result }}
		_, peer := b.tcp(s)
		send(t, peer, "abc")
		b.ended(s, Reason{Code: abi.Invalid})
	}
}

// Half-close is not close: after the peer's end the handler goes on sending.
func TestPeerHalfCloseLeavesSendingOpen(t *testing.T) {
	b := newBench(t)
	s := &script{eof: func(c *CSA) { _ = c.SetTimer(7, time.Second) }}
	s.timer = func(c *CSA, token int32) { c.Send([]byte("later")); c.ProducerFinished() }
	_, peer := b.tcp(s)
	peer.CloseWrite()
	b.until("eof", func() bool { return len(s.log) == 2 })
	b.clock.Advance(time.Second)
	wantRead(t, peer, "later")
	wantEOF(t, peer)
	b.ended(s, Orderly)
	b.wantLog(s, "open", "eof", "timer 7", "closed")
}

func TestFinishSendingLeavesReceivingOpen(t *testing.T) {
	b := newBench(t)
	s := &script{eof: func(*CSA) {}}
	s.open = func(c *CSA) {
		c.Send([]byte("bye"))
		c.FinishSending()
		if n, code := c.Send([]byte("more")); n != 0 || code != abi.Closed {
			t.Errorf("Send after FinishSending: %d, %v", n, code)
		}
	}
	_, peer := b.tcp(s)
	wantRead(t, peer, "bye")
	wantEOF(t, peer)
	send(t, peer, "still here")
	b.until("data", func() bool { return len(s.log) == 2 })
	peer.CloseWrite() // both directions are finished now
	b.ended(s, Orderly)
	b.wantLog(s, "open", "data still here", "eof", "closed")
}

// A handler that could not send, and so left bytes unconsumed, and then says
// that it will send no more, is given them again: there is no Writable that it
// would get them after. They used to wait for the idle timeout.
func TestFinishSendingOffersTheRestAgain(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 4096
	fill := make([]byte, 1<<20)
	s := &script{eof: func(*CSA) {}}
	s.open = func(c *CSA) {
		for code := abi.OK; code == abi.OK; {
			_, code = c.Send(fill)
		}
		_ = c.SetTimer(1, time.Second)
	}
	s.data = func(c *CSA, p []byte) int {
		if _, code := c.Send(p); code == abi.Again {
			return 0
		}
		return len(p)
	}
	s.timer = func(c *CSA, _ int32) { c.FinishSending() }
	c, peer := b.tcp(s)
	send(t, peer, "x")
	b.until("the byte is left unconsumed", func() bool { return c.unconsumed.len() == 1 })
	b.clock.Advance(time.Second)
	b.until("it is offered again", func() bool { return c.unconsumed.len() == 0 })
	b.wantLog(s, "open", "data x", "timer 1", "data x")
	reset(t, peer)
	b.ended(s, Reason{Code: abi.Reset})
}

// producerFinished flushes a full inbox to a slow peer before it closes, and
// does not reset the connection though the peer's bytes go unread.
func TestProducerFinishedFlushesAndReadsToTheEnd(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 4 << 20
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	s := &script{open: func(c *CSA) {
		if n, _ := c.Send(long); n != len(long) {
			t.Errorf("took %d of %d", n, len(long))
		}
		c.ProducerFinished()
	}}
	_, peer := b.tcp(s)
	send(t, peer, strings.Repeat("unread ", 1000))
	there, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(there, long) {
		t.Fatalf("got %d bytes, %v; want %d", len(there), err, len(long))
	}
	b.on(func() {
		if s.ends[0] != 0 {
			t.Error("closed before the peer had finished")
		}
	})
	peer.Close()
	b.ended(s, Orderly)
	b.wantLog(s, "open", "closed")
}

func TestLingerIsBounded(t *testing.T) {
	for _, x := range []struct {
		name string
		send int
		want abi.Code
	}{{"flushed, the peer stays", 10, abi.OK}, {"not flushed", 8 << 20, abi.Timeout}} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			b.set.Inbox = 16 << 20
			s := &script{open: func(c *CSA) { c.Send(make([]byte, x.send)); c.ProducerFinished() }}
			c, _ := b.tcp(s)
			b.until("it lingers", func() bool { return c.is(writeShut) || x.want != abi.OK })
			b.clock.Advance(9 * time.Second)
			b.turns()
			b.on(func() {
				if s.ends[0] != 0 {
					t.Error("closed before the linger bound")
				}
			})
			b.clock.Advance(2 * time.Second)
			b.ended(s, Reason{Code: x.want})
		})
	}
}

func TestNoLingerClosesAtOnce(t *testing.T) {
	b := newBench(t)
	b.set.Linger = 0
	s := &script{open: func(c *CSA) { c.Send([]byte("bye")); c.ProducerFinished() }}
	_, peer := b.tcp(s)
	b.ended(s, Orderly)
	wantRead(t, peer, "bye")
	wantEOF(t, peer)
}

func TestShutdownMicroprocessDoesNotWait(t *testing.T) {
	b := newBench(t)
	b.set.Inbox = 16 << 20
	s := &script{open: func(c *CSA) {
		c.Send(make([]byte, 12<<20))
		c.ShutdownMicroprocess(Unknown.With(abi.Quota, "test"))
		c.ShutdownMicroprocess(Orderly) // the first reason stands
		c.ProducerFinished()
		if _, code := c.Send([]byte("x")); code != abi.Closed {
			t.Errorf("Send after shutdownMicroprocess: %v", code)
		}
		if code := c.SetTimer(1, 0); code != abi.Closed {
			t.Errorf("SetTimer after shutdownMicroprocess: %v", code)
		}
	}}
	_, peer := b.tcp(s)
	b.ended(s, Unknown.With(abi.Quota, "test"))
	b.wantLog(s, "open", "closed")
	// What the peer has got was cut off, and it must not look like the end.
	if n, err := io.Copy(io.Discard, peer); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer read %d bytes, %v; want ECONNRESET", n, err)
	}
}

func reset(t testing.TB, peer *net.TCPConn) {
	t.Helper()
	if err := peer.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	peer.Close()
}

func TestPeerResets(t *testing.T) {
	for _, state := range []string{"reading", "paused", "sending", "finishing"} {
		t.Run(state, func(t *testing.T) {
			b := newBench(t)
			b.set.Inbox = 16 << 20
			s := &script{open: func(c *CSA) {
				switch state {
				case "paused":
					c.Receive(false)
				case "sending":
					c.Send(make([]byte, 16<<20))
				case "finishing":
					c.Send(make([]byte, 16<<20))
					c.ProducerFinished()
				}
			}}
			_, peer := b.tcp(s)
			b.turns()
			reset(t, peer)
			b.ended(s, Reason{Code: abi.Reset})
		})
	}
}

func TestSendToAPeerThatIsGone(t *testing.T) {
	b := newBench(t)
	s := &script{eof: func(c *CSA) { _ = c.SetTimer(1, time.Second) }}
	s.timer = func(c *CSA, _ int32) {
		c.Send([]byte("anyone?"))
		_ = c.SetTimer(1, time.Second)
	}
	_, peer := b.tcp(s)
	peer.Close() // its kernel answers the first send with a reset
	b.until("it has ended", func() bool {
		b.clock.Advance(time.Second)
		return s.ends[2] > 0
	})
	b.ended(s, Reason{Code: abi.Reset})
}

// A send that finds out that the connection is broken says so. It used to
// answer OK with nothing taken, which a guest could not tell from success.
func TestSendThatFindsTheEnd(t *testing.T) {
	b := newBench(t)
	s := &script{data: func(c *CSA, p []byte) int {
		if err := unix.Shutdown(int(c.fd), unix.SHUT_WR); err != nil {
			t.Error(err)
		}
		if n, code := c.Send(make([]byte, direct)); n != 0 || code != abi.Closed {
			t.Errorf("Send: %d, %v; want 0, CLOSED", n, code)
		}
		return len(p)
	}}
	_, peer := b.tcp(s)
	send(t, peer, "x")
	b.ended(s, Reason{Code: abi.Reset})
}

func TestIdleTimeout(t *testing.T) {
	b := newBench(t)
	b.set.IdleTimeout = time.Minute
	s := &script{data: echo}
	_, peer := b.tcp(s)
	for range 3 { // bytes keep it alive
		b.clock.Advance(40 * time.Second)
		send(t, peer, "x")
		wantRead(t, peer, "x")
	}
	b.clock.Advance(59 * time.Second)
	b.turns()
	b.on(func() {
		if s.ends[0] != 0 {
			t.Error("closed a second early")
		}
	})
	b.clock.Advance(time.Second)
	b.ended(s, Reason{Code: abi.Timeout})
	wantEOF(t, peer)
}

func TestTimers(t *testing.T) {
	b := newBench(t)
	s := &script{open: func(c *CSA) {
		for i := range int32(abi.MaxTimers) {
			if code := c.SetTimer(i, time.Duration(i+1)*time.Second); code != abi.OK {
				t.Errorf("timer %d: %v", i, code)
			}
		}
		if code := c.SetTimer(99, time.Second); code != abi.Quota {
			t.Errorf("one timer too many: %v, want QUOTA", code)
		}
		for i := int32(3); i < abi.MaxTimers; i++ {
			c.StopTimer(i)
		}
		_ = c.SetTimer(1, 500*time.Millisecond) // moved, not doubled
	}}
	_, peer := b.tcp(s)
	for range 10 {
		b.clock.Advance(500 * time.Millisecond)
		b.turns()
	}
	b.wantLog(s, "open", "timer 1", "timer 0", "timer 2")
	peer.Close()
	b.ended(s, Orderly)
}

// One handler ends another's connection: its Closed must not come while the
// first one is still running.
func TestClosedNeverComesInsideAnotherCall(t *testing.T) {
	b := newBench(t)
	victim := &script{}
	v, _ := b.tcp(victim)
	s := &script{data: func(c *CSA, p []byte) int {
		v.ShutdownMicroprocess(Unknown.With(abi.Denied, "thrown out"))
		if victim.ends[0] != 0 {
			t.Error("Closed came inside another handler's Data")
		}
		return len(p)
	}}
	_, peer := b.tcp(s)
	send(t, peer, "x")
	b.ended(victim, Unknown.With(abi.Denied, "thrown out"))
	peer.CloseWrite()
	b.ended(s, Orderly)
}

// A tenant without memory still sends what the socket takes at once; it used to be told
// QUOTA for every message. What would have to be held is refused.
func TestNoMemoryForTheInbox(t *testing.T) {
	b := newBench(t)
	b.acct.limit.Store(1)
	var code abi.Code
	s := &script{data: func(c *CSA, p []byte) int {
		if string(p) == "x" {
			_, code = c.Send(p)
			return len(p)
		}
		for code == abi.OK {
			_, code = c.Send(make([]byte, direct-1))
		}
		return len(p)
	}}
	_, peer := b.tcp(s)
	send(t, peer, "x")
	wantRead(t, peer, "x")
	send(t, peer, "y")
	b.until("data", func() bool { return len(s.log) == 3 })
	b.on(func() {
		if code != abi.Quota {
			t.Errorf("Send to a socket that is full: %v, want QUOTA", code)
		}
	})
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	peer.CloseWrite()
	b.ended(s, Orderly)
}

func TestNoMemoryForTheRest(t *testing.T) {
	for _, want := range []int{0, 100} {
		b := newBench(t)
		b.acct.limit.Store(1)
		s := &script{open: func(c *CSA) { c.Want(want) }, data: func(c *CSA, p []byte) int { return 0 }}
		_, peer := b.tcp(s)
		send(t, peer, "x")
		b.ended(s, Reason{Code: abi.Quota})
	}
}

func TestBandwidth(t *testing.T) {
	b := newBench(t)
	s := &script{data: echo}
	c, peer := b.tcp(s)
	send(t, peer, "a")
	wantRead(t, peer, "a")
	b.acct.waitIn.Store(int64(time.Second))
	send(t, peer, "b")
	b.until("it keeps still", func() bool { return c.is(slowIn) })
	b.clock.Advance(time.Second) // still over: it waits on
	b.turns()
	b.wantLog(s, "open", "data a")
	b.acct.waitIn.Store(0)
	b.acct.waitOut.Store(int64(time.Second))
	b.clock.Advance(time.Second)
	b.until("the other direction keeps still", func() bool { return c.is(slowOut) })
	b.wantLog(s, "open", "data a", "data b")
	if n := c.inbox.len(); n != 1 {
		t.Errorf("%d bytes are in the inbox; want the one over the bandwidth", n)
	}
	b.acct.waitOut.Store(0)
	b.clock.Advance(time.Second)
	wantRead(t, peer, "b")
	peer.CloseWrite()
	b.ended(s, Orderly)
}

// A peer that resets while its connection waits for bandwidth, or is paused
// with bytes unread, is noticed all the same.
func TestEndWhileThrottled(t *testing.T) {
	b := newBench(t)
	b.acct.waitIn.Store(int64(time.Hour))
	s := &script{}
	c, peer := b.tcp(s)
	send(t, peer, "a")
	b.until("it keeps still", func() bool { return c.is(slowIn) })
	reset(t, peer)
	b.ended(s, Reason{Code: abi.Reset})
}

func TestReasons(t *testing.T) {
	for err, want := range map[error]abi.Code{
		unix.ECONNRESET: abi.Reset, unix.EPIPE: abi.Reset, unix.ECONNABORTED: abi.Reset,
		unix.ETIMEDOUT:    abi.Timeout,
		unix.EHOSTUNREACH: abi.Unreachable, unix.ENETUNREACH: abi.Unreachable,
		unix.ENOBUFS: abi.Quota, unix.EIO: abi.Reset,
	} {
		if have := reasonOf(err); have.Code != want || have.Why == "" {
			t.Errorf("%v: %v, want %v and a word why", err, have, want)
		}
	}
}

type echoHandler struct{ window []byte }

func (h *echoHandler) Open(*CSA)                 {}
func (h *echoHandler) Window(*CSA) []byte        { return h.window }
func (h *echoHandler) Data(c *CSA, p []byte) int { n, _ := c.Send(p); return n }
func (h *echoHandler) Writable(*CSA)             {}
func (h *echoHandler) Secured(*CSA, abi.Code)    {}
func (h *echoHandler) EOF(c *CSA)                { c.ProducerFinished() }
func (h *echoHandler) Timer(*CSA, int32)         {}
func (h *echoHandler) Closed(c *CSA, r Reason)   {}

func TestNoAllocationPerMessage(t *testing.T) {
	b := newBench(t)
	_, peer := b.tcp(&echoHandler{window: make([]byte, 64<<10)})
	fd := dup(t, peer)
	defer unix.Close(fd)
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	msg, back := make([]byte, 64), make([]byte, 64)
	round := func() {
		if _, err := unix.Write(fd, msg); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(fd, back); n != 64 || err != nil {
			t.Fatal(n, err)
		}
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(2000, round); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
	unix.Shutdown(fd, unix.SHUT_WR)
	b.until("it is closed", func() bool { return b.loop.Len() == 0 })
}

// A handler without a window hears nothing, of bytes and of the end; when it has one and says so,
// it hears all.
func TestEOFWithoutWindow(t *testing.T) {
	for _, text := range []string{"", "hello"} {
		b := newBench(t)
		h := &script{none: true}
		c, peer := b.tcp(h)
		if _, err := peer.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b.until("it was asked for its window", func() bool { return c.is(full) })
		b.turns()
		want := []string{"open"}
		b.on(func() {
			if !slices.Equal(h.log, want) {
				t.Errorf("without a window it hears %q", h.log)
			}
			h.none = false
			c.Receive(true)
		})
		if text != "" {
			want = append(want, "data "+text)
		}
		want = append(want, "eof", "closed")
		b.until("it has ended", func() bool { return c.is(dead) })
		if !slices.Equal(h.log, want) {
			t.Errorf("with one it hears %q, want %q", h.log, want)
		}
	}
}
