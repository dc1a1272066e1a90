package limits

import "bulkhead/host/stats"

type ofTenant = Figure[stats.Tenant]

// Helps that many figures have.
const (
	most    = "How many there may be."
	mostOf  = "How much it may be."
	refused = "How often another was wanted and not allowed."
)

// Tenants are the limits of a tenant, of which each has its own account. Nobody changes it.
var Tenants = []Limit[stats.Tenant]{
	{
		Key: "connections", Line: "connections of a tenant",
		Used: ofTenant{"bulkhead_tenant_connections", "Open connections.", func(t *stats.Tenant) int64 { return int64(t.Connections) }},
		Most: ofTenant{"bulkhead_tenant_connections_limit", most, func(t *stats.Tenant) int64 { return int64(t.ConnectionLimit) }},
	},
	{
		Key: "accept_rate", Line: "accepts a second of a tenant",
		Most: ofTenant{"bulkhead_tenant_accept_rate_limit", "How many connections may come a second.", func(t *stats.Tenant) int64 { return int64(t.AcceptRate) }},
		Rate: func(t *stats.Tenant) float64 { return t.AcceptRate },
		Over: []ofTenant{{"bulkhead_tenant_accept_waits_total", "How often accepting had to wait for accept_rate.", func(t *stats.Tenant) int64 { return t.AcceptWaits }}},
		What: "connections that had to wait to be accepted",
	},
	{
		Key: "bandwidth", Line: "bandwidth of a tenant",
		Most: ofTenant{"bulkhead_tenant_bandwidth_limit_bytes", "How many bytes may move a second, each way.", func(t *stats.Tenant) int64 { return t.Bandwidth }},
		Rate: func(t *stats.Tenant) float64 { return float64(t.Bandwidth) },
		Over: []ofTenant{
			{"bulkhead_tenant_receive_waits_total", "How often reading from a peer had to wait for bandwidth.", func(t *stats.Tenant) int64 { return t.ReceiveWaits }},
			{"bulkhead_tenant_send_waits_total", "How often writing to a peer had to wait for bandwidth.", func(t *stats.Tenant) int64 { return t.SendWaits }},
		},
		What: "reads and writes that had to wait",
	},
	{
		Key: "memory", Line: "memory of a tenant",
		Used: ofTenant{"bulkhead_tenant_memory_bytes", "Memory in use: linear memory, native code, stacks and buffers.", func(t *stats.Tenant) int64 { return t.Memory }},
		Most: ofTenant{"bulkhead_tenant_memory_limit_bytes", mostOf, func(t *stats.Tenant) int64 { return t.MemoryLimit }},
		Over: []ofTenant{{"bulkhead_tenant_memory_refused_total", "How often memory was wanted and not there.", func(t *stats.Tenant) int64 { return t.MemoryRefused }}},
		What: "refusals of memory",
	},
	{
		Key: "cpu", Line: "CPU time of a tenant",
		Most:   ofTenant{"bulkhead_tenant_cpu_limit_seconds", "How much CPU time it may use a second.", func(t *stats.Tenant) int64 { return int64(t.CPULimit) }},
		Rate:   func(t *stats.Tenant) float64 { return t.CPULimit.Seconds() },
		Beside: []ofTenant{{"bulkhead_tenant_cpu_seconds_total", "CPU time used.", func(t *stats.Tenant) int64 { return int64(t.CPU) }}},
		Over:   []ofTenant{{"bulkhead_tenant_events_deferred_total", "Events that had to wait for CPU time.", func(t *stats.Tenant) int64 { return t.EventsDeferred }}},
		What:   "events that had to wait",
	},
	{
		Key: "calls", Keyless: true, Line: "calls of a tenant beside the loops",
		Used:   ofTenant{"bulkhead_tenant_background_running", "Calls that run beside their loop now.", func(t *stats.Tenant) int64 { return int64(t.BackgroundRunning) }},
		Most:   ofTenant{"bulkhead_tenant_background_limit", "How many may run before events of the tenant wait.", func(t *stats.Tenant) int64 { return int64(t.BackgroundLimit) }},
		Beside: []ofTenant{{"bulkhead_tenant_background_calls_total", "Calls that have left their loop.", func(t *stats.Tenant) int64 { return t.BackgroundCalls }}},
		Over:   []ofTenant{{"bulkhead_tenant_background_waits_total", "Events that had to wait since as many calls ran beside the loops as may, of the tenant or of the host.", func(t *stats.Tenant) int64 { return t.BackgroundWaits }}},
		What:   "events that had to wait for calls that run beside the loops",
		Mend:   "See which of its connections computes for long: bulkhead conns has them in the background.",
	},
	{
		Key: "instances", Line: "instances of a tenant",
		Used:   ofTenant{"bulkhead_tenant_instances", "Instances that are alive.", func(t *stats.Tenant) int64 { return int64(t.Instances) }},
		Most:   ofTenant{"bulkhead_tenant_instances_limit", "How many may live; 0: there is no bound.", func(t *stats.Tenant) int64 { return int64(t.InstanceLimit) }},
		Beside: []ofTenant{{"bulkhead_tenant_instances_asleep", "Of the instances, those that have nothing to do, and hold no memory of their own.", func(t *stats.Tenant) int64 { return int64(t.Asleep) }}},
		Over:   []ofTenant{{"bulkhead_tenant_instances_refused_total", refused, func(t *stats.Tenant) int64 { return t.InstancesRefused }}},
		What:   "refusals of instances",
	},
	{
		Key: "mappings", Line: "memory mappings of a tenant",
		Used: ofTenant{"bulkhead_tenant_mappings", "Memory mappings that its plugins and instances hold.", func(t *stats.Tenant) int64 { return t.Mappings }},
		Most: ofTenant{"bulkhead_tenant_mappings_limit", "How many they could hold now.", func(t *stats.Tenant) int64 { return t.MappingLimit }},
		Over: []ofTenant{{"bulkhead_tenant_mappings_refused_total", refused, func(t *stats.Tenant) int64 { return t.MappingsRefused }}},
		What: "refusals of mappings",
	},
	{
		Key: "pipes", Line: "pipes of relays",
		Used: ofTenant{"bulkhead_tenant_pipes", "Pipes of the kernel that its relays hold bytes in.", func(t *stats.Tenant) int64 { return t.Pipes }},
		Over: []ofTenant{{"bulkhead_tenant_pipes_refused_total", "How often a relay wanted another, and copied instead.", func(t *stats.Tenant) int64 { return t.PipesRefused }}},
		What: "relays that copied, for want of a pipe",
		Mend: "Nobody waits. pipes of [host] sets how many there are, and the system's limit of descriptors.",
		Mild: true,
	},
	{
		Key: "handshakes", Line: "TLS handshakes of the host, of a tenant",
		Used: ofTenant{"bulkhead_tenant_handshakes", "TLS handshakes that are under way.", func(t *stats.Tenant) int64 { return int64(t.Handshakes) }},
		Most: ofTenant{"bulkhead_tenant_handshakes_limit", "How many there may be; 0: there is no bound but the host's.", func(t *stats.Tenant) int64 { return int64(t.HandshakeLimit) }},
		Over: []ofTenant{{"bulkhead_tenant_handshakes_refused_total", refused, func(t *stats.Tenant) int64 { return t.HandshakesRefused }}},
		What: "refusals of handshakes",
	},
	{
		Key: "socket_memory", Line: "kernel memory of a tenant's sockets",
		Used: ofTenant{"bulkhead_tenant_socket_memory_bytes", "What its sockets hold in the system beyond what each may hold in any case.", func(t *stats.Tenant) int64 { return t.SocketMemory }},
		Most: ofTenant{"bulkhead_tenant_socket_memory_limit_bytes", mostOf, func(t *stats.Tenant) int64 { return t.SocketMemoryLimit }},
		Over: []ofTenant{{"bulkhead_tenant_socket_memory_refused_total", "How often a socket wanted more, and was kept small.", func(t *stats.Tenant) int64 { return t.SocketMemoryRefused }}},
		What: "sockets that were kept small",
	},
	{
		Key: "timers", Line: "timers of a connection, of a tenant",
		Used: ofTenant{"bulkhead_tenant_timers", "Timers of its handlers in use.", func(t *stats.Tenant) int64 { return t.Timers }},
		Most: ofTenant{"bulkhead_tenant_timers_limit", most, func(t *stats.Tenant) int64 { return t.TimerLimit }},
		Over: []ofTenant{{"bulkhead_tenant_timers_refused_total", refused, func(t *stats.Tenant) int64 { return t.TimersRefused }}},
		What: "refusals of timers",
	},
	{
		Key: "dials", Line: "TLS handshakes of the host, of a tenant; dials",
		Used:   ofTenant{"bulkhead_tenant_dials", "Connections that its handlers have asked for and that are not there yet.", func(t *stats.Tenant) int64 { return int64(t.Dials) }},
		Most:   ofTenant{"bulkhead_tenant_dials_limit", most, func(t *stats.Tenant) int64 { return int64(t.DialLimit) }},
		Beside: []ofTenant{{"bulkhead_tenant_lookups", "Lookups of names that its handlers dial and that are under way.", func(t *stats.Tenant) int64 { return int64(t.Lookups) }}},
		Over: []ofTenant{
			{"bulkhead_tenant_dials_refused_total", refused, func(t *stats.Tenant) int64 { return t.DialsRefused }},
			{"bulkhead_tenant_lookups_refused_total", "How often another lookup of a name was wanted and not allowed.", func(t *stats.Tenant) int64 { return t.LookupsRefused }},
		},
		What: "refusals of dials and of lookups of names",
	},
	{
		Key: "upstreams", Line: "connections that a tenant has dialled",
		Used: ofTenant{"bulkhead_tenant_upstreams", "Connections that its handlers have asked for, those that are there included.", func(t *stats.Tenant) int64 { return int64(t.Upstreams) }},
		Most: ofTenant{"bulkhead_tenant_upstreams_limit", most, func(t *stats.Tenant) int64 { return int64(t.UpstreamLimit) }},
		Over: []ofTenant{{"bulkhead_tenant_upstreams_refused_total", refused, func(t *stats.Tenant) int64 { return t.UpstreamsRefused }}},
		What: "refusals of connections to upstreams",
	},
	{
		Key: "log_lines", Line: "log lines of an instance, of a tenant",
		Most: ofTenant{"bulkhead_tenant_log_lines_limit", "How many lines its handlers may log a second.", func(t *stats.Tenant) int64 { return int64(t.LogLines) }},
		Rate: func(t *stats.Tenant) float64 { return t.LogLines },
	},
	{
		Key: "log_bytes", Line: "log lines of an instance, of a tenant",
		Most: ofTenant{"bulkhead_tenant_log_limit_bytes", "How many bytes its handlers may log a second.", func(t *stats.Tenant) int64 { return t.LogBytes }},
		Rate: func(t *stats.Tenant) float64 { return float64(t.LogBytes) },
	},
	{
		Key: "log_lines, log_bytes", Line: "log lines of an instance, of a tenant",
		Over: []ofTenant{{"bulkhead_tenant_log_lines_dropped_total", "Lines of its handlers that were left out of the log.", func(t *stats.Tenant) int64 { return t.LogLinesDropped }}},
		What: "lines of its handlers that are not in the log",
		Mend: "Its handlers log more than log_lines and log_bytes of its table allow.",
		Mild: true,
	},
	{
		Key: "counts", Keyless: true, Line: "metric names of a tenant",
		Over: []ofTenant{{"bulkhead_tenant_counts_refused_total", "How often its handlers wanted to count by a name that is new, with as many names as there may be.", func(t *stats.Tenant) int64 { return t.CountsRefused }}},
		What: "counts by one name too many",
		Mend: "A tenant counts by 100 names at most. Let its handlers count by fewer.",
		Mild: true,
	},
}
