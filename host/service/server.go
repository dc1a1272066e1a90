// Package service serves one listener as one configuration has it: a Generation, with a Server for
// the listener and one for each of its routes. A Server is what the sockets accept for, what
// handlers are provided and loaded for, what a router gives connections to and what a dialer dials
// for; it is the csa.Creator of its connections.
//
// What outlives a generation it is given: the Machine, sockets, tenants, and the counters of the
// generation before.
package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
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
	"bulkhead/host/listen"
	"bulkhead/host/logs"
	"bulkhead/host/loops"
	"bulkhead/host/tenant"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"

	"golang.org/x/sys/unix"
)

// Server is the TCPServer of one listener: what its sockets accept it hands, as a CSA, to the
// loop and the handler that its provider chooses. The connections of UDP are made by
// csa.DatagramSocket instead, which asks Admit. The server of a route gets its connections from its
// listener's router, on the home loop that it has in common with that. A connection is the server's
// that it came to until it ends, whatever a reload does with the listener meanwhile.
//
// Whoever has the right to reload makes one, by Generation.Add, and sets its provider of handlers.
type Server struct {
	machine    *Machine
	generation *Generation
	owner      *conns.Owner // whose its connections are
	tenant     *tenant.Tenant
	loaded     atomic.Pointer[codestore.Sum]  // of the plugin that its handlers are of; nil as long as none is loaded
	module     atomic.Pointer[plugins.Module] // that plugin; nil as long
	held       plugins.Held                   // by its instances
	pinned     *codestore.Sum                 // what its plugin has to be; nil: what its file holds
	since      health.Counts                  // since its generation began
	config     config.Listener                // as it was at first: see terms
	terms      atomic.Pointer[Terms]
	changing   sync.Mutex        // held to change terms, and for guests
	guests     *plugins.Listener // nil until Guests has made it
	log        *slog.Logger
	limited    *logs.Limited // for what clients and handlers can cause at will
	closes     *logs.Limited // for connections that have ended by a limit, or by their peer
	udp        bool          // it is for datagrams
	provider   handlers.Provider
	// front is the listener whose route this is the server of; nil: it is a listener's, and
	// has a socket.
	front *Server
	// router gives the listener's connections to its routes; nil: there are none.
	router *front.Router
	// instances is the loop of the only instance where instance = "listener".
	instances *loops.Loop
	signals   []loopSignal // one for each loop
	totals    *Totals      // the listener's, which outlive configurations
	// proxyReaders read the PROXY header of connections from where terms.sources says, by loop.
	proxyReaders []*front.ProxyReader
	// upgradeReaders read the requests for WebSocket, by loop.
	upgradeReaders []front.UpgradeReader
	// bySource bounds what each source address has. A route has its
	// listener's.
	bySource *budget.Sources
	// dialer connects for its handlers.
	dialer *dial.Dialer

	home   *loops.Loop // its sockets'
	resume func()      // goes on when unparked, on the home loop

	// parked is set while the server waits for a place that another
	// connection's end, or a handler's restart, will make.
	parked atomic.Bool
}

// listenerLines bounds what a listener logs in a second of what clients and handlers can cause.
const listenerLines = 5

// newServer makes the server of a listener, or of a route, which has no terms and no provider yet.
func newServer(g *Generation, given *config.Listener, t *tenant.Tenant, totals *Totals, instances *loops.Loop) *Server {
	l, m := WithDatagramDefaults(given), g.machine
	s := &Server{
		machine:    m,
		generation: g,
		tenant:     t,
		config:     *l,
		home:       g.home,
		instances:  instances,
		log:        m.Log.With("listener", l.Name, "tenant", l.Tenant),
		signals:    make([]loopSignal, len(m.Loops)),

		totals: totals,
		udp:    OverUDP(l),
	}
	if totals == nil {
		s.totals = newTotals(len(m.Loops))
	}
	s.bySource = budget.NewSources(l.PerSource, l.PerSourceRate, l.PerSourcePrefix)
	s.resume = func() {
		if k, ok := g.sockets.(*accept.Streams); ok {
			k.Accept()
		}
	}
	s.dialer = dial.New(s)
	s.limited = logs.NewLimited(s.log, "what goes wrong", listenerLines, m.Clock)
	s.closes = logs.NewLimited(s.log, "connections that have ended", listenerLines, m.Clock)
	s.proxyReaders = make([]*front.ProxyReader, len(m.Loops))
	s.upgradeReaders = make([]front.UpgradeReader, len(m.Loops))
	for i := range s.signals {
		s.signals[i], s.proxyReaders[i] = loopSignal{s, i}, front.NewProxyReader(s.sourceOf)
	}
	return s
}

// inherit takes over what a listener, or route, keeps when a reload changes it.
func (s *Server) inherit(old *Server) {
	s.bySource = old.bySource
	if s.config.TLS != nil {
		t := *s.terms.Load()
		t.Certificates = old.Certificates() // until SetCertificates
		s.terms.Store(&t)
	}
}

