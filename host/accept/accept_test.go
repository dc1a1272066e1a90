package accept_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/internal/awaittest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// nobody pays for everything.
type nobody struct{}

func (nobody) Reserve(int) bool                 { return true }
func (nobody) Release(int)                      {}
func (nobody) ReserveTimer() bool               { return true }
func (nobody) ReleaseTimers(int)                {}
func (nobody) Received(int, int64) (wait int64) { return 0 }
func (nobody) Sent(int, int64) (wait int64)     { return 0 }
func (nobody) Book(int64)                       {}
func (nobody) CPUWait() (wait int64)            { return 0 }

// server takes whom it has places for, and says whom by writing its name.
type server struct {
	name   string
	places atomic.Int64
	await  atomic.Int64 // for how long the next Reserve asks to be called later
	routes bool

	joined, put, given, stopped, lost atomic.Int64
	unready                           atomic.Bool
}

func (s *server) Budget() csa.Budget                    { return nobody{} }
func (s *server) SocketMemory() csa.SocketShare         { return nil }
func (s *server) Options() *listen.Options              { return &listen.Options{Backlog: 16} }
func (s *server) Log() *slog.Logger                     { return slog.New(slog.DiscardHandler) }
func (s *server) LogLimited(slog.Level, string, ...any) {}
func (s *server) PutBack()                              { s.put.Add(1); s.places.Add(1) }
func (s *server) Join()                                 { s.joined.Add(1) }
func (s *server) GiveUp(netip.AddrPort, int64)          { s.given.Add(1) }
func (s *server) CountShortage() int64                  { return 1 }
func (s *server) HasRoutes() bool                       { return s.routes }
func (s *server) StopRouting()                          { s.stopped.Add(1) }
func (s *server) Ready() bool                           { return !s.unready.Load() }
func (s *server) WantsProxyHeader(netip.AddrPort) bool  { return false }
func (s *server) WantsProxyHeaders() bool               { return false }
func (s *server) CountLost(_ csa.Loss, n int) int64     { return s.lost.Add(int64(n)) }

func (s *server) Reserve(k *accept.Streams) (int, accept.Next) {
	if wait := s.await.Swap(0); wait > 0 {
		k.AcceptIn(time.Duration(wait))
		return 0, accept.Wait
	}
	if s.places.Load() == 0 {
		return 0, accept.Wait
	}
	s.places.Add(-1)
	return 7, accept.Go
}

func (s *server) Take(k *accept.Streams, fd int, _ netip.AddrPort, _ int64, at int) {
	k.Tune(fd, s.Options())
	if at == 7 {
		_, _ = unix.Write(fd, []byte(s.name))
	}
	_ = unix.Close(fd)
}

func (s *server) Admit(netip.AddrPort, int) (csa.Wiring, csa.Admission) {
	s.joined.Add(1)
	return csa.Wiring{}, csa.TurnedAway
}

// newLoops has n loops that go by a clock, until the test is over.
func newLoops(t *testing.T, n int, clock selector.Clock) []*loops.Loop {
	t.Helper()
	all, err := loops.New(n, clock, func(f *csa.Fault) bool { t.Errorf("%v\n%s", f.Value, f.Stack); return true }, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loops.Stop(all) })
	return all
}

func open(t *testing.T, s *server, clock selector.Clock) (*accept.Streams, *loops.Loop, *atomic.Int64) {
	t.Helper()
	return openAt(t, s, clock, accept.Address{Network: "tcp", Host: "127.0.0.1:0"})
}

func openAt(t *testing.T, s *server, clock selector.Clock, at accept.Address) (*accept.Streams, *loops.Loop, *atomic.Int64) {
	t.Helper()
	home := newLoops(t, 1, clock)[0]
	queued := new(atomic.Int64)
	k, err := accept.OpenStreams(s, home, at, *s.Options(), queued)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.StopAccepting)
	return k, home, queued
}

