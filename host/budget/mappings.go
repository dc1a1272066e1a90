package budget

import "sync/atomic"

// Mappings is an account of the memory mappings of a process, of which the system
// gives it so many. Each tenant has a MappingShare of it.
//
// Half of what there is belongs to the tenants in equal parts, which nobody can take
// from them. Of the other half a tenant may hold, beyond its part, as many as are free
// then: one tenant gets half of it, two a third each. So tenants that need many get
// many, and some are always left for the next.
type Mappings struct {
	limit   int64
	part    int64 // of each tenant
	common  int64 // beside the parts
	lent    atomic.Int64
	used    atomic.Int64
	refused atomic.Int64
}

// NewMappings makes the account of limit mappings for so many tenants. Zero or less
// mappings are none.
func NewMappings(limit, tenants int) *Mappings {
	m := &Mappings{limit: max(int64(limit), 0)}
	m.part = m.limit / 2 / max(int64(tenants), 1)
	m.common = m.limit - m.part*int64(tenants)
	return m
}

// Limit is how many there are for all tenants together.
func (m *Mappings) Limit() int64 { return m.limit }

// Part is how many each tenant can have whatever the others do.
func (m *Mappings) Part() int64 { return m.part }

// Used is how many are taken now.
func (m *Mappings) Used() int64 { return m.used.Load() }

// Refused is how often a share has said no.
func (m *Mappings) Refused() int64 { return m.refused.Load() }

// MappingShare is what one tenant has of Mappings.
type MappingShare struct {
	all     *Mappings
	limit   int64 // its own; 0: none
	part    int64
	used    atomic.Int64
	refused atomic.Int64
}

// Share makes the share of one of the tenants. With a limit above zero it holds no more
// than that, and beyond its part as many as there are, instead of as many as are free.
func (m *Mappings) Share(limit int) *MappingShare {
	s := &MappingShare{all: m, limit: max(int64(limit), 0), part: m.part}
	return s
}

// ReserveMappings takes n, n >= 0, or reports false and takes none.
func (s *MappingShare) ReserveMappings(n int) bool {
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

// ReleaseMappings gives n back.
func (s *MappingShare) ReleaseMappings(n int) {
	used := s.used.Add(-int64(n))
	s.all.used.Add(-int64(n))
	s.all.lent.Add(max(used-s.part, 0) - max(used+int64(n)-s.part, 0))
}

// Used is how many the tenant holds.
func (s *MappingShare) Used() int64 { return s.used.Load() }

// Limit is how many it could hold now, with those that it holds.
func (s *MappingShare) Limit() int64 {
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
func (s *MappingShare) Refused() int64 { return s.refused.Load() }
