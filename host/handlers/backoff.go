package handlers

import "time"

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 30 * time.Second
	// healthy is for how long an instance has to live for the next failure to
	// be the first again.
	healthy = time.Minute
)

// backoff says how long to wait before a handler that has failed is started
// again: the first time hardly, then longer each time. The zero value is
// ready.
type backoff struct {
	delay time.Duration
	at    int64 // of the last failure
}

// failed takes note of a failure at now, in nanoseconds, and returns the wait.
func (b *backoff) failed(now int64) time.Duration {
	if b.delay == 0 || now-b.at > int64(healthy+b.delay) {
		b.delay = firstBackoff
	} else {
		b.delay = min(2*b.delay, lastBackoff)
	}
	b.at = now
	return b.delay
}
