// Package budget bounds what a tenant may use: memory, a rate of something,
// a number of something. Everything in it may be called from any goroutine
// and neither blocks nor locks.
package budget

import (
	"math"
	"sync/atomic"
	"time"
)

// Memory is an account of bytes.
type Memory struct {
	limit   int64
	used    atomic.Int64
	refused atomic.Int64
}

// NewMemory makes an account of limit bytes; zero or less grants nothing.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// Reserve takes n bytes, n >= 0, or reports false and takes none when they
// are not there.
func (m *Memory) Reserve(n int) bool {
	if m.used.Add(int64(n)) > m.limit {
		m.used.Add(-int64(n))
		m.refused.Add(1)
		return false
	}
	return true
}

// Release gives n bytes back.
func (m *Memory) Release(n int) { m.used.Add(-int64(n)) }

// Used is how many bytes are taken now.
func (m *Memory) Used() int64 { return m.used.Load() }

// Refused is how often Reserve has said no.
func (m *Memory) Refused() int64 { return m.refused.Load() }

// Rate lets something happen so many times a second on average. It is a
// leaky bucket kept as one number, the time at which the bucket will be empty
// (the generic cell rate algorithm), so that taking from it is one compare
// and swap.
type Rate struct {
	each  float64 // nanoseconds that one unit pays for
	burst int64   // nanoseconds by which it may run ahead
	empty atomic.Int64
}

// NewRate allows perSecond units a second, perSecond > 0, and as much at once
// as burst earns. The times its methods are given are nanoseconds on one
// monotonic clock.
func NewRate(perSecond float64, burst time.Duration) *Rate {
	r := &Rate{each: float64(time.Second) / perSecond, burst: int64(burst)}
	r.empty.Store(math.MinInt64)
	return r
}

// Spend books n units that have been used already at now. It returns for how many
// nanoseconds to use no more; zero or less: not at all. n may be zero, to ask.
func (r *Rate) Spend(n int, now int64) (wait int64) {
	for {
		old := r.empty.Load()
		at := max(old, now) + int64(float64(n)*r.each)
		if n == 0 || r.empty.CompareAndSwap(old, at) {
			return at - now - r.burst
		}
	}
}

// Take takes one unit if it is there at now. Otherwise it takes none and returns
// for how many nanoseconds to wait before trying again.
func (r *Rate) Take(now int64) (wait int64) {
	for {
		old := r.empty.Load()
		at := max(old, now) + int64(r.each)
		if wait := at - now - max(r.burst, int64(r.each)); wait > 0 {
			return wait
		}
		if r.empty.CompareAndSwap(old, at) {
			return 0
		}
	}
}

// Count bounds how many there are of something at a time.
type Count struct {
	limit int64
	n     atomic.Int64
}

// NewCount allows limit at a time; zero or less allows none.
func NewCount(limit int) *Count { return &Count{limit: int64(limit)} }

// Take takes a place, or reports false when all are taken.
func (c *Count) Take() bool {
	if c.n.Add(1) > c.limit {
		c.n.Add(-1)
		return false
	}
	return true
}

// Release gives a place back.
func (c *Count) Release() { c.n.Add(-1) }

// Full reports whether all places are taken.
func (c *Count) Full() bool { return c.n.Load() >= c.limit }

// Used is how many places are taken.
func (c *Count) Used() int { return int(c.n.Load()) }
