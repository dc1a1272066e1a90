package shares

import (
	"fmt"
	"runtime"

	"bulkhead/host/machine"
)

// leastThreads is how many threads a daemon needs on so many CPUs: those that run, those that wait
// in the system for a file, and those of the processes that compile, of which there is one a CPU.
func leastThreads(cpus int) int64 { return 32 + 16*int64(cpus) }

// threadLine says in one line how many threads the process may have.
func threadLine() string {
	most, source, ok := machine.FindThreads()
	return threadsSaid(most, source, ok, runtime.GOMAXPROCS(0))
}

func threadsSaid(most int64, source string, bounded bool, cpus int) string {
	need := leastThreads(cpus)
	switch {
	case !bounded:
		return "Threads: the system does not bound them."
	case most < need:
		return fmt.Sprintf("Threads: %s allows %d, LESS than the %d that may be needed: the process ends when it cannot have another; raise TasksMax= of the unit, or ulimit -u.", source, most, need)
	}
	return fmt.Sprintf("Threads: %s allows %d; %d may be needed.", source, most, need)
}
