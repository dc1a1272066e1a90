package host

import (
	"sync/atomic"
	"time"

	"bulkhead/csa"
)

// Stats is what a host has done so far and holds now. Each figure has the name that it has as a
// metric; one that ends with _total only grows.
type Stats struct {
	// Connections are open, in all.
	Connections int `metric:"bulkhead_connections"`
	// HostBugs are panics of the host's own that were caught; the log has their stacks.
	HostBugs int64 `metric:"bulkhead_host_bugs_total"`
	// LogLost are lines of the host's log that were left out, as Options.LogLost says; 0 without.
	LogLost int64 `metric:"bulkhead_log_lines_lost_total"`
	// LongestEvent is how long a loop has worked at one go at most, by the clock: mostly for one
	// notice of one connection. Nobody else on that loop was served meanwhile.
	LongestEvent time.Duration `metric:"bulkhead_longest_event_seconds"`
	// LostEvents is how many may have been longer and changed threads, so that nobody knows, where
	// Options have EventsByThread; 0 without.
	LostEvents int64 `metric:"bulkhead_lost_events_total"`
	// Mappings are the memory mappings that plugins and instances hold, MappingLimit how
	// many they may.
	Mappings     int64 `metric:"bulkhead_mappings"`
	MappingLimit int64 `metric:"bulkhead_mappings_limit"`
	// Pipes are those that relays hold bytes in, PipeLimit how many they may.
	Pipes     int64 `metric:"bulkhead_pipes"`
	PipeLimit int64 `metric:"bulkhead_pipes_limit"`
	// RetiredGenerations are the listeners as they were before a reload has changed or removed them,
	// that have connections yet.
	RetiredGenerations int `metric:"bulkhead_retired_generations"`
	Tenants            []TenantStats
	Listeners          []ListenerStats
}

// TenantStats are one tenant's.
type TenantStats struct {
	Name string
	// Connections are open.
	Connections int `metric:"bulkhead_tenant_connections"`
	// Memory is in use: bytes of linear memory, stacks and buffers. MemoryRefused is how
	// often memory was asked for and not there.
	Memory        int64 `metric:"bulkhead_tenant_memory_bytes"`
	MemoryRefused int64 `metric:"bulkhead_tenant_memory_refused_total"`
	// CPU is the CPU time used, and Fuel the units of fuel: docs/METER.md.
	CPU  time.Duration `metric:"bulkhead_tenant_cpu_seconds_total"`
	Fuel int64         `metric:"bulkhead_tenant_fuel_total"`
	// EventsDeferred are events that had to wait for CPU time.
	EventsDeferred int64 `metric:"bulkhead_tenant_events_deferred_total"`
	// BackgroundCalls are the calls that have left their loop since the host began, and
	// BackgroundRunning those that run beside it now.
	BackgroundCalls   int64 `metric:"bulkhead_tenant_background_calls_total"`
	BackgroundRunning int   `metric:"bulkhead_tenant_background_running"`
	// Instances are alive. Those Asleep have nothing to do, and hold no memory of their own.
	// InstancesRefused is how often another was wanted and not allowed.
	Instances        int   `metric:"bulkhead_tenant_instances"`
	Asleep           int   `metric:"bulkhead_tenant_instances_asleep"`
	InstancesRefused int64 `metric:"bulkhead_tenant_instances_refused_total"`
	// ExecutorsRefused is how often what calls run on could not be made.
	ExecutorsRefused int64 `metric:"bulkhead_tenant_executors_refused_total"`
	// Mappings are the memory mappings that its plugins and instances hold, MappingLimit how
	// many they could hold now, and MappingsRefused how often another was wanted and not
	// allowed.
	Mappings        int64 `metric:"bulkhead_tenant_mappings"`
	MappingLimit    int64 `metric:"bulkhead_tenant_mappings_limit"`
	MappingsRefused int64 `metric:"bulkhead_tenant_mappings_refused_total"`
	// Pipes hold bytes of its relays. PipesRefused is how often a relay wanted another, and
	// copied instead.
	Pipes        int64 `metric:"bulkhead_tenant_pipes"`
	PipesRefused int64 `metric:"bulkhead_tenant_pipes_refused_total"`
	// Handshakes of TLS are under way. HandshakesRefused is how often another was wanted and
	// not allowed.
	Handshakes        int   `metric:"bulkhead_tenant_handshakes"`
	HandshakesRefused int64 `metric:"bulkhead_tenant_handshakes_refused_total"`
	// SocketMemory is what its sockets hold in the system, in bytes, beyond what each may hold in any
	// case. SocketMemoryRefused is how often one wanted more, and was kept small.
	SocketMemory        int64 `metric:"bulkhead_tenant_socket_memory_bytes"`
	SocketMemoryRefused int64 `metric:"bulkhead_tenant_socket_memory_refused_total"`
	// Timers are in use. TimersRefused is how often another was wanted and not allowed.
	Timers        int64 `metric:"bulkhead_tenant_timers"`
	TimersRefused int64 `metric:"bulkhead_tenant_timers_refused_total"`
	// LogLinesDropped are lines of its handlers that were left out: log_lines, log_bytes.
	LogLinesDropped int64 `metric:"bulkhead_tenant_log_lines_dropped_total"`
	// Counts are what its handlers have counted.
	Counts map[string]int64
}

