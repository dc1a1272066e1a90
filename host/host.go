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

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/access"
	"bulkhead/host/billing"
	"bulkhead/host/budget"
	"bulkhead/host/bugs"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/loader"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/host/shares"
	"bulkhead/host/tenant"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// Options are the settings of an embedding program. The zero value serves well.
type Options struct {
	// Log gets the host's log. Nil is slog.Default(). It is called on the loops, by which
	// everybody is served, and from any other goroutine: a handler that waits for whoever
	// reads the log holds up all tenants. Package host/logqueue has a logger that does not
	// wait, before any io.Writer; slog's own handlers do.
	Log *slog.Logger
	// LogLost answers how many lines Log was given and has left out since it began; Stats has the
	// figure. Any goroutine may call it. Nil: nobody knows.
	LogLost func() int64
	// Access gets a line for each connection that ends. The host does not close it. Nil: no line is
	// written.
	Access *access.Log
	// Confine, which New calls when the sockets are open, takes rights from this process. With
	// LoadLate no plugin has run by then. New returns its error. Nil: New calls nothing.
	Confine func() error
	// Usage keeps what tenants have used. The host tells it of each tenant that is over; the caller
	// calls its Run with the host. Nil: nothing is kept.
	Usage *billing.Recorder
	// InForce is called with each configuration that comes into force after the first, on the
	// goroutine that reloads or rolls back, and never twice at once. Nil: nobody is told.
	InForce func(*config.Config)
	// Loading makes New give up when it is done: New stops the compilers, loads nothing more, and
	// returns the context's error. Run does not look at it. Nil: New does not give up.
	Loading context.Context
	// Clock is the time of timers and rates, of drain and grace, and the monotonic clock of
	// handlers. It does not measure CPU time. With a clock other than the system's, events still
	// wait for their tenant's cpu; accepts, datagrams and relays wait for it by timers, and then do
	// not wait. Nil is the system's; tests pass a *selector.Manual.
	Clock selector.Clock
	// Wall is the time of day for handlers, in nanoseconds since 1970-01-01 UTC. Random fills p
	// with random bytes for them. Several goroutines may call these at once, loops among them, so
	// they must not block. Nil is the system's.
	Wall   func() int64
	Random func(p []byte)
	// Observer is told of each call of a handler in WebAssembly, and makes calls slower: for tests
	// of handlers. Nil: nobody is told.
	Observer *Observer
	// Resolver finds the addresses of names that handlers dial. Nil asks the DNS, as the system's
	// files say, and takes no threads. See egress.Share for what one promises.
	Resolver egress.Resolver
	// Redirect, if it is not nil, is asked where each connection goes that a handler dials, instead
	// of the tenant's connect list and Resolver: for who plays the other side. The handler is told
	// that its peer is the IP of the answer. An error of package egress says why there is no
	// connection. Several goroutines may call it at once.
	Redirect func(egress.Target) (csa.Address, error)
	// ShortSends, above zero, is how many bytes a handler's send on a stream takes at most until
	// the socket has had them, whatever the key inbox says: for tests of handlers, which may not
	// ignore that a send is short. Zero or less: nothing is different.
	ShortSends int
	// RootCAs are the authorities that handlers trust when they dial a server with TLS. Nil is the
	// system's.
	RootCAs *x509.CertPool
	// Compiler is the command line of a program that calls compiler.Main of package
	// plugins/compiler; the host adds arguments to it. It compiles each module in such a process,
	// within limits. A module that breaks the compiler, or takes too much of the machine, is
	// refused and does no other harm. Empty: this process compiles the modules, without limits.
	Compiler []string
	// Engines has the engines of scripts that hosts of this process have loaded, so that the next
	// one need not: each takes some ten milliseconds. It is the caller's to close, before or after
	// the hosts. Nil: this host loads its own, and lets go of them when no script is left.
	Engines *Engines
	// LoadLate makes New return as soon as one plugin has started, or there is something Native to
	// serve. The host loads the other plugins meanwhile, and while it runs, so that no tenant
	// delays the others. A connection waits for the plugin of its listener, which is then loaded
	// next. A listener whose plugin does not load or start is quarantined: see Quarantine. New
	// fails, with the errors of all plugins, if none of them starts and nothing is Native. False:
	// New loads all plugins, and fails with the errors of those that do not load.
	LoadLate bool
	// Mappings is how many memory mappings the plugins and instances of all tenants may have
	// together. Zero or less: as many as the system gives the process, less a reserve for
	// everything else.
	Mappings int
	// EventsByThread makes Stats.LongestEvent count processor time, so that other programs on the
	// machine do not matter. It costs some system calls an event, and is for tests.
	EventsByThread bool
	// Native are handlers written in Go, by the names of their listeners. They serve instead of
	// plugins.
	Native map[string]Native
}

