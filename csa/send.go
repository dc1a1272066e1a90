package csa

import "bulkhead/abi"

// direct is from what length on bytes are written straight from the sender's
// memory. Shorter ones are copied to the inbox first, which costs less than a
// system call and lets several leave in one; RATIONALE.md has the figures.
const direct = 4 << 10

// Send puts p into the inbox: as much as it has room for. It returns how many
// bytes were taken, with abi.OK; or none, with abi.Again when the inbox is
// full (Writable comes when it has room again), abi.Closed when nothing is
// taken any more, or abi.Quota when the tenant has no memory left to hold what the
// socket does not take at once. An empty p
// takes nothing and answers abi.OK or abi.Closed. What is taken is sent at the
// end of the event; p is not kept.
//
// Over UDP p is one datagram, which is taken whole or not at all, and an empty p is an
// empty datagram. abi.Invalid says that it is longer than one can be: 65,507 bytes over
// IPv4, 65,527 over IPv6. What is taken may be lost all the same.
func (c *CSA) Send(p []byte) (taken int, code abi.Code) { return c.transport.send(c, p) }

// OweWritable has the handler's Writable called in a later event, once the inbox has room, as after
// a Send that took less than it was given. It is for who has answered abi.Again to a Send before
// there was a CSA. It does nothing when no more is sent, or c is relayed.
func (c *CSA) OweWritable() {
	if c.is(sendFinished | dying | dead | spliced) {
		return
	}
	c.set(blocked)
	c.transport.moreRoom(c)
}

// sendBytes is Send on a stream.
func (c *CSA) sendBytes(p []byte) (taken int, code abi.Code) {
	if c.is(sendFinished | dying | dead) {
		return 0, abi.Closed
	}
	if len(p) == 0 {
		return 0, abi.OK
	}
	if c.is(securing) {
		c.set(blocked)
		return 0, abi.Again
	}
	limit := c.wiring.Settings.inbox()
	if (len(p) >= direct || len(p) > limit-c.inbox.len()) && !c.wiring.Settings.InboxOnly {
		// Either it is long, or it would not fit: ask the socket now.
		taken = c.sendNow(p)
		if c.is(dying) { // what went before it died counts
			if taken == 0 {
				return 0, abi.Closed
			}
			return taken, abi.OK
		}
	}
	if queue := min(len(p)-taken, limit-c.inbox.len()); queue > 0 {
		if !c.inbox.append(c.loop, c.wiring.Budget, p[taken:taken+queue]) {
			// Without memory to hold it, what the socket takes at once can still go.
			if taken == 0 {
				taken = c.sendNow(p)
			}
			if taken == 0 && c.is(dying) {
				return 0, abi.Closed
			}
			if taken == 0 {
				return 0, abi.Quota
			}
			queue = 0
		}
		taken += queue
		c.loop.later(c)
	}
	if taken < len(p) {
		c.set(blocked)
		c.awaitRoom()
		c.timeIn()
	}
	if taken == 0 {
		return 0, abi.Again
	}
	c.noteFirstByte()
	c.answer()
	return taken, abi.OK
}

// sendNow writes the inbox and then p, as far as the socket takes them. It
// returns how much of p went.
func (c *CSA) sendNow(p []byte) (n int) {
	if !c.writeInbox() || !c.mayWrite() {
		return 0
	}
	return c.write(p)
}

func (c *CSA) mayWrite() bool { return c.d.WriteReady() && !c.is(slowOut|dying) }

// write writes once, if the bandwidth allows, and books it. It returns 0 when
// the socket is full, and also when the connection is dying.
func (c *CSA) write(p []byte) int {
	now := c.loop.Now()
	if wait := c.wiring.Budget.Sent(0, now); wait > 0 {
		c.slowDown(slowOut, wait)
		return 0
	}
	return c.transport.write(c, p)
}

