package csa

import (
	"errors"
	"net/netip"
	"sync/atomic"
)

// Record is a connection between two events, as it can be written down and taken to another process
// with its descriptor. Times are in nanoseconds, and of the connection's own: no clock is in them.
type Record struct {
	// Number and Tag are the CSA's.
	Number uint64
	Tag    int32
	// Flags are those of travelling that the connection has, each a bit, in that order.
	Flags uint32
	// Want is CSA.Want's.
	Want int32
	// Inbox is unsent, and Unconsumed was received. They are the Record's own.
	Inbox, Unconsumed []byte
	// Age is how old it is, and Idle how long ago a byte has moved.
	Age, Idle int64
	// Owes says that the peer owes something, and has Owed left for that; Late that this time runs.
	Owes, Late bool
	Owed       int64
	// Out is the clock of the outward direction, 0 if that has none: OutDue is what is left of
	// min_rate, OutIdle how long ago the peer was seen to take something, OutTake how much it had
	// taken by then.
	Out                      uint8
	OutDue, OutIdle, OutTake int64
	// Held says that the socket holds bytes, as far as is known: since HeldFor, with HeldTaken
	// taken by the peer; HeldAt and HeldBusy are as the system is asked.
	Held               bool
	HeldFor, HeldTaken int64
	HeldAt, HeldBusy   uint32
	// Received and Sent are CSA.Traffic.
	Received, Sent int64
	// Fuel and CPU are what its handler has used, Events how often its loop has turned to it.
	// FirstIn and FirstOut are Account's, as the package keeps them.
	Fuel, CPU         int64
	Events            uint32
	FirstIn, FirstOut uint32
	// Peer and Local are its ends; Told says that Local is what somebody has told (SetAddresses).
	Peer, Local netip.AddrPort
	Told        bool
	// Timers are the handler's.
	Timers []TimerState
}

// TimerState is a timer that is set: its token, and how many nanoseconds are left of it. Zero or
// less: it is due.
type TimerState struct {
	Token int32
	Left  int64
}

// MostUnsent bounds Inbox and Unconsumed: no buffer of a connection is larger.
const MostUnsent = smallestBuffer << (bufferClasses - 1)

var errNoRoom = errors.New("its tenant has no memory, or no timers, left for it")

// travelling are the flags that a Record has. The order is that of its bits, and so is for good;
// new ones go to the end.
var travelling = [...]flag{
	paused, full, offering, blocked, ended, lastOffered, eofTold, sendFinished, writeShut, gotFirstByte, answered, hadUnacknowledged,
}

// Held is a connection that is held still: no event of it comes, nothing is read from its socket or
// written to it, and its time does not pass. What it is is in Record. GoOn or Leave is called once,
// on its loop, and then there is nothing to be done with it.
type Held struct {
	// Record is the connection. It does not change. The caller may write to the bytes in it to wipe
	// them, when neither GoOn nor Adopt will read them.
	Record Record

	c *CSA
}

// CSA is the connection.
func (h *Held) CSA() *CSA { return h.c }

// Descriptor is that of its socket, which stays the connection's.
func (h *Held) Descriptor() int { return int(h.c.fd) }

// Reset has the peer know that the connection is over: for one that has gone on in another process,
// which has died. Leave is next.
func (h *Held) Reset() {
	if h.c.is(frozen) {
		resetShared(int(h.c.fd))
	}
}

// NotNow is why a connection, or a handler, cannot be held still: a clause that goes on from "it".
// It may be able to later.
type NotNow string

// Error is the clause.
func (e NotNow) Error() string { return "it " + string(e) }

// Stays is why a connection, or a handler, cannot be held still, and will not be able to: a clause
// that goes on from "it".
type Stays string

// Error is the clause.
func (e Stays) Error() string { return "it " + string(e) }

// Freeze holds the connection still, so that it can go on in another process. Its socket stays open
// and is the connection's until Leave. Freeze fails with a NotNow when the connection is in
// anything but the middle of its life, or not between two events, and with a Stays where it is not
// a plain stream. It is called on the loop, not by a handler. A ShutdownMicroprocess meanwhile has
// effect when the connection goes on.
func (c *CSA) Freeze() (*Held, error) {
	if why := c.cannotFreeze(); why != "" {
		return nil, why
	}
	if !c.isStream() {
		return nil, Stays("is over " + c.carriedBy())
	}
	l, now := c.loop, c.loop.Now()
	c.clear(slowIn | slowOut) // its budget says so again
	c.stopThrottle()
	if m := c.memory; m != nil { // the next who has the socket does not know that it is kept small
		m.widenOut(l.sockets, int(c.fd))
		m.widenIn(l.sockets, int(c.fd))
	}
	h := &Held{Record: c.record(now), c: c}
	for t := c.timers; t != nil; t = t.next {
		l.sel.StopTimer(&t.t)
	}
	l.sel.StopTimer(&c.timer)
	l.sel.Remove(&c.d)
	c.set(frozen)
	return h, nil
}

