// Package cputime tells how much processor time a thread has used. What other processes
// have taken meanwhile is not in it, as it would be in the time on the clock.
package cputime

import "time"

var started = time.Now()

// Monotonic is a monotonic clock in nanoseconds, with an arbitrary start.
func Monotonic() int64 { return int64(time.Since(started)) }

// Stopwatch measures a stretch of work that stays on one thread, mostly. The zero value
// has to be started.
type Stopwatch struct {
	// Most is how many nanoseconds it can have been, where the work has changed threads. Zero:
	// anything.
	Most         int64
	wall, thread int64
}

// Start sets it going from zero.
func (w *Stopwatch) Start() { w.wall, w.thread = Monotonic(), Thread() }

// Elapsed is how many nanoseconds of processor time went by since Start. Where the work
// has changed threads meanwhile, or the system does not tell, it is the time on the clock, which is
// longer on a busy machine, up to Most.
func (w *Stopwatch) Elapsed() int64 {
	ns := Monotonic() - w.wall
	if d := Thread() - w.thread; 0 <= d && d < ns {
		return d
	}
	if w.Most > 0 {
		ns = min(ns, w.Most)
	}
	return ns
}