// writeRaw writes to the socket once, and books it; it answers as write does.
func (c *CSA) writeRaw(p []byte) int {
	now := c.loop.Now()
	p = c.oneStep(p)
	n, err := writeSocket(int(c.fd), p)
	switch {
	case err == errWouldBlock:
		c.d.WriteBlocked()
		return 0
	case err != nil:
		c.kill(reasonOf(err))
		return 0
	}
	if n < len(p) {
		c.d.WriteBlocked()
	}
	c.bookSent(n, now)
	return n
}

// bookSent notes that the socket has taken n bytes.
func (c *CSA) bookSent(n int, now int64) {
	c.lastActive = now
	c.countSent(n)
	if c.buffered.since == 0 {
		c.noteUnacknowledged(n, now)
	}
	c.movedMemory(c.sent, n, stepOut)
	if c.is(spliced) {
		c.noteFirstByte()
		c.answer()
	}
	if wait := c.wiring.Budget.Sent(n, now); wait > 0 {
		c.slowDown(slowOut, wait)
	}
}

// writeInbox sends what the inbox holds, and what the transport has behind it, as far as
// that goes, and reports whether all of it is gone.
func (c *CSA) writeInbox() bool {
	for c.inbox.len() > 0 && c.mayWrite() {
		n := c.write(c.inbox.bytes())
		c.inbox.discard(c.loop, c.wiring.Budget, n)
	}
	return c.inbox.len() == 0 && c.transport.drain(c)
}

// flush sends the inbox at the end of an event, and does what waits for it to
// be empty.
func (c *CSA) flush() {
	empty := c.writeInbox()
	if empty && c.is(sendFinished) && !c.is(dying) {
		empty = c.transport.sayEnd(c)
	}
	switch {
	case c.is(dying):
	case !empty:
		if c.is(finishing) && c.wiring.Settings.Linger <= 0 {
			c.kill(Linger.Because("the peer did not take its last bytes at once"))
			return
		}
		c.awaitRoom()
		if c.is(finishing) {
			c.readMore()
		}
	case c.is(finishing) && (c.is(ended) || c.wiring.Settings.Linger <= 0):
		c.kill(Orderly)
	case c.is(sendFinished):
		c.shutWrite()
	case c.is(blocked):
		c.awaitRoom() // for Writable, which must not come before the event is over
	}
	c.timeIn()
	c.timeOut()
}

// shutWrite tells the peer, once, that no more follows.
func (c *CSA) shutWrite() {
	if !c.is(writeShut) {
		c.set(writeShut)
		if err := shutdownWrite(int(c.fd)); err != nil {
			c.kill(reasonOf(err))
			return
		}
	}
	switch {
	case c.is(eofTold):
		c.kill(Orderly)
	case c.is(finishing):
		c.readMore()
	}
}

// SendReady is the selector's notice that the socket has room: the inbox is
// sent, and the handler hears of it when half of the inbox is free again.
func (c *CSA) SendReady() {
	c.enter()
	c.transport.sendReady(c)
	if c.is(blocked) && !c.is(dying|dead|sendFinished|securing) {
		if c.inbox.len() <= c.wiring.Settings.inbox()/2 {
			c.clear(blocked)
			c.loop.calling = call{c: c, what: inWritable}
			c.wiring.Handler.Writable(c)
			c.loop.calling = call{}
			c.offerAgain()
		} else {
			c.awaitRoom()
		}
	}
	c.loop.leaveEvent()
}

// awaitRoom asks for SendReady, unless it is the bandwidth that is waited
// for.
func (c *CSA) awaitRoom() {
	if !c.is(slowOut) {
		c.d.NewWriter()
	}
}

// offerAgain takes reading up again where a full inbox had stopped it, or a handler without a
// window.
func (c *CSA) offerAgain() {
	if c.is(finishing | dying | dead | paused) {
		return
	}
	c.clear(full)
	c.transport.resume(c)
}
