package host

import (
	"time"

	"bulkhead/host/accept"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loader"
	"bulkhead/host/loops"
	"bulkhead/host/tenant"
)

// build makes the generations of a configuration's listeners, beside those that run. Each of its
// steps does nothing if one before has failed.
type build struct {
	h       *Host
	config  *config.Config
	tenants map[string]*tenant.Tenant
	all     []*generation    // of the configuration's listeners, in its order
	made    []*generation    // of them: those that are new
	opened  []accept.Sockets // by it
	loaded  bool             // their plugins have been, or are being
	certs   map[*config.TLS]*certs.Certificates
	// counting are the counters of listeners and routes, by name, which one has that a reload changes,
	// or brings back before its last connection is gone.
	counting map[string]*counters
	errs     config.Errors
	number   int64 // of its generations
}

func (h *Host) newBuild(cfg *config.Config, tenants map[string]*tenant.Tenant) *build {
	now := h.now.Load()
	b := &build{h: h, config: cfg, number: now.number + 1, tenants: tenants, certs: make(map[*config.TLS]*certs.Certificates), counting: make(map[string]*counters)}
	now.each(func(s *server) { b.counting[s.config.Name] = s.counters }) // all generations have the same
	return b
}

func (b *build) fail(s *server, key string, err error) {
	b.errs = append(b.errs, b.config.ListenerError(&s.config, key, err))
}

// err is what has failed so far.
func (b *build) err() error {
	if len(b.errs) > 0 {
		return b.errs
	}
	return nil
}

// state is what the host serves with what was built.
func (b *build) state(retired []*generation) *state {
	return &state{number: b.number, config: b.config, since: time.Now(), tenants: b.tenants, generations: b.all, retired: retired}
}

// keep has a listener's generation stay.
func (b *build) keep(g *generation) { b.all = append(b.all, g) }

// add makes the servers of a listener and its routes. before is the generation that it
// replaces, and socket what it will listen on; either may be nil: there is none.
func (b *build) add(l *config.Listener, before *generation, socket accept.Sockets) {
	h := b.h
	var home *loops.Loop
	if socket != nil {
		home = socket.Home()
	} else {
		home = h.loops[h.homes%len(h.loops)]
		h.homes++
	}
	g := &generation{host: h, socket: socket, since: time.Now(), number: b.number}
	front := h.newServer(l, b.tenants[l.Tenant], home)
	front.lives = home
	g.servers = append(g.servers, front)
	h.made++
	for i := range l.Routes {
		to := &l.Routes[i].Listener
		s := h.newServer(to, b.tenants[to.Tenant], home)
		s.front, s.lives = front, h.loops[h.made%len(h.loops)]
		g.servers = append(g.servers, s)
		h.made++
	}
	for i, s := range g.servers {
		s.gen, s.socket = g, socket
		s.owner = s.newOwner()
		as := l
		if i > 0 {
			as = &l.Routes[i-1].Listener
		}
		if old := b.counting[s.config.Name]; old != nil {
			s.counters = old
		}
		t, err := s.newTerms(as)
		if err != nil {
			b.fail(s, "proxy_from", err)
		}
		s.terms.Store(t)
		if before != nil {
			s.inherit(before)
		}
	}
	b.all = append(b.all, g)
	b.made = append(b.made, g)
}

// inherit takes over what a listener, or route, keeps when a reload changes it.
func (s *server) inherit(before *generation) {
	for _, old := range before.servers {
		if old.config.Name != s.config.Name {
			continue
		}
		s.bySource = old.bySource
		if s.config.TLS != nil {
			t := *s.terms.Load()
			t.certs = old.certificates() // which secure keeps where they are the same
			s.terms.Store(&t)
		}
	}
}

// load makes the crews, or, with later, those that are loaded later.
func (b *build) load(later bool) {
	var servers []*server
	var listeners []*config.Listener
	for _, g := range b.made {
		for _, s := range g.servers {
			servers, listeners = append(servers, s), append(listeners, &s.config)
		}
	}
	h := b.h
	b.loaded = true
	errs := make([]error, len(servers))
	loader.ByTenant(listeners, func(i int) {
		switch s, l := servers[i], listeners[i]; {
		case h.native[l.Name] != nil:
			s.crew = handlers.NewNative(s, h.native[l.Name])
			h.late.ServeAnyway()
		case !l.ServesItself():
			s.crew = handlers.None
		case later:
			s.crew = h.late.Add(s)
		default:
			s.crew, errs[i] = h.plugins.Provider(s)
		}
	})
	for i, s := range servers {
		if errs[i] != nil {
			s.crew = nil
			b.fail(s, "plugin", errs[i])
		}
	}
	b.errs = append(b.errs, wrongOwners(b.config)...)
}

// front makes what is before the crews: PROXY headers, routes, certificates.
func (b *build) front() {
	for _, g := range b.made {
		for _, s := range g.servers {
			if s.crew == nil {
				continue
			}
			if len(s.config.Routes) > 0 {
				s.routeTo(g.servers[1:], s.crew != handlers.None)
			}
			if s.config.TLS != nil {
				if err := b.secure(s); err != nil {
					b.fail(s, "tls", err)
				}
			}
		}
	}
}

// open opens the sockets of those that have none.
func (b *build) open() {
	for _, g := range b.made {
		if g.socket != nil {
			continue
		}
		s := g.servers[0]
		k, err := s.open()
		if err != nil {
			b.fail(s, "address", err)
			continue
		}
		b.opened = append(b.opened, k)
		g.socket = k
		for _, s := range g.servers {
			s.socket = k
		}
	}
}

// begin has the crews begin.
func (b *build) begin() {
	for _, g := range b.made {
		for _, s := range g.servers {
			s.crew.Start()
		}
	}
}
