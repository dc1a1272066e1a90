package shares

import (
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// descriptorReserve is how many descriptors are left to everything but
// connections, pipes and lookups: listeners, loops, logs, the compile cache.
const descriptorReserve = 64

// Lookups is how many names may be looked up at once. Each takes two descriptors, so that all have a
// sixteenth of them at most.
func Lookups() int { return min(mostLookups, machine.Descriptors()/32) }

// mostLookups is as many as one name server is likely to answer.
const mostLookups = 512

// Connections is the ceiling on connections: as configured, or as many as
// there are descriptors for.
func Connections(cfg *config.Config, log *slog.Logger) int {
	limit := machine.Descriptors()
	room := limit
	if limit < machine.NoDescriptorLimit {
		_, _, pipes := Pipes(cfg)
		room = max(limit-descriptorReserve-pipes-2*Lookups(), limit/2)
	}
	switch want := cfg.Host.Connections; {
	case want <= 0:
		return room
	case want > room:
		log.Warn("[host] connections is more than there are descriptors for; raise RLIMIT_NOFILE",
			"connections", want, "descriptors", limit)
		fallthrough
	default:
		return want
	}
}
