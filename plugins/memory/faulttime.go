package memory

import (
	"sync/atomic"

	"bulkhead/internal/cputime"
)

// FaultTime is less than it takes to write to a page of an image's copy for the
// first time, in nanoseconds. It is measured once, which takes a while. A measurement that fails,
// since some tenant has used up what it takes, is not kept.
func FaultTime() int64 {
	ns := measuredFault.Load()
	if ns == 0 {
		if ns = measureFault(); ns == 0 {
			return leastFault
		}
		measuredFault.Store(ns)
	}
	return ns
}

var measuredFault atomic.Int64

const leastFault, mostFault = 100, 5000 // ns

// measureFault is zero when there is no memory to measure with.
func measureFault() int64 {
	const pages, size = 32, 128 << 10
	g, err := NewImage(Unlimited{}, make([]byte, size), 0)
	if err != nil {
		return 0
	}
	defer g.Close()
	m, err := g.Copy(Unlimited{}, Unlimited{}, size, 0)
	if err != nil {
		return 0
	}
	defer m.Free()
	fastest := int64(mostFault)
	for p := range pages {
		began := cputime.Monotonic()
		m.b[p*4096] = 1
		fastest = min(fastest, cputime.Monotonic()-began)
	}
	return max(fastest/2, leastFault)
}
