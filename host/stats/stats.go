// Package stats has what a host tells of itself: Host counts what it has done and holds, with each
// figure's name as a metric, and Status is that for people and their programs, as JSON. Whoever has
// the figures fills them in; nothing here counts.
package stats

import (
	"time"

	"bulkhead/csa"
)

// Host is what a host has done so far and holds now. Each figure has the name that it has as a
// metric; one that ends with _total only grows.
type Host struct {
	// Began is when the host began, and InForce when its configuration came into force.
	Began, InForce time.Time
	// Generation is the number of the configuration in force: the first one's is 1, and each that
	// comes into force has the next.
	Generation int64 `metric:"bulkhead_config_generation"`
	// Connections are open, in all, and ConnectionLimit how many may be.
	Connections     int `metric:"bulkhead_connections"`
	ConnectionLimit int `metric:"bulkhead_connections_limit"`
	// Handshakes of TLS are under way, and HandshakeLimit how many may be.
	Handshakes     int64 `metric:"bulkhead_handshakes"`
	HandshakeLimit int64 `metric:"bulkhead_handshakes_limit"`
	// Memory is what all tenants use of theirs together, in bytes, and MachineMemory what the
	// machine, or the cgroup, has; 0: nobody knows.
	Memory        int64 `metric:"bulkhead_memory_bytes"`
	MachineMemory int64 `metric:"bulkhead_machine_memory_bytes"`
	// HostBugs are panics of the host's own that were caught; the log has their stacks.
	HostBugs int64 `metric:"bulkhead_host_bugs_total"`
	// LogLost are lines of the host's log that were left out, as Options.LogLost says; 0 without.
	LogLost int64 `metric:"bulkhead_log_lines_lost_total"`
	// AccessSampled are lines that the access log does not have of connections with an orderly end,
	// by access_sample; AccessLost are those that could not be written, or not as fast as they
	// came.
	AccessSampled int64 `metric:"bulkhead_access_log_sampled_out_total"`
	AccessLost    int64 `metric:"bulkhead_access_log_lines_lost_total"`
	// AccessOpen are lines of connections that were open, by access_interval.
	AccessOpen int64 `metric:"bulkhead_access_log_open_lines_total"`
	// UsageRecords were written to usage/ in the state folder. UsageFailures is how often that
	// failed, after which the same records are written later; UsageLost are those that were given
	// up, and UsageRemoved the files of records that had to go for usage_size. All are 0 without
	// Options.Usage.
	UsageRecords  int64 `metric:"bulkhead_usage_records_total"`
	UsageFailures int64 `metric:"bulkhead_usage_write_failures_total"`
	UsageLost     int64 `metric:"bulkhead_usage_records_lost_total"`
	UsageRemoved  int64 `metric:"bulkhead_usage_files_removed_total"`
	// LongestEvent is how long a loop has worked at one go at most, by the clock: mostly for one
	// notice of one connection. Nobody else on that loop was served meanwhile.
	LongestEvent time.Duration `metric:"bulkhead_longest_event_seconds"`
	// Loops are the host's.
	Loops []Loop
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
	// CodeCache is how many bytes of compiled code the state folder has, as far as is known, and
	// CodeRemoved how many files of it had to go for code_cache.
	CodeCache   int64 `metric:"bulkhead_code_cache_bytes"`
	CodeRemoved int64 `metric:"bulkhead_code_cache_removed_total"`
	// ModuleCache is how many bytes of modules the state folder has copies of, as far as is known,
	// and ModulesRemoved how many copies had to go for module_cache.
	ModuleCache    int64 `metric:"bulkhead_module_cache_bytes"`
	ModulesRemoved int64 `metric:"bulkhead_module_cache_removed_total"`
	// ScriptsRefused is how often a script could not be loaded, for whatever reason;
	// ScriptsOverFiles and ScriptsOverBytes count those of script_files and script_bytes.
	ScriptsRefused   int64 `metric:"bulkhead_scripts_refused_total"`
	ScriptsOverFiles int64 `metric:"bulkhead_scripts_over_files_total"`
	ScriptsOverBytes int64 `metric:"bulkhead_scripts_over_bytes_total"`
	// RetiredGenerations are the listeners as they were before a reload has changed or removed
	// them, that have connections yet.
	RetiredGenerations int `metric:"bulkhead_retired_generations"`
	// Tenants are the configuration's, in its order, and then those that it does not have any more,
	// and that are not over. Listeners are likewise, each with its routes behind it.
	Tenants   []Tenant
	Listeners []Listener
	// Generations are of the listeners, their routes included: those in force, and then those that
	// a reload has replaced or removed, the youngest first.
	Generations []Generation
}

