package host

import (
	"sync"
	"sync/atomic"

	"bulkhead/abi"
)

// maxMetrics is how many names a tenant's handlers may count under.
const maxMetrics = 100

// metrics are what a tenant's handlers have counted.
type metrics struct {
	mu     sync.Mutex
	counts map[string]*atomic.Int64
}

// counter gives the counter of a name, made when it is new, or nil and
// abi.Quota when there are too many names already. The caller keeps it: what
// happens for every message is then one addition.
func (m *metrics) counter(name string) (*atomic.Int64, abi.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.counts[name]; c != nil {
		return c, abi.OK
	}
	if len(m.counts) >= maxMetrics {
		return nil, abi.Quota
	}
	if m.counts == nil {
		m.counts = make(map[string]*atomic.Int64)
	}
	c := new(atomic.Int64)
	m.counts[name] = c
	return c, abi.OK
}

func (m *metrics) snapshot() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := make(map[string]int64, len(m.counts))
	for name, c := range m.counts {
		counts[name] = c.Load()
	}
	return counts
}
