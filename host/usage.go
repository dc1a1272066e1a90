package host

import (
	"bulkhead/host/service"
	"bulkhead/host/stats"
	"bulkhead/host/tenant"
)

// Usage appends what each tenant has used since the host knows it, by the loops' figures of the
// last Refresh. Figures of one Life never fall. Tenants that are removed are told of until they are
// over, and then once to Options.Usage. Any goroutine but a loop's may call it, while the host runs
// and after.
func (h *Host) Usage(all []stats.Usage) []stats.Usage {
	h.mu.Lock() // nothing is booked, and the state is not replaced
	defer h.mu.Unlock()
	now := h.now.Load()
	at := make(map[*tenant.Tenant]int, len(now.tenants))
	for _, t := range now.tenants {
		at[t] = len(all)
		all = append(all, t.Usage())
	}
	seen := make(map[*service.Totals]bool)
	now.each(func(s *service.Server) {
		c := s.Totals()
		i, known := at[s.Tenant()]
		if seen[c] || !known {
			return
		}
		seen[c] = true
		used, open := c.Used()
		all[i].Add(used)
		all[i].Open += open
	})
	return all
}

// book adds what a generation's listeners have used to what their tenants keep, so that it is known
// when the generation is over. h.mu is held.
func (h *Host) book(g *service.Generation) {
	for _, s := range g.Servers() {
		s.Tenant().Past.Add(s.Totals().Book())
	}
}

// tellUsage tells of a tenant that is over.
func (h *Host) tellUsage(t *tenant.Tenant) {
	if h.usage == nil {
		return
	}
	h.mu.Lock()
	last := t.Usage()
	h.mu.Unlock()
	h.usage.Over(last)
}
