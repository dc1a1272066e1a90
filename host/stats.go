package host

// Stats is what a host has done so far and holds now.
type Stats struct {
	Connections int // open, in all
	Tenants     []TenantStats
	Listeners   []ListenerStats
}

// TenantStats are one tenant's.
type TenantStats struct {
	Name        string
	Connections int              // open
	Memory      int64            // bytes of linear memory and buffers in use
	Refused     int64            // how often memory was asked for and not there
	Counts      map[string]int64 // what its handlers have counted
}

// ListenerStats are one listener's. Received and Sent are the bytes of the
// connections that have ended.
type ListenerStats struct {
	Name      string
	Accepted  int64
	Refused   int64 // accepted, and closed because no handler could be had
	Shortages int64 // accepts that failed for want of descriptors or memory
	Failed    int64 // instances that did not start
	Traps     int64 // instances that trapped
	Instances int64 // alive
	Received  int64
	Sent      int64
}

// Stats may be called from any goroutine, while the host runs and after.
func (h *Host) Stats() Stats {
	st := Stats{Connections: h.connections.Used()}
	for _, c := range h.config.Tenants {
		t := h.tenants[c.Name]
		st.Tenants = append(st.Tenants, TenantStats{
			Name:        c.Name,
			Connections: t.connections.Used(),
			Memory:      t.memory.Used(),
			Refused:     t.memory.Refused(),
			Counts:      t.metrics.snapshot(),
		})
	}
	for _, s := range h.servers {
		c := &s.counters
		st.Listeners = append(st.Listeners, ListenerStats{
			Name:      s.config.Name,
			Accepted:  c.accepted.Load(),
			Refused:   c.refused.Load(),
			Shortages: c.shortages.Load(),
			Failed:    c.failed.Load(),
			Traps:     c.traps.Load(),
			Instances: c.instances.Load(),
			Received:  c.received.Load(),
			Sent:      c.sent.Load(),
		})
	}
	return st
}
