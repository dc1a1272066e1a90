package csa

import (
	"sync/atomic"
	"time"
)

// Tally counts what the connections of one owner do on one loop. Its numbers are the loop's alone,
// and plain, so that counting costs an addition; who is not on the loop has them read there.
type Tally struct {
	// Opened connections have come, and Closed of them are gone.
	Opened, Closed int64
	// Received and Sent are the bytes that the connections have moved so far, those of TLS
	// included. A connection that is open counts.
	Received, Sent int64
	// DatagramsIn have come from peers over UDP, and DatagramsOut have gone to them.
	DatagramsIn, DatagramsOut int64
	// Handshakes of TLS were done; of these Resumed went on with an earlier session.
	Handshakes, Resumed int64
	// Events is how long the loop has worked at one go for a connection, by the clock.
	Events Histogram
	// FirstByte is how long it took from when a connection was accepted until its handler's first
	// byte for the peer was taken, TLS included. A connection whose handler sends nothing is not
	// in it.
	FirstByte Histogram
}

// HistogramBounds are the upper bounds of a Histogram's counts but the last, which has none.
var HistogramBounds = [...]time.Duration{
	20 * time.Microsecond, 100 * time.Microsecond, 500 * time.Microsecond, 2 * time.Millisecond,
	10 * time.Millisecond, 100 * time.Millisecond, time.Second,
}

// Histogram counts times by how long they are.
type Histogram struct {
	// Sum is that of all times.
	Sum time.Duration
	// Counts are of the times up to each of HistogramBounds, and above the one before; the last is
	// of those above all.
	Counts [len(HistogramBounds) + 1]int64
}

// Observe counts a time. Below zero counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(HistogramBounds) && d > HistogramBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

// add adds what another has.
func (t *Tally) add(o *Tally) {
	t.Opened += o.Opened
	t.Closed += o.Closed
	t.Received += o.Received
	t.Sent += o.Sent
	t.DatagramsIn += o.DatagramsIn
	t.DatagramsOut += o.DatagramsOut
	t.Handshakes += o.Handshakes
	t.Resumed += o.Resumed
	t.Events.add(&o.Events)
	t.FirstByte.add(&o.FirstByte)
}

func (h *Histogram) add(o *Histogram) {
	h.Sum += o.Sum
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
}

// Tallies are those of one owner: one for each loop that it has connections on.
type Tallies struct {
	slots []*slot // each of a loop, which alone knows it; nil: it has no connection yet
	known []atomic.Pointer[slot]
}

// slot is a loop's Tally, and what it has shown of it.
type slot struct {
	own   Tally
	_     [64]byte // so that who reads what is shown does not hold up the loop
	shown struct {
		opened, closed, received, sent, handshakes, resumed atomic.Int64
		datagramsIn, datagramsOut                           atomic.Int64
		events, firstByte                                   shownHistogram
	}
}

type shownHistogram struct {
	sum    atomic.Int64
	counts [len(HistogramBounds) + 1]atomic.Int64
}

// NewTallies makes those of an owner on so many loops.
func NewTallies(loops int) *Tallies {
	return &Tallies{slots: make([]*slot, loops), known: make([]atomic.Pointer[slot], loops)}
}

// SetPlace says which of all Tallies are the loop's: those with this index, from 0 on. To be called
// before there are any connections; without it that is the first.
func (l *Loop) SetPlace(index int) { l.place = index }

// at is the Tally of a loop, which calls it.
func (a *Tallies) at(place int) *Tally {
	if a == nil || place >= len(a.slots) {
		return nil
	}
	if s := a.slots[place]; s != nil {
		return &s.own
	}
	return a.add(place)
}

// add makes a loop's, which calls it.
func (a *Tallies) add(place int) *Tally {
	s := new(slot)
	a.slots[place] = s
	a.known[place].Store(s)
	return &s.own
}

// Show has everybody see what the loop has counted, which calls it.
func (a *Tallies) Show(l *Loop) {
	if l.place < len(a.slots) && a.slots[l.place] != nil {
		a.slots[l.place].show()
	}
}

