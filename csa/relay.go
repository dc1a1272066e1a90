package csa

import "bulkhead/abi"

// relay joins two connections of one loop: what comes from one goes to the other.
// Neither has a handler any more.
type relay struct {
	ends [2]relayEnd
	on   bool
}

// relayEnd is one of them, and its transport, above the one that it had before.
type relayEnd struct {
	transport
	relay *relay
	c     *CSA
	to    *relayEnd // the other

	// Of the way from here to the other.

	pipe *pipe // holds bytes on their way, or is nil
	// bulk says that the last read filled the buffer: from here on bytes go
	// through a pipe, and not through this process, until few come again.
	bulk bool
}

// relayBatch is how much one direction moves before the others on the loop have
// their turn.
const relayBatch = 512 << 10

// Splice joins two connections of the loop: from the end of the event on, the bytes
// of each go to the other without a handler, half-close included, until both
// directions have ended. What was sent before, and what is unconsumed then, goes first.
// The handlers hear nothing more of either, not even Closed. When one dies otherwise
// than by finishing, the other is reset.
//
// It answers abi.OK; abi.Invalid when they are the same, not of one loop, or one is a
// peer over UDP; abi.Again while TLS is on its way on one;
// abi.Closed when one has finished sending or is over.
func Splice(a, b *CSA) abi.Code {
	if a == b || a.loop != b.loop || !joinable(a.transport) || !joinable(b.transport) {
		return abi.Invalid
	}
	if a.is(securing) || b.is(securing) {
		return abi.Again
	}
	if a.is(sendFinished|dying|dead) || b.is(sendFinished|dying|dead) {
		return abi.Closed
	}
	r := &relay{}
	for k, c := range []*CSA{a, b} {
		e := &r.ends[k]
		*e = relayEnd{transport: c.transport, relay: r, c: c, to: &r.ends[1-k]}
		c.transport = e
		c.set(spliced)
		c.Rewire(nobody{})
		c.want = 0
		c.d.RemoveReader()
	}
	a.loop.relays++
	a.loop.eventOverLater(a)
	return abi.OK
}

// joinable reports whether a connection with this transport can be an end of a relay.
func joinable(t transport) bool {
	switch t.(type) {
	case stream, *movedStream, *tlsTransport:
		return true
	}
	return false
}

// Spliced reports whether the connection is one of two that are joined.
func (c *CSA) Spliced() bool { return c.is(spliced) }

// nobody is the handler of a connection that has none.
type nobody struct{ Base }

// EOF is for the relay to pass on.
func (nobody) EOF(*CSA) {}

func (e *relayEnd) other() *CSA { return e.to.c }

// eventOver begins to relay.
func (e *relayEnd) eventOver(c *CSA) {
	e.relay.start()
	e.transport.eventOver(c)
}

// start begins to relay when the last events of both are over.
func (r *relay) start() {
	if r.on || r.ends[0].c.pendingData != nil || r.ends[1].c.pendingData != nil {
		return
	}
	r.on = true
	for k := range r.ends {
		from, to := r.ends[k].c, r.ends[1-k].c
		from.clear(paused | full | offering | blocked | lastOffered)
		if from.unconsumed.len() > 0 && !to.is(dying|dead) {
			if !to.inbox.append(to.loop, to.wiring.Budget, from.unconsumed.bytes()) {
				r.outOfMemory()
			}
			from.unconsumed.release(from.loop, from.wiring.Budget)
		}
	}
	for k := range r.ends {
		r.ends[k].forward()
	}
}

func (r *relay) outOfMemory() {
	for k := range r.ends {
		r.ends[k].c.kill(MemoryFull.Because("its tenant has no memory left for relayed bytes"))
	}
}

// readReady goes on with what leads from here.
func (e *relayEnd) readReady(c *CSA) {
	c.enter()
	if e.relay.on && !c.is(dying|dead) {
		e.forward()
	}
	c.timeIn()
	c.loop.leaveEvent()
}

// sendReady goes on with what leads here.
func (e *relayEnd) sendReady(c *CSA) {
	e.transport.sendReady(c)
	if e.relay.on {
		e.to.forward()
	}
}

// holds reports whether bytes on their way here are in a pipe, or below.
func (e *relayEnd) holds() bool { return e.to.pipe != nil || e.transport.holds() }

// drain writes what is in the pipe that leads here, and then what is below.
func (e *relayEnd) drain(c *CSA) bool { return e.writePipe() && e.transport.drain(c) }

// reads reports whether what comes from here would be passed on.
func (e *relayEnd) reads(c *CSA) bool {
	to := e.to.c
	return e.relay.on && !c.is(ended|slowIn|dying|dead) && !to.is(slowOut|dying|dead) && !to.unsent()
}

// forward moves bytes from here to the other end, as far as both let it.
func (e *relayEnd) forward() {
	e.move()
	e.to.c.timeOut() // and timeIn of this end
}

