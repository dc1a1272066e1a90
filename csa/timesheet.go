package csa

import (
	"sync/atomic"
	"time"

	"bulkhead/internal/cputime"
)

// Payer is who pays for the time of a loop: a tenant. Book is called on the loop with
// nanoseconds, and must not block.
type Payer interface{ Book(ns int64) }

const (
	// bookEvery is how much time is booked at once, unless another payer comes.
	bookEvery = int64(20 * time.Microsecond)
	// longestBooked is the most that is booked for one event. By the clock it may have taken
	// longer since the machine was busy elsewhere, which is nobody's doing.
	longestBooked = int64(2 * time.Millisecond)
	// wakes is how many threads go to sleep and wake up for a loop that does: its own, and Go's
	// monitor, which looks at the scheduler every 20 µs while anything runs.
	wakes = 2
)

// sleeper is the selector, as far as sleeping goes.
type sleeper interface {
	Sleeps() uint
	SleepCost() int64
}

// timesheet is what a loop knows of the time that its events take, and for whom.
type timesheet struct {
	payer    Payer  // of the event that is under way; nil: nobody is known
	tally    *Tally // of the first connection whose event it is; nil: of none that counts
	began    int64  // when that began
	apart    int64  // ns of it that are booked already
	last     Payer  // who pays for unbooked
	due      int64  // ns not booked yet
	longest  atomic.Int64
	byThread bool
	span     cputime.Span // of the event, if byThread
	lost     atomic.Int64 // how often that said nothing
	sel      sleeper
	sleeps   uint // of the loop, that are paid for
}

func (a *timesheet) begin() {
	a.payer, a.tally, a.apart = nil, nil, 0
	a.began = nanotime()
	if a.byThread {
		a.span.Start()
	}
}

// end books the event that is over.
func (a *timesheet) end() {
	ns := nanotime() - a.began
	a.note(ns)
	if a.tally != nil {
		a.tally.Events.Observe(time.Duration(ns))
	}
	p := a.payer
	if p == nil {
		return
	}
	if p != a.last {
		a.book()
		a.last = p
	}
	a.due += min(max(ns-a.apart, 0), longestBooked)
	if n := a.sel.Sleeps(); n != a.sleeps {
		a.sleeps = n
		a.due += wakes * a.sel.SleepCost() // whoever is first has woken it
	}
	if a.due >= bookEvery {
		a.book()
	}
}

// note takes an event's time for the longest, if it is.
func (a *timesheet) note(ns int64) {
	if ns <= a.longest.Load() {
		return
	}
	if a.byThread {
		var ok bool
		if ns, ok = a.span.Elapsed(); !ok {
			a.lost.Add(1)
			return
		}
		if ns <= a.longest.Load() {
			return
		}
	}
	a.longest.Store(ns)
}

func (a *timesheet) book() {
	if ns := a.due; ns > 0 {
		a.due = 0 // before the call, which is another's code
		a.last.Book(ns)
	}
}

// forget leaves out what is not booked yet, and begins anew: for an event in which there was a
// panic, which may have come out of the booking, and would come again.
func (a *timesheet) forget() {
	a.last, a.due = nil, 0
	a.begin()
}

// pass ends the account of an event in which the loop is passed on.
func (a *timesheet) pass() {
	p, t := a.payer, a.tally
	a.end()
	a.begin()
	a.payer, a.tally = p, t
}

// Charge says who pays for the current event, unless somebody does already. A connection's Budget
// pays for its events.
func (l *Loop) Charge(p Payer) {
	if l.time.payer == nil {
		l.time.payer = p
	}
}

// Booked says that the caller books ns nanoseconds of the current event itself.
func (l *Loop) Booked(ns int64) { l.time.apart += ns }

// LongestEvent is how long the longest event took so far that the loop has done at one go, by
// the clock, or in processor time after ByThread. Any goroutine may call it.
func (l *Loop) LongestEvent() time.Duration { return time.Duration(l.time.longest.Load()) }

// ByThread has LongestEvent go by the processor time of the thread from the next event on, so that
// what else runs on the machine is not in it. That takes some system calls an event. It is the
// owner's.
func (l *Loop) ByThread() {
	l.time.byThread = true
	l.time.span.Start()
}

// LostEvents counts the events that LongestEvent leaves out after ByThread: they changed threads,
// so their processor time is unknown. Any goroutine may call it.
func (l *Loop) LostEvents() int64 { return l.time.lost.Load() }

// enter begins an event of the connection's.
func (c *CSA) enter() {
	c.spent.events++
	c.loop.enterEvent()
	c.loop.Charge(c.wiring.Budget)
	c.times()
}

// times has the event that is under way be counted as the connection's, unless it is another's.
func (c *CSA) times() {
	if c.loop.time.tally == nil {
		c.loop.time.tally = c.tally()
	}
}

var started = time.Now()

// nanotime is a monotonic clock.
func nanotime() int64 { return int64(time.Since(started)) }
