package selector

import (
	"sync"
	"sync/atomic"
	"time"
)

// Clock is where a selector has the time from: the system's clock, a *Manual, or what a
// program makes. Any goroutine may call its methods.
type Clock interface {
	// Now is a monotonic time in nanoseconds, with an arbitrary start.
	Now() int64
	// AfterFunc has f called once, on a goroutine of its own, when d has gone by on
	// this clock: for those who wait and have no loop. stop withdraws it, and reports
	// false when it was called already.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// sleeper is a Clock that knows how a selector sleeps until a time.
type sleeper interface {
	// timeout is for how many nanoseconds s may sleep when its first timer is
	// due at the given time; negative: until it is woken.
	timeout(s *Selector, at int64) int64
}

// alarm is the sleeper for a Clock that is none: it has that wake its one selector.
type alarm struct {
	clock Clock
	set   bool
	at    int64
	rang  atomic.Bool
	stop  func() bool
}

func (a *alarm) timeout(s *Selector, at int64) int64 {
	now := a.clock.Now()
	if at <= now {
		return 0
	}
	if a.set && a.at == at && !a.rang.Load() {
		return -1
	}
	a.off()
	a.set, a.at = true, at
	a.rang.Store(false)
	a.stop = a.clock.AfterFunc(time.Duration(at-now), func() {
		a.rang.Store(true) // also when it is early, and has to be set again
		s.wake()
	})
	if a.clock.Now() >= at { // it was moved on meanwhile
		return 0
	}
	return -1
}

// off withdraws what was asked of the clock.
func (a *alarm) off() {
	if a.set {
		a.set = false
		a.stop()
	}
}

// System is the system's monotonic clock. It is what a selector uses when it
// is given none; those who book against Selector.Now use it, too.
var System Clock = systemClock{}

type systemClock struct{}

var start = time.Now()

func (systemClock) Now() int64 { return int64(time.Since(start)) }

func (systemClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

func (c systemClock) timeout(_ *Selector, at int64) int64 { return max(0, at-c.Now()) }

// Manual is a clock for tests that moves only when it is told to. The zero
// value is ready and stands at zero. All methods may be called from any
// goroutine.
type Manual struct {
	now       atomic.Int64
	mu        sync.Mutex
	selectors map[*Selector]int64 // when their first timers are due, as they went to sleep
	calls     map[*manualCall]struct{}
}

// manualCall is what AfterFunc has been asked for.
type manualCall struct {
	at int64
	f  func()
}

// Now is the sum of all advances.
func (m *Manual) Now() int64 { return m.now.Load() }

// Advance moves the clock on by d and wakes the selectors that wait for it.
// It does not wait until their timers have run, nor until what AfterFunc was given has.
func (m *Manual) Advance(d time.Duration) {
	now := m.now.Add(int64(d))
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.calls {
		if c.at <= now {
			delete(m.calls, c)
			go c.f()
		}
	}
	for s := range m.selectors {
		s.wake()
	}
}

// Next is how long it is until a selector that sleeps has a timer to run, or what AfterFunc was
// given is due: who advances by that misses nothing in between. ok is false if nothing is due,
// ever. A timer may have been stopped since.
func (m *Manual) Next() (d time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now.Load()
	soonest := func(at int64) {
		if at > now && (!ok || at-now < int64(d)) {
			d, ok = time.Duration(at-now), true
		}
	}
	for _, at := range m.selectors {
		soonest(at)
	}
	for c := range m.calls {
		soonest(c.at)
	}
	return d, ok
}

// AfterFunc has f called by the Advance that moves the clock on by d from now in all; at once
// where d is not above zero.
func (m *Manual) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &manualCall{m.now.Load() + int64(d), f}
	if d <= 0 {
		go f()
	} else {
		if m.calls == nil {
			m.calls = make(map[*manualCall]struct{})
		}
		m.calls[c] = struct{}{}
	}
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		_, waits := m.calls[c]
		delete(m.calls, c)
		return waits
	}
}

func (m *Manual) timeout(s *Selector, at int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.selectors == nil {
		m.selectors = make(map[*Selector]int64)
	}
	m.selectors[s] = at
	if m.now.Load() >= at {
		return 0
	}
	return -1
}
