package csa

import (
	"fmt"
	"strconv"
	"time"
)

// A connection has one timer, for whichever of its deadlines comes first. Moving bytes only
// writes down when that was; the timer, when it fires, asks what is due, and is set again.
//
// Two of the deadlines are clocks that run only while it is the peer's turn. The one of the
// inward direction runs while the peer owes its first byte, or the rest of what it has
// begun: there are bytes that the handler has left unconsumed, or a TLS record that is
// not whole. The one of the outward direction runs while bytes wait and the socket is full.
// Both stand still while somebody else holds things up: the handler has paused or has no
// window, its call is still under way, the bandwidth is used up, the other end of a relay
// takes nothing.

// patience is how far the peer may be behind Settings.MinRate, in time.
const patience = time.Minute

// startTime begins to watch a connection that is new.
func (c *CSA) startTime() {
	s := c.wiring.Settings
	if s.FirstByteTimeout <= 0 {
		c.set(gotFirstByte)
	}
	if s.IdleTimeout > 0 {
		c.wakeBy(c.lastActive + int64(s.IdleTimeout))
	}
	if s.Lifetime > 0 {
		c.wakeBy(c.born + int64(s.Lifetime))
	}
	c.timeIn()
}

// AwaitFirstByte says that the peer has not sent its first byte yet: what has come so far, such as
// a PROXY header, was only about the connection.
func (c *CSA) AwaitFirstByte() {
	c.owed = 0
	if c.wiring.Settings.FirstByteTimeout > 0 {
		c.clear(gotFirstByte)
	}
	c.timeIn()
}

// wakeBy has deadlines looked at by then.
func (c *CSA) wakeBy(at int64) {
	if !c.is(finishing | frozen | dying | dead) { // the linger bound has it, or nobody
		c.loop.sel.SetTimerBy(&c.timer, c, at)
	}
}

// keepTime has both clocks run, or stand still. It is called whenever it may have become
// somebody else's turn.
func (c *CSA) keepTime() {
	c.timeIn()
	c.timeOut()
}

// owes reports whether the peer has something to send.
func (c *CSA) owes() bool {
	if !c.is(gotFirstByte) {
		return true
	}
	return c.wiring.Settings.MinRate > 0 && (c.unconsumed.len() > 0 || c.transport.midway())
}

// timeIn has the clock of the inward direction run or stand still. owed is the time at
// which it is over while it runs, less than zero, by what is left, while it stands still, and 0
// when the peer owes nothing, or something else than before.
func (c *CSA) timeIn() {
	switch now := c.loop.Now(); {
	case !c.owes() || c.is(finishing|dying|dead):
		c.owed = 0
	case !c.transport.reads(c):
		if c.owed > 0 {
			c.owed = min(-1, now-c.owed)
		}
	case c.owed <= 0:
		left := -c.owed
		if left == 0 {
			left = int64(patience)
			if !c.is(gotFirstByte) {
				left = int64(c.wiring.Settings.FirstByteTimeout)
			}
		}
		c.owed = now + left
		c.wakeBy(c.owed)
	}
}

// noteFirstByte notes that the first byte was sent or received.
func (c *CSA) noteFirstByte() {
	if !c.is(gotFirstByte) {
		c.set(gotFirstByte)
		c.owed = 0
	}
}

// earn books n bytes that have come.
func (c *CSA) earn(n int, now int64) {
	switch {
	case c.owed == 0 && c.is(gotFirstByte) || c.is(securing):
	case !c.is(gotFirstByte):
		c.noteFirstByte()
	case c.owed > 0:
		c.owed = min(now+int64(patience), c.owed+worth(int64(n), c.wiring.Settings.MinRate))
	default:
		c.owed = max(-int64(patience), c.owed-worth(int64(n), c.wiring.Settings.MinRate))
	}
}

// worth is how long n bytes take at a rate; it is not more than the peer may be behind.
func worth(n, rate int64) int64 {
	if rate <= 0 || n/rate >= int64(patience/time.Second) {
		return int64(patience)
	}
	return n * int64(time.Second) / rate
}

// behind is the clock of the outward direction, of a connection whose socket has been full.
// What the socket takes says little of the peer: the kernel asks for more when a third of
// its buffer is free, which may be megabytes. So it is asked how much the peer has
// acknowledged, when bytes begin to wait and when a deadline may be over.
type behind struct {
	state clock
	due   int64 // of MinRate, while it runs; what is left, while it stands still
	since int64 // when the peer was last seen to take something
	taken int64 // how many bytes it had taken by then
}

type clock byte

const (
	unset clock = iota
	runs
	stands
)

