package tenant

import (
	"time"

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
		EventsDeferred:    t.cpu.Deferred(),
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
		Counts:            t.counts.All(),
		CountsRefused:     t.counts.Refused(),
	}
	st.SocketMemoryRefused = t.SocketMemory.Refused()
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

// Status is that for people: figures are its own, of FillStats. Removed is left out.
func (t *Tenant) Status(figures *stats.Tenant) stats.TenantStatus {
	c := t.Config()
	return stats.TenantStatus{
		Name: t.name,
		Limits: map[string]stats.Use{
			"memory":        {Used: figures.Memory, Limit: t.memory.Limit()},
			"socket_memory": {Used: figures.SocketMemory, Limit: figures.SocketMemoryLimit},
			"connections":   {Used: int64(figures.Connections), Limit: int64(t.Connections.Limit())},
			"instances":     {Used: int64(figures.Instances), Limit: int64(c.Instances)},
			"mappings":      {Used: figures.Mappings, Limit: figures.MappingLimit},
			"timers":        {Used: figures.Timers, Limit: t.timers.Limit()},
			"dials":         {Used: int64(t.dials.Used()), Limit: int64(t.dials.Limit())},
			"upstreams":     {Used: int64(t.upstreams.Used()), Limit: int64(t.upstreams.Limit())},
			"handshakes":    {Used: int64(figures.Handshakes), Limit: int64(c.Handshakes)},
		},
		Rates: map[string]float64{
			"cpu": c.CPU, "accept_rate": c.AcceptRate, "bandwidth": float64(c.Bandwidth), "log_lines": c.LogLines, "log_bytes": float64(c.LogBytes),
		},
		Metrics: stats.MetricsOf(*figures),
		Counts:  figures.Counts,
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