// Native makes the handler for the connections that a listener has on one
// loop; it is called once for each loop, on that loop. The handler is a Go
// value of the embedding program instead of a plugin's instance.
type Native func(l *csa.Loop) csa.Handler

// Observer is told what handlers in WebAssembly do.
type Observer = plugins.Observer

// Engines are engines of scripts that hosts of one process have in common. The zero value is ready.
// Hosts may use it at the same time.
type Engines = plugins.SharedCode

// Host is a running configuration. Make one with New, serve with Run.
type Host struct {
	machine    service.Machine // what its servers share
	began      time.Time       // when New was called
	logLost    func() int64    // nil: that is not known
	inForce    func(*config.Config)
	usage      *billing.Recorder // nil: nobody is told
	lives      int64             // of tenants that were made; whoever has reloading's
	native     map[string]Native
	roots      *x509.CertPool
	now        atomic.Pointer[state] // what it serves; replaced, never changed
	plugins    *loader.Loader
	late       *loader.Queue
	cores      *cores.Cores
	mappings   *budget.Pool
	pipes      *budget.Pool
	lookups    *egress.Shared
	handshakes *budget.Pool
	// machineMemory is what the machine had at the start, in bytes; 0: nobody knows.
	machineMemory int64

	refresher *loops.Refresher

	reloading chan struct{} // holds one value while a reload is made, or Run begins
	// What is above reloading's.
	running     bool // Run has begun to serve
	watching    bool // certificates
	homes, made int  // listeners, and servers, that were given a loop

	mu sync.Mutex // held to replace now, and to begin to drain or to stop
	// ends are generations that are being closed: see delayStop.
	ends sync.WaitGroup

	drained   atomic.Bool   // nothing more is accepted, and every listener and handler has been told
	idle      chan struct{} // closed when draining and no connection is left
	idleOnce  sync.Once
	abort     chan struct{}
	abortOnce sync.Once
	closeOnce sync.Once
	closed    chan struct{}
	serving   chan struct{} // closed when Run accepts
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
		if service.OverUDP(l) && (l.Shape == "stdio" || l.TLS != nil) {
			return fmt.Errorf("listener %q is for UDP, and so has no programs (shape \"stdio\") and no TLS", l.Name)
		}
	}
	return nil
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

