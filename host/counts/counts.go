// Package counts has what handlers count, by names of their own.
package counts

import (
	"maps"
	"sync"
	"sync/atomic"

	"bulkhead/abi"
)

// Counts are what a tenant's handlers have counted, for plugins.Counter. The zero value has none.
// Its methods may be called from any goroutine. Counting under a name that is known takes no lock
// and allocates nothing, since it happens on the loops.
type Counts struct {
	counts  atomic.Pointer[map[string]*atomic.Int64] // replaced, never changed
	adding  sync.Mutex                               // held to replace it
	refused atomic.Int64
}

// Count adds to one of the tenant's metrics. It answers abi.Quota for a name
// that is new when there are abi.MaxMetrics already. name is the caller's again when it returns.
func (m *Counts) Count(name []byte, n int64) abi.Code {
	c := m.known()[string(name)]
	if c == nil {
		if c = m.add(string(name)); c == nil {
			m.refused.Add(1)
			return abi.Quota
		}
	}
	c.Add(n)
	return abi.OK
}

func (m *Counts) known() map[string]*atomic.Int64 {
	if counts := m.counts.Load(); counts != nil {
		return *counts
	}
	return nil
}

// add makes the counter of a new name; nil when there are too many.
func (m *Counts) add(name string) *atomic.Int64 {
	m.adding.Lock()
	defer m.adding.Unlock()
	known := m.known()
	if c := known[name]; c != nil || len(known) >= abi.MaxMetrics {
		return c
	}
	counts := make(map[string]*atomic.Int64, len(known)+1)
	maps.Copy(counts, known)
	c := new(atomic.Int64)
	counts[name] = c
	m.counts.Store(&counts)
	return c
}

// Refused is how often a name that is new was refused.
func (m *Counts) Refused() int64 { return m.refused.Load() }

// All are the counts by name, of which the caller may do what it likes.
func (m *Counts) All() map[string]int64 {
	known := m.known()
	counts := make(map[string]int64, len(known))
	for name, c := range known {
		counts[name] = c.Load()
	}
	return counts
}
