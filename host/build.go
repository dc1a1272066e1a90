package host

import (
	"time"

	"bulkhead/host/accept"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/loader"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/host/tenant"
)

// build makes the generations of a configuration's listeners, beside those that run. Each of its
// steps does nothing if one before has failed.
type build struct {
	h       *Host
	config  *config.Config
	tenants map[string]*tenant.Tenant
	all     []*service.Generation // of the configuration's listeners, in its order
	made    []*service.Generation // of them: those that are new
	opened  []accept.Sockets      // by it
	loaded  bool                  // their plugins have been, or are being
	certs   map[*config.TLS]*certs.Certificates
	// counting are the counters of listeners and routes, which one has that a reload changes,
	// or brings back before its last connection is gone.
	counting map[counted]*service.Totals
	errs     config.Errors
	number   int64 // of its generations
}

// counted is what one listener's, or route's, counters go by. With another tenant they begin again:
// what the one before has used is not this one's.
type counted struct{ tenant, name string }

func countedAs(l *config.Listener) counted { return counted{l.Tenant, l.Name} }

func (h *Host) newBuild(cfg *config.Config, tenants map[string]*tenant.Tenant) *build {
	now := h.now.Load()
	b := &build{h: h, config: cfg, number: now.number + 1, tenants: tenants, certs: make(map[*config.TLS]*certs.Certificates), counting: make(map[counted]*service.Totals)}
	// All generations have the same.
	now.each(func(s *service.Server) { b.counting[countedAs(s.Config())] = s.Totals() })
	return b
}

func (b *build) fail(s *service.Server, key string, err error) {
	b.errs = append(b.errs, b.config.ListenerError(s.Config(), key, err))
}

// err is what has failed so far.
func (b *build) err() error {
	if len(b.errs) > 0 {
		return b.errs
	}
	return nil
}

// state is what the host serves with what was built.
func (b *build) state(retired []*service.Generation) *state {
	return &state{number: b.number, config: b.config, since: time.Now(), tenants: b.tenants, generations: b.all, retired: retired}
}

// keep has a listener's generation stay.
func (b *build) keep(g *service.Generation) { b.all = append(b.all, g) }

// add makes the servers of a listener and its routes. before is the generation that it
// replaces, and socket what it will listen on; either may be nil: there is none. changed are the
// keys that differ.
func (b *build) add(l *config.Listener, before *service.Generation, socket accept.Sockets, changed []string) {
	h := b.h
	var home *loops.Loop
	if socket != nil {
		home = socket.Home()
	} else {
		home = h.machine.Loops[h.homes%len(h.machine.Loops)]
		h.homes++
	}
	g := service.New(&h.machine, home, socket, b.number, changed)
	add := func(l *config.Listener, instances *loops.Loop) {
		h.made++
		if s, err := g.Add(l, b.tenants[l.Tenant], b.counting[countedAs(l)], instances); err != nil {
			b.fail(s, "proxy_from", err)
		}
	}
	add(l, home)
	for i := range l.Routes {
		add(&l.Routes[i].Listener, h.machine.Loops[h.made%len(h.machine.Loops)])
	}
	if before != nil {
		g.Inherit(before)
	}
	b.all = append(b.all, g)
	b.made = append(b.made, g)
}

// load makes the providers of handlers, or, with later, those that are loaded later.
func (b *build) load(later bool) {
	var servers []*service.Server
	var listeners []*config.Listener
	for _, g := range b.made {
		for _, s := range g.Servers() {
			servers, listeners = append(servers, s), append(listeners, s.Config())
		}
	}
	h := b.h
	b.loaded = true
	errs := make([]error, len(servers))
	loader.ByTenant(listeners, func(i int) {
		switch s, l := servers[i], listeners[i]; {
		case h.native[l.Name] != nil:
			s.SetProvider(handlers.NewNative(s, h.native[l.Name]))
			h.late.ServeAnyway()
		case !l.ServesItself():
			s.SetProvider(handlers.None)
		case later:
			s.SetProvider(h.late.Add(s))
		default:
			var p handlers.Provider
			if p, errs[i] = h.plugins.Provider(s); errs[i] == nil {
				s.SetProvider(p)
			}
		}
	})
	for i, s := range servers {
		if errs[i] != nil {
			b.fail(s, loader.KeyOf(errs[i]), errs[i])
		}
	}
	b.errs = append(b.errs, wrongOwners(b.config)...)
}

// front makes what is before the handlers: routes and certificates.
func (b *build) front() {
	for _, g := range b.made {
		for i, s := range g.Servers() {
			if s.Provider() == nil {
				continue
			}
			if i == 0 {
				g.Route()
			}
			if s.Config().TLS != nil {
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
		if g.Sockets() != nil {
			continue
		}
		k, err := g.Open()
		if err != nil {
			b.fail(g.Servers()[0], "address", err)
			continue
		}
		b.opened = append(b.opened, k)
	}
}

// startHandlers has the handlers start.
func (b *build) startHandlers() {
	for _, g := range b.made {
		for _, s := range g.Servers() {
			s.Provider().Start()
		}
	}
}
