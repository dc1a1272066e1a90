package front

import (
	"bulkhead/csa"
	"bulkhead/host/arriving"
	"bulkhead/host/handlers"
	"bulkhead/host/hello"
	"bulkhead/selector"
)

// pending is a connection that has not been handed on.
type pending struct {
	r          *Router
	a          handlers.Arrival
	d          selector.Descriptor // registered while it is peeked at
	need       int                 // look again when so many bytes are there
	long       bool                // they are many, and charged
	since      int64               // on the home loop, when it came to its list
	queue      *routeQueue         // that it is in; nil: it is peeked at
	next, prev *pending
	node       arriving.Node // for whoever lists connections; it is in while it is in a list here
}

var _ arriving.Conn = (*pending)(nil)

// ReadReady is the selector's notice that more has come.
func (c *pending) ReadReady() {
	r := c.r
	q, need, over := r.look(&c.a, c.need, c.d.HungUp())
	if !over && q == nil {
		if !c.await(need) {
			r.drop(c)
			c.leave()
			r.refuse(&c.a, csa.MemoryFull.Because(tooLongForMemory))
			return
		}
		// Nothing has been taken, and whatever comes now makes an edge.
		c.d.ReadBlocked()
		c.d.NewReader()
		return
	}
	r.forget(c)
	if q != nil {
		r.choose(c, q)
	}
	if c.queue == nil {
		c.leave()
	}
}

// await notes how many bytes have to be there, and has the kernel make room for many. It
// reports false when the tenant has no memory for as many.
func (c *pending) await(need int) bool {
	c.need = need
	if need <= longHello {
		return true
	}
	if !c.long {
		if !c.r.site.Budget().Reserve(hello.MaxLength) {
			return false
		}
		c.long = true
	}
	expect(c.a.FD, need)
	return true
}

// endAwait ends what await began.
func (c *pending) endAwait() {
	if c.long {
		c.long = false
		c.r.site.Budget().Release(hello.MaxLength)
	}
}

// leave is the end of it as one that is pending.
func (c *pending) leave() { c.r.site.Home().Arriving.Remove(&c.node) }

// Account says what is known of it.
func (c *pending) Account() arriving.Account {
	a := arriving.Account{
		Number: c.a.Number, Accepted: c.a.Accepted, Peer: c.a.Peer, Of: c.r.site, Unix: c.r.site.Config().Address.Network == "unix",
	}
	var first [2]byte
	switch {
	case c.queue != nil:
		a.Of, a.Awaits = c.queue.to, arriving.Place
	case !c.a.ProxyRead && c.r.site.WantsProxyHeader(c.a.Peer):
		a.Awaits = arriving.ProxyHeader
	case c.need > 0:
		if n, err := peek(c.a.FD, first[:]); n > 0 && err == nil && hello.Begins(first[:n]) {
			a.Awaits = arriving.TLSHello
		}
	}
	return a
}

// Kill closes it for an operator.
func (c *pending) Kill() { c.r.end(c, csa.OperatorClosed) }

// SendReady is not asked for.
func (c *pending) SendReady() {}

// Exceptional is not asked for.
func (c *pending) Exceptional() {}

// pendingList is a list of connections in the order in which they came, each with the same time.
type pendingList struct {
	r           *Router
	first, last *pending
	n           int
	timer       selector.Timer // the first one's
}

func (l *pendingList) add(c *pending) {
	c.since = l.r.site.Home().Now()
	if c.prev = l.last; c.prev != nil {
		c.prev.next = c
	} else {
		l.first = c
	}
	l.last = c
	if !c.node.In() {
		l.r.site.Home().Arriving.Add(&c.node, c)
	}
	if l.n++; l.n == 1 {
		l.watch()
	}
}

func (l *pendingList) remove(c *pending) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.next, c.prev = nil, nil
	if l.n--; l.n == 0 {
		l.r.site.Home().Selector().StopTimer(&l.timer)
	}
}

// watch sets the timer for the first one. It may ring too early for the next.
func (l *pendingList) watch() {
	l.r.site.Home().Selector().SetTimer(&l.timer, l, l.first.since+int64(l.r.site.RouteTimeout()))
}

// Expired ends those whose time is over.
func (l *pendingList) Expired(*selector.Timer) {
	l.r.site.Home().Event(func() {
		now := l.r.site.Home().Now()
		for l.first != nil && now-l.first.since >= int64(l.r.site.RouteTimeout()) {
			l.r.end(l.first, csa.RouteTimeout)
		}
		if l.first != nil {
			l.watch()
		}
	})
}