// ListenerStats are one listener's, or one route's.
type ListenerStats struct {
	// Name is, of a route, "LISTENER/ROUTE".
	Name string
	// Accepted are connections; of a route, those that took it. They are its listener's, too.
	Accepted int64 `metric:"bulkhead_listener_connections_total"`
	// ClosedBeforeRoute are those of a listener with routes that ended before one was known.
	ClosedBeforeRoute int64 `metric:"bulkhead_listener_closed_before_route_total"`
	// Refused were accepted, and closed because no handler, or no room, could be had.
	Refused int64 `metric:"bulkhead_listener_refused_total"`
	// AcceptErrors are accepts that failed for want of descriptors or memory.
	AcceptErrors int64 `metric:"bulkhead_listener_accept_errors_total"`
	// Instances are alive. StartFailures are those that did not start, Traps those that
	// trapped, and LimitStops those that a limit has stopped: event_timeout, stack.
	Instances     int64 `metric:"bulkhead_listener_instances"`
	StartFailures int64 `metric:"bulkhead_listener_start_failures_total"`
	Traps         int64 `metric:"bulkhead_listener_traps_total"`
	LimitStops    int64 `metric:"bulkhead_listener_limit_stops_total"`
	// Received and Sent are the bytes of the connections that have ended.
	Received int64 `metric:"bulkhead_listener_received_bytes_total"`
	Sent     int64 `metric:"bulkhead_listener_sent_bytes_total"`
	// Quarantine is nil unless the listener is quarantined.
	Quarantine *Quarantine
	// Ended counts the connections that have ended, those that its handlers have dialled
	// included, by the Name of csa.CauseInfo. It has no zeros.
	Ended map[string]int64 `metric:"bulkhead_listener_ended_total"`
	// DatagramsLost counts those that were lost of peers over UDP, those that its handlers
	// have dialled included, by the Name of csa.LossInfo. It has no zeros.
	DatagramsLost map[string]int64 `metric:"bulkhead_listener_datagrams_lost_total"`
}

// Stats may be called from any goroutine, while the host runs and after.
func (h *Host) Stats() Stats { return h.statsOf(h.now.Load()) }

// statsOf are those with a state's tenants and listeners.
func (h *Host) statsOf(now *state) Stats {
	st := Stats{Connections: h.connections.Used(), HostBugs: h.bugs.number(), Mappings: h.mappings.Used(), MappingLimit: h.mappings.Limit(),
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

func (t *tenant) stats() TenantStats {
	st := TenantStats{
		Name:              t.name,
		Connections:       t.connections.Used(),
		Memory:            t.memory.Used(),
		MemoryRefused:     t.memory.Refused(),
		CPU:               time.Duration(t.cpu.Used()),
		EventsDeferred:    t.cpu.Held(),
		Mappings:          t.mappings.Used(),
		MappingLimit:      t.mappings.Limit(),
		MappingsRefused:   t.mappings.Refused(),
		Pipes:             t.pipes.Used(),
		PipesRefused:      t.pipes.Refused(),
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
