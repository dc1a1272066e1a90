package shares

import (
	"fmt"
	"log/slog"

	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// noMappingLimit is how many mappings there are where the system does not bound them.
const noMappingLimit = 1 << 30

// mappingRoom is how many memory mappings tenants may have of a process that is given
// limit and has some already. A quarter is kept for the Go runtime, whose end it would be
// to be refused one: for its heap, its threads, what C libraries load, and mappings that are cut
// in two for a moment.
func mappingRoom(limit, already int) int {
	return max(limit-limit/4-already, 0)
}

// mappingLine says in one line how mappings are shared out.
func mappingLine(cfg *config.Config) string {
	limit, already, ok := machine.FindMappings()
	if !ok {
		return "Memory mappings: the system does not bound them."
	}
	m := budget.NewPool(mappingRoom(limit, already), len(cfg.Tenants))
	return fmt.Sprintf("Memory mappings: %d for all tenants (vm.max_map_count is %d, of which a quarter is kept), %d for each in any case.", m.Limit(), limit, m.Part())
}

// Mappings makes the account of the memory mappings that all tenants share, of most,
// or of what the system has where that is zero or less.
func Mappings(cfg *config.Config, most int, log *slog.Logger) *budget.Pool {
	if most <= 0 {
		most = noMappingLimit
		if limit, already, ok := machine.FindMappings(); ok {
			most = mappingRoom(limit, already)
		}
	}
	m := budget.NewPool(most, len(cfg.Tenants))
	for _, t := range cfg.Tenants {
		if int64(t.Mappings) > m.Limit() {
			log.Warn("a tenant's mappings are more than there are for all tenants; raise the system's vm.max_map_count",
				"tenant", t.Name, "mappings", t.Mappings, "all", m.Limit())
		}
	}
	return m
}
