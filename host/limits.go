package host

import (
	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/loops"
	"bulkhead/host/service"
	"bulkhead/host/shares"
	"bulkhead/host/tenant"
)

// setLimits has tenants go by other limits from now on, and returns who they are, for tellLoops.
// Nobody is closed for a limit that is lower; whoever waits for one that is higher
// asks again when the loops are told. Any goroutine may call it but a loop's, one at a time.
func (h *Host) setLimits(all []tenant.Limits) (changed map[*tenant.Tenant]bool) {
	changed = make(map[*tenant.Tenant]bool, len(all))
	for _, l := range all {
		l.Set(h.machine.Clock.Now())
		changed[l.Tenant] = true
	}
	return changed
}

// tellLoops has all who wait for something of these tenants' ask again, and the connections that
// there are go by what these servers do now. Each loop is told once; it visits its connections some
// at a time.
func (h *Host) tellLoops(tenants map[*tenant.Tenant]bool, servers map[*service.Server]*service.Change) {
	if len(tenants) > 0 {
		h.askAgain(tenants)
	}
	if len(tenants) == 0 && len(servers) == 0 {
		return
	}
	for _, l := range h.machine.Loops {
		l.Post(func() {
			l.Walk(func(c *csa.CSA) {
				if t, ok := c.Budget().(*tenant.Tenant); ok && tenants[t] {
					c.AskBudget()
				}
				if s := service.Of(c); s != nil {
					if b := servers[s]; b != nil {
						b.Apply(c)
					}
				}
			}, nil)
		})
	}
}

// askAgain has all ask again who wait for something of these tenants' and are no connections.
func (h *Host) askAgain(changed map[*tenant.Tenant]bool) {
	for t := range changed {
		t.AskAgain()
	}
	h.wake()
	now := h.now.Load()
	now.each(func(s *service.Server) {
		if s.IsRoute() && changed[s.Tenant()] {
			s.Resume()
		}
	})
	accepts := make(map[*loops.Loop][]*accept.Streams)
	now.eachSocket(func(k accept.Sockets) {
		switch k := k.(type) {
		case *accept.Streams:
			accepts[k.Home()] = append(accepts[k.Home()], k)
		case *accept.Datagrams:
			if t, ok := k.Budget().(*tenant.Tenant); ok && changed[t] {
				k.AskBudget()
			}
		}
	})
	for l, all := range accepts {
		l.Post(func() {
			for _, k := range all {
				// Otherwise it does not accept, or not yet.
				if s, ok := k.Serving().(*service.Server); ok && changed[s.Tenant()] {
					s.Resume()
				}
			}
		})
	}
}

// setHost has the limits of the whole host be what a configuration says from now on. It is called
// as setLimits is.
func (h *Host) setHost(cfg *config.Config) {
	h.machine.Connections.SetLimit(shares.Connections(cfg, h.machine.Log))
	h.handshakes.SetLimit(shares.Handshakes(cfg))
	held, _, _ := shares.Pipes(cfg)
	h.pipes.SetLimit(held)
	h.machine.WriteOpen(cfg.Admin.AccessInterval)
	if h.plugins != nil {
		h.plugins.BoundCode(cfg.Host.CodeCache)
		h.plugins.BoundModules(cfg.Host.ModuleCache)
	}
	h.wake()
}