// OverUDP reports whether a listener is for datagrams: by its address, or by the socket that
// it inherits.
func OverUDP(l *config.Listener) bool {
	if l.Address.Network == "fd" {
		datagrams, err := listen.InheritsDatagrams(l.Address.Host)
		return datagrams && err == nil
	}
	return l.Address.Datagrams()
}

// At is whose event ran when a loop had a fault; nil: it was no server's. It is called on that
// loop.
func At(f *csa.Fault) *Server {
	if f.Conn != nil {
		if s := Of(f.Conn); s != nil {
			return s
		}
	}
	s, _ := accept.ServerOf(f.Notified).(*Server)
	return s
}

// Provider provides its handlers; nil: none was set.
func (s *Server) Provider() handlers.Provider { return s.provider }

// SetProvider is for before it serves.
func (s *Server) SetProvider(p handlers.Provider) { s.provider = p }

// Tenant is whose it is.
func (s *Server) Tenant() *tenant.Tenant { return s.tenant }

// Generation is the one that it is of.
func (s *Server) Generation() *Generation { return s.generation }

// IsRoute reports whether it is a route's, and has no sockets.
func (s *Server) IsRoute() bool { return s.front != nil }

// OverUDP reports whether it is for datagrams.
func (s *Server) OverUDP() bool { return s.udp }

// Health counts how its handlers have done since its generation was made. Any goroutine may call
// it.
func (s *Server) Health() health.Health { return s.since.Health() }

// Instantiate starts an instance, beside the loops.
func (s *Server) Instantiate(m *plugins.Module, l *plugins.Listener) (i *plugins.Instance, err error) {
	defer s.Guard("starting a handler", &err)
	return m.Instantiate(l)
}

// PutBack gives the places back that were taken for a connection, which has
// ended or did not come. Either way another server may have found them taken
// and parked. Any goroutine may call it.
func (s *Server) PutBack() {
	s.machine.Connections.Release()
	s.tenant.Connections.Release()
	s.machine.Released()
}

// park stops accepting until Unpark, unless what it waits for has come true
// meanwhile.
func (s *Server) park(still func() bool) {
	if s.parked.CompareAndSwap(false, true) {
		s.machine.Parked.Add(1)
	}
	if !still() {
		s.Unpark()
	}
}

// Resume has the server go on as if it had been parked. Any goroutine may call it.
func (s *Server) Resume() { s.home.Post(s.resume) }

// Unpark goes on, if the server is parked. Any goroutine may call it.
func (s *Server) Unpark() {
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) {
		s.machine.Parked.Add(-1)
		s.Resume()
	}
}

// HandOver has the connection wired on its loop to the handler that is found
// there; nil drops it. Any goroutine may call it.
func (s *Server) HandOver(a handlers.Arrival, find func() (csa.Handler, handlers.NoHandler)) {
	wire := func() {
		h, none := find()
		if h != nil {
			s.wire(a, h)
			return
		}
		s.drop(a)
		args := []any{"connection", a.Number, "peer", a.Peer}
		if none.Err != nil {
			args = append(args, "error", none.Err)
		}
		s.limited.Event(none.Level, none.Why, args...)
	}
	l := s.machine.Loops[a.At]
	if !l.Post(func() {
		l.Charge(s.tenant)
		wire()
	}) {
		wire() // finds that the host is stopping, and lets go of both
	}
}

// wire makes the connection a CSA of its loop, which calls it.
func (s *Server) wire(a handlers.Arrival, h csa.Handler) {
	if s.machine.Stopping.Load() {
		s.provider.Release(h)
		s.drop(a)
		return
	}
	if s.Draining() {
		// It was accepted before, and came too late to be told. Posted, since its
		// handler may pass the loop on when it is opened.
		s.machine.Loops[a.At].Post(func() { s.provider.StopOne(h) })
	}
	handler := h
	if s.config.Address.WebSocket() {
		handler = s.upgradeReaders[a.At].Before(handler, s.upgradeTerms)
	}
	if s.config.TLS != nil && !s.config.TLS.StartTLS {
		handler = &front.Handshaking{Handler: handler, Handshake: s.serverHandshake, Early: true}
	}
	switch {
	case a.Local.IsValid():
		handler = &front.WithAddresses{Handler: handler, Peer: a.Peer, Local: a.Local}
	case !a.ProxyRead && s.WantsProxyHeader(a.Peer):
		handler = s.proxyReaders[a.At].Before(handler)
	}
	_, err := s.machine.Loops[a.At].NewCSAOf(a.FD, a.Peer, csa.Wiring{
		Handler: handler, Settings: &s.terms.Load().settings, Budget: s.tenant, Creator: s, Signal: s.signal(a.At, a.Source),
	}, csa.Origin{Accepted: a.Accepted, Number: a.Number})
	if err != nil {
		s.releaseSource(a.Source)
		s.writeRefused(&a, csa.SystemFull.Reason())
		s.limited.Event(slog.LevelError, "a connection was dropped: the selector does not take it", "connection", a.Number, "peer", a.Peer, "error", err)
		s.totals.Refused.Add(1)
		s.totals.ended[csa.SystemFull].Add(1)
		s.provider.Release(h)
		s.gone(a.At)
	}
}