// timeOut has the clock of the outward direction run or stand still.
func (c *CSA) timeOut() {
	if other := c.transport.other(); other != nil {
		other.timeIn() // it may not be its turn any more, or be it again
	}
	b, s := c.behind, c.wiring.Settings
	switch unsent := c.unsent(); {
	case b == nil && (!unsent || s.WriteTimeout <= 0 && s.MinRate <= 0):
	case !unsent || c.is(finishing|dying|dead):
		if b != nil {
			b.state = unset
		}
	case c.is(slowOut) || c.d.WriteReady():
		if b != nil && b.state == runs {
			c.credit()
			b.state = stands
			b.due -= c.loop.Now()
		}
	case b == nil || b.state != runs:
		if b == nil {
			b = &behind{}
			c.behind = b
		}
		now := c.loop.Now()
		if b.state == unset {
			b.due = int64(patience)
		}
		b.state = runs
		b.due += now
		b.since = now
		b.taken = c.takenNow()
		c.wakeBy(c.nextOut())
	}
}

// credit looks at what the peer has taken since it was last looked at.
func (c *CSA) credit() {
	b, now := c.behind, c.loop.Now()
	if taken := c.takenNow(); taken > b.taken {
		b.due = min(now+int64(patience), b.due+worth(taken-b.taken, c.wiring.Settings.MinRate))
		b.taken, b.since = taken, now
	}
}

// takenNow is how many bytes the peer has taken, as far as the system can tell.
func (c *CSA) takenNow() int64 { return c.sent - int64(c.loop.kernel.unacknowledged(int(c.fd))) }

// nextOut is when the outward direction is to be looked at.
func (c *CSA) nextOut() int64 {
	b, s := c.behind, c.wiring.Settings
	next := never
	if s.MinRate > 0 {
		next = b.due
	}
	if t := int64(s.WriteTimeout); t > 0 {
		// More often than that, since when it took something is seen only by looking.
		next = min(next, b.since+t, c.loop.Now()+t/4)
	}
	return next
}

// lookOut looks at the outward direction. It returns when to look again, or why it is over;
// Unknown: it is not.
func (c *CSA) lookOut() (next int64, why Cause) {
	c.timeOut()
	b, s, now := c.behind, c.wiring.Settings, c.loop.Now()
	if b == nil || b.state != runs {
		return never, Unknown
	}
	c.credit()
	switch {
	case s.WriteTimeout > 0 && now >= b.since+int64(s.WriteTimeout):
		return 0, WriteTimeout
	case s.MinRate > 0 && now >= b.due:
		return 0, SlowReader
	}
	return max(c.nextOut(), now+int64(10*time.Millisecond)), Unknown
}

// vanishedPeer is the reason of one that lookAtPeer has given up.
var vanishedPeer = PeerVanished.Because("the peer has vanished: it answers nothing")

// leftUnconsumed is the reason of a connection whose handler has left bytes and waits for more
// of a peer that sends none. Whether that owes them, only the handler's author knows.
func leftUnconsumed(left, want int) Reason {
	what := "more"
	if want > left {
		what = strconv.Itoa(want)
	}
	return Unconsumed.Because(fmt.Sprintf("its handler has left %d bytes unconsumed and wants %s, and the peer has not sent the rest in time", left, what))
}

// keepDeadlines ends the connection if one of its deadlines is over, and sets the timer for
// the next.
func (c *CSA) keepDeadlines() {
	c.timeIn()
	s, now := c.wiring.Settings, c.loop.Now()
	look, vanished := c.lookAtPeer()
	next, why := c.lookOut()
	next = min(next, look)
	if c.memory != nil {
		next = min(next, c.lookAtMemory())
	}
	if vanished {
		why = PeerVanished
	}
	by := func(at int64, late Cause) {
		if at > now {
			next = min(next, at)
		} else if why == Unknown {
			why = late
		}
	}
	if s.Lifetime > 0 {
		by(c.born+int64(s.Lifetime), Lifetime)
	}
	if s.IdleTimeout > 0 {
		if other := c.transport.other(); other != nil && now >= c.transport.lastMoved(c)+int64(s.IdleTimeout) {
			other.lookAtPeer() // whose turn to be looked at has not come
		}
		if idle := c.transport.lastMoved(c) + int64(s.IdleTimeout); now >= idle && c.transport.unheard(c) {
			next = min(next, now+max(int64(s.IdleTimeout)/8, int64(10*time.Millisecond)))
		} else {
			by(idle, c.transport.idle())
		}
	}
	if c.owed > 0 {
		late := SlowSender
		switch {
		case !c.is(gotFirstByte):
			late = FirstByteTimeout
		case c.unconsumed.len() > 0 && now-c.lastActive >= int64(patience/2):
			late = Unconsumed // it does not trickle: it may well believe that it has sent all
		}
		by(c.owed, late)
	}
	if why == Unknown { // last, since what it sends would count as moving
		var alive int64
		alive, why = c.transport.keepAlive(c)
		next = min(next, alive)
	}
	switch {
	case why == Unconsumed:
		c.kill(leftUnconsumed(c.unconsumed.len(), int(c.want)))
	case why == PeerVanished:
		c.kill(vanishedPeer)
	case why != Unknown:
		c.kill(why.Reason())
	case next < never:
		c.wakeBy(next)
	}
}
