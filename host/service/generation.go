package service

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loops"
	"bulkhead/host/stats"
	"bulkhead/host/tenant"
)

// Generation is one listener as one configuration has it: its server, and those of its routes.
// A connection belongs to the generation that accepted it until it ends.
//
// Whoever has the right to reload makes one, in the order New, Add, Inherit, a provider of handlers
// for each server, Route, Open; and calls the methods that do not say otherwise. None is called on
// a loop.
type Generation struct {
	machine *Machine
	home    *loops.Loop // its sockets'
	servers []*Server   // the listener's, and then those of its routes
	// sockets are what it has listened on, and listens on unless it is retired.
	sockets accept.Sockets
	// open counts the connections that are its own: accepted, on their way, and dialled.
	open atomic.Int64
	// instances counts those of its servers that are alive.
	instances atomic.Int64
	since     time.Time // it was made
	number    int64     // of the configuration that has made it
	changed   []string
	// retired says that no connection comes to it any more but those that wait for a
	// place. It is closed when none is left.
	retired atomic.Bool
	until   atomic.Int64 // when old_for is over: Unix time in nanoseconds; 0: it is not retired
	removes bool         // its sockets end with it
	// over is when old_for is, and then when the next connections are closed; nil: it is not
	// retired, or it is closed. It is the home loop's, as closing is.
	over    *csa.Timer
	closing *closing
	ending  atomic.Bool // it is closed, or will be soon, whoever goes on
	once    sync.Once
}

// New makes a generation without servers, of which sockets are what it will listen on, or nil: it
// opens its own on the home loop, which is that of its sockets. number is that of the configuration
// that makes it, and changed are the keys that made it
// differ from the one before; none: its listener is new.
func New(m *Machine, home *loops.Loop, sockets accept.Sockets, number int64, changed []string) *Generation {
	return &Generation{machine: m, home: home, sockets: sockets, since: time.Now(), number: number, changed: changed}
}

// Add makes the server of the listener, and then those of its routes in their order. instances is
// the loop of the only instance where instance = "listener". totals are what other generations of
// it count in; nil: there are none. The error is of the key proxy_from; the server is there with
// it.
func (g *Generation) Add(l *config.Listener, t *tenant.Tenant, totals *Totals, instances *loops.Loop) (*Server, error) {
	s := newServer(g, l, t, totals, instances)
	if len(g.servers) > 0 {
		s.front = g.servers[0]
	}
	s.owner = s.newOwner()
	g.servers = append(g.servers, s)
	terms, err := s.NewTerms(l)
	s.terms.Store(terms)
	return s, err
}

// Inherit takes over what the listener, and each route, keeps when a reload replaces the generation
// before: what source addresses have, and its certificates until SetCertificates.
func (g *Generation) Inherit(before *Generation) {
	for _, s := range g.servers {
		for _, old := range before.servers {
			if old.config.Name == s.config.Name {
				s.inherit(old)
			}
		}
	}
}

// Route has the listener's connections be given to its routes, if it has some. All have their
// provider of handlers.
func (g *Generation) Route() {
	if s := g.servers[0]; len(g.servers) > 1 {
		s.routeTo(g.servers[1:], s.provider != handlers.None)
	}
}

// Open opens the sockets of the listener's address.
func (g *Generation) Open() (accept.Sockets, error) {
	k, err := g.servers[0].open()
	if err == nil {
		g.sockets = k
	}
	return k, err
}

// Name is its listener's.
func (g *Generation) Name() string { return g.servers[0].config.Name }

// Servers are the listener's, and then those of its routes.
func (g *Generation) Servers() []*Server { return g.servers }

// Sockets are what it has listened on, and listens on unless it is retired; nil: they are not open.
func (g *Generation) Sockets() accept.Sockets { return g.sockets }

// Connections are those that are its own: accepted, on their way, and dialled. Any goroutine may
// call it.
func (g *Generation) Connections() int { return int(g.open.Load()) }

// Ending reports whether it is being closed. Any goroutine may call it.
func (g *Generation) Ending() bool { return g.ending.Load() }

