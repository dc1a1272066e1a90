// Package selector says which descriptors can be read or written now, and
// when a timer is due. It is the loop that everything else of Bulkhead is
// called from.
//
// A Selector is Kamaelia's: a component asks it for one notice with
// [Descriptor.NewReader], NewWriter or NewExceptional and gets one call of
// [Notices].ReadReady, SendReady or Exceptional; for the next notice it asks
// again. Beneath, a descriptor is registered once, edge-triggered, and asking
// is a few instructions: no system call is made until the descriptor is
// removed.
//
// # Who may call what
//
// A selector has one owner at a time: the goroutine that holds its baton,
// which [Selector.Run] starts. All notices, timers and posted
// functions are called there, and everything but [Selector.Post],
// [Selector.Stop] and [Selector.Done] may be called only there (or before Run
// has been called). Nothing takes a lock. In the middle of a notice the owner
// can give the rest of the loop to another goroutine with [Selector.Pass].
package selector

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// ErrStopped is returned by Add when the selector has stopped.
var ErrStopped = errors.New("selector: stopped")

// Options are the settings of a Selector. The zero value serves well.
type Options struct {
	// Clock tells the time for timers. Nil is the system's monotonic clock;
	// tests pass a *[Manual]. One that a program makes costs an AfterFunc each time the first
	// timer is another.
	Clock Clock
}

// Selector waits for readiness, timers and posts, and calls those concerned.
// Make one with New.
type Selector struct {
	poll     poller
	clock    Clock
	sleep    sleeper
	now      int64
	turn     uint64
	slots    []slot
	free     []uint32
	due      queue
	timers   timerHeap
	taken    *post // posts taken off the list, not yet run
	holder   *baton
	yields   bool // the goroutines that are ready run before the loop sleeps
	sleeps   sleeps
	fault    func(*Fault) (mend func(), ok bool)
	notified *Descriptor // whose notice runs; nil: it is a timer's or nobody's
	timer    *Timer      // whose notice runs; nil: it is a descriptor's or nobody's

	posts    atomic.Pointer[post]
	sleeping atomic.Bool
	stopping atomic.Bool
	wakers   atomic.Int32 // goroutines about to write to the wake descriptor
	closed   atomic.Bool
	done     chan struct{}
}

// baton is what makes a goroutine the owner. Only its holder reads or writes
// passed, so a goroutine that has given the loop away can find that out
// without touching anything that is no longer its own.
type baton struct{ passed bool }

// Fault is a panic in a notice, a timer or a posted function.
type Fault struct {
	// Value is what was panicked with, Stack where, as runtime/debug.Stack has it.
	Value any
	Stack []byte
	// Notified is who had the notice: a Notices or an Expirer. Nil for a posted function, and
	// for the function that Pass was given.
	Notified any
	// BatonPassed says that the goroutine had passed the baton on, so that it owned nothing of the
	// loop's any more. The loop continues undisturbed.
	BatonPassed bool
}

// OnFault sets what to do about a panic in a notice, a timer or a posted function. The selector
// calls f on the goroutine that panics. If f answers ok, only that notice is lost. The loop calls
// mend, unless it is nil, as it calls a notice, so that the caller can mend its own state; then it
// goes on with the next notice. The selector's own state is whole, since it has done its part
// before each notice. mend is not called if the goroutine had passed the baton on. If f does not
// answer ok, the panic ends the process. So do a fault in memory that is not Go's and a fatal error
// of the runtime, whatever f answers. Call OnFault before Run, or as the owner. Without it every
// panic ends the process.
func (s *Selector) OnFault(f func(*Fault) (mend func(), ok bool)) { s.fault = f }

// slot is one place for a descriptor. The generation tells the descriptor
// that sits there now from those that sat there before: the kernel hands both
// numbers back with every event.
type slot struct {
	d   *Descriptor
	gen uint32
}