// drop closes a connection that gets no handler. Any goroutine may call it.
func (s *Server) drop(a handlers.Arrival) {
	_ = unix.Close(a.FD)
	s.writeRefused(&a, csa.NotStarted.Reason())
	s.totals.Refused.Add(1)
	s.totals.ended[csa.NotStarted].Add(1)
	s.since.Ended(csa.NotStarted)
	s.releaseSource(a.Source)
	s.gone(a.At)
}

// gone gives the places of a connection back, last. Any goroutine may call it.
func (s *Server) gone(at int) {
	s.machine.Loops[at].Connections.Add(-1)
	s.PutBack()
	s.generation.leave()
}

// StopDialling ends what it dials, and returns when that is over. It is not called on a loop.
func (s *Server) StopDialling() { s.dialer.Stop() }

// Close lets go of its instances and its plugin, when no connection is left. It is not called
// on a loop.
func (s *Server) Close() {
	if s.provider != nil {
		s.provider.Close()
	}
	s.limited.End()
	s.closes.End()
}

// SocketShutdown is the box CreatorFeedback: it writes down how a connection
// died.
func (s *Server) SocketShutdown(c *csa.CSA, r csa.Reason) {
	if r.Cause == csa.Moved {
		s.movedAway(c)
	} else {
		s.writeDown(c, r, "connection closed")
	}
	if !c.Spliced() {
		s.provider.Release(front.HandlerOf(c))
	}
}

// writeDown counts a connection that has ended, and logs it.
func (s *Server) writeDown(c *csa.CSA, r csa.Reason, line string) {
	received, sent := c.Traffic()
	s.totals.show(c.Loop())
	s.totals.ended[r.Cause].Add(1)
	s.since.Ended(r.Cause)
	s.writeAccess(c, r)
	info := r.Cause.Info()
	level := info.Level
	if r.Cause == csa.Unknown && (r.Code == abi.Invalid || r.Code == abi.Quota) {
		level = slog.LevelWarn // of a handler written in Go
	}
	// Whoever asks for it gets all of them.
	all := s.log.Enabled(context.Background(), slog.LevelDebug)
	lines := s.closes
	if level >= slog.LevelWarn {
		lines = s.limited
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

// Died counts and logs that a handler has trapped, or was stopped by a limit, and what follows from
// it. What ends with the host is nobody's fault. The line of the log may come some seconds later,
// as plugins.Trap.Explain says.
func (s *Server) Died(t *plugins.Trap, who, then string, args ...any) {
	how := " was stopped; "
	switch t.Stop {
	case plugins.StopNot:
		s.totals.traps.Add(1)
		s.since.Trapped()
		how = " trapped; "
	case plugins.StopHost:
		return
	default:
		s.totals.stopped.Add(1)
		s.since.Stopped()
	}
	said := make([]any, 0, 20)
	if t.Connection != 0 {
		said = append(said, "connection", t.Connection, "peer", t.Peer)
	}
	args = append(append(said, args...), "call", t.Call, "why", t.Why)
	if key := t.Cause().Info().Key; key != "" {
		args = append(args, "key", key)
	} else {
		args = append(args, "mend", mendTrap)
	}
	if !s.limited.May(slog.LevelError) {
		return
	}
	t.Explain(func(in string) {
		if in != "" {
			args = append(args, "in", logs.Outside(in))
		}
		s.limited.Write(slog.LevelError, who+how+then, args...)
	})
}

// failed counts an error that a handler does not deal with. Any goroutine may call it.
func (s *Server) failed() {
	s.totals.errors.Add(1)
	s.since.Failed()
}

// mendTrap says what to do about a handler that traps by itself.
const mendTrap = "mend the handler, or go back to the one before: bulkhead rollback"

// loopSignal is the box signal of the connections that a server has on one loop.
type loopSignal struct {
	s  *Server
	at int
}

// ShutdownCSA gives the connection's places back.
func (b *loopSignal) ShutdownCSA(*csa.CSA) { b.s.gone(b.at) }

// Guard is deferred on a goroutine beside the loops: it makes a panic an error.
func (s *Server) Guard(doing string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	*err = fmt.Errorf("%s: a bug in the host: %v", doing, v)
	s.machine.Bugs.Count(doing+" is given up", v, string(bytes.TrimSpace(debug.Stack())), "listener", s.config.Name, "tenant", s.config.Tenant)
}

// Owner is whose its connections are.
func (s *Server) Owner() *conns.Owner { return s.owner }

// newOwner says whose the server's connections are.
func (s *Server) newOwner() *conns.Owner {
	o := &conns.Owner{Listener: s.config.Name, Tenant: s.config.Tenant, Generation: s.generation.number}
	if s.front != nil {
		o.Listener, o.Route, _ = strings.Cut(s.config.Name, "/")
	}
	return o
}
