package budget

import "sync/atomic"

// Pool is an account of something of which there are so many for all tenants: memory
// mappings, pipes. Each tenant has a PoolShare of it.
//
// Half of what there is belongs to the tenants in equal parts, which nobody can take
// from them. Of the other half a tenant may hold, beyond its part, as many as are free
// then: one tenant gets half of it, two a third each. So tenants that need many get
// many, and some are always left for the next.
type Pool struct {
	limit   int64
	part    int64 // of each tenant
	common  int64 // beside the parts
	lent    atomic.Int64
	used    atomic.Int64
	refused atomic.Int64
}

// NewPool makes the account of limit pieces for so many tenants. A limit of zero or less
// is none.
func NewPool(limit, tenants int) *Pool {
	m := &Pool{limit: max(int64(limit), 0)}
	m.part = m.limit / 2 / max(int64(tenants), 1)
	m.common = m.limit - m.part*int64(tenants)
	return m
}

// Limit is how many there are for all tenants together.
func (m *Pool) Limit() int64 { return m.limit }

// Part is how many each tenant can have whatever the others do.
func (m *Pool) Part() int64 { return m.part }

// Used is how many are taken now.
func (m *Pool) Used() int64 { return m.used.Load() }

// Refused is how often a share has said no.
func (m *Pool) Refused() int64 { return m.refused.Load() }

// PoolShare is what one tenant has of a Pool.
type PoolShare struct {
	all     *Pool
	limit   int64 // its own; 0: none
	part    int64
	used    atomic.Int64
	refused atomic.Int64
}

// Share makes the share of one of the tenants. With a limit above zero it holds no more
// than that, and beyond its part as many as there are, instead of as many as are free.
func (m *Pool) Share(limit int) *PoolShare {
	s := &PoolShare{all: m, limit: max(int64(limit), 0), part: m.part}
	return s
}

// Reserve takes n, n >= 0, or reports false and takes none.
func (s *PoolShare) Reserve(n int) bool {
	used := s.used.Add(int64(n))
	lent := int64(0)
	beyond := max(used-s.part, 0)
	ok := s.limit == 0 || used <= s.limit
	if more := beyond - max(used-int64(n)-s.part, 0); ok && more > 0 {
		lent = more
		free := s.all.common - s.all.lent.Add(more)
		ok = free >= 0 && (s.limit > 0 || beyond <= free+more)
	}
	if !ok {
		s.used.Add(-int64(n))
		s.all.lent.Add(-lent)
		s.refused.Add(1)
		s.all.refused.Add(1)
		return false
	}
	s.all.used.Add(int64(n))
	return true
}

// Release gives n back.
func (s *PoolShare) Release(n int) {
	used := s.used.Add(-int64(n))
	s.all.used.Add(-int64(n))
	s.all.lent.Add(max(used-s.part, 0) - max(used+int64(n)-s.part, 0))
}

// Used is how many the tenant holds.
func (s *PoolShare) Used() int64 { return s.used.Load() }

// Limit is how many it could hold now, with those that it holds.
func (s *PoolShare) Limit() int64 {
	used := s.used.Load()
	beyond := max(used-s.part, 0)
	free := max(s.all.common-s.all.lent.Load(), 0)
	switch {
	case s.limit > 0:
		return min(s.limit, s.part+beyond+free)
	default:
		return s.part + max(beyond, (beyond+free)/2)
	}
}

// Refused is how often it was refused another.
func (s *PoolShare) Refused() int64 { return s.refused.Load() }