// New makes a selector. It holds two descriptors until Run has returned, so
// a selector that is never run has to be stopped and run once.
func New(o Options) (*Selector, error) {
	s := &Selector{clock: o.Clock, done: make(chan struct{})}
	if s.clock == nil {
		s.clock = System
	}
	var ok bool
	if s.sleep, ok = s.clock.(sleeper); !ok {
		s.sleep = &alarm{clock: s.clock}
	}
	if err := s.poll.open(); err != nil {
		return nil, fmt.Errorf("selector: making the readiness queue: %w", err)
	}
	s.slots = make([]slot, 1) // slot 0 is the wake descriptor's
	s.now = s.clock.Now()
	return s, nil
}

// Now is the time of this turn of the loop in nanoseconds, on the selector's
// clock: monotonic, with an arbitrary start. It does not move within a turn.
func (s *Selector) Now() int64 { return s.now }

// Turn is the number of this turn of the loop. It differs from that of the turn before, also
// where the clock stands still.
func (s *Selector) Turn() uint64 { return s.turn }

// Run serves until Stop, on a goroutine of the selector's own, since one that
// has passed the baton on may have to end in the middle of a notice. It
// returns when the selector has stopped and its descriptors are closed. Run
// may be called once.
func (s *Selector) Run() {
	s.holder = &baton{}
	go s.run(s.holder, nil)
	<-s.done
}

// Done is closed when the selector has stopped. Any goroutine may wait on it.
func (s *Selector) Done() <-chan struct{} { return s.done }

// Stop makes Run return once the functions posted so far have run. What is
// registered then gets no more notices; its descriptors are the caller's to
// close. Any goroutine may call it, any number of times.
func (s *Selector) Stop() {
	s.stopping.Store(true)
	s.wake()
}

// Pass hands the baton to a new goroutine in mid-notice: from here on that
// one runs the loop, beginning with resume (nil: nothing), which is called as
// a notice is. The caller may finish what it is doing but may not touch the
// selector, or anything else that belongs to the loop, except by Post; then it
// returns to the selector or ends with runtime.Goexit. Only the owner may call
// it, from within a notice, a timer or a posted function.
func (s *Selector) Pass(resume func()) {
	s.holder.passed = true
	next := &baton{}
	s.holder = next
	go s.run(next, resume)
}

// run serves until the baton is passed or the selector stops.
func (s *Selector) run(mine *baton, resume func()) {
	defer s.recovered(mine)
	if resume != nil {
		s.notified, s.timer = nil, nil
		resume()
		if mine.passed {
			return
		}
	}
	for {
		if s.stopping.Load() {
			if s.finish(mine) {
				return
			}
		}
		s.wait()
		// What is queued while these run waits for the next turn, so that no
		// descriptor, timer or post can keep the others out.
		for n := s.due.len; n > 0; n-- {
			s.tellNext()
			if mine.passed {
				return
			}
		}
		for n := s.timers.due(s.now); n > 0; n-- {
			t := s.timers.popDue(s.now)
			if t == nil {
				break
			}
			s.notified, s.timer = nil, t
			t.notice.Expired(t)
			if mine.passed {
				return
			}
		}
		if s.taken == nil {
			s.taken = s.takePosts()
		}
		if !s.runTaken(mine) {
			return
		}
	}
}

// recovered is deferred by run: it ends with a goroutine that returns, or ends by
// runtime.Goexit, or has panicked. A panic that the loop survives is continued by another
// goroutine, so that one defer is enough for all notices.
func (s *Selector) recovered(mine *baton) {
	if s.fault == nil {
		return // with the panic, if there is one, on its way
	}
	p := recover()
	if p == nil {
		return
	}
	f := &Fault{Value: p, Stack: debug.Stack(), BatonPassed: mine.passed}
	if !f.BatonPassed {
		switch {
		case s.notified != nil:
			f.Notified = s.notified.notices
		case s.timer != nil:
			f.Notified = s.timer.notice
		}
	}
	mend, ok := s.fault(f)
	if !ok {
		panic(fmt.Sprintf("%v\n\n%s", p, f.Stack))
	}
	if !mine.passed {
		s.holder = &baton{}
		go s.run(s.holder, mend)
	}
}

