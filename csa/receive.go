package csa

// Receive pauses (false) or resumes (true) reading. Resuming also offers the
// unconsumed rest to the handler again, in a later turn of the loop. Over UDP a few
// datagrams wait while reading is paused (Settings.WaitingDatagrams), and those above are lost.
func (c *CSA) Receive(on bool) {
	if c.is(finishing | dying | dead) {
		return
	}
	if !on {
		c.set(paused)
		c.clear(offering)
		c.d.RemoveReader()
		c.timeIn()
		return
	}
	c.clear(paused)
	c.offerAgain()
}

// Want holds Data back until n bytes are there or the peer has finished. It stays in force until
// the next Want; one, and zero or less, mean any byte. A handler must not want more than its window
// holds. Over UDP Want does nothing.
func (c *CSA) Want(n int) {
	c.want = int32(max(0, n))
	if c.unconsumed.len() > 0 && c.unconsumed.len() >= int(c.want) && !c.is(paused|finishing|dying|dead) {
		c.transport.resume(c)
	}
}

// resumeStream has what is unconsumed offered in a later turn, if it is what the handler wants,
// or the end told; else it goes on reading.
func (c *CSA) resumeStream() {
	c.timeIn()
	if c.pendingData != nil {
		// What the handler leaves of these bytes is not known yet: Consumed offers it again.
		c.set(offering)
		return
	}
	if c.unconsumed.len() > 0 && c.unconsumed.len() >= int(c.want) || c.is(ended) && !c.is(eofTold) {
		c.set(offering)
		c.d.ReadAgain()
	} else {
		c.resumeReading()
	}
}

// mayRead reports whether there is a use for more bytes.
func (c *CSA) mayRead() bool {
	if c.is(paused|full|slowIn|ended|finishing|securing|spliced|dying|dead) || c.pendingData != nil {
		return false
	}
	// A handler that could not send and so did not consume is not given more.
	return !c.is(blocked) || c.unconsumed.len() == 0
}

func (c *CSA) resumeReading() {
	if c.mayRead() {
		c.readMore()
	}
}

// readMore asks for ReadReady.
func (c *CSA) readMore() { c.transport.readMore(c) }

// What one connection may be read in a turn of the loop, so that a fast peer
// cannot keep the others out. It is more than one window because going on with
// the connection whose bytes are in the cache costs a third of going round all
// of them: RATIONALE.md has the figures.
const (
	windowsPerTurn = 16
	bytesPerTurn   = 256 << 10
)

// ReadReady is the selector's notice that the socket can be read, or that the CSA has asked to read
// it again.
func (c *CSA) ReadReady() { c.transport.readReady(c) }

// readWindows moves bytes from the socket to the handler's window. Each window is an event of
// its own.
func (c *CSA) readWindows() {
	start := c.received
	for range windowsPerTurn {
		c.enter()
		more := c.readOnce()
		c.timeIn()
		c.loop.leaveEvent()
		if !more || c.received-start >= bytesPerTurn || !c.mayRead() {
			return
		}
	}
}

// readOnce does what there is to do for one ReadReady. It reports whether
// there is likely to be more to read at once.
func (c *CSA) readOnce() (more bool) {
	switch {
	case c.is(dying | dead):
	case c.is(finishing):
		c.readToDiscard()
	case c.pendingData != nil: // Consumed goes on
	case c.is(ended):
		c.tellEnd()
	case c.is(paused | slowIn):
	case int(c.want) > c.unconsumed.len():
		c.clear(offering)
		c.readToUnconsumed()
	default:
		return c.readToWindow()
	}
	return false
}