// join counts a connection. Any goroutine may call it.
func (g *Generation) join() { g.open.Add(1) }

// leave is the end of one, after which nothing is done with the generation's servers on its
// account. Any goroutine may call it.
func (g *Generation) leave() {
	if g.open.Add(-1) == 0 && g.retired.Load() {
		go g.machine.Over(g)
	}
}

// LogListening logs where it listens.
func (g *Generation) LogListening() {
	s := g.servers[0]
	var said []any
	for i, at := range g.sockets.Listening() {
		address := s.config.Address
		address.Host = at
		said = append(said, []string{"address", "and"}[i], address.String())
	}
	if s.router != nil {
		said = append(said, "routes", len(s.config.Routes))
	}
	s.log.Info("listening", said...)
}

// Retirement is how a generation is retired.
type Retirement struct {
	*Generation
	// CloseSockets says that its sockets are closed: no other generation has them.
	CloseSockets bool
	// Expired is called on a goroutine of its own when it has been old for so long.
	OldFor  time.Duration
	Expired func()
}

// Retire has generations end by themselves, to which no new connection comes: each is over when its
// last connection has ended. Their handlers are told to stop. It is not called on a loop.
func (m *Machine) Retire(all []Retirement) {
	of := make([]*Generation, len(all))
	for i, r := range all {
		of[i] = r.Generation
		r.join() // so that it does not end meanwhile
		r.retire(r.CloseSockets, r.OldFor, r.Expired)
	}
	m.TellToStop(of, func() {
		for _, g := range of {
			g.leave()
		}
	})
}

func (g *Generation) retire(remove bool, oldFor time.Duration, expired func()) {
	g.removes = remove
	if remove {
		g.sockets.Drain(false)
	}
	g.until.Store(time.Now().Add(oldFor).UnixNano())
	g.retired.Store(true)
	for _, s := range g.servers {
		s.Unpark() // it may have parked, and the one after it accepts
	}
	g.home.Call(func() {
		g.over = g.home.NewTimer(func() {
			if g.closing != nil {
				g.closing.turn()
			} else {
				go expired()
			}
		})
		g.over.Reset(oldFor)
	})
}

// Close gives back what it has, once. No connection of it is left. Any goroutine but a loop's may
// call it; each returns when it is closed.
func (g *Generation) Close() { g.once.Do(g.close) }

func (g *Generation) close() {
	g.home.Call(func() {
		if g.over != nil {
			g.over.Stop()
			g.over = nil
		}
	})
	if g.removes {
		g.sockets.Close(csa.HostStopped.Reason())
	}
	for _, s := range g.servers {
		s.StopDialling()
		if s.router != nil {
			s.home.Call(s.router.Stop)
		}
	}
	for _, s := range g.servers {
		s.Close()
	}
}

// Stats are its figures. Any goroutine may call it.
func (g *Generation) Stats() stats.Generation {
	s := g.servers[0]
	st := stats.Generation{
		Listener: s.config.Name, Tenant: s.config.Tenant, Number: g.number, Retired: g.retired.Load(), Connections: g.open.Load(), Instances: g.instances.Load(),
	}
	for i, s := range g.servers {
		st.Memory += s.held.Memory()
		st.Mappings += s.held.Mappings()
		m := s.Module()
		if m == nil || slices.ContainsFunc(g.servers[:i], func(o *Server) bool { return o.Module() == m }) {
			continue // routes may have the same
		}
		code, mappings := m.Held()
		st.Code += code
		st.Mappings += mappings
	}
	return st
}

// Status is how it is. Any goroutine may call it.
func (g *Generation) Status() stats.GenerationStatus {
	f := g.Stats()
	st := stats.GenerationStatus{
		Number: f.Number, Since: g.since, Changed: g.changed, Retired: f.Retired, Connections: f.Connections, Instances: f.Instances,
		Memory: f.Memory, Code: f.Code, Mappings: f.Mappings,
	}
	if at := g.until.Load(); at != 0 {
		until := time.Unix(0, at)
		st.Until = &until
	}
	return st
}
