package host

import (
	"time"

	"bulkhead/csa"
)

// Stats is what a host has done so far and holds now.
type Stats struct {
	Connections int   // open, in all
	HostBugs    int64 // panics of the host's own that were caught; the log has their stacks
	// LongestEvent is how long a loop has worked at one go at most, by the clock: mostly for one
	// notice of one connection. Nobody else on that loop was served meanwhile.
	LongestEvent time.Duration
	// Mappings are the memory mappings that plugins and instances hold, MappingLimit how
	// many they may.
	Mappings, MappingLimit int64
	// Pipes are those that relays hold bytes in, PipeLimit how many they may.
	Pipes, PipeLimit int64
	Tenants          []TenantStats
	Listeners        []ListenerStats
}

// TenantStats are one tenant's.
type TenantStats struct {
	Name        string
	Connections int              // open
	Memory      int64            // bytes of linear memory, stacks and buffers in use
	Refused     int64            // how often memory was asked for and not there
	CPU         time.Duration    // CPU time used
	Held        int64            // events that had to wait for CPU time
	Background  int              // calls that run in the background now
	Passed      int64            // calls that have ever
	Fuel        int64            // units of fuel used: docs/METER.md
	Instances   int              // alive
	Asleep      int              // of them: they have nothing to do, and hold no memory of their own
	Mappings    int64            // memory mappings that its plugins and instances hold
	MappingMost int64            // how many they could hold now
	NoMapping   int64            // how often another was wanted and not allowed
	Pipes       int64            // that its relays hold bytes in
	NoPipe      int64            // how often a relay wanted another, and copied instead
	NoExecutor  int64            // how often what calls run on could not be made
	NoInstance  int64            // how often another instance was wanted and not allowed
	Handshakes  int              // of TLS, under way
	NoHandshake int64            // how often another handshake was wanted and not allowed
	Timers      int64            // timers in use
	NoTimer     int64            // how often another timer was wanted and not allowed
	LogDropped  int64            // log lines of its handlers that were left out: log_lines, log_bytes
	Counts      map[string]int64 // what its handlers have counted
}

// ListenerStats are one listener's, or one route's. Received and Sent are the bytes of the
// connections that have ended.
type ListenerStats struct {
	Name      string // of a route, "LISTENER/ROUTE"
	Accepted  int64  // of a route, those that took it; they are its listener's, too
	Unrouted  int64  // of a listener with routes: closed before one was known
	Refused   int64  // accepted, and closed because no handler, or no room, could be had
	Shortages int64  // accepts that failed for want of descriptors or memory
	Failed    int64  // instances that did not start
	Traps     int64  // instances that trapped
	Stopped   int64  // instances that a limit has stopped: event_timeout, stack
	Instances int64  // alive
	Received  int64
	Sent      int64
	Lost      DatagramStats // of its peers over UDP, those that its handlers have dialled included
	// Quarantine is nil unless the listener is quarantined.
	Quarantine *Quarantine
	// Ended counts the connections that have ended, those that its handlers have dialled
	// included, by the Name of csa.CauseInfo. It has no zeros.
	Ended map[string]int64
}

// Stats may be called from any goroutine, while the host runs and after.
func (h *Host) Stats() Stats {
	st := Stats{Connections: h.connections.Used(), HostBugs: h.bugs.number(), Mappings: h.mappings.Used(), MappingLimit: h.mappings.Limit(),
		Pipes: h.pipes.Used(), PipeLimit: h.pipes.Limit()}
	for _, l := range h.loops {
		st.LongestEvent = max(st.LongestEvent, l.LongestEvent())
	}
	for _, c := range h.config.Tenants {
		t := h.tenants[c.Name]
		st.Tenants = append(st.Tenants, t.stats())
	}
	for _, s := range h.servers {
		c := &s.counters
		late, _ := s.crew.(*lateCrew)
		st.Listeners = append(st.Listeners, ListenerStats{
			Name:      s.config.Name,
			Accepted:  c.accepted.Load(),
			Unrouted:  c.unrouted.Load(),
			Refused:   c.Refused.Load(),
			Shortages: c.shortages.Load(),
			Failed:    c.Failed.Load(),
			Traps:     c.traps.Load(),
			Stopped:   c.stopped.Load(),
			Instances: c.Instances.Load(),
			Received:  c.received.Load(),
			Sent:      c.sent.Load(),
			Lost:      c.datagramStats(),

			Quarantine: late.state(),
			Ended:      c.endedBy(),
		})
	}
	return st
}

func (t *tenant) stats() TenantStats {
	st := TenantStats{
		Name:        t.name,
		Connections: t.connections.Used(),
		Memory:      t.memory.Used(),
		Refused:     t.memory.Refused(),
		CPU:         time.Duration(t.cpu.Used()),
		Held:        t.cpu.Held(),
		Mappings:    t.mappings.Used(),
		MappingMost: t.mappings.Limit(),
		NoMapping:   t.mappings.Refused(),
		Pipes:       t.pipes.Used(),
		NoPipe:      t.pipes.Refused(),
		Handshakes:  int(t.handshaking.Used()),
		NoHandshake: t.handshaking.Refused(),
		Timers:      t.timers.Used(),
		NoTimer:     t.timers.Refused(),
		Counts:      t.metrics.snapshot(),
	}
	st.Background, st.Passed = t.cpu.Background()
	if r := t.runtime.Load(); r != nil {
		st.Fuel = r.Fuel()
		st.Instances, st.NoInstance = r.Instances()
		st.Asleep = r.Asleep()
		st.NoExecutor = r.Short()
	}
	if l := t.log.Load(); l != nil {
		st.LogDropped = l.dropped.Load()
	}
	return st
}

func (c *counters) endedBy() map[string]int64 {
	by := make(map[string]int64)
	for cause := range c.ended {
		if n := c.ended[cause].Load(); n > 0 {
			by[csa.Cause(cause).Info().Name] = n
		}
	}
	return by
}
