package csa

import "time"

// Tally counts what the connections of one owner do on one loop. Its numbers are the loop's alone,
// and plain, so that counting costs an addition; who is not on the loop has them read there.
type Tally struct {
	// Received and Sent are the bytes that the connections have moved so far, those of TLS
	// included. A connection that is open counts.
	Received, Sent int64
	// Handshakes of TLS were done; of these Resumed went on with an earlier session.
	Handshakes, Resumed int64
	// Events is how long the loop has worked at one go for a connection, by the clock.
	Events Histogram
	// FirstByte is how long it took from when a connection was opened until its handler's first
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

// SetPlace says which of Settings.Tallies are the loop's: that with this index, from 0 on. To be
// called before there are any connections; without it that is the first.
func (l *Loop) SetPlace(index int) { l.place = index }

// tally is where the connection counts; nil: nowhere.
func (c *CSA) tally() *Tally {
	if all := c.wiring.Settings.Tallies; c.loop.place < len(all) {
		return all[c.loop.place]
	}
	return nil
}

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
	if s.conn.ConnectionState().DidResume {
		t.Resumed++
	}
}