// Loop is one of the host's loops.
type Loop struct {
	// Lag is how long the last Refresh has waited for its turn, or waits yet.
	Lag time.Duration `metric:"bulkhead_loop_lag_seconds"`
	// LongestEvent is Host's, of this loop.
	LongestEvent time.Duration `metric:"bulkhead_loop_longest_event_seconds"`
}

// Tenant is what one tenant has done and holds.
type Tenant struct {
	Name string
	// Removed says that the configuration does not have it any more, and that connections of it are
	// open yet.
	Removed bool
	// Connections are open, and ConnectionLimit how many may be.
	Connections     int `metric:"bulkhead_tenant_connections"`
	ConnectionLimit int `metric:"bulkhead_tenant_connections_limit"`
	// Memory is in use: bytes of linear memory, stacks and buffers. MemoryLimit is how much may be,
	// and MemoryRefused how often memory was asked for and not there.
	Memory        int64 `metric:"bulkhead_tenant_memory_bytes"`
	MemoryLimit   int64 `metric:"bulkhead_tenant_memory_limit_bytes"`
	MemoryRefused int64 `metric:"bulkhead_tenant_memory_refused_total"`
	// CPU is the CPU time used, and Fuel the units of fuel: docs/METER.md. CPULimit is how much CPU
	// time it may use a second.
	CPU      time.Duration `metric:"bulkhead_tenant_cpu_seconds_total"`
	CPULimit time.Duration `metric:"bulkhead_tenant_cpu_limit_seconds"`
	Fuel     int64         `metric:"bulkhead_tenant_fuel_total"`
	// EventsDeferred are events that had to wait for CPU time.
	EventsDeferred int64 `metric:"bulkhead_tenant_events_deferred_total"`
	// BackgroundCalls are the calls that have left their loop since the host began, and
	// BackgroundRunning those that run beside it now. BackgroundLimit is how many may before events
	// have to wait, and BackgroundWaits are events that had to, for this or for as many of the
	// host.
	BackgroundCalls   int64 `metric:"bulkhead_tenant_background_calls_total"`
	BackgroundRunning int   `metric:"bulkhead_tenant_background_running"`
	BackgroundLimit   int   `metric:"bulkhead_tenant_background_limit"`
	BackgroundWaits   int64 `metric:"bulkhead_tenant_background_waits_total"`
	// Instances are alive. Those Asleep have nothing to do, and hold no memory of their own.
	// InstanceLimit is how many may live, 0 where there is no bound, and InstancesRefused how often
	// another was wanted and not allowed.
	Instances        int   `metric:"bulkhead_tenant_instances"`
	InstanceLimit    int   `metric:"bulkhead_tenant_instances_limit"`
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
	// Lookups of names that its handlers dial are under way, with those of dials that were given
	// up. LookupsRefused is how often another was wanted and not allowed.
	Lookups        int   `metric:"bulkhead_tenant_lookups"`
	LookupsRefused int64 `metric:"bulkhead_tenant_lookups_refused_total"`
	// Handshakes of TLS are under way. HandshakeLimit is how many may be, 0 where there is no bound
	// of its own, and HandshakesRefused how often another was wanted and not allowed.
	Handshakes        int   `metric:"bulkhead_tenant_handshakes"`
	HandshakeLimit    int   `metric:"bulkhead_tenant_handshakes_limit"`
	HandshakesRefused int64 `metric:"bulkhead_tenant_handshakes_refused_total"`
	// SocketMemory is what its sockets hold in the system, in bytes, beyond what each may hold in
	// any case. SocketMemoryLimit is how much that may be, and SocketMemoryRefused how often one
	// wanted more, and was kept small.
	SocketMemory        int64 `metric:"bulkhead_tenant_socket_memory_bytes"`
	SocketMemoryLimit   int64 `metric:"bulkhead_tenant_socket_memory_limit_bytes"`
	SocketMemoryRefused int64 `metric:"bulkhead_tenant_socket_memory_refused_total"`
	// Timers are in use. TimerLimit is how many may be, and TimersRefused how often another was
	// wanted and not allowed.
	Timers        int64 `metric:"bulkhead_tenant_timers"`
	TimerLimit    int64 `metric:"bulkhead_tenant_timers_limit"`
	TimersRefused int64 `metric:"bulkhead_tenant_timers_refused_total"`
	// Dials are connections that its handlers have asked for and that are not there yet, and
	// DialLimit how many may be. Upstreams are those that are there, and those, and UpstreamLimit
	// likewise. DialsRefused and UpstreamsRefused are how often another was wanted and not allowed.
	Dials            int   `metric:"bulkhead_tenant_dials"`
	DialLimit        int   `metric:"bulkhead_tenant_dials_limit"`
	DialsRefused     int64 `metric:"bulkhead_tenant_dials_refused_total"`
	Upstreams        int   `metric:"bulkhead_tenant_upstreams"`
	UpstreamLimit    int   `metric:"bulkhead_tenant_upstreams_limit"`
	UpstreamsRefused int64 `metric:"bulkhead_tenant_upstreams_refused_total"`
	// AcceptWaits, ReceiveWaits and SendWaits are how often a connection had to wait to be
	// accepted, to be read from and to be written to, for accept_rate and bandwidth.
	AcceptWaits  int64 `metric:"bulkhead_tenant_accept_waits_total"`
	ReceiveWaits int64 `metric:"bulkhead_tenant_receive_waits_total"`
	SendWaits    int64 `metric:"bulkhead_tenant_send_waits_total"`
	// AcceptRate is how many connections it may take a second, and Bandwidth how many bytes a
	// second it may move each way.
	AcceptRate float64 `metric:"bulkhead_tenant_accept_rate_limit"`
	Bandwidth  int64   `metric:"bulkhead_tenant_bandwidth_limit_bytes"`
	// LogLines is how many lines its handlers may log a second, and LogBytes how many bytes.
	LogLines float64 `metric:"bulkhead_tenant_log_lines_limit"`
	LogBytes int64   `metric:"bulkhead_tenant_log_limit_bytes"`
	// LogLinesDropped are lines of its handlers that were left out: log_lines, log_bytes.
	LogLinesDropped int64 `metric:"bulkhead_tenant_log_lines_dropped_total"`
	// Counts are what its handlers have counted. CountsRefused is how often they wanted to count by
	// a name that is new, with as many names as there may be.
	Counts        map[string]int64
	CountsRefused int64 `metric:"bulkhead_tenant_counts_refused_total"`
}

