// Package host runs what a configuration says: tenants with their budgets,
// listeners, the loops that serve them, and the plugins that speak their
// protocols.
//
//	cfg, err := config.Load("bulkhead.toml")
//	h, err := host.New(cfg, host.Options{})
//	err = h.Run(ctx) // until ctx is done, then drains
package host

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/budget"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/crew"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/host/proxy"
	"bulkhead/selector"
)

// Options are what an embedding program may set. The zero value is a good
// one.
type Options struct {
	// Log gets the host's log. Nil is slog.Default(). It is called on the loops, by which
	// everybody is served, and from any other goroutine: a handler that waits for whoever
	// reads the log holds up all tenants. Package host/logqueue has a logger that does not
	// wait, before any io.Writer; slog's own handlers do.
	Log *slog.Logger
	// Loading, when it is done, has New give up: compilers are stopped, nothing more is
	// loaded, and New returns its error. It means nothing to Run. Nil: New comes to its end.
	Loading context.Context
	// Clock tells the time for timers and rates, for the times to drain and of grace, and to
	// handlers, as their monotonic clock. CPU time does not go by it. Nil is the system's;
	// tests pass a *selector.Manual.
	Clock selector.Clock
	// Wall is the time of day that handlers are told, in nanoseconds since 1970-01-01 UTC, and
	// Random fills p with the random bytes that they ask for. Any goroutine calls them, loops
	// also, several at once, and they must not block. Nil is the system's.
	Wall   func() int64
	Random func(p []byte)
	// Resolver finds the addresses of names that handlers dial. Nil is the system's.
	Resolver egress.Resolver
	// RootCAs are whom the servers' certificates have to be signed by that handlers
	// dial with TLS. Nil is the system's.
	RootCAs *x509.CertPool
	// Compiler is the command line of a program that calls compiler.Main of
	// package plugins/compiler with what is added behind it. Each module is
	// compiled by such a process, within limits, so that one which breaks the
	// compiler or takes too much of the machine is refused and nothing else
	// happens. Empty: modules are compiled in this process.
	Compiler []string
	// LoadLate has New return when one plugin is loaded and has started, or there is something Native to
	// serve. The others are loaded meanwhile and in Run, so that a host of a hundred listeners is there at once
	// and no tenant keeps the others from starting. Connections wait until their listener's
	// plugin is there, which comes first then. A listener whose plugin cannot be loaded, or does
	// not start, is quarantined: see Quarantine. If there is nothing to serve, New fails with the errors of all. Left
	// out: New loads all plugins, and fails with the errors of those that cannot be.
	LoadLate bool
	// Mappings is how many memory mappings the tenants' plugins and instances may have
	// together. Zero or less: what the system gives the process, without a reserve for
	// everything else.
	Mappings int
	// EventsByThread has Stats.LongestEvent go by processor time, so that what else runs on the
	// machine is not in it. That takes some system calls an event: it is for tests.
	EventsByThread bool
	// Native has handlers written in Go, by the name of the listener they
	// serve instead of its plugin.
	Native map[string]Native
}

// Native makes the handler for the connections that a listener has on one
// loop; it is called once for each loop, on that loop. The handler is a Go
// value of the embedding program instead of a plugin's instance.
type Native func(l *csa.Loop) csa.Handler

// Host is a running configuration. Make one with New, serve with Run.
type Host struct {
	config      *config.Config
	log         *slog.Logger
	clock       selector.Clock
	loops       []*loops.Loop
	tenants     map[string]*tenant
	servers     []*server
	plugins     *loader
	bugs        *bugs
	late        *lateLoads
	cores       *cores.Cores
	mappings    *budget.Pool
	pipes       *budget.Pool
	connections *budget.Count
	resolver    egress.Resolver
	handshakes  *budget.Pool
	parked      atomic.Int32 // servers that wait for a place

	draining  atomic.Bool   // no more is accepted
	drained   atomic.Bool   // and every listener and handler has been told
	callers   atomic.Int64  // who were accepted at the end, and wait for a place
	stopping  atomic.Bool   // no connection is wired any more
	idle      chan struct{} // closed when draining and no connection is left
	idleOnce  sync.Once
	abort     chan struct{}
	abortOnce sync.Once
	closeOnce sync.Once
	closed    chan struct{}
}

