// Package shares says how what the machine gives the process is shared out: memory, memory
// mappings, threads, and descriptors, of which connections and the pipes of relays have their
// parts.
package shares

import (
	"runtime"

	"bulkhead/host/config"
)

// Lines says, each in one line, how that is shared out between the tenants of a configuration.
func Lines(cfg *config.Config) []string {
	return []string{PlanMemory(cfg).String(), mappingLine(cfg), descriptorLine(cfg), pipeLine(cfg), threadLine()}
}

// Loops is how many loops a configuration has here.
func Loops(cfg *config.Config) int {
	if cfg.Host.Loops > 0 {
		return cfg.Host.Loops
	}
	return runtime.GOMAXPROCS(0)
}
