package csa

import "bulkhead/abi"

// relay joins two connections of one loop: what comes from one goes to the other.
// Neither has a handler any more.
type relay struct {
	ends [2]*CSA
	ways [2]way // ways[k] leads from ends[k] to the other
	on   bool
}

// way is one direction.
type way struct {
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
	if a == b || a.loop != b.loop || a.relay != nil || b.relay != nil || a.datagram != nil || b.datagram != nil {
		return abi.Invalid
	}
	if a.securing() || b.securing() {
		return abi.Again
	}
	if a.is(sendFinished|dying|dead) || b.is(sendFinished|dying|dead) {
		return abi.Closed
	}
	r := &relay{ends: [2]*CSA{a, b}}
	for _, c := range r.ends {
		c.relay = r
		c.Rewire(nobody{})
		c.stopTimers()
		c.want = 0
		c.d.RemoveReader()
	}
	a.loop.relays++
	a.loop.settleLater(a)
	return abi.OK
}

// Spliced reports whether the connection is one of two that are joined.
func (c *CSA) Spliced() bool { return c.relay != nil }

// nobody is the handler of a connection that has none.
type nobody struct{ Base }

// EOF is for the relay to pass on.
func (nobody) EOF(*CSA) {}

// start begins to relay when the last events of both are over.
func (r *relay) start() {
	if r.on || r.ends[0].held != nil || r.ends[1].held != nil {
		return
	}
	r.on = true
	for k, from := range r.ends {
		to := r.ends[1-k]
		from.clear(paused | full | offering | blocked | lastOffered)
		if from.rest.len() > 0 && !to.is(dying|dead) {
			if !to.inbox.append(to.loop, to.wiring.Budget, from.rest.bytes()) {
				r.outOfMemory()
			}
			from.rest.release(from.loop, from.wiring.Budget)
		}
	}
	for k := range r.ends {
		r.forward(k)
	}
}

func (r *relay) outOfMemory() {
	for _, c := range r.ends {
		c.kill(MemoryFull.Because("its tenant has no memory left for relayed bytes"))
	}
}

func (r *relay) index(c *CSA) int {
	if r.ends[1] == c {
		return 1
	}
	return 0
}

// readable is ReadReady of one end.
func (r *relay) readable(c *CSA) {
	if r.on {
		r.forward(r.index(c))
	}
}

// sendable is SendReady of one end, which goes on with what leads there.
func (r *relay) sendable(c *CSA) {
	if r.on {
		r.forward(1 - r.index(c))
	}
}

func (r *relay) other(c *CSA) *CSA { return r.ends[1-r.index(c)] }

// holds reports whether bytes on their way to one end are in a pipe.
func (r *relay) holds(c *CSA) bool { return r.ways[1-r.index(c)].pipe != nil }

// reads reports whether what comes from one end would be passed on.
func (r *relay) reads(c *CSA) bool {
	to := r.other(c)
	return r.on && !c.is(ended|slowIn|dying|dead) && !to.is(slowOut|dying|dead) && !to.unsent()
}

// forward moves bytes from one end to the other, as far as both let it.
func (r *relay) forward(k int) {
	r.move(k)
	r.ends[1-k].timeOut() // and timeIn of the one end
}

func (r *relay) move(k int) {
	from, to := r.ends[k], r.ends[1-k]
	for moved := 0; ; {
		if to.is(dying | dead) {
			return
		}
		if !to.writeInbox() { // and what is in the pipe
			to.awaitRoom()
			return
		}
		if from.is(ended) {
			r.finish(from, to)
			return
		}
		if from.is(dying|dead|slowIn) || to.is(slowOut) {
			return
		}
		if moved >= relayBatch {
			from.d.ReadAgain()
			return
		}
		n, ok := r.moveOnce(k)
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
func (r *relay) finish(from, to *CSA) {
	from.set(endTold)
	from.endWasTold()
	if !to.is(sendFinished) {
		to.set(sendFinished)
		to.loop.later(to)
	}
}

// moveOnce reads from one end once and writes to the other once; what that does not
// take waits in its inbox or in the pipe. ok is false when it is over with both.
func (r *relay) moveOnce(k int) (n int, ok bool) {
	from, to, w := r.ends[k], r.ends[1-k], &r.ways[k]
	if w.bulk && from.secure == nil && to.secure == nil {
		if n, ok := r.throughPipe(k); ok {
			return n, true
		}
		w.bulk = false // there is no pipe; after a full buffer it is tried again
	}
	buffer := from.loop.discardBuffer()
	n = from.receive(buffer)
	if n == 0 || from.is(dying) {
		return 0, true
	}
	w.bulk = n == len(buffer)
	sent := to.write(buffer[:n])
	if to.is(dying) {
		return n, true
	}
	if sent < n && !to.inbox.append(to.loop, to.wiring.Budget, buffer[sent:n]) {
		r.outOfMemory()
		return 0, false
	}
	return n, true
}

// writePipe sends what is in the pipe to one end, and reports whether it is empty.
func (r *relay) writePipe(to *CSA) bool {
	k := 1 - r.index(to)
	w := &r.ways[k]
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
		if w.pipe.held == 0 {
			to.loop.pipes.put(w.pipe)
			w.pipe = nil
		}
	}
	return w.pipe == nil
}

// throughPipe fills an empty pipe from one end; the next writeInbox of the other
// empties it. ok is false when there is no pipe, or the tenant may have no other.
func (r *relay) throughPipe(k int) (n int, ok bool) {
	from, w := r.ends[k], &r.ways[k]
	now := from.loop.Now()
	if wait := max(from.wiring.Budget.Received(0, now), from.wiring.Budget.Rest()); wait > 0 {
		from.slowDown(slowIn, wait)
		return 0, true
	}
	p := from.loop.pipes.get(from.wiring.Settings.Pipes)
	if p == nil {
		return 0, false
	}
	n, err := p.readFrom(int(from.fd))
	if p.held > 0 {
		w.pipe = p
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
		w.bulk = n >= fewBytes
		from.bookReceived(n, now)
	}
	return n, true
}

// fewBytes is how many are copied faster than passed through a pipe.
const fewBytes = 16 << 10

// ended is called when one end is buried.
func (r *relay) ended(c *CSA, why Reason) {
	k := r.index(c)
	other := r.ends[1-k]
	if w := &r.ways[1-k]; w.pipe != nil { // with bytes on their way to it
		w.pipe.close()
		w.pipe = nil
		c.set(broken)
	}
	if other.is(dead) {
		l := c.loop
		if l.relays--; l.relays == 0 {
			l.pipes.close()
		}
		return
	}
	if why.Code != abi.OK {
		other.set(broken)
		other.kill(RelayEnded.With(why.Code, "the other end of its relay ended: "+why.Why))
	}
}

// lastMoved is when a byte last moved on either end.
func (c *CSA) lastMoved() int64 {
	if r := c.relay; r != nil {
		return max(r.ends[0].lastActive, r.ends[1].lastActive)
	}
	return c.lastActive
}
