package host

import (
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/loader"
	"bulkhead/host/stats"
)

// What a host tells of itself: package host/stats has what each figure means.
type (
	Stats         = stats.Host
	TenantStats   = stats.Tenant
	ListenerStats = stats.Listener
	Quarantine    = stats.Quarantine
	Status        = stats.Status
)

// Stats may be called from any goroutine, while the host runs and after. It waits for no loop: of
// connections that are open it knows what the last Refresh has found.
func (h *Host) Stats() (st Stats) {
	h.FillStats(&st)
	return st
}

// FillStats is Stats, in the memory that st has from before, of which nobody else may use anything
// meanwhile. The zero value has none.
func (h *Host) FillStats(st *Stats) { h.fillStats(st, h.now.Load()) }

// fillStats are those with a state's tenants and listeners.
func (h *Host) fillStats(st *Stats, now *state) {
	tenants, listeners, generations, all := st.Tenants[:0], st.Listeners[:0], st.Generations[:0], st.Loops[:0]
	*st = Stats{
		Began: h.began, InForce: now.since, Generation: now.number, Connections: h.connections.Used(), ConnectionLimit: h.connections.Limit(),
		Handshakes: h.handshakes.Used(), HandshakeLimit: h.handshakes.Limit(), HostBugs: h.bugs.Caught(),
		Mappings: h.mappings.Used(), MappingLimit: h.mappings.Limit(), Pipes: h.pipes.Used(), PipeLimit: h.pipes.Limit(),
	}
	if h.access != nil {
		of := h.access.Stats()
		st.AccessSampled, st.AccessLost = of.Sampled, of.Lost
	}
	if h.logLost != nil {
		st.LogLost = h.logLost()
	}
	if h.plugins != nil {
		st.ModuleCache, st.ModulesRemoved = h.plugins.KeptBytes(), h.plugins.RemovedModules()
	}
	for i, l := range h.loops {
		st.LongestEvent = max(st.LongestEvent, l.LongestEvent())
		st.LostEvents += l.LostEvents()
		all = append(all, stats.Loop{Lag: h.lag(i), LongestEvent: l.LongestEvent()})
	}
	st.Loops = all
	st.RetiredGenerations = len(now.retired)
	for _, c := range now.config.Tenants {
		tenants = more(tenants)
		now.tenants[c.Name].FillStats(&tenants[len(tenants)-1], false)
	}
	if len(now.tenants) > len(tenants) {
		known := make(map[string]bool)
		for i := range tenants {
			known[tenants[i].Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(now.tenants)) {
			if !known[name] {
				tenants = more(tenants)
				now.tenants[name].FillStats(&tenants[len(tenants)-1], true)
			}
		}
	}
	st.Tenants = tenants
	for _, g := range now.generations {
		generations = append(generations, g.stats())
		for _, s := range g.servers {
			listeners = more(listeners)
			s.fillStats(&listeners[len(listeners)-1], false)
		}
	}
	known := make(map[string]bool)
	if len(now.retired) > 0 {
		for i := range listeners {
			known[listeners[i].Name] = true
		}
	}
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		generations = append(generations, g.stats())
		for _, s := range g.servers {
			if name := s.config.Name; !known[name] {
				known[name] = true
				listeners = more(listeners)
				s.fillStats(&listeners[len(listeners)-1], true)
			}
		}
	}
	st.Listeners, st.Generations = listeners, generations
}

// more has one more, with the memory that it had if there was one before.
func more[T any](all []T) []T {
	if len(all) < cap(all) {
		return all[:len(all)+1]
	}
	var zero T
	return append(all, zero)
}

func (g *generation) stats() stats.Generation {
	s := g.servers[0]
	return stats.Generation{
		Listener: s.config.Name, Tenant: s.config.Tenant, Number: g.number, Retired: g.retired.Load(), Connections: g.open.Load(), Instances: g.instances.Load(),
	}
}