// New loads and starts every plugin and opens every listening socket; Run then serves. If something
// fails, New returns all errors, as config.Errors where a line of the configuration is to blame,
// and leaves nothing open. The caller must not change the configuration afterwards.
func New(cfg *config.Config, o Options) (*Host, error) {
	if err := complete(cfg); err != nil {
		return nil, err
	}
	h := &Host{
		began:     time.Now(),
		logLost:   o.LogLost,
		inForce:   o.InForce,
		usage:     o.Usage,
		native:    o.Native,
		roots:     o.RootCAs,
		idle:      make(chan struct{}),
		abort:     make(chan struct{}),
		closed:    make(chan struct{}),
		serving:   make(chan struct{}),
		reloading: make(chan struct{}, 1),
	}
	h.machine.Released, h.machine.Over, h.machine.DelayStop, h.machine.Stopped = h.wake, h.end, h.delayStop, h.closed
	h.machine.Access, h.machine.Redirect, h.machine.ShortSends = o.Access, o.Redirect, o.ShortSends
	if h.machine.Log = o.Log; h.machine.Log == nil {
		h.machine.Log = slog.Default()
	}
	if h.machine.Clock = o.Clock; h.machine.Clock == nil {
		h.machine.Clock = selector.System
	}
	h.lookups = egress.Share(o.Resolver, shares.Lookups())
	h.handshakes = budget.NewPool(shares.Handshakes(cfg), len(cfg.Tenants))
	h.machine.Connections = budget.NewCount(shares.Connections(cfg, h.machine.Log))
	h.cores = cores.New(cores.Options{VirtualTimers: h.machine.Clock != selector.System})
	h.machineMemory = shares.PlanMemory(cfg).Have
	h.mappings = shares.Mappings(cfg, o.Mappings, h.machine.Log)
	held, idlePipes, _ := shares.Pipes(cfg)
	h.pipes = budget.NewPool(held, len(cfg.Tenants))
	tenants := make(map[string]*tenant.Tenant, len(cfg.Tenants))
	var err error
	for _, t := range cfg.Tenants {
		if tenants[t.Name], err = h.newTenant(t); err != nil {
			return nil, err
		}
	}
	h.now.Store(&state{config: cfg, tenants: tenants})
	wanted := slices.DeleteFunc(withRoutes(cfg), func(l *config.Listener) bool { return !l.ServesItself() || o.Native[l.Name] != nil })
	h.machine.Bugs = bugs.New(h.machine.Log, h.machine.Clock)
	h.plugins = loader.New(loader.Options{
		Plugins: len(wanted), Compiler: o.Compiler, Engines: o.Engines, Log: h.machine.Log, Clock: h.machine.Clock, Wall: o.Wall, Random: o.Random, Observer: o.Observer, OnBug: h.machine.Bugs.Trap,
	})
	for _, t := range tenants {
		h.plugins.AddTenant(t)
	}
	if len(wanted) > 0 {
		if err = h.plugins.Prepare(cfg); err != nil {
			return nil, err
		}
	}
	past := h.readPast(cfg)
	h.plugins.Keep(past.plugins())
	if h.machine.Loops, err = loops.New(shares.Loops(cfg), h.machine.Clock, h.fault, idlePipes); err != nil {
		return nil, err
	}
	h.refresher = loops.NewRefresher(h.machine.Loops, h.closed)
	if h.machine.Access != nil {
		for _, l := range h.machine.Loops {
			l.Call(func() { l.KeepLocal(h.machine.Access.On) })
		}
		h.machine.WriteOpen(cfg.Admin.AccessInterval)
	}
	if o.EventsByThread {
		for _, l := range h.machine.Loops {
			l.Call(l.ByThread)
		}
	}

	h.late = loader.NewQueue(h.plugins, cfg)
	over := func() bool { return true }
	if o.Loading != nil {
		over = context.AfterFunc(o.Loading, h.plugins.Stop)
	}
	if err = h.first(cfg, tenants, o); err == nil {
		err = h.late.First(o.Loading)
	}
	if !over() {
		err = context.Cause(o.Loading)
	}
	if err != nil {
		h.shut()
		return nil, err
	}
	now := *h.now.Load()
	now.past = past
	h.now.Store(&now)
	return h, nil
}

// newTenant makes a tenant with its parts of what all have.
func (h *Host) newTenant(c config.Tenant) (*tenant.Tenant, error) {
	t, err := tenant.New(c, tenant.Pools{Cores: h.cores, Mappings: h.mappings, Handshakes: h.handshakes, Pipes: h.pipes, Lookups: h.lookups}, h.roots)
	if err == nil {
		h.lives++
		t.Life = h.lives
	}
	return t, err
}