// readToWindow puts the rest and new bytes into the window and offers them. It
// reports whether the read took all that it had room for.
func (c *CSA) readToWindow() (more bool) {
	offer := c.is(offering)
	c.clear(offering)
	window := c.wiring.Handler.Window(c)
	switch {
	case c.notForData():
		return false
	case len(window) == 0:
		c.set(full)
		return false
	case int(c.want) > c.unconsumed.len() && !c.is(ended):
		c.readToUnconsumed() // it wants more since it was asked
		return false
	}
	old := copy(window, c.unconsumed.bytes())
	n := 0
	if c.mayRead() && old == c.unconsumed.len() && old < len(window) {
		if room := c.transport.room(c, window, old, offer); len(room) > 0 {
			n = c.receive(room)
			if c.is(finishing | dying) {
				return false
			}
			more = n == len(room)
		}
	}
	if n > 0 || (offer && old > 0 && !c.is(ended)) {
		c.deliver(dataCall{old: old, whole: old+n == len(window)}, window[:old+n])
		if c.is(securing | spliced) {
			return false // it begins at the end of the event
		}
	} else if old == len(window) {
		c.set(full)
	}
	if c.is(ended) {
		c.tellEnd()
	} else {
		c.resumeReading()
	}
	return more
}

// notForData reports whether the handler has, when it was asked for its window, done
// something to the connection after which it is to get nothing now. Whatever undoes that
// offers the rest again.
func (c *CSA) notForData() bool {
	return c.is(paused | finishing | securing | spliced | dying | dead)
}

// deliver hands p, which is the start of the window, to the handler, and keeps
// what it does not consume.
func (c *CSA) deliver(d dataCall, p []byte) {
	c.loop.calling = call{c, inData, d}
	used := c.wiring.Handler.Data(c, p)
	c.loop.calling = call{}
	c.keep(&d, p, used)
}

// keep keeps what the handler has not consumed of p.
func (c *CSA) keep(d *dataCall, p []byte, used int) {
	old, filled := d.old, len(p)
	if c.is(dying) {
		return // the window may be gone, with the handler's instance
	}
	if used < 0 || used > filled {
		c.kill(BadResult.Reason())
		return
	}
	if c.is(finishing) {
		return
	}
	if used > 0 {
		c.owed = 0 // what it owes now is something else
	}
	l, budget := c.loop, c.wiring.Budget
	unseen := c.unconsumed.len() - old // what a short window had no room for
	kept := true
	if used < old {
		c.unconsumed.discard(l, budget, used)
		kept = filled == old || c.unconsumed.append(l, budget, p[old:])
	} else {
		c.unconsumed.discard(l, budget, old)
		kept = used == filled || c.unconsumed.append(l, budget, p[used:])
	}
	if !kept {
		c.kill(MemoryFull.Because("its tenant has no memory left for unconsumed bytes"))
	} else if used == 0 && d.whole {
		c.set(full)
	} else if unseen > 0 {
		c.set(offering)
		c.d.ReadAgain()
	}
}

// readToUnconsumed reads what the handler wants to see at once (CSA.Want) into the buffer of
// unconsumed bytes, so that waiting for it copies nothing twice.
func (c *CSA) readToUnconsumed() {
	for c.mayRead() && c.unconsumed.len() < int(c.want) {
		room := c.unconsumed.room(c.loop, c.wiring.Budget, int(c.want)-c.unconsumed.len())
		if room == nil {
			c.kill(MemoryFull.Because("its tenant has no memory left for the bytes its handler wants"))
			return
		}
		n := c.receive(room)
		if n == 0 {
			break
		}
		c.unconsumed.end += int32(n)
	}
	if c.is(finishing | dying) {
		return
	}
	if c.unconsumed.len() == 0 {
		c.unconsumed.release(c.loop, c.wiring.Budget)
	}
	switch {
	case c.is(ended):
		c.tellEnd()
	case c.unconsumed.len() >= int(c.want):
		c.set(offering)
		c.readToWindow()
	default:
		c.resumeReading()
	}
}

// receive reads once, if the bandwidth allows. It returns 0 when nothing came;
// then the connection may have ended or be dying.
func (c *CSA) receive(p []byte) int { return c.transport.receive(c, p) }