// cannotFreeze is why the connection cannot be held still; "": it can be.
func (c *CSA) cannotFreeze() NotNow {
	switch {
	case c.is(dying | dead | broken):
		return "has ended"
	case c.is(finishing | refused):
		return "is ending"
	case c.is(frozen):
		return "is held still already"
	case c.is(securing):
		return "is in a TLS handshake"
	case c.is(spliced) || c.transport.other() != nil:
		return "is relayed"
	case c.pendingData != nil:
		return "has a call of its handler under way"
	case c.is(listed):
		return "is in an event"
	}
	return ""
}

// carriedBy names a transport that is not the plain stream.
func (c *CSA) carriedBy() string {
	if c.transport.tls() != nil {
		return "TLS"
	}
	if c.Transport() == "ws" {
		return "WebSocket"
	}
	return "UDP"
}

// record is what there is of the connection. Its bytes are copied.
func (c *CSA) record(now int64) Record {
	s := Record{
		Number: c.number, Tag: c.Tag, Want: c.want,
		Age: now - c.born, Idle: now - c.lastActive,
		Received: c.received, Sent: c.sent,
		Fuel: c.spent.fuel, CPU: c.spent.cpu, Events: c.spent.events, FirstIn: c.spent.firstIn, FirstOut: c.spent.firstOut,
		Peer: c.peer,
	}
	for bit, f := range travelling {
		if c.is(f) {
			s.Flags |= 1 << bit
		}
	}
	if c.inbox.len() > 0 {
		s.Inbox = append([]byte(nil), c.inbox.bytes()...)
	}
	if c.unconsumed.len() > 0 {
		s.Unconsumed = append([]byte(nil), c.unconsumed.bytes()...)
	}
	if c.local != nil {
		s.Local, s.Told = *c.local, true
	}
	switch {
	case c.owed > 0:
		s.Owes, s.Late, s.Owed = true, true, c.owed-now
	case c.owed < 0:
		s.Owes, s.Owed = true, -c.owed
	}
	if b := c.behind; b != nil && b.state != unset {
		s.Out, s.OutDue, s.OutIdle, s.OutTake = uint8(b.state), b.due, now-b.since, b.taken
		if b.state == runs {
			s.OutDue -= now
		}
	}
	if b := &c.buffered; b.since != 0 {
		s.Held, s.HeldFor, s.HeldTaken, s.HeldAt, s.HeldBusy = true, now-b.since, b.taken, b.at, b.busy
	}
	for t := c.timers; t != nil; t = t.next {
		if left, set := c.loop.sel.TimerLeft(&t.t); set {
			s.Timers = append(s.Timers, TimerState{t.token, left})
		}
	}
	return s
}

// Adopt makes a CSA of a Record and the descriptor of its socket, which is held still; nobody is
// told. The CSA owns fd from here on; on an error it is closed. The error is that the tenant has no
// room for its bytes or timers. The handler of w finds the connection where it has left it.
// touched, if it is not nil, becomes 1 instead of 0 before anything is done with the socket after
// GoOn. If it is neither by then, whoever else has the socket has gone on with it, and the
// connection ends here as one that Leaves.
func (l *Loop) Adopt(s Record, fd int, w Wiring, touched *atomic.Uint32) (*Held, error) {
	now := l.Now()
	c := &CSA{
		Tag: s.Tag, flags: frozen, fd: int32(fd), want: max(s.Want, 0), loop: l, wiring: w, transport: &movedStream{mark: touched}, number: s.Number,
		peer: s.Peer, received: s.Received, sent: s.Sent,
		spent: spent{fuel: s.Fuel, cpu: s.CPU, events: s.Events, firstIn: s.FirstIn, firstOut: s.FirstOut},
	}
	for bit, f := range travelling {
		if s.Flags&(1<<bit) != 0 {
			c.set(f)
		}
	}
	if s.Told {
		local := s.Local
		c.local = &local
	}
	c.setTimes(&s, now)
	h := &Held{Record: s, c: c}
	ok := (len(s.Inbox) == 0 || c.inbox.append(l, w.Budget, s.Inbox)) &&
		(len(s.Unconsumed) == 0 || c.unconsumed.append(l, w.Budget, s.Unconsumed))
	for _, t := range s.Timers {
		// Not set, which GoOn does.
		if ok = ok && w.Budget.ReserveTimer(); ok {
			c.timers = &handlerTimer{c: c, token: t.Token, next: c.timers}
		}
	}
	if !ok {
		c.letGo()
		closeSocket(fd)
		return nil, errNoRoom
	}
	l.link(c)
	return h, nil
}