// first makes what the first configuration has.
func (h *Host) first(cfg *config.Config, tenants map[string]*tenant.Tenant, o Options) error {
	b := h.newBuild(cfg, tenants)
	for i := range cfg.Listeners {
		b.add(&cfg.Listeners[i], nil, nil, nil)
	}
	b.load(o.LoadLate)
	if !o.LoadLate {
		h.plugins.Idle()
	}
	b.front()
	h.now.Store(b.state(nil))
	if err := b.err(); err != nil {
		return err
	}
	b.open()
	h.now.Store(b.state(nil))
	if err := b.err(); err != nil {
		return err
	}
	if o.Confine != nil {
		if err := o.Confine(); err != nil {
			return err
		}
	}
	b.startHandlers()
	return nil
}

// Addr is where the named listener listens: "ip:port", or the path of a Unix
// socket; "" when there is no such listener.
func (h *Host) Addr(listener string) string {
	for _, g := range h.now.Load().generations {
		if s := g.Servers()[0]; s.Config().Name == listener && g.Sockets() != nil {
			return g.Sockets().Listening()[0]
		}
	}
	return ""
}

// Run serves until ctx is done. Then it accepts no more, tells every handler
// to stop (csa_stop), waits for the connections to end, for as long as
// [host] drain says, ends those that are left, and returns nil. Close, called
// meanwhile, ends the wait, and called before, has Run return at once. Run may be called once.
func (h *Host) Run(ctx context.Context) error {
	if err := h.startAccepting(); err != nil {
		h.shut()
		return err
	}
	select {
	case <-ctx.Done():
		h.drain()
	case <-h.abort:
	}
	h.shut()
	return nil
}

// startAccepting has the sockets of all listeners accept.
func (h *Host) startAccepting() error {
	select {
	case h.reloading <- struct{}{}:
	case <-h.abort: // who closes it keeps that
		return nil
	}
	defer func() { <-h.reloading }()
	if h.machine.Stopping.Load() {
		return nil
	}
	for _, g := range h.now.Load().generations {
		if err := g.Sockets().Begin(); err != nil {
			return err
		}
		g.LogListening()
	}
	h.running = true
	close(h.serving)
	h.watchCertificates()
	return nil
}

// Close ends everything now: connections are closed without waiting for their
// handlers or for bytes on their way. It returns when nothing of the host is
// left, may be called from any goroutine and more than once, and makes Run
// return.
func (h *Host) Close() {
	h.abortOnce.Do(func() {
		if open := h.machine.Connections.Used(); open > 0 {
			h.machine.Log.Warn("stopping now; the connections left are closed", "open", open)
		}
		close(h.abort)
	})
	h.shut()
}

// drain lets the connections come to their end.
func (h *Host) drain() {
	if grace := h.now.Load().config.Host.Grace; grace > 0 {
		h.machine.Log.Info("stopping: connections are accepted for a while yet", "grace", grace.String())
		over, stop := h.after(grace)
		defer stop()
		select {
		case <-over:
		case <-h.abort:
			return
		}
	}
	h.mu.Lock() // a reload has replaced what there is before, or does not any more
	h.machine.Draining.Store(true)
	now := h.now.Load()
	h.mu.Unlock()
	drain := now.config.Host.Drain
	h.machine.Log.Info("stopping: no more connections are accepted", "open", h.machine.Connections.Used(), "drain", drain.String())
	for _, g := range now.generations {
		g.Sockets().Drain(true)
	}
	h.machine.TellToStop(now.generations, func() {})
	h.drained.Store(true)
	h.wake()
	deadline, stop := h.after(drain)
	defer stop()
	select {
	case <-h.idle:
	case <-deadline:
		h.machine.Log.Warn("the time to drain is over; the connections left are closed", "open", h.machine.Connections.Used())
	case <-h.abort:
	}
}

// after is a channel that is closed when d has gone by on the host's clock, and what is to be
// called when nobody waits for that any more.
func (h *Host) after(d time.Duration) (over <-chan struct{}, stop func() bool) {
	c := make(chan struct{})
	return c, h.machine.Clock.AfterFunc(d, func() { close(c) })
}