func dial(t *testing.T, k *accept.Streams) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(k.Address().Network, k.Listening()[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(awaittest.Deadline())
	return c
}

func wantFrom(t *testing.T, c net.Conn, name string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != name {
		t.Fatalf("%q has served it, want %q (%v)", got, name, err)
	}
}

// Who waits in the kernel's queue is the server's that is there when there is a place, and what was
// reserved for nobody is put back.
func TestServeHasWhoWaits(t *testing.T) {
	old, next := &server{name: "old"}, &server{name: "next"}
	old.places.Store(1)
	next.places.Store(2)
	k, home, _ := open(t, old, selector.System)
	home.Call(func() {
		if s := k.Serving(); s != nil {
			t.Errorf("%v serves before it begins", s)
		}
	})
	if err := k.Begin(); err != nil {
		t.Fatal(err)
	}
	wantFrom(t, dial(t, k), "old")
	waits := dial(t, k) // old has no place
	k.Serve(next)
	wantFrom(t, waits, "next")
	awaittest.Until(t, "the place that nobody came for is put back", func() bool { return next.put.Load() > 0 && next.places.Load() == 1 })
	if old.joined.Load() != 1 || next.joined.Load() != 1 {
		t.Errorf("%d have joined the old server and %d the next, want 1 and 1", old.joined.Load(), next.joined.Load())
	}
	if fds := k.Descriptors(); len(fds) != 1 {
		t.Errorf("its descriptors are %v", fds)
	}
	k.StopAccepting()
	if fds := k.Descriptors(); len(fds) != 0 {
		t.Errorf("its descriptors are %v when it is closed", fds)
	}
	if err := k.Begin(); err != nil {
		t.Errorf("beginning when it is closed: %v", err)
	}
}

// A server that wants to be asked later is, by the loop's clock.
func TestAcceptIn(t *testing.T) {
	clock := new(selector.Manual)
	s := &server{name: "s"}
	s.places.Store(1)
	s.await.Store(int64(time.Hour))
	k, home, _ := open(t, s, clock)
	if err := k.Begin(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, k)
	awaittest.Until(t, "it is asked", func() bool { return s.await.Load() == 0 })
	home.Call(func() {
		if s.joined.Load() != 0 {
			t.Error("it was accepted before its time")
		}
	})
	clock.Advance(time.Hour)
	wantFrom(t, c, "s")
}

// When it drains, who waits in the queue is not reset: they wait here, count as the server's and
// get the places that come.
func TestDrainKeepsWhoWaits(t *testing.T) {
	s := &server{name: "s"}
	// Over a unix socket, connect ends in the queue.
	at := accept.Address{Network: "unix", Host: filepath.Join(t.TempDir(), "s")}
	k, home, queued := openAt(t, s, selector.System, at)
	if err := k.Begin(); err != nil {
		t.Fatal(err)
	}
	first, second := dial(t, k), dial(t, k)
	k.Drain(true)
	if s.joined.Load() != 2 || queued.Load() != 2 {
		t.Fatalf("%d have joined and %d wait, want 2 and 2", s.joined.Load(), queued.Load())
	}
	if s.stopped.Load() != 1 {
		t.Errorf("routing was stopped %d times, want once", s.stopped.Load())
	}
	if c, err := net.DialTimeout("unix", at.Host, time.Minute); err == nil {
		_ = c.Close()
		t.Error("it listens yet")
	}
	for i, c := range []net.Conn{first, second} {
		s.places.Store(1)
		home.Call(k.Accept)
		wantFrom(t, c, "s")
		if left := int64(1 - i); s.joined.Load() != 2 || queued.Load() != left {
			t.Fatalf("%d have joined and %d wait, want 2 and %d", s.joined.Load(), queued.Load(), left)
		}
	}
}

// Who has found no place by the end is reset, and not given an answer that is empty.
func TestWhoFindsNoPlaceIsReset(t *testing.T) {
	s := &server{name: "s"}
	k, home, queued := open(t, s, selector.System)
	if err := k.Begin(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, k)
	awaittest.Until(t, "it is in the queue", func() (is bool) {
		home.Call(func() { is = k.Queued() })
		return is
	})
	k.Drain(false)
	if queued.Load() != 1 || s.stopped.Load() != 0 {
		t.Errorf("%d wait, and routing was stopped %d times; want 1 and 0", queued.Load(), s.stopped.Load())
	}
	k.Close(csa.HostStopped.Reason())
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("who has found no place reads %v, want a reset", err)
	}
	if s.given.Load() != 1 || queued.Load() != 0 {
		t.Errorf("%d were given up and %d wait, want 1 and 0", s.given.Load(), queued.Load())
	}
}

// Nothing is read for a server that is not ready; what has come meanwhile is there when it is.
func TestDatagramsWaitForTheirServer(t *testing.T) {
	all := newLoops(t, 2, selector.System)
	s := &server{name: "s"}
	s.unready.Store(true)
	var tenant accept.UDPSockets
	tenant.MakeRoom() // with none, nothing happens
	d, err := accept.OpenDatagrams(s, all, all[1], accept.Address{Network: "udp", Host: "127.0.0.1:0"}, listen.Options{}, 1, &tenant)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(csa.HostStopped.Reason()) })
	if d.Home() != all[1] || len(d.Descriptors()) != 1 {
		t.Errorf("it is on %p and has %v, want one on %p", d.Home(), d.Descriptors(), all[1])
	}
	if err := d.Begin(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", d.Listening()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	all[1].Call(func() {})
	if s.joined.Load() != 0 {
		t.Fatal("it was read before its server was ready")
	}
	s.unready.Store(false)
	d.Read()
	awaittest.Until(t, "the server is asked", func() bool { return s.joined.Load() == 1 })
	next := &server{name: "next"}
	d.Serve(next)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	awaittest.Until(t, "the next server is asked", func() bool { return next.joined.Load() == 1 })
	d.Drain(true)
	d.StopAccepting()
	if len(d.Descriptors()) != 1 {
		t.Error("its peers have lost their socket")
	}
	tenant.MakeRoom() // nobody has a place to give up
	d.Close(csa.HostStopped.Reason())
	if len(d.Descriptors()) != 0 {
		t.Error("it is open when it is closed")
	}
}