// Listener is what one listener, or one route, has done and holds.
type Listener struct {
	// Name is, of a route, "LISTENER/ROUTE".
	Name   string
	Tenant string
	// Removed says that the configuration does not have it any more, and that connections of it are
	// open yet.
	Removed bool
	// Active are the connections that are open, and Upstreams those that its handlers have dialled.
	Active    int64 `metric:"bulkhead_listener_connections"`
	Upstreams int64 `metric:"bulkhead_listener_upstreams"`
	// Accepted are connections; of a route, those that took it. They are its listener's, too.
	Accepted int64 `metric:"bulkhead_listener_connections_total"`
	// ClosedBeforeRoute are those of a listener with routes that ended before one was known.
	ClosedBeforeRoute int64 `metric:"bulkhead_listener_closed_before_route_total"`
	// Refused were accepted, and closed because no handler, or no room, could be had.
	Refused int64 `metric:"bulkhead_listener_refused_total"`
	// AcceptErrors are accepts that failed for want of descriptors or memory.
	AcceptErrors int64 `metric:"bulkhead_listener_accept_errors_total"`
	// Instances are alive. StartFailures are those that did not start, Traps those that
	// trapped, and LimitStops those that a limit has stopped: event_timeout, stack. HandlerErrors
	// are errors that handlers did not deal with, as they have said by control of the ABI: such
	// as one that a script does not catch.
	Instances     int64 `metric:"bulkhead_listener_instances"`
	StartFailures int64 `metric:"bulkhead_listener_start_failures_total"`
	Traps         int64 `metric:"bulkhead_listener_traps_total"`
	LimitStops    int64 `metric:"bulkhead_listener_limit_stops_total"`
	HandlerErrors int64 `metric:"bulkhead_listener_handler_errors_total"`
	// Received and Sent are the bytes of the connections that have ended, and of those that are
	// open as Host.Refresh has found them last. UpstreamReceived and UpstreamSent are likewise of
	// those that its handlers have dialled.
	Received         int64 `metric:"bulkhead_listener_received_bytes_total"`
	Sent             int64 `metric:"bulkhead_listener_sent_bytes_total"`
	UpstreamReceived int64 `metric:"bulkhead_listener_upstream_received_bytes_total"`
	UpstreamSent     int64 `metric:"bulkhead_listener_upstream_sent_bytes_total"`
	// Handshakes of TLS were done, and of these Resumed went on with an earlier session.
	Handshakes int64 `metric:"bulkhead_listener_handshakes_total"`
	Resumed    int64 `metric:"bulkhead_listener_handshakes_resumed_total"`
	// Events is how long a loop has worked at one go for one of its connections. FirstByte is how
	// long it took from when a connection was opened until its handler's first byte for the peer
	// was taken.
	Events, FirstByte csa.Histogram
	// CertificateEnds is when the first of its certificates expires; zero: it has none.
	CertificateEnds time.Time
	// Drained says that it takes no new connections, as an operator wants it.
	Drained bool
	// Quarantine is nil unless the listener is quarantined.
	Quarantine *Quarantine
	// Ended counts the connections that have ended, those that its handlers have dialled
	// included, by the Name of csa.CauseInfo. It has no zeros.
	Ended map[string]int64 `metric:"bulkhead_listener_ended_total"`
	// Dials counts the connections that its handlers have asked for, once it is known what has
	// become of them, by the String of DialOutcome. It has no zeros.
	Dials map[string]int64 `metric:"bulkhead_listener_dials_total"`
	// DatagramsLost counts those that were lost of peers over UDP, those that its handlers
	// have dialled included, by the Name of csa.LossInfo. It has no zeros.
	DatagramsLost map[string]int64 `metric:"bulkhead_listener_datagrams_lost_total"`
}