// ShowAll has everybody see what all loops have counted, when they have stopped.
func (a *Tallies) ShowAll() {
	for _, s := range a.slots {
		if s != nil {
			s.show()
		}
	}
}

// Shown is the sum of what the loops have shown. It never has less than it had before. Any
// goroutine may call it.
func (a *Tallies) Shown() (sum Tally) {
	for i := range a.known {
		if s := a.known[i].Load(); s != nil {
			one := s.read()
			sum.add(&one)
		}
	}
	return sum
}

// show is a load for each number that is as it was.
func (s *slot) show() {
	o, to := &s.own, &s.shown
	if to.opened.Load() == o.Opened && to.closed.Load() == o.Closed && to.received.Load() == o.Received && to.sent.Load() == o.Sent &&
		to.datagramsIn.Load() == o.DatagramsIn && to.datagramsOut.Load() == o.DatagramsOut && to.events.sum.Load() == int64(o.Events.Sum) {
		return // nothing has happened
	}
	set(&to.opened, o.Opened)
	set(&to.closed, o.Closed)
	set(&to.received, o.Received)
	set(&to.sent, o.Sent)
	set(&to.datagramsIn, o.DatagramsIn)
	set(&to.datagramsOut, o.DatagramsOut)
	set(&to.handshakes, o.Handshakes)
	set(&to.resumed, o.Resumed)
	to.events.show(&o.Events)
	to.firstByte.show(&o.FirstByte)
}

func (s *shownHistogram) show(h *Histogram) {
	if s.sum.Load() == int64(h.Sum) && s.counts[0].Load() == h.Counts[0] {
		return
	}
	set(&s.sum, int64(h.Sum))
	for i, n := range h.Counts {
		set(&s.counts[i], n)
	}
}

func set(to *atomic.Int64, n int64) {
	if to.Load() != n {
		to.Store(n)
	}
}

func (s *slot) read() Tally {
	from := &s.shown
	t := Tally{
		Closed: from.closed.Load(), Received: from.received.Load(), Sent: from.sent.Load(),
		DatagramsIn: from.datagramsIn.Load(), DatagramsOut: from.datagramsOut.Load(),
		Handshakes: from.handshakes.Load(), Resumed: from.resumed.Load(), Events: from.events.read(), FirstByte: from.firstByte.read(),
	}
	t.Opened = from.opened.Load() // last, so that it is not less than Closed
	return t
}

func (s *shownHistogram) read() (h Histogram) {
	h.Sum = time.Duration(s.sum.Load())
	for i := range h.Counts {
		h.Counts[i] = s.counts[i].Load()
	}
	return h
}

// tally is where the connection counts; nil: nowhere.
func (c *CSA) tally() *Tally { return c.wiring.Settings.Tallies.at(c.loop.place) }

// countReceived counts n bytes from the peer, and countSent n for it.
func (c *CSA) countReceived(n int) {
	c.noteIn()
	c.received += int64(n)
	if t := c.tally(); t != nil {
		t.Received += int64(n)
	}
}

func (c *CSA) countSent(n int) {
	c.sent += int64(n)
	if t := c.tally(); t != nil {
		t.Sent += int64(n)
	}
}

// countDatagramIn counts a datagram of n bytes from the peer, and countDatagramOut one for it.
func (c *CSA) countDatagramIn(n int) {
	c.countReceived(n)
	if t := c.tally(); t != nil {
		t.DatagramsIn++
	}
}

func (c *CSA) countDatagramOut(n int) {
	c.countSent(n)
	if t := c.tally(); t != nil {
		t.DatagramsOut++
	}
}

// answer notes that bytes of its handler's were taken.
func (c *CSA) answer() {
	if c.is(answered) {
		return
	}
	c.set(answered)
	c.spent.firstOut = c.ageInUnits()
	if t := c.tally(); t != nil {
		t.FirstByte.Observe(time.Duration(c.loop.Now() - c.born))
	}
}

// countHandshake counts one that is done.
func (s *tlsTransport) countHandshake() {
	t := s.c.tally()
	if t == nil {
		return
	}
	t.Handshakes++
	if s.state.Resumed {
		t.Resumed++
	}
}
