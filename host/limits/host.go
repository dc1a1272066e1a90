package limits

import "bulkhead/host/stats"

type ofHost = Figure[stats.Host]

// Host are the limits of the host as a whole. Nobody changes it.
var Host = []Limit[stats.Host]{
	{
		Key: "connections", Line: "connections of a tenant, of the host",
		Used: ofHost{"bulkhead_connections", "Open connections of all tenants.", func(h *stats.Host) int64 { return int64(h.Connections) }},
		Most: ofHost{"bulkhead_connections_limit", most, func(h *stats.Host) int64 { return int64(h.ConnectionLimit) }},
	},
	{
		Key: "handshakes", Line: "TLS handshakes of the host",
		Used: ofHost{"bulkhead_handshakes", "TLS handshakes of all tenants that are under way.", func(h *stats.Host) int64 { return h.Handshakes }},
		Most: ofHost{"bulkhead_handshakes_limit", most, func(h *stats.Host) int64 { return h.HandshakeLimit }},
	},
	{
		Key: "mappings", Keyless: true, Line: "memory mappings of a tenant, of the host",
		Used: ofHost{"bulkhead_mappings", "Memory mappings that plugins and instances hold.", func(h *stats.Host) int64 { return h.Mappings }},
		Most: ofHost{"bulkhead_mappings_limit", "How many they may hold together: most of what the system gives the process.", func(h *stats.Host) int64 { return h.MappingLimit }},
		Mend: "Raise the system's vm.max_map_count, or see which tenant has the most instances.",
	},
	{
		Key: "pipes", Line: "pipes of relays",
		Used: ofHost{"bulkhead_pipes", "Pipes of the kernel that relays hold bytes in.", func(h *stats.Host) int64 { return h.Pipes }},
		Most: ofHost{"bulkhead_pipes_limit", "How many they may hold.", func(h *stats.Host) int64 { return h.PipeLimit }},
		Mend: "Relays copy what no pipe can be had for. The system's limit of descriptors sets how many there are.",
		Mild: true,
	},
	{
		Key: "memory", Keyless: true, Line: "memory of all tenants together",
		Used: ofHost{"bulkhead_memory_bytes", "Memory that all tenants use of theirs together.", func(h *stats.Host) int64 { return h.Memory }},
		Most: ofHost{"bulkhead_machine_memory_bytes", "Memory that the machine, or the cgroup, has: nothing is refused before the system refuses it. 0: nobody knows.", func(h *stats.Host) int64 { return h.MachineMemory }},
		Mend: "Lower memory of the tenants that use the most, or give the machine more.",
	},
	{
		Key: "log_queue", Keyless: true, Line: "lines that wait for the log's reader",
		Over: []ofHost{{"bulkhead_log_lines_lost_total", "Lines of the host's log that were left out since nobody read them in time.", func(h *stats.Host) int64 { return h.LogLost }}},
		What: "lines that are not in the log",
		Mend: "Whoever reads the log is too slow, or [host] log_level lets too much through.",
	},
	{
		Key: "usage_size", Line: "files of what tenants have used",
		Over: []ofHost{{"bulkhead_usage_files_removed_total", "Files of records that were removed for usage_size, before usage_keep was over.", func(h *stats.Host) int64 { return h.UsageRemoved }}},
		What: "files of records that had to go",
		Mend: "Have them collected sooner, or raise usage_size of [admin].",
	},
	{
		Key: "code_cache", Line: "compiled code, and copies of modules",
		Beside: []ofHost{{"bulkhead_code_cache_bytes", "Compiled code that the state folder has, as far as is known.", func(h *stats.Host) int64 { return h.CodeCache }}},
		Over:   []ofHost{{"bulkhead_code_cache_removed_total", "How many files of compiled code had to go for code_cache.", func(h *stats.Host) int64 { return h.CodeRemoved }}},
		What:   "files of compiled code that had to go",
		Mend:   "They are compiled again when they are wanted. Raise code_cache of [host] to keep more.",
		Mild:   true,
	},
	{
		Key: "module_cache", Line: "compiled code, and copies of modules",
		Beside: []ofHost{{"bulkhead_module_cache_bytes", "Modules that the state folder has copies of, as far as is known.", func(h *stats.Host) int64 { return h.ModuleCache }}},
		Over:   []ofHost{{"bulkhead_module_cache_removed_total", "How many copies had to go for module_cache.", func(h *stats.Host) int64 { return h.ModulesRemoved }}},
		What:   "copies of modules that had to go",
		Mend:   "bulkhead rollback does not find them any more. Raise module_cache of [host] to keep more.",
		Mild:   true,
	},
}