// complete finds what config.Load would not have let pass and a program that
// makes its own configuration may have left out.
func complete(cfg *config.Config) error {
	tenants := make(map[string]bool, len(cfg.Tenants))
	for _, t := range cfg.Tenants {
		if t.Memory <= 0 || t.Connections <= 0 || t.AcceptRate <= 0 || t.Bandwidth <= 0 || t.CPU <= 0 || t.LogLines <= 0 || t.LogBytes <= 0 || t.Dials <= 0 || t.Upstreams <= 0 {
			return fmt.Errorf("tenant %q has no memory, cpu, connections, accept rate, bandwidth, log lines, log bytes, dials or upstreams at all; begin with config.DefaultTenant", t.Name)
		}
		tenants[t.Name] = true
	}
	if err := checkInherited(cfg); err != nil {
		return err
	}
	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; len(l.Routes) > 0 && l.RouteTimeout <= 0 {
			return fmt.Errorf("listener %q has routes and no time for them at all; begin with config.DefaultListener", l.Name)
		}
	}
	for _, l := range withRoutes(cfg) {
		if !tenants[l.Tenant] {
			return fmt.Errorf("listener %q is of tenant %q, which the configuration does not have", l.Name, l.Tenant)
		}
		if overUDP(l) && (l.Shape == "stdio" || l.TLS != nil) {
			return fmt.Errorf("listener %q is for UDP, and so has no programs (shape \"stdio\") and no TLS", l.Name)
		}
	}
	return nil
}

// overUDP reports whether a listener is for datagrams: by its address, or by the socket that
// it inherits.
func overUDP(l *config.Listener) bool {
	if l.Address.Network == "fd" {
		datagrams, err := listen.InheritsDatagrams(l.Address.Host)
		return datagrams && err == nil
	}
	return l.Address.Datagrams()
}

// withRoutes gives every listener, followed by its routes.
func withRoutes(cfg *config.Config) []*config.Listener {
	var all []*config.Listener
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		all = append(all, l)
		for k := range l.Routes {
			all = append(all, &l.Routes[k].Listener)
		}
	}
	return all
}

// descriptorReserve is how many descriptors are left to everything but
// connections and pipes: listeners, loops, logs, the compile cache.
const descriptorReserve = 64

