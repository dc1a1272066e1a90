package host

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bulkhead/csa"
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

// Stats may be called from any goroutine, while the host runs and after.
func (h *Host) Stats() Stats { return h.statsOf(h.now.Load()) }

// statsOf are those with a state's tenants and listeners.
func (h *Host) statsOf(now *state) Stats {
	st := Stats{Connections: h.connections.Used(), HostBugs: h.bugs.Caught(), Mappings: h.mappings.Used(), MappingLimit: h.mappings.Limit(),
		Pipes: h.pipes.Used(), PipeLimit: h.pipes.Limit()}
	if h.logLost != nil {
		st.LogLost = h.logLost()
	}
	for _, l := range h.loops {
		st.LongestEvent = max(st.LongestEvent, l.LongestEvent())
		st.LostEvents += l.LostEvents()
	}
	st.RetiredGenerations = len(now.retired)
	for _, c := range now.config.Tenants {
		st.Tenants = append(st.Tenants, now.tenants[c.Name].stats())
	}
	for _, s := range now.servers() {
		c := s.counters
		late, _ := s.crew.(*lateCrew)
		st.Listeners = append(st.Listeners, ListenerStats{
			Name:              s.config.Name,
			Accepted:          c.accepted.Load(),
			ClosedBeforeRoute: c.unrouted.Load(),
			Refused:           c.Refused.Load(),
			AcceptErrors:      c.shortages.Load(),
			StartFailures:     c.Failed.Load(),
			Traps:             c.traps.Load(),
			LimitStops:        c.stopped.Load(),
			Instances:         c.Instances.Load(),
			Received:          c.received.Load(),
			Sent:              c.sent.Load(),

			Quarantine:    late.state(),
			Ended:         c.endedBy(),
			DatagramsLost: c.lostBy(),
		})
	}
	return st
}

// Status may be called from any goroutine, while the host runs and after. It takes no lock that a
// loop waits for, and has no loop do anything.
func (h *Host) Status() Status {
	now := h.now.Load()
	figures := h.statsOf(now)
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
	known := make(map[string]bool, len(figures.Tenants))
	for _, t := range figures.Tenants {
		known[t.Name] = true
		st.Tenants = append(st.Tenants, now.tenants[t.Name].status(t))
	}
	for name, t := range now.tenants {
		if !known[name] {
			one := t.status(t.stats())
			one.Removed = true
			st.Tenants = append(st.Tenants, one)
		}
	}
	slices.SortStableFunc(st.Tenants[len(figures.Tenants):], func(a, b stats.TenantStatus) int { return strings.Compare(a.Name, b.Name) })
	old := make(map[string][]stats.GenerationStatus)
	for _, g := range slices.Backward(now.retired) { // the last is the youngest
		old[g.name()] = append(old[g.name()], g.status())
	}
	next := 0
	for _, g := range now.generations {
		for i, s := range g.servers {
			one := figures.Listeners[next].Status()
			next++
			one.Tenant = s.tenant.name
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

func (t *tenant) stats() stats.Tenant {
	st := stats.Tenant{
		Name:              t.name,
		Connections:       t.connections.Used(),
		Memory:            t.memory.Used(),
		MemoryRefused:     t.memory.Refused(),
		CPU:               time.Duration(t.cpu.Used()),
		EventsDeferred:    t.cpu.Deferred(),
		Mappings:          t.mappings.Used(),
		MappingLimit:      t.mappings.Limit(),
		MappingsRefused:   t.mappings.Refused(),
		Pipes:             t.pipes.Used(),
		PipesRefused:      t.pipes.Refused(),
		Lookups:           t.lookups.Used(),
		LookupsRefused:    t.lookups.Refused(),
		Handshakes:        int(t.handshaking.Used()),
		HandshakesRefused: t.handshaking.Refused(),
		Timers:            t.timers.Used(),
		TimersRefused:     t.timers.Refused(),
		Counts:            t.counts.All(),
	}
	st.SocketMemory, st.SocketMemoryRefused = t.sockets.Used(), t.sockets.Refused()
	st.BackgroundRunning, st.BackgroundCalls = t.cpu.Background()
	if r := t.runtime.Load(); r != nil {
		st.Fuel = r.Fuel()
		st.Instances, st.InstancesRefused = r.Instances()
		st.Asleep = r.Asleep()
		st.ExecutorsRefused = r.Short()
	}
	if l := t.log.Load(); l != nil {
		st.LogLinesDropped = l.Dropped()
	}
	return st
}

func (t *tenant) status(figures stats.Tenant) stats.TenantStatus {
	c := t.config()
	return stats.TenantStatus{
		Name: t.name,
		Limits: map[string]stats.Use{
			"memory":      {Used: figures.Memory, Limit: t.memory.Limit()},
			"connections": {Used: int64(figures.Connections), Limit: int64(t.connections.Limit())},
			"instances":   {Used: int64(figures.Instances), Limit: int64(c.Instances)},
			"mappings":    {Used: figures.Mappings, Limit: figures.MappingLimit},
			"timers":      {Used: figures.Timers, Limit: t.timers.Limit()},
			"dials":       {Used: int64(t.dials.Used()), Limit: int64(t.dials.Limit())},
			"upstreams":   {Used: int64(t.upstreams.Used()), Limit: int64(t.upstreams.Limit())},
			"handshakes":  {Used: int64(figures.Handshakes), Limit: int64(c.Handshakes)},
		},
		Rates: map[string]float64{
			"cpu": c.CPU, "accept_rate": c.AcceptRate, "bandwidth": float64(c.Bandwidth), "log_lines": c.LogLines, "log_bytes": float64(c.LogBytes),
		},
		Metrics: stats.MetricsOf(figures),
		Counts:  figures.Counts,
	}
}

// endedBy counts the connections that have ended, and lostBy the datagrams that were lost, by the
// names of the reasons.
func (c *counters) endedBy() map[string]int64 {
	return named(c.ended[:], func(i int) string { return csa.Cause(i).Info().Name })
}

func (c *counters) lostBy() map[string]int64 {
	return named(c.lost[:], func(i int) string { return csa.Loss(i).Info().Name })
}

// named are those counts that are not zero.
func named(counts []atomic.Int64, name func(i int) string) map[string]int64 {
	by := make(map[string]int64)
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			by[name(i)] = n
		}
	}
	return by
}
