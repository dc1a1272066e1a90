package csa

import (
	"bytes"
	"net/netip"
	"time"

	"bulkhead/selector"
)

// Loop is a selector and what the CSAs on it share. Its owner is the
// goroutine that holds the selector's baton; all methods but Post are the
// owner's.
type Loop struct {
	sel        *selector.Selector
	buffers    bufferPool
	depth      int     // events entered and not yet left
	todo       []*CSA  // CSAs with work left to the end of the event
	toldTodo   int     // how many of todo have been told
	calling    call    // the handler's call that is under way
	ends       []AtEnd // told when the event is over
	ended      int     // how many of ends have been told
	serving    Faulty  // see Serve
	onFault    func(*Fault) bool
	first      *CSA // the list of the CSAs that live here
	count      int
	walks      *walk        // that are not over
	scratch    []byte       // for bytes that nobody keeps
	records    bytes.Buffer // empty: what a TLS connection of crypto/tls's reads into
	opening    []byte       // openBuffer
	sealing    []byte       // empty: for records that go, which nobody keeps there
	kernel     kernel
	peerInfo   peerInfo // its answer
	sockets    socketSystem
	memoryInfo memoryInfo // its answer
	pipes      pipePool
	relays     int // that are alive
	// datagrams is what datagram sockets share; nil while there are none.
	datagrams *datagrams
	time      timesheet
	place     int // of its Tally among the others'
	// lastEnded is the connection that has ended last, if keepsLocal says so, and lastLocal was its
	// address.
	keepsLocal func() bool // nil: never
	lastEnded  *CSA
	lastLocal  netip.AddrPort
}

// NewLoop makes the loop of a selector.
func NewLoop(sel *selector.Selector) *Loop {
	kernel := &system{}
	l := &Loop{sel: sel, kernel: kernel, sockets: kernel, pipes: pipePool{most: idlePipes}}
	l.time.sel = sel
	return l
}

// idlePipes is how many pipes a loop keeps between uses where nothing else is said.
const idlePipes = 64

// KeepPipes bounds how many unused pipes the loop keeps for its relays; most is not negative. They
// count in no PipeShare. Call it before there are relays; the loop keeps 64 otherwise.
func (l *Loop) KeepPipes(most int) { l.pipes.most = most }

// Selector is the selector the loop runs on.
func (l *Loop) Selector() *selector.Selector { return l.sel }

// Post has f run on the loop as one event. It reports false, and f will never
// run, when the loop has stopped. Any goroutine may call it.
func (l *Loop) Post(f func()) bool { return l.sel.Post(func() { l.Event(f) }) }

// Event runs f as one event: what handlers called by it send leaves in one
// system call a connection when it returns, and connections that died have
// their end told then. A handler may pass the loop on, and then f does not go
// on behind its call: calling a handler should be the last thing f does.
func (l *Loop) Event(f func()) {
	l.enterEvent()
	f()
	l.leaveEvent()
}

// Now is the time of this turn in nanoseconds, on the selector's clock.
func (l *Loop) Now() int64 { return l.sel.Now() }

// Turn is the number of this turn, which is another in the next, also where the clock stands still.
func (l *Loop) Turn() uint64 { return l.sel.Turn() }

// Len is how many CSAs live on the loop.
func (l *Loop) Len() int { return l.count }

// Each calls f for every CSA on the loop, as one event. f must not call a
// handler, which could pass the loop on; it may post.
func (l *Loop) Each(f func(c *CSA)) {
	l.enterEvent() // so that nothing is unlinked before the end
	for c := l.first; c != nil; {
		next := c.next
		f(c)
		c = next
	}
	l.leaveEvent()
}

// AtEnd is told that an event is over: see Loop.AtEnd.
type AtEnd interface {
	// EventOver is called on the loop. It must not call a handler.
	EventOver()
}

