// Package budget bounds what a tenant may use: memory, a rate of something,
// a number of something. Everything in it may be called from any goroutine.
// What is taken and given back neither blocks nor locks, but for Sources.
//
// Limits may be set while accounts are in use. A limit that is lowered below what
// is taken takes nothing away: nothing more is granted until enough is given back.
// A limit that is raised holds for whoever asks next; those who were refused have to be
// told to ask again by whoever raises it.
package budget

import (
	"math"
	"sync/atomic"
	"time"
)

// Memory is an account of bytes.
type Memory struct {
	limit   atomic.Int64
	used    atomic.Int64
	refused atomic.Int64
}

// NewMemory makes an account of limit bytes; zero or less grants nothing.
func NewMemory(limit int64) *Memory {
	m := new(Memory)
	m.SetLimit(limit)
	return m
}

// SetLimit has it be an account of limit bytes from now on.
func (m *Memory) SetLimit(limit int64) { m.limit.Store(limit) }

// Limit is how many bytes it is an account of.
func (m *Memory) Limit() int64 { return m.limit.Load() }

// Reserve takes n bytes, n >= 0, or reports false and takes none when they
// are not there.
func (m *Memory) Reserve(n int) bool {
	if m.used.Add(int64(n)) > m.limit.Load() {
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
	each  atomic.Uint64 // nanoseconds that one unit pays for, the bits of a float64
	burst int64         // nanoseconds by which it may run ahead
	empty atomic.Int64
	waits atomic.Int64
}

// NewRate allows perSecond units a second, perSecond > 0, and as much at once
// as burst earns. The times its methods are given are nanoseconds on one
// monotonic clock.
func NewRate(perSecond float64, burst time.Duration) *Rate {
	r := &Rate{burst: int64(burst)}
	r.each.Store(math.Float64bits(float64(time.Second) / perSecond))
	r.empty.Store(math.MinInt64)
	return r
}

// SetRate allows perSecond units a second from now on, perSecond > 0. What has been used beyond
// the rate remains used, and is paid at the new one: who had to wait a second has to wait half of
// it at twice the rate.
func (r *Rate) SetRate(perSecond float64, now int64) {
	each := float64(time.Second) / perSecond
	before := math.Float64frombits(r.each.Swap(math.Float64bits(each)))
	if before == each {
		return
	}
	for {
		old := r.empty.Load()
		if old <= now {
			return
		}
		debt := min(float64(old-now)*(each/before), float64(mostDebt))
		if r.empty.CompareAndSwap(old, now+int64(debt)) {
			return
		}
	}
}

// mostDebt bounds what SetRate makes of a debt, so that sums stay small.
const mostDebt = int64(time.Hour)

func (r *Rate) price() float64 { return math.Float64frombits(r.each.Load()) }

// Spend books n units that have been used already at now. It returns for how many
// nanoseconds to use no more; zero or less: not at all. n may be zero, to ask.
func (r *Rate) Spend(n int, now int64) (wait int64) {
	for {
		old := r.empty.Load()
		at := max(old, now) + int64(float64(n)*r.price())
		if n == 0 || r.empty.CompareAndSwap(old, at) {
			if wait = at - now - r.burst; wait > 0 {
				r.waits.Add(1)
			}
			return wait
		}
	}
}

// Take takes one unit if it is there at now. Otherwise it takes none and returns
// for how many nanoseconds to wait before trying again.
func (r *Rate) Take(now int64) (wait int64) {
	for {
		each := int64(r.price())
		old := r.empty.Load()
		at := max(old, now) + each
		if wait := at - now - max(r.burst, each); wait > 0 {
			r.waits.Add(1)
			return wait
		}
		if r.empty.CompareAndSwap(old, at) {
			return 0
		}
	}
}

// Waits is how often Spend and Take have said to wait.
func (r *Rate) Waits() int64 { return r.waits.Load() }

// Count bounds how many there are of something at a time.
type Count struct {
	limit   atomic.Int64
	n       atomic.Int64
	refused atomic.Int64
}

// NewCount allows limit at a time; zero or less allows none.
func NewCount(limit int) *Count {
	c := new(Count)
	c.SetLimit(limit)
	return c
}

// SetLimit allows limit at a time from now on.
func (c *Count) SetLimit(limit int) { c.limit.Store(int64(limit)) }

// Limit is how many are allowed at a time.
func (c *Count) Limit() int { return int(c.limit.Load()) }

// Take takes a place, or reports false when all are taken.
func (c *Count) Take() bool {
	if c.n.Add(1) > c.limit.Load() {
		c.n.Add(-1)
		return false
	}
	return true
}

// Release gives a place back.
func (c *Count) Release() { c.n.Add(-1) }

// Refuse counts that somebody was turned away since all places are taken. Take does not count it:
// some who are refused wait, and ask again and again.
func (c *Count) Refuse() { c.refused.Add(1) }

// Refused is how often Refuse was called.
func (c *Count) Refused() int64 { return c.refused.Load() }

// Full reports whether all places are taken.
func (c *Count) Full() bool { return c.n.Load() >= c.limit.Load() }

// Used is how many places are taken.
func (c *Count) Used() int { return int(c.n.Load()) }