func (s *server) fillStats(st *ListenerStats, removed bool) {
	c := s.counters
	late, _ := s.crew.(*loader.Pending)
	ended, lost := st.Ended, st.DatagramsLost
	clients, upstreams := c.clients.Shown(), c.upstreams.Shown()
	*st = ListenerStats{
		Name:              s.config.Name,
		Tenant:            s.config.Tenant,
		Removed:           removed,
		Active:            clients.Opened - clients.Closed,
		Upstreams:         upstreams.Opened - upstreams.Closed,
		Accepted:          c.accepted.Load(),
		ClosedBeforeRoute: c.unrouted.Load(),
		Refused:           c.Refused.Load(),
		AcceptErrors:      c.shortages.Load(),
		StartFailures:     c.Failed.Load(),
		Traps:             c.traps.Load(),
		LimitStops:        c.stopped.Load(),
		Instances:         c.Instances.Load(),
		Received:          clients.Received,
		Sent:              clients.Sent,
		UpstreamReceived:  upstreams.Received,
		UpstreamSent:      upstreams.Sent,
		Handshakes:        clients.Handshakes,
		Resumed:           clients.Resumed,
		Events:            clients.Events,
		FirstByte:         clients.FirstByte,

		Ended:         named(ended, c.ended[:], func(i int) string { return csa.Cause(i).Info().Name }),
		DatagramsLost: named(lost, c.lost[:], func(i int) string { return csa.Loss(i).Info().Name }),
	}
	if !removed {
		st.Quarantine = late.Quarantine()
	}
	if certs := s.certificates(); certs != nil {
		st.CertificateEnds = certs.Expires()
	}
}

// Status may be called from any goroutine, while the host runs and after. It takes no lock that a
// loop waits for, and has no loop do anything.
func (h *Host) Status() Status {
	now := h.now.Load()
	var figures Stats
	h.fillStats(&figures, now)
	st := Status{
		PID: os.Getpid(), File: now.config.File, Since: h.began, InForce: now.since, Draining: h.draining.Load(),
		Limits: map[string]stats.Use{
			"connections": {Used: int64(h.connections.Used()), Limit: int64(h.connections.Limit())},
			"handshakes":  {Used: h.handshakes.Used(), Limit: h.handshakes.Limit()},
			"pipes":       {Used: h.pipes.Used(), Limit: h.pipes.Limit()},
			"mappings":    {Used: h.mappings.Used(), Limit: h.mappings.Limit()},
		},
		Metrics: stats.MetricsOf(figures),
	}
	for i := range figures.Tenants {
		f := &figures.Tenants[i]
		one := now.tenants[f.Name].Status(f)
		one.Removed = f.Removed
		st.Tenants = append(st.Tenants, one)
	}
	old := make(map[string][]stats.GenerationStatus)
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		old[g.name()] = append(old[g.name()], g.status())
	}
	next := 0
	for _, g := range now.generations {
		for i, s := range g.servers {
			one := figures.Listeners[next].Status()
			next++
			one.Tenant = s.tenant.Name()
			if i == 0 {
				if g.socket != nil {
					one.Address = g.socket.Address().Network + "://" + g.socket.Listening()[0]
				}
				one.Generations = append([]stats.GenerationStatus{g.status()}, old[one.Name]...)
				delete(old, one.Name)
			}
			st.Listeners = append(st.Listeners, one)
		}
	}
	for _, g := range slices.Backward(now.retired) {
		if name := g.name(); old[name] != nil {
			st.Listeners = append(st.Listeners, stats.ListenerStatus{Name: name, Tenant: g.servers[0].config.Tenant, Removed: true, Generations: old[name]})
			delete(old, name)
		}
	}
	return st
}

func (g *generation) status() stats.GenerationStatus {
	st := stats.GenerationStatus{Number: g.number, Since: g.since, Changed: g.changed, Retired: g.retired.Load(), Connections: g.open.Load(), Instances: g.instances.Load()}
	if at := g.until.Load(); at != 0 {
		until := time.Unix(0, at)
		st.Until = &until
	}
	return st
}

// named are those counts that are not zero, in by, which may be nil.
func named(by map[string]int64, counts []atomic.Int64, name func(i int) string) map[string]int64 {
	if by == nil {
		by = make(map[string]int64)
	}
	clear(by)
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			by[name(i)] = n
		}
	}
	return by
}
