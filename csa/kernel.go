package csa

import (
	"math"
	"time"
)

// kernel asks the system about the peers of stream sockets. A loop has one. Timers ask, and
// connections whose bytes begin to wait in the socket; never for each message.
type kernel interface {
	// unacknowledged is how many of the bytes that the socket has taken the peer has not, 0
	// where that is not known.
	unacknowledged(fd int) int
	// look fills w in, which is empty.
	look(fd int, w *peerInfo)
}

// peerInfo is what the system says about the peer of one socket.
type peerInfo struct {
	// unacknowledged is how many of the bytes that the socket has taken the peer has not.
	unacknowledged int
	// known says that the rest is known, which it is for TCP on Linux alone.
	known bool
	// silent is how long ago anything came from the peer: bytes, or an acknowledgement, also
	// one of bytes that it had acknowledged before.
	silent time.Duration
	// busy is for how long in all the socket has held bytes that were not acknowledged.
	busy time.Duration
	// asked is how often the system has sent the same bytes again, or has asked a peer that
	// had no room whether it has some, without an answer until now.
	asked int
}

// vanishedAsked is how often a peer has to be asked in vain at least before it has vanished.
// Once may be one lost packet, or a machine that was stopped for a while.
const vanishedAsked = 2

// coarse bounds the error with which the system measures peerInfo.busy.
const coarse = 25 * time.Millisecond

// never is when to look again at what is not to be looked at.
const never = int64(math.MaxInt64)

// buffered is what a connection knows of its bytes in the socket.
type buffered struct {
	// since is 0 when all of them were acknowledged when the system was last asked, and none
	// has been sent since. Otherwise the peer was heard of then, or there were none until then.
	since int64
	taken int64  // how many bytes the peer had taken when the system was last asked
	at    uint32 // when that was, in milliseconds of the connection's age
	busy  uint32 // what peerInfo.busy was then, in milliseconds
}

// noteUnacknowledged notes that there are unacknowledged bytes in the socket, beginning with the n
// that it has just taken.
func (c *CSA) noteUnacknowledged(n int, now int64) {
	every := c.lookEvery()
	if every == 0 {
		return
	}
	h := &c.buffered
	h.since, h.at, h.taken = max(1, now), c.age(now), c.sent-int64(n)
	c.clear(hadUnacknowledged)
	c.wakeBy(now + every)
}

// lookEvery is how often to look at what the socket holds; 0: never.
func (c *CSA) lookEvery() int64 {
	s := c.wiring.Settings
	every := max(0, int64(s.UserTimeout))
	if idle := int64(s.IdleTimeout) / 4; idle > 0 && (every == 0 || idle < every) {
		every = idle
	}
	return every
}

// age is the connection's age in milliseconds, modulo 2^32.
func (c *CSA) age(now int64) uint32 { return uint32((now - c.born) / int64(time.Millisecond)) }

// lookAtPeer asks the system about a connection whose socket holds bytes, as far as is known.
// What the peer has taken of them is movement. It returns when to look again, and
// whether the peer has vanished.
func (c *CSA) lookAtPeer() (next int64, vanished bool) {
	h, l := &c.buffered, c.loop
	if h.since == 0 || c.is(dead) {
		return never, false
	}
	now, w := l.Now(), &l.peerInfo
	*w = peerInfo{}
	l.kernel.look(int(c.fd), w)
	// What has passed since the last look, and for how much of it bytes were held.
	at, total := c.age(now), uint32(w.busy/time.Millisecond)
	passed := int64(at-h.at) * int64(time.Millisecond)
	busy := min(passed, int64(total-h.busy)*int64(time.Millisecond))
	h.at, h.busy = at, total
	heard := now - int64(w.silent)

	taken, none := c.sent-int64(w.unacknowledged), w.unacknowledged == 0
	switch {
	case taken <= h.taken && !none:
	case w.known && none:
		c.moved(min(heard, max(c.lastActive, now-passed)+busy))
	case w.known:
		c.moved(heard)
	case !none || c.is(hadUnacknowledged):
		c.moved(now)
	}
	h.taken = taken
	if none {
		h.since = 0
		return never, false
	}
	c.set(hadUnacknowledged)

	next = now + c.lookEvery()
	limit := int64(c.wiring.Settings.UserTimeout)
	if !w.known || limit <= 0 {
		return next, false
	}
	if busy+int64(coarse) < passed { // there were none for a while, and these came later
		h.since = max(h.since, now-busy)
	}
	h.since = max(h.since, heard)
	switch over := h.since + limit; {
	case now < over:
		return min(next, over), false
	case w.asked < vanishedAsked:
		return now + min(c.lookEvery(), max(limit/8, int64(100*time.Millisecond))), false
	}
	return next, true
}

// moved notes that a byte moved at a time that may have passed.
func (c *CSA) moved(at int64) { c.lastActive = max(c.lastActive, at) }
