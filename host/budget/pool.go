package budget

import (
	"sync"
	"sync/atomic"
)

// Pool is an account of something of which there are so many for all tenants: memory
// mappings, pipes, handshakes. Each tenant has a PoolShare of it.
//
// Half of what there is belongs to the tenants in equal parts, which nobody can take
// from them. Of the other half a tenant may hold, beyond its part, as many as are free
// then: one tenant gets half of it, two a third each. So tenants that need many get
// many, and some are always left for the next.
//
// Tenants may come and go, and the limit may be set. Parts are made smaller at once then, and what
// a tenant holds beyond its new part counts as held of the other half; until enough of that has
// come back, the new tenant's part may not be there yet.
type Pool struct {
	limit   atomic.Int64
	part    atomic.Int64 // of each tenant
	common  atomic.Int64 // beside the parts
	lent    atomic.Int64
	used    atomic.Int64
	refused atomic.Int64

	mu      sync.Mutex // for what follows; not taken by Reserve and Release
	tenants int        // parts are cut for so many at least: those that have no share yet, too
	shares  map[*PoolShare]bool
}

// mostPool is the most that a Pool has of anything, so that two numbers of it fit into a word.
const mostPool = 1 << 30

// NewPool makes the account of limit pieces for so many tenants; with more Shares than that,
// parts get smaller. A limit of zero or less is none, and one above 2^30 counts as that.
func NewPool(limit, tenants int) *Pool {
	m := &Pool{tenants: max(tenants, 0), shares: make(map[*PoolShare]bool)}
	m.limit.Store(int64(min(max(limit, 0), mostPool)))
	m.cut()
	return m
}

// SetLimit has it be the account of limit pieces from now on, as NewPool says.
func (m *Pool) SetLimit(limit int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit.Store(int64(min(max(limit, 0), mostPool)))
	m.cut()
}

// cut deals out the parts. It is called with the lock.
func (m *Pool) cut() {
	limit := m.limit.Load()
	n := int64(max(m.tenants, len(m.shares)))
	part := limit / 2 / max(n, 1)
	m.part.Store(part)
	m.common.Store(limit - part*n)
	for s := range m.shares {
		s.setPart(part)
	}
}

// Limit is how many there are for all tenants together.
func (m *Pool) Limit() int64 { return m.limit.Load() }

// Part is how many each tenant can have whatever the others do.
func (m *Pool) Part() int64 { return m.part.Load() }

// Used is how many are taken now.
func (m *Pool) Used() int64 { return m.used.Load() }

// Refused is how often a share has said no.
func (m *Pool) Refused() int64 { return m.refused.Load() }

// PoolShare is what one tenant has of a Pool.
type PoolShare struct {
	all     *Pool
	limit   atomic.Int64  // its own; 0: none
	usage   atomic.Uint64 // see packUsage
	refused atomic.Int64
}

// packUsage puts what a PoolShare uses and its part of the pool into one word. They change
// together, so that Pool.lent is always the sum of what shares use beyond their parts.
func packUsage(used, part int64) uint64 { return uint64(used)<<32 | uint64(part) }

func (s *PoolShare) loadUsage() (word uint64, used, part int64) {
	word = s.usage.Load()
	return word, int64(word >> 32), int64(uint32(word))
}

// Share makes the share of one of the tenants, until it is closed. With a limit above zero it holds
// no more than that, and beyond its part as many as there are, instead of as many as are free.
func (m *Pool) Share(limit int) *PoolShare {
	s := &PoolShare{all: m}
	s.SetLimit(limit)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shares[s] = true
	if len(m.shares) > m.tenants {
		m.cut()
	}
	s.setPart(m.part.Load())
	return s
}

// SetLimit sets the limit of its own.
func (s *PoolShare) SetLimit(limit int) { s.limit.Store(int64(max(limit, 0))) }

// Close gives the tenant's part back to the others. Nothing may be held any more; what is reserved
// all the same is of the common half. Calling it again does nothing.
func (s *PoolShare) Close() {
	m := s.all
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.shares[s] {
		return
	}
	delete(m.shares, s)
	s.setPart(0)
	m.tenants = min(m.tenants, len(m.shares))
	m.cut()
}

// setPart gives the share another part.
func (s *PoolShare) setPart(part int64) {
	for {
		word, used, old := s.loadUsage()
		if s.usage.CompareAndSwap(word, packUsage(used, part)) {
			s.all.lent.Add(max(used-part, 0) - max(used-old, 0))
			return
		}
	}
}

// Reserve takes n, n >= 0, or reports false and takes none.
func (s *PoolShare) Reserve(n int) bool {
	m := s.all
	if int64(n) <= mostPool && m.used.Add(int64(n)) <= m.limit.Load() {
		for {
			word, used, part := s.loadUsage()
			now := used + int64(n)
			beyond := max(now-part, 0)
			more := beyond - max(used-part, 0)
			limit := s.limit.Load()
			ok := limit == 0 || now <= limit || n == 0
			if ok && more > 0 {
				free := m.common.Load() - m.lent.Add(more)
				ok = free >= 0 && (limit > 0 || beyond <= free+more)
			} else {
				more = 0
			}
			if ok && s.usage.CompareAndSwap(word, packUsage(now, part)) {
				return true
			}
			m.lent.Add(-more)
			if !ok {
				break
			}
		}
		m.used.Add(-int64(n))
	} else if int64(n) <= mostPool {
		m.used.Add(-int64(n))
	}
	s.refused.Add(1)
	m.refused.Add(1)
	return false
}

// Release gives n back.
func (s *PoolShare) Release(n int) {
	for {
		word, used, part := s.loadUsage()
		now := used - int64(n)
		if s.usage.CompareAndSwap(word, packUsage(now, part)) {
			s.all.lent.Add(max(now-part, 0) - max(used-part, 0))
			s.all.used.Add(-int64(n))
			return
		}
	}
}

// Used is how many the tenant holds.
func (s *PoolShare) Used() int64 {
	_, used, _ := s.loadUsage()
	return used
}

// Limit is how many it could hold now, with those that it holds.
func (s *PoolShare) Limit() int64 {
	_, used, part := s.loadUsage()
	beyond := max(used-part, 0)
	free := max(s.all.common.Load()-s.all.lent.Load(), 0)
	if limit := s.limit.Load(); limit > 0 {
		return min(limit, part+beyond+free)
	}
	return part + max(beyond, (beyond+free)/2)
}

// Refused is how often it was refused another.
func (s *PoolShare) Refused() int64 { return s.refused.Load() }
