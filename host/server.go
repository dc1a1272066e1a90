package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/conns"
	"bulkhead/host/dial"
	"bulkhead/host/front"
	"bulkhead/host/handlers"
	"bulkhead/host/health"
	"bulkhead/host/logs"
	"bulkhead/host/loops"
	"bulkhead/host/tenant"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"

	"golang.org/x/sys/unix"
)

// server is the TCPServer of one listener: what its sockets accept it hands, as a CSA, to the
// loop and the handler that its crew chooses. The connections of UDP are made by
// csa.DatagramSocket instead, which asks Admit. The server of a route gets its connections from its
// listener's router, on the home loop that it has in common with that. A connection is the server's
// that it came to until it ends, whatever a reload does with the listener meanwhile.
type server struct {
	host     *Host
	gen      *generation
	owner    *conns.Owner
	tenant   *tenant.Tenant
	loaded   atomic.Pointer[codestore.Sum]  // of the plugin that its handlers are of; nil as long as none is loaded
	module   atomic.Pointer[plugins.Module] // that plugin; nil as long
	pinned   *codestore.Sum                 // what its plugin has to be; nil: what its file holds
	since    health.Counts                  // since its generation began
	config   config.Listener                // as it was at first: see terms
	terms    atomic.Pointer[terms]
	changing sync.Mutex        // held to change terms, and for guests
	guests   *plugins.Listener // nil until Guests has made it
	log      *slog.Logger
	noisy    *logs.Limited // for what clients and handlers can cause at will
	closes   *logs.Limited // for connections that have ended by a limit, or by their peer
	udp      bool          // it is for datagrams
	crew     handlers.Provider
	// socket is what it is reached by; that of a route is its listener's.
	socket accept.Sockets
	// front is the listener whose route this is the server of; nil: it is a listener's, and
	// has a socket.
	front *server
	// router gives the listener's connections to its routes; nil: there are none.
	router *front.Router
	// lives is where the instance of instance = "listener" lives.
	lives    *loops.Loop
	books    []books   // one for each loop
	counters *counters // the listener's, which outlive configurations
	// proxyReaders read the PROXY header of connections from where terms.sources says, by loop.
	proxyReaders []*front.ProxyReader
	// bySource bounds what each source address has. A route has its
	// listener's.
	bySource *budget.Sources
	// dialer connects for its handlers.
	dialer *dial.Dialer

	home   *loops.Loop // its socket's
	resume func()      // goes on when unparked, on the home loop

	// parked is set while the server waits for a place that another
	// connection's end, or a handler's restart, will make.
	parked atomic.Bool
}

// listenerLines bounds what a listener logs in a second of what clients and handlers can cause.
const listenerLines = 5

// counters are what Stats tells of a listener.
type counters struct {
	handlers.Counters
	accepted, shortages, traps, stopped atomic.Int64
	unrouted                            atomic.Int64
	ended                               [csa.Causes]atomic.Int64 // connections, by cause
	clients, upstreams                  *csa.Tallies             // of those that have come, and that its handlers have dialled
	lost                                [csa.Losses]atomic.Int64 // datagrams
}

func newCounters(loops int) *counters {
	return &counters{clients: csa.NewTallies(loops), upstreams: csa.NewTallies(loops)}
}

// show has everybody see what the loop has counted, which calls it.
func (c *counters) show(l *csa.Loop) {
	c.clients.Show(l)
	c.upstreams.Show(l)
}

// Instantiate starts an instance, beside the loops.
func (s *server) Instantiate(m *plugins.Module, l *plugins.Listener) (i *plugins.Instance, err error) {
	defer s.Guard("starting a handler", &err)
	return m.Instantiate(l)
}

// PutBack gives the places back that were taken for a connection, which has
// ended or did not come. Either way another server may have found them taken
// and parked. Any goroutine may call it.
func (s *server) PutBack() {
	s.host.connections.Release()
	s.tenant.Connections.Release()
	s.host.wake()
}

// park stops accepting until Unpark, unless what it waits for has come true
// meanwhile.
func (s *server) park(still func() bool) {
	if s.parked.CompareAndSwap(false, true) {
		s.host.parked.Add(1)
	}
	if !still() {
		s.Unpark()
	}
}

// Unpark goes on, if the server is parked. Any goroutine may call it.
func (s *server) Unpark() {
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) {
		s.host.parked.Add(-1)
		s.home.Post(s.resume)
	}
}

// HandOver has the connection wired on its loop to the handler that is found
// there; nil drops it. Any goroutine may call it.
func (s *server) HandOver(a handlers.Arrival, find func() csa.Handler) {
	wire := func() {
		if h := find(); h != nil {
			s.wire(a, h)
		} else {
			s.drop(a)
		}
	}
	l := s.host.loops[a.At]
	if !l.Post(func() {
		l.Charge(s.tenant)
		wire()
	}) {
		wire() // finds that the host is stopping, and lets go of both
	}
}