// runTaken runs the posts taken; it reports false when the baton was passed.
func (s *Selector) runTaken(mine *baton) bool {
	s.notified, s.timer = nil, nil
	for s.taken != nil {
		p := s.taken
		s.taken = p.next
		p.run()
		if mine.passed {
			return false
		}
	}
	return true
}

// Yield has the goroutines that are ready to run do so before the loop next sleeps. It
// is for an owner that has just given one something short to do, and waits for its
// post: a loop that sleeps in the kernel keeps its place among the runtime's threads until
// that notices, and then two threads change places, each way.
func (s *Selector) Yield() { s.yields = true }

// wait sleeps until there is something to do and queues what became ready.
func (s *Selector) wait() {
	timeout := int64(-1)
	switch {
	case s.due.len > 0 || s.taken != nil:
		timeout = 0
	default:
		if s.yields {
			s.yields = false
			runtime.Gosched()
		}
		// From here on a post or an advance of the clock writes to the wake
		// descriptor; what came before is seen below.
		s.sleeping.Store(true)
		if at, ok := s.timers.next(); ok {
			timeout = s.sleep.timeout(s, at)
		}
		if s.posts.Load() != nil || s.stopping.Load() {
			timeout = 0
		}
	}
	n := s.sleeps.wait(&s.poll, timeout)
	s.sleeping.Store(false)
	s.now = s.clock.Now()
	s.turn++
	s.take(n)
	if at, ok := s.timers.next(); ok && at <= s.now {
		// The goroutine may have waited for a CPU since the poll: what became
		// ready meanwhile comes before the timers.
		s.take(s.poll.wait(0))
	}
}

// take queues what the last poll has found.
func (s *Selector) take(n int) {
	for i := range n {
		index, gen, ready := s.poll.event(i)
		if index == 0 || int(index) >= len(s.slots) {
			continue // the wake descriptor
		}
		at := &s.slots[index]
		if at.d == nil || at.gen != gen {
			continue // an event of a descriptor that is gone
		}
		at.d.heard(ready)
		at.d.ready |= ready
		s.queue(at.d)
	}
}

// queue puts d among those to be told, if it waits for anything it is ready
// for.
func (s *Selector) queue(d *Descriptor) {
	if d.armed&d.ready != 0 && !d.queued {
		d.queued = true
		s.due.push(d)
	}
}

// tellNext gives the first of the queue one notice. All that the selector
// has to do about it is done before the call, because the call may pass the
// baton.
func (s *Selector) tellNext() {
	d := s.due.pop()
	d.queued = false
	hit := d.armed & d.ready
	hit &= -hit
	if hit == 0 {
		return // removed, or asked for nothing more, since it was queued
	}
	d.armed &^= hit
	s.queue(d)
	s.notified, s.timer = d, nil
	switch hit {
	case forReader:
		d.notices.ReadReady()
	case forWriter:
		d.notices.SendReady()
	case forExceptional:
		d.ready &^= forExceptional
		d.notices.Exceptional()
	}
}

// finish runs the last posts, refuses new ones and closes up. It reports
// whether the goroutine's work is over.
func (s *Selector) finish(mine *baton) bool {
	if !s.runTaken(mine) {
		return true
	}
	if s.taken = s.lastPosts(); !s.runTaken(mine) {
		return true
	}
	if a, ok := s.sleep.(*alarm); ok {
		a.off()
	}
	s.closed.Store(true)
	for s.wakers.Load() != 0 {
		runtime.Gosched() // they are between the check of closed and a write
	}
	s.poll.close()
	close(s.done)
	return true
}

// queue of descriptors, linked through Descriptor.next.
type queue struct {
	first, last *Descriptor
	len         int
}

func (q *queue) push(d *Descriptor) {
	if q.last == nil {
		q.first = d
	} else {
		q.last.next = d
	}
	q.last = d
	q.len++
}

func (q *queue) pop() *Descriptor {
	d := q.first
	q.first = d.next
	if q.first == nil {
		q.last = nil
	}
	d.next = nil
	q.len--
	return d
}
