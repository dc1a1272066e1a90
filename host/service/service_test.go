package service_test

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/budget"
	"bulkhead/host/bugs"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/handlers"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/host/stats"
	"bulkhead/host/tenant"
	"bulkhead/internal/awaittest"
	"bulkhead/selector"
)

// machine is one whose generations are closed when they are over.
type machine struct {
	service.Machine
	t      *testing.T
	tenant *tenant.Tenant
	clock  selector.Manual
	over   chan *service.Generation

	mu  sync.Mutex
	all []*service.Server
}

func newMachine(t *testing.T, change func(*config.Tenant)) *machine {
	t.Helper()
	stopped := make(chan struct{})
	m := &machine{t: t, over: make(chan *service.Generation, 4)}
	m.Stopped = stopped
	m.Log, m.Clock = slog.New(slog.DiscardHandler), &m.clock
	m.Bugs = bugs.New(m.Log, m.Clock)
	m.Connections = budget.NewCount(100)
	m.Released = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, s := range m.all {
			s.Unpark()
		}
	}
	m.Over = func(g *service.Generation) { m.over <- g }
	m.DelayStop = func() (func(), bool) { return func() {}, !m.Stopping.Load() }
	c := config.DefaultTenant("acme")
	if change != nil {
		change(&c)
	}
	pool := func() *budget.Pool { return budget.NewPool(100, 1) }
	governor := cores.New(cores.Options{})
	var err error
	m.tenant, err = tenant.New(c, tenant.Pools{Cores: governor, Mappings: pool(), Handshakes: pool(), Pipes: pool()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Loops, err = loops.New(2, m.Clock, func(f *csa.Fault) bool { t.Errorf("%v\n%s", f.Value, f.Stack); return true }, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		loops.Stop(m.Loops)
		close(stopped)
		governor.Stop()
		governor.Wait()
		if held := m.tenant.Held(); len(held) > 0 {
			t.Errorf("the tenant holds %v", held)
		}
		if n := m.Connections.Used(); n != 0 {
			t.Errorf("%d connections are counted", n)
		}
	})
	return m
}

// greeter says a word to whom it serves.
type greeter struct {
	csa.Base
	word string
}

func (g greeter) Open(c *csa.CSA)               { _, _ = c.Send([]byte(g.word)) }
func (g greeter) Window(*csa.CSA) []byte        { return make([]byte, 64) }
func (g greeter) Data(_ *csa.CSA, p []byte) int { return len(p) }

// generation is one that serves a word, on the sockets of the one before if there is one.
func (m *machine) generation(word string, before *service.Generation) *service.Generation {
	m.t.Helper()
	l := config.DefaultListener()
	l.Name, l.Tenant = "greet", "acme"
	l.Address = config.Address{Network: "tcp", Host: "127.0.0.1:0"}
	var sockets accept.Sockets
	if before != nil {
		sockets = before.Sockets()
	}
	g := service.New(&m.Machine, m.Loops[0], sockets, 1, nil)
	var totals *service.Totals
	if before != nil {
		totals = before.Servers()[0].Totals()
	}
	s, err := g.Add(&l, m.tenant, totals, m.Loops[0])
	if err != nil {
		m.t.Fatal(err)
	}
	if before != nil {
		g.Inherit(before)
	}
	s.SetProvider(handlers.NewNative(s, func(*csa.Loop) csa.Handler { return greeter{word: word} }))
	g.Route()
	if sockets == nil {
		if sockets, err = g.Open(); err != nil {
			m.t.Fatal(err)
		}
	}
	s.Provider().Start()
	m.mu.Lock()
	m.all = append(m.all, s)
	m.mu.Unlock()
	if before != nil {
		sockets.Serve(s)
	} else if err := sockets.Begin(); err != nil {
		m.t.Fatal(err)
	}
	return g
}

func (m *machine) stats(s *service.Server) (st stats.Listener) {
	s.FillStats(&st, false)
	return st
}

func dial(t *testing.T, g *service.Generation) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", g.Sockets().Listening()[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(awaittest.Deadline())
	return c
}

func hears(t *testing.T, c net.Conn, word string) {
	t.Helper()
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		t.Fatalf("it hears %q (%v), want %q", got, err, word)
	}
}

func (m *machine) retire(g *service.Generation, closes bool, oldFor time.Duration, expired func()) {
	m.Retire([]service.Retirement{{Generation: g, CloseSockets: closes, OldFor: oldFor, Expired: expired}})
}