// wake lets those know who wait for a connection to end.
func (h *Host) wake() {
	if h.machine.Parked.Load() > 0 {
		h.now.Load().each((*service.Server).Unpark)
	}
	if h.drained.Load() && h.machine.Connections.Used() == 0 && h.machine.Queued.Load() == 0 {
		h.idleOnce.Do(func() { close(h.idle) })
	}
}

// shut lets go of everything, once, and returns when it is gone. Each of its waits ends, whatever
// the guests do: plugins.Stop is the end of their code but for calls that run, which end at their
// next refill; cores.Stop is the end of all waiting for time; and so the loops have nothing
// before them but what was posted, and little for each connection and instance. That is
// what Call, Server.Close, cores.Wait and plugins.Close wait for.
func (h *Host) shut() {
	h.closeOnce.Do(func() {
		h.mu.Lock() // no generation begins to be closed any more, and no reload replaces anything
		h.machine.Stopping.Store(true)
		h.mu.Unlock()
		h.late.Stop()
		h.plugins.Stop()
		h.late.Wait()
		h.cores.Stop()
		h.reloading <- struct{}{} // it has found that nothing can be loaded, and gives up
		h.ends.Wait()
		now := h.now.Load()
		now.eachSocket(accept.Sockets.StopAccepting)
		now.each(func(s *service.Server) {
			if s.HasRoutes() {
				s.Home().Call(s.StopRouting)
			}
		})
		stopped := csa.HostStopped.Reason()
		h.machine.CloseAll(stopped)
		now.eachSocket(func(k accept.Sockets) { k.Close(stopped) })
		// What was on its way to a loop finds stopping set, and is dropped.
		now.each((*service.Server).StopDialling)
		now.each((*service.Server).Close)
		h.cores.Wait()    // calls in the background are posted back
		h.plugins.Close() // while the loops run: instances that wait for posts end by these
		loops.Stop(h.machine.Loops)
		now.each(func(s *service.Server) { s.Totals().ShowAll() })
		for _, t := range now.tenants {
			t.EndLog()
		}
		close(h.closed)
	})
	<-h.closed
}

// Check loads every plugin of the configuration and starts an instance of
// each within its limits, but opens no socket. It returns every error there
// is.
func Check(cfg *config.Config, o Options) error {
	log := o.Log
	if log == nil {
		log = slog.Default()
	}
	listeners := slices.DeleteFunc(withRoutes(cfg), func(l *config.Listener) bool { return !l.ServesItself() })
	p := loader.New(loader.Options{
		Plugins: len(listeners), OnlyLong: true, // the result is the answer, and who waits for it is told why
		Compiler: o.Compiler, Engines: o.Engines, Log: log, Clock: selector.System,
	})
	pools := tenant.Pools{
		Cores: cores.New(cores.Options{}), Mappings: shares.Mappings(cfg, o.Mappings, log),
		Handshakes: budget.NewPool(shares.Handshakes(cfg), len(cfg.Tenants)), Pipes: budget.NewPool(0, len(cfg.Tenants)),
		Lookups: egress.Share(nil, 0),
	}
	for _, c := range cfg.Tenants {
		t, err := tenant.New(c, pools, nil)
		if err != nil {
			return err
		}
		p.AddTenant(t)
	}
	if len(listeners) > 0 {
		if err := p.Prepare(cfg); err != nil {
			return err
		}
	}
	failed := make([]error, len(listeners))
	loader.ByTenant(listeners, func(i int) {
		failed[i] = p.Try(listeners[i])
	})
	p.Close()
	var errs config.Errors
	for i, err := range failed {
		if err != nil {
			errs = append(errs, cfg.ListenerError(listeners[i], loader.KeyOf(err), err))
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
			errs = append(errs, cfg.ListenerError(l, "owner", err))
		}
	}
	return errs
}
