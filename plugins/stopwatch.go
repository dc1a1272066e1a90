package plugins

import (
	"sync"
	"time"

	"bulkhead/internal/cputime"
)

// stopwatch tells how long a guest has run. For short calls that is the time on
// the clock, which costs least. Beside the loops it is the time of the thread,
// where the system tells it: what other processes have taken meanwhile must
// not count against event_timeout and cpu. Between start and elapsed a guest
// does not give its thread away, but for what a host function may do.
type stopwatch struct {
	threads bool  // go by the thread's time
	most    int64 // what it can have been, where the thread's time does not say; 0: anything
	wall    int64
	thread  int64
}

// start sets the stopwatch going from zero.
func (w *stopwatch) start() {
	w.wall = nanotime()
	if w.threads {
		w.thread = cputime.Thread()
	}
}

// elapsed is how many nanoseconds the guest has run since start, and what time
// it is.
func (w *stopwatch) elapsed() (now, ns int64) {
	now = nanotime()
	ns = now - w.wall
	if w.threads {
		// Another thread may have taken over in a host function, or for the collector; then
		// the difference means nothing, and mostly is not in between.
		switch d := cputime.Thread() - w.thread; {
		case 0 <= d && d < ns:
			return now, d
		case w.most > 0 && (d < 0 || d > ns+w.most):
			return now, min(ns, w.most)
		}
	}
	return now, ns
}

// sliceCost is about how many nanoseconds go by at the end of a slice that no
// watch sees: two readings, and the system calls of giving way, which cost about
// as much each. A reading takes from a tenth of a microsecond to several, on
// virtual machines. Every tenant pays by what was measured first, so the fastest of
// several readings counts: one may have been interrupted by whoever was running then.
var sliceCost = sync.OnceValue(func() int64 {
	const times, calls = 16, 6
	fastest := int64(time.Millisecond)
	for range times {
		began := nanotime()
		cputime.Thread()
		cputime.Thread()
		fastest = min(fastest, nanotime()-began)
	}
	return calls * fastest / 2
})

// nanotime is a monotonic clock.
func nanotime() int64 { return cputime.Monotonic() }
