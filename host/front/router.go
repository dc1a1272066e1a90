package front

import (
	"errors"
	"slices"
	"time"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/hello"
	"bulkhead/host/logs"
	"bulkhead/host/proxy"
	"bulkhead/host/route"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// Router gives a listener's connections to the servers of its routes. It looks at what has come
// on a socket without taking it, so that the socket goes on to its server, and to the loop that
// its handler lives on, as if it had just been accepted. All of it is the home loop's.
//
// A connection that it looks at is counted as one of the listener's tenant. It becomes one of
// its route's tenant when it is handed on.
type Router struct {
	site     Site // the listener's
	table    *route.Table
	routes   []*routeQueue // by rule
	fallback *routeQueue   // for what no rule matches; nil: there is none
	reader   hello.Reader
	window   []byte // what is peeked at; nothing of it is kept
	stopped  bool

	// peeked are those of whom too little has come, and waiting those for whom their route
	// has no place yet. Both are in the order in which they came there.
	peeked, waiting pendingList
}

// routeQueue is a route's server, with those who wait for a place there.
type routeQueue struct {
	r     *Router
	to    Site
	waits []*pending
	again selector.Timer // the tenant's accepts a second allow another then
}

const (
	// queueLength is how many connections may wait for one route.
	queueLength = 64
	// waitingShare is the part of the listener's tenant's places that those who wait may
	// have: 1/waitingShare.
	waitingShare = 4
	// silence is how long a connection may say nothing when its place is wanted by
	// another.
	silence = time.Second
	// longHello is how many bytes the kernel may hold of a connection without a route
	// that are not charged to the listener's tenant.
	longHello = 16 << 10
)

const tooLongForMemory = "its ClientHello is long, and the listener's tenant has no memory for it (memory)"

// NewRouter makes the router of a listener. to are the servers of its routes, in the order of
// Config().Rules(), and fallback says that its own plugin serves what no rule matches.
func NewRouter(site Site, to []Site, fallback bool) *Router {
	r := &Router{site: site, table: route.New(site.Config().Rules()), window: make([]byte, hello.MaxLength)}
	r.peeked.r, r.waiting.r = r, r
	for _, to := range to {
		r.routes = append(r.routes, &routeQueue{r: r, to: to})
	}
	if fallback {
		r.fallback = &routeQueue{r: r, to: site}
	}
	return r
}

// Resume hands on those who wait for a route, by its index, as far as there are places.
func (r *Router) Resume(route int) { r.routes[route].resume() }

// ResumeFallback does so for those that no rule matches, if there is somebody to serve them.
func (r *Router) ResumeFallback() {
	if r.fallback != nil {
		r.fallback.resume()
	}
}

// Watch has those who have no route yet, or no place there, go by another RouteTimeout.
func (r *Router) Watch() {
	for _, list := range []*pendingList{&r.peeked, &r.waiting} {
		if list.first != nil {
			list.watch()
		}
	}
}

// Take looks at a connection that has been accepted and counted.
func (r *Router) Take(a handlers.Arrival) {
	c := &pending{r: r, a: a}
	q, need, over := r.look(&c.a, 0, false)
	switch {
	case over:
	case q != nil:
		r.choose(c, q)
	default:
		if !c.await(need) {
			r.refuse(&c.a, csa.MemoryFull.Because(tooLongForMemory))
			return
		}
		if err := r.site.Home().Selector().Add(&c.d, c.a.FD, c); err != nil {
			c.endAwait()
			r.refuse(&c.a, csa.SystemFull.Because("the selector does not take it"), "error", err)
			return
		}
		r.peeked.add(c)
		c.d.NewReader()
	}
}

// look says which route a connection belongs to, or how many bytes have to be there for it to be
// said; over says that it has been closed. last says that the kernel has said that nothing
// follows.
func (r *Router) look(a *handlers.Arrival, need int, last bool) (_ *routeQueue, more int, over bool) {
	for {
		n, err := peek(a.FD, r.window)
		switch {
		case err == unix.EAGAIN:
			return nil, need, false
		case err != nil:
			r.refuse(a, csa.PeerReset.Because(err.Error()))
			return nil, 0, true
		case n == 0:
			last = true
		case n < need && !last:
			return nil, need, false
		}
		p := r.window[:n]
		if !a.ProxyRead && r.site.WantsProxyHeader(a.Peer) {
			header, err := r.takeHeader(a, p)
			switch {
			case err != nil:
				r.refuse(a, csa.ProxyHeader.Because(csa.ProxyHeader.Info().Words+", and "+err.Error()))
				return nil, 0, true
			case header > 0:
				if a.Local.IsValid() && !r.site.TakeSource(a, r.site.Home().Now()) {
					r.site.Discard(*a)
					return nil, 0, true
				}
				need = 0
				continue // what is behind it
			case last && n == 0:
				r.refuse(a, csa.Finished.Because("it ended and had said nothing"))
				return nil, 0, true
			case last:
				r.refuse(a, csa.ProxyHeader.Because("it ended before its PROXY header did"))
				return nil, 0, true
			}
			return nil, n + 1, false
		}
		answer := r.table.Match(&r.reader, p, last)
		switch {
		case answer.Err != nil:
			r.refuse(a, csa.NoRoute.Because(answer.Err.Error()))
			return nil, 0, true
		case answer.Need > 0:
			return nil, answer.Need, false
		case answer.Rule != route.None:
			return r.routes[answer.Rule], 0, false
		case r.fallback != nil:
			return r.fallback, 0, false
		case n == 0:
			r.refuse(a, csa.Finished.Because("it ended and had said nothing"))
		case answer.TLS:
			sayUnrecognized(a.FD, r.window)
			r.refuse(a, csa.NoRoute.Reason(), "server_name", logs.Outside(string(answer.ServerName)))
		default:
			r.refuse(a, csa.NoRoute.Reason(), "begins_with", logs.Outside(string(p[:min(n, 16)])))
		}
		return nil, 0, true
	}
}

// takeHeader takes the PROXY header that p, what has come on a connection, begins with. It
// answers how long that was, 0 when it is not there yet.
func (r *Router) takeHeader(a *handlers.Arrival, p []byte) (int, error) {
	h, n, err := proxy.Parse(p)
	if err != nil || n == 0 {
		return 0, err
	}
	for got := 0; got < n; {
		k, err := take(a.FD, r.window[:n-got])
		if err != nil {
			return 0, err
		}
		if k == 0 {
			return 0, errors.New("it has ended")
		}
		got += k
	}
	a.ProxyRead = true
	if !h.Local {
		a.Peer, a.Local = h.Source, h.Destination
	}
	return n, nil
}

// choose hands a connection on whose route is known, or has it wait. It is in no list.
func (r *Router) choose(c *pending, q *routeQueue) {
	switch {
	case len(q.waits) == 0 && q.enter(c.a):
	case len(q.waits) >= queueLength || r.waiting.n >= r.mostWaiting():
		q.refuse(c, csa.NoRoom)
	default:
		c.queue = q
		q.waits = append(q.waits, c)
		r.waiting.add(c)
	}
}

// mostWaiting is how many may wait for a place on all routes.
func (r *Router) mostWaiting() int { return max(1, r.site.MostConnections()/waitingShare) }

// enter gives a connection to the route's server, unless that has no place for it; then resume
// is called when it may have one.
func (q *routeQueue) enter(a handlers.Arrival) bool {
	ok, wait := q.to.Enter(a)
	if wait > 0 {
		home := q.r.site.Home()
		home.Selector().SetTimer(&q.again, q, home.Now()+wait)
	}
	return ok
}

// resume hands on those who wait, as far as there are places.
func (q *routeQueue) resume() {
	for len(q.waits) > 0 && !q.r.stopped {
		c := q.waits[0]
		if !q.enter(c.a) {
			return
		}
		q.r.forget(c)
		c.leave()
	}
}

// Expired is the end of the wait for the tenant's accepts.
func (q *routeQueue) Expired(*selector.Timer) { q.r.site.Home().Event(q.resume) }

// refuse closes a connection that waits for the route, or would.
func (q *routeQueue) refuse(c *pending, why csa.Cause) {
	q.to.CountRefused(&c.a, why.Reason())
	q.r.site.Discard(c.a)
}

// refuse closes a connection that has no route.
func (r *Router) refuse(a *handlers.Arrival, why csa.Reason, args ...any) {
	r.site.CountUnrouted(a, why, args...)
	r.site.Discard(*a)
}

// forget takes a connection out of its list, and off the selector.
func (r *Router) forget(c *pending) {
	if q := c.queue; q != nil {
		i := slices.Index(q.waits, c)
		q.waits = slices.Delete(q.waits, i, i+1)
		r.waiting.remove(c)
		c.queue = nil
		return
	}
	r.drop(c)
	if c.need > longHello {
		expect(c.a.FD, 1)
	}
}

// drop takes a connection that is peeked at out of its list.
func (r *Router) drop(c *pending) {
	c.endAwait()
	r.site.Home().Selector().Remove(&c.d)
	r.peeked.remove(c)
}

// end closes a connection that is in a list.
func (r *Router) end(c *pending, why csa.Cause) {
	q := c.queue
	r.forget(c)
	c.leave()
	if q != nil {
		if why != csa.OperatorClosed {
			why = csa.NoRoom // that is why it waited
		}
		q.refuse(c, why)
	} else {
		r.refuse(&c.a, why.Reason())
	}
}

// Peeks reports whether there are connections of which too little has come.
func (r *Router) Peeks() bool { return r.peeked.n > 0 }

// MakeRoom closes the connection that has been peeked at for longest, if that is long, since
// another wants its place. It reports whether it has.
func (r *Router) MakeRoom() bool {
	c := r.peeked.first
	if c == nil || r.site.Home().Now()-c.since < int64(silence) {
		return false
	}
	r.end(c, csa.PlaceWanted)
	return true
}

// RoomIn is after how long MakeRoom has somebody, of those that are peeked at now, if there are
// any.
func (r *Router) RoomIn() time.Duration {
	return time.Duration(r.peeked.first.since + int64(silence) - r.site.Home().Now())
}

// Stop closes all that have not been handed on, and hands none on any more.
func (r *Router) Stop() {
	r.stopped = true
	for _, list := range []*pendingList{&r.peeked, &r.waiting} {
		for list.first != nil {
			r.end(list.first, csa.HostStopped)
		}
	}
	for _, q := range r.routes {
		r.site.Home().Selector().StopTimer(&q.again)
	}
	if r.fallback != nil {
		r.site.Home().Selector().StopTimer(&r.fallback.again)
	}
}
