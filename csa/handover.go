package csa

// call is a call of a handler after which the CSA has something left to do.
// It is written down before, so that it can be done on another goroutine if
// the handler passes the loop on.
type call struct {
	c    *CSA
	what callKind
	data dataCall // of inData
}

type callKind byte

const (
	inNone callKind = iota
	inData
	inWritable
	inEOF
	inClosed
	inOther   // after which there is nothing to do
	inCreator // not a handler's
	inSignal
)

// dataCall is what Data was given: some bytes, the first old of which stand in
// the rest as well.
type dataCall struct {
	old   int
	whole bool // they fill the window
	// atEnd says that the peer has finished, and it is the rest, of before
	// bytes, that is offered.
	atEnd  bool
	before int
}

// Pass gives the loop to another goroutine in the middle of an event, which
// ends there for everybody but the caller: what was sent leaves, connections
// that died are destroyed, the next notices are given. It is for a handler whose
// call takes long, and is called with the baton held, inside a method of
// Handler or a function that Event, Post or a Timer has called.
//
// From then on the caller owns nothing of the loop and reaches it by Post
// alone. It must not return to its caller, whose business it would disturb,
// but end with runtime.Goexit; so no function on its way may have deferred
// anything that touches the loop. If it passed the loop on in Data, it has to
// have CSA.Consumed called on the loop; no more is read for that connection until
// then. Other calls of the handler keep coming, for all its connections, and
// it is up to the handler to put them off: it answers Window with nothing, and
// says CSA.Offer when it has one again.
func (l *Loop) Pass() {
	l.time.pass()
	l.sel.Pass(l.takeOver)
}

// takeOver ends the event in which the loop was passed on, on behalf of those
// who wait for a call that is still under way.
func (l *Loop) takeOver() {
	l.depth = 1
	at := l.calling
	l.calling, l.serving = call{}, nil
	switch at.what {
	case inData:
		held := at.data
		at.c.pendingData = &held
		at.c.timeIn()
	case inWritable:
		at.c.offerAgain()
	case inEOF:
		at.c.eofDelivered()
	case inClosed:
		at.c.tellOthers()
	}
	if g := l.datagrams; g != nil && g.reading != nil {
		s := g.reading
		g.reading = nil
		s.continueBatch()
	}
	l.leaveEvent()
}

// Consumed stands for the result of Data when the handler has passed the loop on in Data, and so
// cannot return one: the handler has consumed used bytes of p, the slice that Data was given. It
// does nothing if no Data waits for a result.
func (c *CSA) Consumed(p []byte, used int) {
	d := c.pendingData
	if d == nil {
		return
	}
	c.pendingData = nil
	c.enter()
	if !c.is(dead) {
		c.transport.consumed(c, d, p, used)
	}
	c.loop.leaveEvent()
}

// streamConsumed is Consumed on a stream.
func (c *CSA) streamConsumed(d *dataCall, p []byte, used int) {
	c.keep(d, p, used)
	switch {
	case c.is(securing | spliced):
		c.loop.later(c) // it can start now
	case c.is(dying | finishing):
	case d.atEnd:
		c.unconsumedOffered(d)
	case c.is(ended):
		c.tellEnd()
	case c.is(offering):
		c.d.ReadAgain()
	default:
		c.resumeReading()
	}
	c.timeIn()
}

// Offer says that the handler has a window again after it had none. The CSA then offers the
// unconsumed bytes again and goes on reading.
func (c *CSA) Offer() {
	c.enter()
	c.offerAgain()
	c.loop.leaveEvent()
}
