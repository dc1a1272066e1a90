package shares

import (
	"fmt"
	"log/slog"

	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// descriptorReserve is how many descriptors are left to everything but
// connections, pipes and lookups: listeners, loops, logs, the compile cache.
const descriptorReserve = 64

// Lookups is how many names may be looked up at once. Each takes two descriptors, so that all have
// a sixteenth of them at most.
func Lookups() int { return min(mostLookups, machine.Descriptors()/32) }

// mostLookups is as many as one name server is likely to answer.
const mostLookups = 512

// Connections is the ceiling on connections: as configured, or as many as
// there are descriptors for.
func Connections(cfg *config.Config, log *slog.Logger) int {
	limit := machine.Descriptors()
	room := connectionRoom(cfg, limit)
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

// connectionRoom is how many connections there are descriptors for, of so many.
func connectionRoom(cfg *config.Config, descriptors int) int {
	if descriptors >= machine.NoDescriptorLimit {
		return descriptors
	}
	_, _, pipes := Pipes(cfg)
	return max(descriptors-descriptorReserve-pipes-2*Lookups(), descriptors/2)
}

// descriptorLine says in one line how many connections there are descriptors for.
func descriptorLine(cfg *config.Config) string {
	limit := machine.Descriptors()
	return descriptorsSaid(cfg, limit, connectionRoom(cfg, limit))
}

func descriptorsSaid(cfg *config.Config, limit, room int) string {
	if limit >= machine.NoDescriptorLimit {
		return "Descriptors: the system does not bound them."
	}
	want, whose := 0, "that all tenants may have together"
	for i := range cfg.Tenants {
		want += cfg.Tenants[i].Connections
	}
	if c := cfg.Host.Connections; c > 0 {
		want, whose = c, "of [host] connections"
	}
	if room < want {
		return fmt.Sprintf("Descriptors: RLIMIT_NOFILE is %d, which leaves room for %d connections, LESS than the %d %s: the others wait; raise LimitNOFILE= of the unit, or ulimit -n.", limit, room, want, whose)
	}
	return fmt.Sprintf("Descriptors: RLIMIT_NOFILE is %d, which leaves room for %d connections; the %d %s fit.", limit, room, want, whose)
}