// setTimes has the connection's times be what a Record says, from now on.
func (c *CSA) setTimes(s *Record, now int64) {
	c.born, c.lastActive = now-s.Age, now-s.Idle
	c.owed = 0
	if s.Owes {
		if c.owed = now + max(s.Owed, 1); !s.Late {
			c.owed = -max(s.Owed, 1)
		}
	}
	c.behind = nil
	if state := clock(s.Out); state == runs || state == stands {
		c.behind = &behind{state: state, due: s.OutDue, since: now - s.OutIdle, taken: s.OutTake}
		if state == runs {
			c.behind.due += now
		}
	}
	c.buffered = buffered{}
	if s.Held {
		c.buffered = buffered{since: max(1, now-s.HeldFor), taken: s.HeldTaken, at: s.HeldAt, busy: s.HeldBusy}
	}
}

// GoOn has the connection go on where it was held still, on this loop: at once what waits is sent,
// and read. The error is of the selector's, and then the connection ends, and everybody is told.
func (h *Held) GoOn() error {
	c := h.c
	l := c.loop
	if !c.is(frozen) {
		return nil
	}
	c.clear(frozen)
	now := l.Now()
	c.setTimes(&h.Record, now)
	c.enter()
	defer l.leaveEvent()
	if c.is(doomed) {
		c.clear(doomed)
		c.kill(c.reason)
		return nil
	}
	if m, ok := c.transport.(*movedStream); ok && len(h.Record.Timers) > 0 && !m.touch() {
		c.kill(takenBack) // its handler might do anything
		return nil
	}
	if err := l.sel.Add(&c.d, int(c.fd), c); err != nil {
		c.kill(SystemFull.Because("the selector does not take it: " + err.Error()))
		return err
	}
	// The list has those that were set and some that were not; the Record only those.
	left := h.Record.Timers
	for t := c.timers; t != nil && len(left) > 0; t = t.next {
		t.token = left[0].Token
		l.sel.SetTimer(&t.t, t, now+left[0].Left)
		left = left[1:]
	}
	c.d.NewExceptional()
	switch {
	case c.is(paused):
	case c.is(offering) || c.is(ended) && !c.is(eofTold):
		c.d.ReadAgain()
	default:
		c.resumeReading()
	}
	c.keepDeadlines()
	if c.unsent() || c.is(blocked) || c.is(sendFinished) && !c.is(writeShut) {
		l.later(c) // it is flushed, and the end is said
	}
	return nil
}

// Leave ends the connection here, which goes on in another process, or never was here: its socket
// is closed, and nobody else who has it notices. Its handler is not told, but Creator and Signal
// are, with the cause Moved.
func (h *Held) Leave() {
	c := h.c
	if !c.is(frozen) {
		return
	}
	l := c.loop
	l.enterEvent()
	c.clear(frozen | doomed)
	c.set(dead | dying)
	c.reason = Moved.Reason()
	l.sel.StopTimer(&c.timer)
	c.letGo()
	closeSocket(int(c.fd))
	l.unlink(c)
	c.tellOthers()
	l.leaveEvent()
}

// letGo gives back what the connection holds of its budgets.
func (c *CSA) letGo() {
	c.stopTimers()
	if c.memory != nil {
		c.memory.release()
	}
	c.inbox.release(c.loop, c.wiring.Budget)
	c.unconsumed.release(c.loop, c.wiring.Budget)
}

// Frozen reports whether the connection is held still.
func (c *CSA) Frozen() bool { return c.is(frozen) }

// killHeld is kill of a connection that is held still.
func (c *CSA) killHeld(r Reason) {
	if !c.is(doomed) {
		c.set(doomed)
		c.reason = r
	}
}
