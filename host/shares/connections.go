package shares

import (
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// descriptorReserve is how many descriptors are left to everything but
// connections and pipes: listeners, loops, logs, the compile cache.
const descriptorReserve = 64

// Connections is the ceiling on connections: as configured, or as many as
// there are descriptors for.
func Connections(cfg *config.Config, log *slog.Logger) int {
	limit := machine.Descriptors()
	room := limit
	if limit < machine.NoDescriptorLimit {
		_, _, pipes := Pipes(cfg)
		room = max(limit-descriptorReserve-pipes, limit/2)
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