// end has a generation be over, with its sockets, and waits until it is.
func (m *machine) end(g *service.Generation) {
	m.t.Helper()
	m.retire(g, true, time.Hour, func() { m.t.Error("its time is over") })
	m.CloseEvenly([]*service.Generation{g}, nil, csa.HostStopped, 0)
	m.isOver(g)
}

// isOver waits until a generation's last connection is gone, and closes it.
func (m *machine) isOver(g *service.Generation) {
	m.t.Helper()
	select {
	case over := <-m.over:
		if over != g {
			m.t.Fatalf("generation %p is over, want %p", over, g)
		}
	case <-time.After(awaittest.Longest):
		m.t.Fatal("the generation does not end")
	}
	if n := g.Connections(); n != 0 {
		m.t.Errorf("%d connections are the generation's own that is over", n)
	}
	g.Close()
	g.Close() // does nothing
}

// Who came before a reload is served by the handlers that it has, and who comes later by the new
// ones. The old generation is over when its last connection is gone. Counters go on.
func TestARetiredGenerationServesItsConnections(t *testing.T) {
	m := newMachine(t, nil)
	old := m.generation("old", nil)
	first := dial(t, old)
	hears(t, first, "old")
	next := m.generation("new", old)
	m.retire(old, false, time.Hour, func() { t.Error("its time is over") })
	second := dial(t, next)
	hears(t, second, "new")
	awaittest.Until(t, "its handlers are told to stop, and it has one connection", func() bool { return old.Connections() == 1 })
	if n := next.Connections(); n != 1 {
		t.Errorf("the new generation has %d connections, want 1", n)
	}
	if st := old.Status(); !st.Retired || st.Until == nil || st.Connections != 1 {
		t.Errorf("the old generation's status is %+v", st)
	}
	if s := next.Servers()[0]; m.stats(s).Accepted != 2 || s.Health().Connections != 1 {
		t.Errorf("the listener has accepted %d, and its generation %d; want 2 and 1", m.stats(s).Accepted, s.Health().Connections)
	}
	_ = first.Close()
	m.isOver(old)
	if old.Ending() {
		t.Error("it was closed, and not over by itself")
	}
	m.end(next)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a connection is open whose generation was closed")
	}
	if ended := m.stats(next.Servers()[0]).Ended; ended[csa.HostStopped.Info().Name] != 1 {
		t.Errorf("connections have ended by %v", ended)
	}
}

// When a generation has been old for as long as it may be, whoever has retired it is told, and
// closes it evenly over a time.
func TestAGenerationThatIsTooOld(t *testing.T) {
	m := newMachine(t, nil)
	g := m.generation("old", nil)
	c := []net.Conn{dial(t, g), dial(t, g), dial(t, g), dial(t, g)} // two on each loop
	for _, c := range c {
		hears(t, c, "old")
	}
	expired := make(chan bool, 1)
	m.retire(g, true, time.Second, func() { expired <- true })
	if open := g.Sockets().Descriptors(); len(open) > 0 {
		t.Errorf("its sockets %v are open", open)
	}
	m.clock.Advance(time.Second)
	select {
	case <-expired:
	case <-time.After(awaittest.Longest):
		t.Fatal("nobody is told that its time is over")
	}
	m.CloseEvenly([]*service.Generation{g}, nil, csa.OldFor, 2*time.Second)
	m.CloseEvenly([]*service.Generation{g}, nil, csa.OldFor, 0) // it is being closed
	ended := func() int64 { return m.stats(g.Servers()[0]).Ended[csa.OldFor.Info().Name] }
	awaittest.Until(t, "the first of each loop is closed", func() bool { return ended() == 2 })
	m.clock.Advance(time.Second - time.Millisecond)
	m.Loops[0].Call(func() {})
	if n := ended(); n != 2 {
		t.Errorf("%d were closed before the others were due, want 2", n)
	}
	m.clock.Advance(time.Millisecond)
	awaittest.Until(t, "the others are closed", func() bool { return ended() == 4 })
	m.isOver(g)
}

// Who finds its tenant's places taken waits in the kernel's queue until one is there.
func TestAServerParks(t *testing.T) {
	m := newMachine(t, func(c *config.Tenant) { c.Connections = 1 })
	g := m.generation("hello", nil)
	first := dial(t, g)
	hears(t, first, "hello")
	second := dial(t, g)
	awaittest.Until(t, "it parks", func() bool { return m.Parked.Load() == 1 })
	if n := g.Connections(); n != 1 {
		t.Errorf("%d connections are the generation's, want 1", n)
	}
	_ = first.Close()
	hears(t, second, "hello")
	m.end(g)
}
