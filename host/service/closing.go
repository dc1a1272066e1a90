package service

import (
	"math/rand/v2"
	"slices"
	"time"

	"bulkhead/csa"
	"bulkhead/host/loops"
)

// closing is the end of a retired generation that may not go on: its connections are closed evenly
// over a time, in random order, so that not all of their clients come again at once. It is the
// generation's home loop's, and for each loop there is a part with the connections there.
type closing struct {
	g     *Generation
	why   csa.Reason
	over  time.Duration
	begun int64 // on the home loop
	parts []*closingPart
}

// closingPart is one loop's.
type closingPart struct {
	l     *loops.Loop
	all   []*csa.CSA // the loop's; nil where it was closed
	n     int        // how many they are
	first int        // the first of those that are closed over the time; the home loop's
	told  int        // how many of them the loop was told to close; the home loop's
}

// closingStep is the least time between two turns of a loop that close connections.
const closingStep = time.Millisecond

// CloseEvenly closes what is left of retired generations, over a time; 0, or less, is at once. It
// does so once: later calls for the same generation do nothing. Those of the same listener that are
// being closed already have half of their time left from now on, so that reloads that come faster
// than connections are closed do not pile up generations. retired are all that are not over. It is
// not called on a loop.
func (m *Machine) CloseEvenly(all, retired []*Generation, cause csa.Cause, over time.Duration) {
	release, ok := m.DelayStop()
	if !ok {
		return
	}
	defer release()
	all = slices.DeleteFunc(slices.Clone(all), func(g *Generation) bool { return !g.ending.CompareAndSwap(false, true) })
	if len(all) == 0 {
		return
	}
	hurry(all, retired)
	why := cause.Reason()
	for _, g := range all {
		if left := g.open.Load(); left > 0 {
			g.servers[0].log.Info("connections that go on since before a reload are closed", "key", cause.Info().Key, "open", left, "over", over.String())
		}
	}
	if over <= 0 {
		m.closeRest(all, why)
		return
	}
	var empty []*Generation
	for _, c := range m.gather(all) {
		c.why, c.over = why, over
		if !slices.ContainsFunc(c.parts, func(p *closingPart) bool { return p.n > 0 }) {
			empty = append(empty, c.g)
			continue
		}
		g := c.g
		g.until.Store(time.Now().Add(over).UnixNano())
		home := g.servers[0].home
		home.Call(func() {
			if g.over != nil { // else it is closed
				g.closing, c.begun = c, home.Now()
				c.turn()
			}
		})
	}
	if len(empty) > 0 {
		m.closeRest(empty, why)
	}
}

// gather finds the connections of some generations, in random order.
func (m *Machine) gather(all []*Generation) (found []*closing) {
	parts := make(map[*csa.Loop]map[*Generation]*closingPart, len(m.Loops))
	for _, l := range m.Loops {
		parts[l.Loop] = make(map[*Generation]*closingPart, len(all))
	}
	for _, g := range all {
		c := &closing{g: g}
		for _, l := range m.Loops {
			p := &closingPart{l: l}
			c.parts = append(c.parts, p)
			parts[l.Loop][g] = p
		}
		found = append(found, c)
	}
	m.sweepAll(func(c *csa.CSA) (worked bool) {
		if s := Of(c); s != nil {
			if p := parts[c.Loop()][s.generation]; p != nil {
				p.all = append(p.all, c)
			}
		}
		return false
	})
	for _, c := range found {
		for _, p := range c.parts {
			rand.Shuffle(len(p.all), func(i, k int) { p.all[i], p.all[k] = p.all[k], p.all[i] })
			p.n = len(p.all)
		}
	}
	return found
}

// hurry has the earlier generations of the same listeners that are being closed end in half of the
// time that they have left.
func hurry(next, retired []*Generation) {
	for _, g := range retired {
		if !g.ending.Load() || slices.Contains(next, g) || !slices.ContainsFunc(next, func(n *Generation) bool { return n.Name() == g.Name() }) {
			continue
		}
		g.servers[0].home.Call(func() {
			if g.over != nil && g.closing != nil {
				g.closing.hurry()
			}
		})
	}
}

// hurry closes those that are left in half of the time that is, on the home loop.
func (c *closing) hurry() {
	now := c.g.servers[0].home.Now()
	left := c.over - time.Duration(now-c.begun)
	if left <= 0 {
		return // it is about to be over
	}
	if left /= 2; left < closingStep {
		left = 0
	}
	c.begun, c.over = now, left
	for _, p := range c.parts {
		p.first = p.told
	}
	c.g.until.Store(time.Now().Add(left).UnixNano())
	c.turn()
}

// turn has the loops close what is due by now, on the home loop.
func (c *closing) turn() {
	home := c.g.servers[0].home
	past := time.Duration(home.Now() - c.begun)
	if past >= c.over {
		c.g.over.Stop()
		go c.finish()
		return
	}
	next := c.over
	for _, p := range c.parts {
		if due := p.due(past, c.over); due > p.told {
			from := p.told
			p.told = due
			p.l.Post(func() { p.close(from, due, c.why) })
		}
		if p.told < p.n {
			next = min(next, p.at(p.told, c.over))
		}
	}
	c.g.over.Reset(max(next-past, closingStep))
}

// at is when the connection of an index is due, and due how many are when so much time has gone by.
func (p *closingPart) at(i int, over time.Duration) time.Duration {
	return time.Duration(float64(over) * float64(i-p.first) / float64(p.n-p.first))
}

func (p *closingPart) due(past, over time.Duration) int {
	due := min(p.n, p.first+int(float64(p.n-p.first)*float64(past)/float64(over)))
	for due < p.n && p.at(due, over) <= past {
		due++
	}
	return due
}

// close closes some of the connections, on their loop, over as many turns as that takes.
func (p *closingPart) close(from, to int, why csa.Reason) {
	if most := from + sweepBatch; to > most {
		end := to
		to = most
		p.l.Post(func() { p.close(most, end, why) })
	}
	for i := from; i < to; i++ {
		if c := p.all[i]; !c.Over() {
			c.ShutdownMicroprocess(why)
		}
		p.all[i] = nil
	}
}

// finish closes what has come to the generation since it began to be closed. It is not called on a
// loop.
func (c *closing) finish() {
	m := c.g.machine
	if release, ok := m.DelayStop(); ok {
		defer release()
		m.closeRest([]*Generation{c.g}, c.why)
	}
}

// closeRest closes whatever some generations have, and what their handlers wait for. It is not
// called on a loop.
func (m *Machine) closeRest(all []*Generation, why csa.Reason) {
	for _, g := range all {
		if g.removes {
			g.sockets.StopAccepting() // and who waits for a place is closed
		}
		for _, s := range g.servers {
			s.StopDialling()
		}
	}
	m.CloseConnections(all, why)
}