// New loads and starts every plugin, opens every listening socket, and is
// ready to serve. When anything fails it returns every error there is, as
// config.Errors where a line of the configuration is to blame, and leaves
// nothing open. The configuration must not be changed afterwards.
func New(cfg *config.Config, o Options) (*Host, error) {
	if err := complete(cfg); err != nil {
		return nil, err
	}
	h := &Host{
		config: cfg,
		log:    o.Log,
		idle:   make(chan struct{}),
		abort:  make(chan struct{}),
		closed: make(chan struct{}),
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if h.clock = o.Clock; h.clock == nil {
		h.clock = selector.System
	}
	h.resolver = egress.Share(o.Resolver)
	h.handshakes = newHandshakes(cfg)
	h.connections = budget.NewCount(connectionLimit(cfg, h.log))
	h.cores = cores.New(cores.Options{})
	h.mappings = newMappings(cfg, o.Mappings, h.log)
	held, idlePipes, _ := pipesOf(cfg)
	h.pipes = budget.NewPool(held, len(cfg.Tenants))
	h.tenants = make(map[string]*tenant, len(cfg.Tenants))
	var err error
	for _, t := range cfg.Tenants {
		if h.tenants[t.Name], err = newTenant(t, pools{h.cores, h.mappings, h.handshakes, h.pipes}, o.RootCAs); err != nil {
			return nil, err
		}
	}
	wanted := slices.DeleteFunc(withRoutes(cfg), func(l *config.Listener) bool { return !l.ServesItself() || o.Native[l.Name] != nil })
	if h.plugins, err = newLoader(cfg, wanted, h.tenants, o.Compiler, h.log, h.clock); err != nil {
		return nil, err
	}
	h.plugins.wall, h.plugins.random = o.Wall, o.Random
	h.bugs = newBugs(h.log, h.clock)
	h.plugins.bugs = h.bugs
	if h.loops, err = loops.New(loopCount(cfg), h.clock, h.bugs.fault, idlePipes); err != nil {
		return nil, err
	}
	if o.EventsByThread {
		for _, l := range h.loops {
			l.Call(l.ByThread)
		}
	}

	h.late = newLateLoads(h.plugins, cfg)
	over := func() bool { return true }
	if o.Loading != nil {
		over = context.AfterFunc(o.Loading, h.plugins.stop)
	}
	if err = h.open(o.Native, o.LoadLate); err == nil {
		err = h.late.first(o.Loading)
	}
	if !over() {
		err = context.Cause(o.Loading)
	}
	if err != nil {
		h.shut()
		return nil, err
	}
	return h, nil
}

// connectionLimit is the ceiling on connections: as configured, or as many as
// there are descriptors for.
func connectionLimit(cfg *config.Config, log *slog.Logger) int {
	limit := descriptorLimit()
	room := limit
	if limit < noDescriptorLimit {
		_, _, pipes := pipesOf(cfg)
		room = max(limit-descriptorReserve-pipes, limit/2)
	}
	switch want := cfg.Host.Connections; {
	case want <= 0:
		return room
	case want > room:
		log.Warn("[host] connections is more than there are descriptors for; raise RLIMIT_NOFILE",
			"connections", want, "descriptors", limit)
		fallthrough
	default:
		return want
	}
}

// open makes the servers: plugins first, since they are what most often
// fails, then sockets.
func (h *Host) open(native map[string]Native, loadLate bool) error {
	var all config.Errors
	fail := func(l *config.Listener, key string, err error) {
		all = append(all, listenerError(h.config, l, key, err))
	}
	listeners := withRoutes(h.config)
	servers := make([]*server, len(listeners))
	for i, next := 0, 0; i < len(listeners); next++ {
		home := h.loops[next%len(h.loops)]
		front := h.newServer(listeners[i], home)
		servers[i], front.lives = front, home
		i++
		for range front.config.Routes {
			s := h.newServer(listeners[i], home)
			servers[i], s.front, s.lives = s, front, h.loops[i%len(h.loops)]
			i++
		}
	}
	errs := make([]error, len(servers))
	byTenant(listeners, func(i int) {
		switch s, l := servers[i], listeners[i]; {
		case native[l.Name] != nil:
			s.crew = crew.NewNative(s, native[l.Name])
			h.late.serveAnyway()
		case l.ServesItself():
			s.crew, errs[i] = h.crewOf(s, loadLate)
		default:
			s.crew = crew.None
		}
	})
	if !loadLate {
		h.plugins.compiling.end()
	}
	for i, s := range servers {
		if errs[i] != nil {
			continue
		}
		var err error
		if s.sources, err = proxy.ParseSources(s.config.ProxyFrom); err != nil {
			fail(listeners[i], "proxy_from", err)
		}
		if n := len(s.config.Routes); n > 0 {
			s.router = newRouter(s, servers[i+1:i+1+n], s.crew != crew.None)
		}
		if !s.sources.Empty() && !s.udp {
			s.introduced = make([]introduced, len(h.loops))
			for at := range s.introduced {
				s.introduced[at] = introduced{s, make([]byte, max(proxy.MaxLength, abi.MinWindow))}
			}
		}
		if t := s.config.TLS; t != nil && s.front != nil && t == s.front.config.TLS {
			s.certs = s.front.certs
		} else if t != nil {
			if s.certs, err = certs.Load(t.Options()); err != nil {
				fail(listeners[i], "tls", err)
			}
		}
	}
	for i, s := range servers {
		if errs[i] == nil {
			h.servers = append(h.servers, s)
		} else {
			fail(listeners[i], "plugin", errs[i])
		}
	}
	all = append(all, wrongOwners(h.config)...)
	if len(all) > 0 {
		return all
	}
	for _, s := range h.servers {
		if s.front != nil {
			continue
		}
		var err error
		if s.udp {
			err = s.openUDP()
		} else if s.sockets, err = listen.OpenAll(s.config.Address.Network, s.config.Address.Host, s.tuning); err == nil {
			s.listensAt(s.sockets...)
		}
		if err != nil {
			fail(&s.config, "address", err)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, s := range h.servers {
		s.crew.Begin()
	}
	return nil
}

// crewOf loads a server's plugin, or has that done later.
func (h *Host) crewOf(s *server, later bool) (crew.Provider, error) {
	if !later {
		return h.plugins.crew(s)
	}
	return h.late.crewOf(s), nil
}

func (h *Host) newServer(given *config.Listener, home *loops.Loop) *server {
	own := *given
	l := &own
	if l.Address.Network == "fd" && overUDP(l) {
		l.SetDatagramDefaults()
	}
	s := &server{
		host:   h,
		tenant: h.tenants[l.Tenant],
		config: *l,
		home:   home,
		log:    h.log.With("listener", l.Name, "tenant", l.Tenant),
		books:  make([]books, len(h.loops)),
		udp:    overUDP(l),
		tuning: l.Options,
	}
	s.bySource = budget.NewSources(l.PerSource, l.PerSourceRate, l.PerSourcePrefix)
	s.resume = s.accept
	s.settings.Inbox, s.settings.IdleTimeout, s.settings.Linger = l.Inbox, l.IdleTimeout, l.Linger
	s.settings.FirstByteTimeout, s.settings.WriteTimeout = l.FirstByteTimeout, l.WriteTimeout
	s.settings.Lifetime, s.settings.MinRate, s.settings.UserTimeout = l.Lifetime, l.MinRate, l.UserTimeout
	s.settings.WaitingDatagrams, s.settings.WaitingBytes = l.WaitingDatagrams, l.WaitingBytes
	s.settings.Pipes = pipeAccount{s.tenant.pipes}
	s.dialled = s.settings
	// Many a server speaks only when it is spoken to. And handlers leave what a server sends
	// while their client is slow, which is not the server's fault: the tenant has chosen whom
	// it dials, and has idle_timeout and write_timeout for it.
	s.dialled.FirstByteTimeout, s.dialled.MinRate = 0, 0
	s.upstreams = newUpstreams(s)
	s.noisy = newLimited(s.log, "what goes wrong", listenerLines, h.clock)
	s.closes = newLimited(s.log, "connections that have ended", listenerLines, h.clock)
	for i := range s.books {
		s.books[i] = books{s, i}
	}
	return s
}

// Addr is where the named listener listens: "ip:port", or the path of a Unix
// socket; "" when there is no such listener.
func (h *Host) Addr(listener string) string {
	for _, s := range h.servers {
		if s.config.Name == listener {
			return s.addr
		}
	}
	return ""
}

// Run serves until ctx is done. Then it accepts no more, tells every handler
// to stop (csa_stop), waits for the connections to end, for as long as
// [host] drain says, ends those that are left, and returns nil. Close, called
// meanwhile, ends the wait. Run may be called once.
func (h *Host) Run(ctx context.Context) error {
	for _, s := range h.servers {
		if s.front != nil {
			continue
		}
		if err := s.listenOn(); err != nil {
			h.shut()
			return err
		}
		said := []any{"address", s.config.Address.Network + "://" + s.addr}
		if s.also != "" {
			said = append(said, "and", s.config.Address.Network+"://"+s.also)
		}
		if s.router != nil {
			said = append(said, "routes", len(s.config.Routes))
		}
		s.log.Info("listening", said...)
	}
	if slices.ContainsFunc(h.servers, func(s *server) bool { return s.certs != nil }) {
		done := make(chan struct{})
		defer close(done)
		go h.watchCertificates(done)
	}
	select {
	case <-ctx.Done():
		h.drain()
	case <-h.abort:
	}
	h.shut()
	return nil
}

// Close ends everything now: connections are closed without waiting for their
// handlers or for bytes on their way. It returns when nothing of the host is
// left, may be called from any goroutine and more than once, and makes Run
// return.
func (h *Host) Close() {
	h.abortOnce.Do(func() {
		if open := h.connections.Used(); open > 0 {
			h.log.Warn("stopping now; the connections left are closed", "open", open)
		}
		close(h.abort)
	})
	h.shut()
}

// drain lets the connections come to their end.
func (h *Host) drain() {
	if grace := h.config.Host.Grace; grace > 0 {
		h.log.Info("stopping: connections are accepted for a while yet", "grace", grace.String())
		over, stop := h.after(grace)
		defer stop()
		select {
		case <-over:
		case <-h.abort:
			return
		}
	}
	h.log.Info("stopping: no more connections are accepted", "open", h.connections.Used(), "drain", h.config.Host.Drain.String())
	h.draining.Store(true)
	for _, s := range h.servers {
		s.drain()
	}
	h.drained.Store(true)
	h.wake()
	deadline, stop := h.after(h.config.Host.Drain)
	defer stop()
	select {
	case <-h.idle:
	case <-deadline:
		h.log.Warn("the time to drain is over; the connections left are closed", "open", h.connections.Used())
	case <-h.abort:
	}
}

// after is a channel that is closed when d has gone by on the host's clock, and what is to be called
// when nobody waits for that any more.
func (h *Host) after(d time.Duration) (over <-chan struct{}, stop func() bool) {
	c := make(chan struct{})
	return c, h.clock.AfterFunc(d, func() { close(c) })
}

// wake lets those know who wait for a connection to end.
func (h *Host) wake() {
	if h.parked.Load() > 0 {
		for _, s := range h.servers {
			s.Unpark()
		}
	}
	if h.drained.Load() && h.connections.Used() == 0 && h.callers.Load() == 0 {
		h.idleOnce.Do(func() { close(h.idle) })
	}
}

// shut lets go of everything, once, and returns when it is gone. Each of its waits ends, whatever
// the guests do: plugins.stop is the end of their code but for calls that run, which end at their
// next refill; cores.Stop is the end of all waiting for time; and so the loops have nothing
// before them but what was posted, and little for each connection and instance. That is
// what call, the crews, cores.Wait and plugins.close wait for.
func (h *Host) shut() {
	h.closeOnce.Do(func() {
		h.stopping.Store(true)
		h.late.stop()
		h.plugins.stop()
		h.late.wait()
		h.cores.Stop()
		for _, s := range h.servers {
			if len(s.sockets) > 0 {
				s.home.Call(func() {
					s.stopAccepting()
					s.dropCallers()
				})
			}
		}
		stopped := csa.HostStopped.Reason()
		for _, l := range h.loops {
			l.Call(func() { l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(stopped) }) })
		}
		for _, s := range h.servers {
			s.closeUDP(stopped)
		}
		// What was on its way to a loop finds stopping set, and is dropped.
		for _, s := range h.servers {
			s.upstreams.stop()
		}
		for _, s := range h.servers {
			s.crew.Close()
		}
		h.cores.Wait()    // calls in the background are posted back
		h.plugins.close() // while the loops run: instances that wait for posts end by these
		loops.Stop(h.loops)
		h.lastWords()
		close(h.closed)
	})
	<-h.closed
}

// lastWords says which lines were left out and not told of yet.
func (h *Host) lastWords() {
	for _, s := range h.servers {
		s.noisy.end()
		s.closes.end()
	}
	for _, t := range h.tenants {
		if l := t.log.Load(); l != nil {
			l.end()
		}
	}
}

// Check loads every plugin of the configuration and starts an instance of
// each within its limits, but opens no socket. It returns every error there
// is.
func Check(cfg *config.Config, o Options) error {
	log := o.Log
	if log == nil {
		log = slog.Default()
	}
	all := cores.New(cores.Options{})
	mappings := newMappings(cfg, o.Mappings, log)
	tenants := make(map[string]*tenant, len(cfg.Tenants))
	for _, t := range cfg.Tenants {
		var err error
		if tenants[t.Name], err = newTenant(t, pools{all, mappings, newHandshakes(cfg), budget.NewPool(0, len(cfg.Tenants))}, nil); err != nil {
			return err
		}
	}
	listeners := slices.DeleteFunc(withRoutes(cfg), func(l *config.Listener) bool { return !l.ServesItself() })
	p, err := newLoader(cfg, listeners, tenants, o.Compiler, log, selector.System)
	if err != nil {
		return err
	}
	p.compiling.long = true // the result is the answer, and who waits for it is told why
	failed := make([]error, len(listeners))
	byTenant(listeners, func(i int) {
		failed[i] = p.try(listeners[i])
	})
	p.compiling.end()
	p.close()
	var errs config.Errors
	for i, err := range failed {
		if err != nil {
			errs = append(errs, listenerError(cfg, listeners[i], "plugin", err))
		}
	}
	errs = append(errs, wrongOwners(cfg)...)
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// checkInherited looks at the inherited sockets for what does not go with their kind.
func checkInherited(cfg *config.Config) error {
	var all config.Errors
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Address.Network != "fd" {
			continue
		}
		datagrams, err := listen.InheritsDatagrams(l.Address.Host)
		if err != nil {
			continue // opening it says so
		}
		var errs config.Errors
		if errors.As(cfg.CheckInherited(l, datagrams), &errs) {
			all = append(all, errs...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// wrongOwners has an error for each owner of a socket that the machine does not know.
func wrongOwners(cfg *config.Config) (errs config.Errors) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if _, _, err := listen.Owner(l.Owner); err != nil && l.Address.Network == "unix" {
			errs = append(errs, listenerError(cfg, l, "owner", err))
		}
	}
	return errs
}

// listenerError is an error that one key of a listener is to blame for.
func listenerError(cfg *config.Config, l *config.Listener, key string, err error) *config.Error {
	return &config.Error{File: cfg.File, Line: l.LineOf(key), What: fmt.Sprintf("listener %q: %v", l.Name, err)}
}
