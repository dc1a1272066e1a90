package selector

import "bulkhead/internal/cputime"

const (
	// sampleEvery is of how many sleeps one is measured, which takes eight system calls.
	sampleEvery = 64
	// mostSleepCost bounds one measurement, in nanoseconds: that of a thread which did something
	// else meanwhile says nothing.
	mostSleepCost = 20_000
)

// sleeps counts how often a loop has gone to sleep, and knows about what that costs.
type sleeps struct {
	n    uint
	cost int64 // ns, a moving mean
}

// Sleeps is how often the loop has gone to sleep since it had nothing to do, so that something had
// to wake it. It is the owner's.
func (s *Selector) Sleeps() uint { return s.sleeps.n }

// SleepCost is about how many nanoseconds of processor time it takes the loop's thread to go to
// sleep and to wake, at most 20 µs. It is measured now and then, as it differs by machine, by load,
// and by whether there is a timer. It is the owner's.
func (s *Selector) SleepCost() int64 { return s.sleeps.cost }

// wait is the poller's. Without a timeout of zero it may sleep.
func (s *sleeps) wait(p *poller, timeout int64) int {
	if timeout == 0 {
		return p.wait(timeout)
	}
	s.n++
	if s.n%sampleEvery != 1 {
		return p.wait(timeout)
	}
	var span cputime.Span
	span.Start()
	n := p.wait(timeout)
	if ns, ok := span.Elapsed(); ok {
		s.sample(min(ns, mostSleepCost))
	}
	return n
}

func (s *sleeps) sample(ns int64) {
	if s.cost == 0 {
		s.cost = ns
		return
	}
	s.cost += (ns - s.cost) / 8
}