// AtEnd has e told when the event that is under way is over, which is at once if none is.
// By then every handler's call of the event has returned or has passed the loop on, every
// connection that died in it is destroyed, and nothing of the loop refers to a window that a
// handler has given in it. So this is the place to free what a handler's window is in.
func (l *Loop) AtEnd(e AtEnd) {
	l.enterEvent()
	l.ends = append(l.ends, e)
	l.leaveEvent()
}

func (l *Loop) enterEvent() {
	if l.depth == 0 {
		l.time.begin()
	}
	l.depth++
}

// leaveEvent leaves an event. At the end of the outermost one no handler is running, so this is
// where connections are flushed and destroyed.
func (l *Loop) leaveEvent() {
	if l.depth == 1 {
		l.tellTodo()
		for l.datagrams != nil && len(l.datagrams.unsent) > 0 {
			l.datagrams.flush()
			l.tellTodo()
		}
		if len(l.ends) > 0 {
			l.tellEnds()
		}
	}
	if l.depth--; l.depth == 0 {
		l.time.end()
	}
}

// tellEnds tells those who wait for the end of the event, and those that are added
// meanwhile.
func (l *Loop) tellEnds() {
	for l.ended < len(l.ends) {
		e := l.ends[l.ended]
		l.ended++
		e.EventOver()
	}
	clear(l.ends)
	l.ends, l.ended = l.ends[:0], 0
}

func (l *Loop) tellTodo() {
	for l.toldTodo < len(l.todo) {
		c := l.todo[l.toldTodo]
		l.toldTodo++ // before the call, which may pass the loop on
		c.eventOver()
	}
	clear(l.todo)
	l.todo, l.toldTodo = l.todo[:0], 0
}

// eventOverLater has c told at the end of the event, which is now if none is
// under way.
func (l *Loop) eventOverLater(c *CSA) {
	l.enterEvent()
	l.later(c)
	l.leaveEvent()
}

// later has c told at the end of the event that is under way.
func (l *Loop) later(c *CSA) {
	if !c.is(listed) {
		c.set(listed)
		l.todo = append(l.todo, c)
	}
}

func (l *Loop) link(c *CSA) {
	c.next = l.first
	if l.first != nil {
		l.first.prev = c
	}
	l.first = c
	l.count++
	if t := c.tally(); t != nil {
		t.Opened++
	}
}

func (l *Loop) unlink(c *CSA) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	for w := l.walks; w != nil; w = w.other {
		if w.at == c {
			w.at = c.next
		}
	}
	c.next, c.prev = nil, nil
	l.count--
	if t := c.tally(); t != nil {
		t.Closed++
	}
}

// discardBuffer is where bytes are read to that nobody keeps.
func (l *Loop) discardBuffer() []byte {
	if l.scratch == nil {
		l.scratch = make([]byte, 64<<10)
	}
	return l.scratch
}

// Timer calls a function on its loop, once for each Reset. Its methods are
// the loop's owner's.
type Timer struct {
	l *Loop
	t selector.Timer
	f func()
}

// NewTimer makes a timer that is not set. f runs on the loop as one event.
func (l *Loop) NewTimer(f func()) *Timer { return &Timer{l: l, f: f} }

// Reset sets the timer to fire once, d from now; zero or less is the next
// turn. A timer that is set is moved.
func (t *Timer) Reset(d time.Duration) { t.l.sel.SetTimer(&t.t, t, t.l.Now()+int64(d)) }

// Stop withdraws the timer.
func (t *Timer) Stop() { t.l.sel.StopTimer(&t.t) }

// Expired is the selector's call; it is not for others.
func (t *Timer) Expired(*selector.Timer) { t.l.Event(t.f) }

// Left is how long it is until the timer fires, if it is set; zero or less: it is due.
func (t *Timer) Left() (left time.Duration, set bool) {
	ns, set := t.l.sel.TimerLeft(&t.t)
	return time.Duration(ns), set
}
