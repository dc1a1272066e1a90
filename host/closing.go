package host

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
	g     *generation
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

// closeEvenly closes what is left of retired generations, over a time; 0, or less, is at once. It
// does so once: later calls for the same generation do nothing. Those of the same listener that are
// being closed already have half of their time left from now on, so that reloads that come faster
// than connections are closed do not pile up generations. It is not called on a loop.
func (h *Host) closeEvenly(all []*generation, cause csa.Cause, over time.Duration) {
	h.mu.Lock()
	all = slices.DeleteFunc(slices.Clone(all), func(g *generation) bool { return !g.ending.CompareAndSwap(false, true) })
	if h.stopping.Load() || len(all) == 0 {
		h.mu.Unlock()
		return
	}
	h.ends.Add(1)
	h.mu.Unlock()
	defer h.ends.Done()
	h.hurry(all)
	why := cause.Reason()
	for _, g := range all {
		if left := g.open.Load(); left > 0 {
			g.servers[0].log.Info("connections that go on since before a reload are closed", "key", cause.Info().Key, "open", left, "over", over.String())
		}
	}
	if over <= 0 {
		h.closeRest(all, why)
		return
	}
	var empty []*generation
	for _, c := range h.gather(all) {
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
		h.closeRest(empty, why)
	}
}

// gather finds the connections of some generations, in random order.
func (h *Host) gather(all []*generation) (found []*closing) {
	parts := make(map[*csa.Loop]map[*generation]*closingPart, len(h.loops))
	for _, l := range h.loops {
		parts[l.Loop] = make(map[*generation]*closingPart, len(all))
	}
	for _, g := range all {
		c := &closing{g: g}
		for _, l := range h.loops {
			p := &closingPart{l: l}
			c.parts = append(c.parts, p)
			parts[l.Loop][g] = p
		}
		found = append(found, c)
	}
	h.sweepAll(func(c *csa.CSA) (worked bool) {
		if s := serverOf(c); s != nil {
			if p := parts[c.Loop()][s.gen]; p != nil {
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
func (h *Host) hurry(next []*generation) {
	for _, g := range h.now.Load().retired {
		if !g.ending.Load() || slices.Contains(next, g) || !slices.ContainsFunc(next, func(n *generation) bool { return n.name() == g.name() }) {
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
		go c.g.host.finishClosing(c)
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

// finishClosing closes what has come to a generation since it began to be closed.
func (h *Host) finishClosing(c *closing) {
	h.mu.Lock()
	if h.stopping.Load() {
		h.mu.Unlock()
		return
	}
	h.ends.Add(1)
	h.mu.Unlock()
	defer h.ends.Done()
	h.closeRest([]*generation{c.g}, c.why)
}

// closeRest closes whatever some generations have, and what their handlers wait for. It is not called on a loop.
func (h *Host) closeRest(all []*generation, why csa.Reason) {
	for _, g := range all {
		if g.removes {
			g.socket.StopAccepting() // and who waits for a place is closed
		}
		for _, s := range g.servers {
			s.dialer.Stop()
		}
	}
	h.closeConnections(all, why)
}

// closeOldest closes the oldest generations of the listeners that have more than their key
// generations allows. Those that are being closed do not count.
func (p *plan) closeOldest() {
	old := make(map[string][]*generation)
	for _, g := range p.h.now.Load().retired { // the oldest is the first
		if !g.ending.Load() && g.open.Load() > 0 {
			old[g.name()] = append(old[g.name()], g)
		}
	}
	var over []*generation
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		all := old[l.Name]
		over = append(over, all[:max(len(all)-max(l.Generations, 1)+1, 0)]...)
	}
	p.h.closeEvenly(over, csa.Generations, p.config.Host.Drain)
}
