package metrics

import (
	"runtime/debug"
	"runtime/metrics"

	"bulkhead/host/machine"

	"golang.org/x/sys/unix"
)

// process has what Go says of the process.
type process struct {
	gc      debug.GCStats
	samples []metrics.Sample
}

// The indices of samples.
const (
	heapBytes = iota
	goroutines
)

// read reads all of it.
func (p *process) read() {
	debug.ReadGCStats(&p.gc)
	if p.samples == nil {
		p.samples = []metrics.Sample{heapBytes: {Name: "/memory/classes/heap/objects:bytes"}, goroutines: {Name: "/sched/goroutines:goroutines"}}
	}
	metrics.Read(p.samples)
}

func (p *process) stops() (int64, bool) { return p.gc.NumGC, true }

func (p *process) runtime(index int) (int64, bool) {
	v := p.samples[index].Value
	if v.Kind() != metrics.KindUint64 {
		return 0, false
	}
	return int64(v.Uint64()), true
}

func mostDescriptors() (int64, bool) {
	n := machine.Descriptors()
	return int64(n), n != machine.NoDescriptorLimit
}

// usedCPU is in nanoseconds.
func usedCPU() (int64, bool) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return u.Utime.Nano() + u.Stime.Nano(), true
}
