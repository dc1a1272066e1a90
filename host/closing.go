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
	l    *loops.Loop
	all  []*csa.CSA // the loop's; nil where it was closed
	n    int        // how many they are
	told int        // how many of them the loop was told to close; the home loop's
}

// closingStep is the least time between two turns of a loop that close connections.
const closingStep = time.Millisecond

// closeEvenly closes what is left of a retired generation, over a time; 0, or less, is at once. It
// does so once: later calls for the same generation do nothing. It is not called on a loop.
func (h *Host) closeEvenly(g *generation, cause csa.Cause, over time.Duration) {
	h.mu.Lock()
	if h.stopping.Load() || !g.ending.CompareAndSwap(false, true) {
		h.mu.Unlock()
		return
	}
	h.ends.Add(1)
	h.mu.Unlock()
	defer h.ends.Done()
	c := &closing{g: g, why: cause.Reason(), over: over}
	open := 0
	for _, l := range h.loops {
		part := &closingPart{l: l}
		l.Call(func() {
			l.Each(func(c *csa.CSA) {
				if g.has(c) {
					part.all = append(part.all, c)
				}
			})
			rand.Shuffle(len(part.all), func(i, k int) { part.all[i], part.all[k] = part.all[k], part.all[i] })
			part.n = len(part.all)
		})
		c.parts = append(c.parts, part)
		open += part.n
	}
	if left := g.open.Load(); left > 0 {
		g.servers[0].log.Info("connections that go on since before a reload are closed", "key", cause.Info().Key, "open", left, "over", over.String())
	}
	if open == 0 || over <= 0 {
		h.closeRest(g, c.why)
		return
	}
	g.until.Store(time.Now().Add(over).UnixNano())
	home := g.servers[0].home
	home.Call(func() {
		if g.over != nil { // else it is closed
			g.closing, c.begun = c, home.Now()
			c.turn()
		}
	})
}

// turn has the loops close what is due by now, on the home loop.
func (c *closing) turn() {
	home := c.g.servers[0].home
	past := time.Duration(home.Now() - c.begun)
	if past >= c.over {
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
	return time.Duration(float64(over) * float64(i) / float64(p.n))
}

func (p *closingPart) due(past, over time.Duration) int {
	due := min(p.n, int(float64(p.n)*float64(past)/float64(over)))
	for due < p.n && p.at(due, over) <= past {
		due++
	}
	return due
}

// close closes some of the connections, on their loop.
func (p *closingPart) close(from, to int, why csa.Reason) {
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
	h.closeRest(c.g, c.why)
}

// closeRest closes whatever a generation has, and what its handlers wait for. It is not called on a loop.
func (h *Host) closeRest(g *generation, why csa.Reason) {
	if g.removes {
		g.socket.StopAccepting() // and who waits for a place is closed
	}
	for _, s := range g.servers {
		s.dialer.Stop()
	}
	h.closeConnections(g, why)
}

// closeOldest closes the oldest generations of the listeners that have more than their key
// generations allows. Those that are being closed do not count.
func (p *plan) closeOldest() {
	retired := p.h.now.Load().retired // the oldest is the first
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		var old []*generation
		for _, g := range retired {
			if g.name() == l.Name && !g.ending.Load() && g.open.Load() > 0 {
				old = append(old, g)
			}
		}
		most := max(l.Generations, 1) - 1
		for _, g := range slices.Backward(old[:max(len(old)-most, 0)]) {
			p.h.closeEvenly(g, csa.Generations, p.config.Host.Drain)
		}
	}
}