// Failures is how often its handlers have failed: trapped, were stopped by a limit, met an error
// that they did not deal with, or did not start.
func (l *Listener) Failures() int64 {
	return l.Traps + l.LimitStops + l.HandlerErrors + l.StartFailures
}

// FailureMetrics are the names of what Failures adds up.
var FailureMetrics = []string{
	"bulkhead_listener_traps_total", "bulkhead_listener_limit_stops_total",
	"bulkhead_listener_handler_errors_total", "bulkhead_listener_start_failures_total",
}

// Generation is a listener as one configuration had it.
type Generation struct {
	Listener, Tenant string
	// Number is that of the configuration that has made it.
	Number int64
	// Retired says that no new connections come to it.
	Retired bool
	// Connections are its own, those that its handlers have dialled included. Instances are alive.
	Connections int64 `metric:"bulkhead_generation_connections"`
	Instances   int64 `metric:"bulkhead_generation_instances"`
	// Memory, Code and Mappings are GenerationStatus's.
	Memory   int64 `metric:"bulkhead_generation_memory_bytes"`
	Code     int64 `metric:"bulkhead_generation_code_bytes"`
	Mappings int64 `metric:"bulkhead_generation_mappings"`
}

// Quarantine is the state of a listener whose plugin could not be loaded, or did not start.
// Connections are closed as they come, and datagrams are lost.
type Quarantine struct {
	Cause string        // of the last try
	Tries int           // in vain
	Wait  time.Duration // from the last try to the next
}

// causeKeys and lossKeys are keys of docs/CONFIG.md, by the names of causes and of losses.
var causeKeys, lossKeys = func() (causes, losses map[string]string) {
	causes, losses = make(map[string]string), make(map[string]string)
	for c := range csa.Causes {
		causes[c.Info().Name] = c.Info().Key
	}
	for l := range csa.Losses {
		losses[l.Info().Name] = l.Info().Key
	}
	return causes, losses
}()

// ByKey counts the connections that have ended and the datagrams that were lost by the key of the
// limit, as the causes have it: several keys with ", " between them where each of them may be
// meant. What no key sets is left out. Nil: there is nothing else.
func (l *Listener) ByKey() map[string]int64 {
	var all map[string]int64
	add := func(counts map[string]int64, keys map[string]string) {
		for name, n := range counts {
			if key := keys[name]; key != "" && n > 0 {
				if all == nil {
					all = make(map[string]int64)
				}
				all[key] += n
			}
		}
	}
	add(l.Ended, causeKeys)
	add(l.DatagramsLost, lossKeys)
	return all
}