// receiveRaw is receive from the socket itself.
func (c *CSA) receiveRaw(p []byte) int {
	n, err := c.readRaw(p)
	if n == 0 && err == nil {
		c.set(ended)
	}
	return n
}

// readRaw reads once from the socket, if the bandwidth allows. The error is errAgain when nothing
// came, or another when the connection is dying; 0 without one is the end of the stream.
func (c *CSA) readRaw(p []byte) (int, error) {
	now := c.loop.Now()
	if wait := c.wiring.Budget.Received(0, now); wait > 0 {
		c.slowDown(slowIn, wait)
		return 0, errAgain
	}
	n, err := readSocket(int(c.fd), p)
	switch {
	case n > 0:
		if n < len(p) && !c.d.HungUp() {
			c.d.ReadBlocked()
		}
		c.bookReceived(n, now)
		return n, nil
	case err == errWouldBlock:
		c.d.ReadBlocked()
		return 0, errAgain
	case err != nil:
		c.kill(reasonOf(err))
		return 0, err
	}
	return 0, nil
}

// bookReceived notes that n bytes have come.
func (c *CSA) bookReceived(n int, now int64) {
	c.lastActive = now
	c.countReceived(n)
	c.movedMemory(c.received, n, stepIn)
	c.earn(n, now)
	if wait := c.wiring.Budget.Received(n, now); wait > 0 {
		c.slowDown(slowIn, wait)
	}
}

// tellEnd lets the handler know that the peer has finished: the rest is
// offered until the handler consumes nothing of it, then comes EOF. While the
// handler has a reason not to take the rest (it paused, or could not send),
// both wait for that to pass.
func (c *CSA) tellEnd() {
	if c.is(eofTold | dying) {
		return
	}
	if c.unconsumed.len() > 0 && !c.is(lastOffered) {
		if c.is(paused) || c.is(blocked) && !c.is(offering) {
			return
		}
		c.clear(offering)
		window := c.wiring.Handler.Window(c)
		if c.notForData() {
			return
		}
		if len(window) == 0 {
			c.set(full)
			return
		}
		n := copy(window, c.unconsumed.bytes())
		d := dataCall{old: n, whole: n == len(window), atEnd: true, before: c.unconsumed.len()}
		c.deliver(d, window[:n])
		if !c.is(dying | finishing | spliced) {
			c.unconsumedOffered(&d)
		}
		return
	}
	c.deliverEOF()
}

// unconsumedOffered continues after the unconsumed bytes were offered after the end of the stream.
func (c *CSA) unconsumedOffered(d *dataCall) {
	switch {
	case c.unconsumed.len() == d.before && !c.is(blocked|paused|offering):
		c.set(lastOffered)
	case c.unconsumed.len() > 0:
		if !c.is(blocked | paused) {
			c.d.ReadAgain() // a turn for the others, then go on
		}
		return
	}
	c.deliverEOF()
}

// deliverEOF tells the handler that nothing more comes, unless it has paused.
func (c *CSA) deliverEOF() {
	if c.is(paused) {
		return
	}
	c.unconsumed.release(c.loop, c.wiring.Budget)
	c.set(eofTold)
	c.loop.calling = call{c: c, what: inEOF}
	c.wiring.Handler.EOF(c)
	c.loop.calling = call{}
	c.eofDelivered()
}

// eofDelivered closes the connection when both sides have finished.
func (c *CSA) eofDelivered() {
	if c.is(writeShut) {
		c.kill(Orderly)
	}
}

// readToDiscard reads what the peer sends after producerFinished: closing a
// socket that holds unread bytes would reset the connection and destroy what
// is still on its way to the peer.
func (c *CSA) readToDiscard() {
	c.receive(c.loop.discardBuffer())
	switch {
	case c.is(dying):
	case c.is(ended):
		if !c.unsent() {
			c.kill(Orderly)
		}
	case c.is(slowIn): // resumes with the bandwidth
	default:
		c.readMore()
	}
}
