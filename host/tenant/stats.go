package tenant

import (
	"time"

	"bulkhead/host/limits"
	"bulkhead/host/stats"
)

// FillStats has st be what it has done and holds. removed says that the configuration does not have
// it any more.
func (t *Tenant) FillStats(st *stats.Tenant, removed bool) {
	c := t.Config()
	*st = stats.Tenant{
		Name:              t.name,
		Removed:           removed,
		Connections:       t.Connections.Used(),
		ConnectionLimit:   t.Connections.Limit(),
		Memory:            t.memory.Used(),
		MemoryLimit:       t.memory.Limit(),
		MemoryRefused:     t.memory.Refused(),
		CPU:               time.Duration(t.cpu.Used()),
		CPULimit:          time.Duration(c.CPU * float64(time.Second)),
		InstanceLimit:     c.Instances,
		Mappings:          t.mappings.Used(),
		MappingLimit:      t.mappings.Limit(),
		MappingsRefused:   t.mappings.Refused(),
		Pipes:             t.pipes.Used(),
		PipesRefused:      t.pipes.Refused(),
		Lookups:           t.lookups.Used(),
		LookupsRefused:    t.lookups.Refused(),
		Handshakes:        int(t.handshaking.Used()),
		HandshakeLimit:    c.Handshakes,
		HandshakesRefused: t.handshaking.Refused(),
		SocketMemory:      t.SocketMemory.Used(),
		SocketMemoryLimit: t.SocketMemory.Limit(),
		Timers:            t.timers.Used(),
		TimerLimit:        t.timers.Limit(),
		TimersRefused:     t.timers.Refused(),
		Dials:             t.dials.Used(),
		DialLimit:         t.dials.Limit(),
		DialsRefused:      t.dials.Refused(),
		Upstreams:         t.upstreams.Used(),
		UpstreamLimit:     t.upstreams.Limit(),
		UpstreamsRefused:  t.upstreams.Refused(),
		AcceptWaits:       t.Accepts.Waits(),
		ReceiveWaits:      t.in.Waits(),
		SendWaits:         t.out.Waits(),
		AcceptRate:        c.AcceptRate,
		Bandwidth:         int64(c.Bandwidth),
		LogLines:          c.LogLines,
		LogBytes:          int64(c.LogBytes),
		Counts:            t.counts.All(),
		CountsRefused:     t.counts.Refused(),
	}
	st.SocketMemoryRefused = t.SocketMemory.Refused()
	st.BackgroundLimit = t.cpu.MostCalls()
	st.EventsDeferred, st.BackgroundWaits = t.cpu.DeferredBy()
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
}

// Status is that for people of a tenant's figures. Removed is left out.
func Status(figures *stats.Tenant) stats.TenantStatus {
	return stats.TenantStatus{
		Name: figures.Name, Limits: limits.Uses(limits.Tenants, figures), Rates: limits.Rates(limits.Tenants, figures),
		Metrics: stats.MetricsOf(*figures), Counts: figures.Counts,
	}
}

// Usage is what it has used so far, but for what its listeners have that are not over. The lock of
// Past is held.
func (t *Tenant) Usage() stats.Usage {
	u := stats.Usage{Tenant: t.name, Life: t.Life, Used: t.Past}
	u.CPU += time.Duration(t.cpu.Used())
	if r := t.runtime.Load(); r != nil {
		u.Fuel += r.Fuel()
	}
	return u
}
