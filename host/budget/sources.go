package budget

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// sourceBurst is how far a source may run ahead of its rate.
const sourceBurst = time.Second

// mostIdle is how many sources without a connection are remembered for their rate. Above it those
// that no rate bounds any more are removed, at most once a sourceBurst.
const mostIdle = 1024

// Sources bounds what each source address has: connections at once, and new ones a second. The
// addresses of one IPv6 network count as one. Any goroutine may use it; where there is a bound, it
// locks for a look into a map.
type Sources struct {
	bounded atomic.Bool

	mu      sync.Mutex
	most    int
	every   int64 // nanoseconds between two new connections of a source; 0: no bound
	prefix  int
	known   map[netip.Addr]*source
	idle    int   // of those: they have no connection
	swept   int64 // when they were looked over last
	refused int64
}

// source is one source address.
type source struct {
	n    int
	next int64 // when the next new one is due, if it uses its rate to the full
}

// NewSources bounds each source to most connections and perSecond new ones a second, of which it
// may have a second's at once. Zero or less is no bound. prefix is how many bits of an IPv6 address
// count.
func NewSources(most int, perSecond float64, prefix int) *Sources {
	s := &Sources{known: make(map[netip.Addr]*source)}
	s.Set(most, perSecond, prefix)
	return s
}

// Set bounds sources so from now on. Connections that came while there was no bound are not
// counted; with another prefix, those that came before count for their sources as they were.
func (s *Sources) Set(most int, perSecond float64, prefix int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most, s.every, s.prefix = max(most, 0), 0, prefix
	if perSecond > 0 {
		s.every = max(1, int64(float64(time.Second)/perSecond))
	}
	s.bounded.Store(s.most > 0 || s.every > 0)
}

// Bounded reports whether there is a bound.
func (s *Sources) Bounded() bool { return s != nil && s.bounded.Load() }

// Take takes a place for a connection from an address. It answers the source to Release; the
// zero Addr when there is nothing to bound, as for a unix socket's peer. ok is false when
// the source has as many as it may; now is any monotonic time.
func (s *Sources) Take(a netip.Addr, now int64) (_ netip.Addr, ok bool) {
	if s == nil || !a.IsValid() || !s.bounded.Load() {
		return netip.Addr{}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, err := a.Prefix(s.prefix)
		if err == nil {
			a = p.Addr()
		}
	}
	one := s.known[a]
	switch {
	case one == nil:
		one = &source{}
		s.known[a] = one
	case s.most > 0 && one.n >= s.most,
		s.every > 0 && one.next-now > int64(sourceBurst)-s.every && one.next > now:
		s.refused++
		return netip.Addr{}, false
	case one.n == 0:
		s.idle--
	}
	one.n++
	one.next = max(one.next, now) + s.every
	return a, true
}

// Keep counts a connection that has come with its source, which another process's Take has
// answered: above the bound, too, and for no rate. It answers what Take does.
func (s *Sources) Keep(a netip.Addr) netip.Addr {
	if s == nil || !a.IsValid() || !s.bounded.Load() {
		return netip.Addr{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[a]
	switch {
	case one == nil:
		one = &source{}
		s.known[a] = one
	case one.n == 0:
		s.idle--
	}
	one.n++
	return a
}

// Undo takes a Take back, for a connection that did not come to be: it counts for no rate either.
func (s *Sources) Undo(a netip.Addr, now int64) {
	if s == nil || !a.IsValid() {
		return
	}
	s.mu.Lock()
	if one := s.known[a]; one != nil {
		one.next -= s.every
	}
	s.mu.Unlock()
	s.Release(a, now)
}

// Release gives a place back; the zero Addr is none.
func (s *Sources) Release(a netip.Addr, now int64) {
	if s == nil || !a.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[a]
	if one == nil {
		return
	}
	if one.n--; one.n > 0 {
		return
	}
	if one.next <= now {
		delete(s.known, a)
		return
	}
	s.idle++
	if s.idle > mostIdle && now-s.swept > int64(sourceBurst) {
		s.swept = now
		for a, one := range s.known {
			if one.n == 0 && one.next <= now {
				delete(s.known, a)
				s.idle--
			}
		}
	}
}

// Used is how many sources have connections now, and Refused how many connections there was no
// place for.
func (s *Sources) Used() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known) - s.idle
}

// Refused is how many connections there was no place for.
func (s *Sources) Refused() int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}