func (e *relayEnd) move() {
	from, to := e.c, e.to.c
	for moved := 0; ; {
		if to.is(dying | dead) {
			return
		}
		if !to.writeInbox() { // and what is in the pipe
			to.awaitRoom()
			return
		}
		if from.is(ended) {
			e.finish()
			return
		}
		if from.is(dying|dead|slowIn) || to.is(slowOut) {
			return
		}
		if moved >= relayBatch {
			from.d.ReadAgain()
			return
		}
		n, ok := e.moveOnce()
		if !ok {
			return
		}
		moved += n
		if n == 0 && !from.is(ended|dying|slowIn) {
			from.readMore()
			return
		}
	}
}

// finish passes the end of one direction on.
func (e *relayEnd) finish() {
	from, to := e.c, e.to.c
	from.set(eofTold)
	from.eofDelivered()
	if !to.is(sendFinished) {
		to.set(sendFinished)
		to.loop.later(to)
	}
}

// moveOnce reads from one end once and writes to the other once; what that does not
// take waits in its inbox or in the pipe. ok is false when it is over with both.
func (e *relayEnd) moveOnce() (n int, ok bool) {
	from, to := e.c, e.to.c
	if e.bulk && e.tls() == nil && e.to.tls() == nil {
		if n, ok := e.throughPipe(); ok {
			return n, true
		}
		e.bulk = false // there is no pipe; after a full buffer it is tried again
	}
	buffer := from.loop.discardBuffer()
	n = from.receive(buffer)
	if n == 0 || from.is(dying) {
		return 0, true
	}
	e.bulk = n == len(buffer)
	sent := to.write(buffer[:n])
	if to.is(dying) {
		return n, true
	}
	if sent < n && !to.inbox.append(to.loop, to.wiring.Budget, buffer[sent:n]) {
		e.relay.outOfMemory()
		return 0, false
	}
	return n, true
}

// writePipe sends what is in the pipe that leads here, and reports whether it is empty.
func (e *relayEnd) writePipe() bool {
	to, w := e.c, e.to
	for w.pipe != nil && to.mayWrite() {
		now := to.loop.Now()
		if wait := to.wiring.Budget.Sent(0, now); wait > 0 {
			to.slowDown(slowOut, wait)
			return false
		}
		n, err := w.pipe.writeTo(int(to.fd))
		switch {
		case err == errWouldBlock:
			to.d.WriteBlocked()
			return false
		case err != nil:
			to.kill(reasonOf(err))
			return false
		}
		to.bookSent(n, now)
		if w.pipe.buffered == 0 {
			to.loop.pipes.put(w.pipe)
			w.pipe = nil
		}
	}
	return w.pipe == nil
}

// throughPipe fills an empty pipe from here; the next writeInbox of the other end
// empties it. ok is false when there is no pipe, or the tenant may have no other.
func (e *relayEnd) throughPipe() (n int, ok bool) {
	from := e.c
	now := from.loop.Now()
	if wait := max(from.wiring.Budget.Received(0, now), from.wiring.Budget.CPUWait()); wait > 0 {
		from.slowDown(slowIn, wait)
		return 0, true
	}
	p := from.loop.pipes.get(from.wiring.Settings.Pipes)
	if p == nil {
		return 0, false
	}
	n, err := p.readFrom(int(from.fd))
	if p.buffered > 0 {
		e.pipe = p
	} else {
		from.loop.pipes.put(p)
	}
	switch {
	case err == errWouldBlock:
		from.d.ReadBlocked() // what comes next is as much, perhaps
	case err != nil:
		from.kill(reasonOf(err))
	case n == 0:
		from.set(ended)
	default:
		e.bulk = n >= fewBytes
		from.bookReceived(n, now)
	}
	return n, true
}

// fewBytes is how many are copied faster than passed through a pipe.
const fewBytes = 16 << 10

// close ends the relay, too, and with it the other end, unless that is passed on already.
func (e *relayEnd) close(c *CSA) {
	if p := e.to.pipe; p != nil { // with bytes on their way here
		p.close()
		e.to.pipe = nil
		c.set(broken)
	}
	e.leave()
	e.transport.close(c)
}

// leave tells the other end that this one is over.
func (e *relayEnd) leave() {
	c, other := e.c, e.to.c
	if other.is(dead) {
		l := c.loop
		if l.relays--; l.relays == 0 {
			l.pipes.close()
		}
		return
	}
	if why := c.reason; why.Code != abi.OK {
		other.set(broken)
		other.kill(RelayEnded.With(why.Code, "the other end of its relay ended: "+why.Why))
	}
}

// lastMoved is when a byte last moved, on either end.
func (e *relayEnd) lastMoved(c *CSA) int64 { return max(c.lastActive, e.to.c.lastActive) }
