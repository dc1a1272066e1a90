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
		Key: "module_cache", Line: "compiled code, and copies of modules",
		Beside: []ofHost{{"bulkhead_module_cache_bytes", "Modules that the state folder has copies of, as far as is known.", func(h *stats.Host) int64 { return h.ModuleCache }}},
		Over:   []ofHost{{"bulkhead_module_cache_removed_total", "How many copies had to go for module_cache.", func(h *stats.Host) int64 { return h.ModulesRemoved }}},
		What:   "copies of modules that had to go",
		Mend:   "bulkhead rollback does not find them any more. Raise module_cache of [host] to keep more.",
		Mild:   true,
	},
}
