package plugins

import "time"

// Clock is a monotonic clock. Its methods are called from any goroutine and must not
// block. A selector.Clock is one.
type Clock interface {
	// Now is the time in nanoseconds, with an arbitrary start. It never goes back.
	Now() int64
	// AfterFunc has f called once, on a goroutine of its own, when d has gone by on this
	// clock. stop withdraws it, and reports false when it was called already.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// systemClock is the system's monotonic clock.
type systemClock struct{}

func (systemClock) Now() int64 { return nanotime() }

func (systemClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

// after is a channel that is closed when d has gone by on the guests' clock, and what is to be
// called when nobody waits for that any more.
func (r *Runtime) after(d time.Duration) (over <-chan struct{}, stop func() bool) {
	c := make(chan struct{})
	return c, r.options.Clock.AfterFunc(d, func() { close(c) })
}

// What a guest asks its surroundings for, by the ABI or by WASI.

func (i *Instance) wall() int64   { return i.module.runtime.options.Wall() }
func (i *Instance) fill(p []byte) { i.module.runtime.options.Random(p) }

// monotonic never is 0, for which a guest of Go's ends itself, though a Clock may begin there.
func (i *Instance) monotonic() int64 { return max(i.module.runtime.options.Clock.Now(), 1) }

func (s *handlerSystem) Wall() int64      { return (*Instance)(s).wall() }
func (s *handlerSystem) Monotonic() int64 { return (*Instance)(s).monotonic() }
func (s *handlerSystem) Random(p []byte)  { (*Instance)(s).fill(p) }

func (p *commandSystem) Wall() int64      { return p.instance.wall() }
func (p *commandSystem) Monotonic() int64 { return p.instance.monotonic() }
func (p *commandSystem) Random(b []byte)  { p.instance.fill(b) }