// wire makes the connection a CSA of its loop, which calls it.
func (s *server) wire(a handlers.Arrival, h csa.Handler) {
	if s.host.stopping.Load() {
		s.crew.Release(h)
		s.drop(a)
		return
	}
	if s.Draining() {
		// It was accepted before, and came too late to be told. Posted, since its
		// handler may pass the loop on when it is opened.
		s.host.loops[a.At].Post(func() { s.crew.StopOne(h) })
	}
	handler := h
	if s.config.TLS != nil && !s.config.TLS.StartTLS {
		handler = &front.Handshaking{Handler: h, Handshake: s.serverHandshake, Early: true}
	}
	switch {
	case a.Local.IsValid():
		handler = &front.WithAddresses{Handler: handler, Peer: a.Peer, Local: a.Local}
	case !a.ProxyRead && s.WantsProxyHeader(a.Peer):
		handler = s.proxyReaders[a.At].Before(handler)
	}
	_, err := s.host.loops[a.At].NewCSA(a.FD, a.Peer, csa.Wiring{
		Handler: handler, Settings: &s.terms.Load().settings, Budget: s.tenant, Creator: s, Signal: s.signal(a.At, a.Source),
	})
	if err != nil {
		s.releaseSource(a.Source)
		number := s.writeRefused(a.Peer, csa.SystemFull.Reason())
		s.noisy.Event(slog.LevelError, "a connection was dropped: the selector does not take it", "connection", number, "error", err)
		s.counters.Refused.Add(1)
		s.counters.ended[csa.SystemFull].Add(1)
		s.crew.Release(h)
		s.gone(a.At)
	}
}

// drop closes a connection that gets no handler. Any goroutine may call it.
func (s *server) drop(a handlers.Arrival) {
	_ = unix.Close(a.FD)
	s.writeRefused(a.Peer, csa.NotStarted.Reason())
	s.counters.Refused.Add(1)
	s.counters.ended[csa.NotStarted].Add(1)
	s.since.Ended(csa.NotStarted)
	s.releaseSource(a.Source)
	s.gone(a.At)
}

// gone gives the places of a connection back, last. Any goroutine may call it.
func (s *server) gone(at int) {
	s.host.loops[at].Connections.Add(-1)
	s.PutBack()
	s.gen.leave()
}

// close lets go of its instances and its plugin, when no connection is left. It is not called
// on a loop.
func (s *server) close() {
	if s.crew != nil {
		s.crew.Close()
	}
	s.noisy.End()
	s.closes.End()
}

// SocketShutdown is the box CreatorFeedback: it writes down how a connection
// died.
func (s *server) SocketShutdown(c *csa.CSA, r csa.Reason) {
	s.writeDown(c, r, "connection closed")
	if !c.Spliced() {
		s.crew.Release(front.HandlerOf(c))
	}
}

// writeDown counts a connection that has ended, and logs it.
func (s *server) writeDown(c *csa.CSA, r csa.Reason, line string) {
	received, sent := c.Traffic()
	s.counters.show(c.Loop())
	s.counters.ended[r.Cause].Add(1)
	s.since.Ended(r.Cause)
	s.writeAccess(c, r)
	info := r.Cause.Info()
	level := info.Level
	if r.Cause == csa.Unknown && (r.Code == abi.Invalid || r.Code == abi.Quota) {
		level = slog.LevelWarn // of a handler written in Go
	}
	all := s.log.Enabled(context.Background(), slog.LevelDebug) // whoever asks for it gets all of them
	lines := s.closes
	if level >= slog.LevelWarn {
		lines = s.noisy
	}
	if !all && (level < slog.LevelInfo || !lines.May(level)) {
		return
	}
	args := make([]any, 0, 18) // room for lines_left_out
	args = append(args, "connection", c.Number(), "peer", c.Peer(), "reason", logs.Outside(r.Why), "code", r.Code.String())
	if info.Key != "" {
		args = append(args, "key", info.Key)
	}
	args = append(args, "cause", info.Name, "received", received, "sent", sent)
	if all {
		s.log.Log(context.Background(), level, line, args...)
	} else {
		lines.Write(level, line, args...)
	}
}

// Died counts and logs that a handler has trapped, or was stopped by a limit,
// and what follows from it. What ends with the host is nobody's fault.
func (s *server) Died(t *plugins.Trap, who, then string, args ...any) {
	how := " was stopped; "
	switch t.Stop {
	case plugins.StopNot:
		s.counters.traps.Add(1)
		s.since.Trapped()
		how = " trapped; "
	case plugins.StopHost:
		return
	default:
		s.counters.stopped.Add(1)
		s.since.Stopped()
	}
	args = append(args, "call", t.Call, "why", t.Why)
	if t.In != "" {
		args = append(args, "in", logs.Outside(t.In))
	}
	s.noisy.Event(slog.LevelError, who+how+then, args...)
}

// books is the box signal of the connections that a server has on one loop.
type books struct {
	s  *server
	at int
}

// ShutdownCSA gives the connection's places back.
func (b *books) ShutdownCSA(*csa.CSA) { b.s.gone(b.at) }
