package host

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"bulkhead/csa"
	"bulkhead/host/crew"
	"bulkhead/host/hello"
	"bulkhead/host/logs"
	"bulkhead/host/proxy"
	"bulkhead/host/route"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// router gives a listener's connections to the servers of its routes. It looks at what has come
// on a socket without taking it, so that the socket goes on to its server, and to the loop that
// its handler lives on, as if it had just been accepted. All of it is the home loop's.
//
// A connection that it looks at is counted as one of the listener's tenant. It becomes one of
// its route's tenant when it is handed on.
type router struct {
	s       *server // the listener's
	table   *route.Table
	lanes   []*lane // by rule
	rest    *lane   // for what no rule matches; nil: there is none
	reader  hello.Reader
	window  []byte // what is looked at; nothing of it is kept
	stopped bool

	// looked are those of whom too little has come, and waiting those for whom their route
	// has no place yet. Both are in the order in which they came there.
	looked, waiting callers
	// mostWaiting bounds the second.
	mostWaiting int
}

// lane is a route's server, with those who wait for a place there.
type lane struct {
	r     *router
	to    *server
	queue []*caller
	again selector.Timer // the tenant's accepts a second allow another then
}

// caller is a connection that has not been handed on.
type caller struct {
	r          *router
	a          crew.Arrival
	d          selector.Descriptor // registered while it is looked at
	need       int                 // look again when so many bytes are there
	long       bool                // they are many, and charged
	since      int64               // on the home loop, when it came to its list
	lane       *lane               // whose queue it is in; nil: it is looked at
	next, prev *caller
}

const (
	// laneQueue is how many connections may wait for one route.
	laneQueue = 64
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

// unrecognizedName is the alert of RFC 6066, section 3, that says that nobody here has the name
// that was asked for.
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// newRouter makes the router of a listener. rest says that its own plugin serves what no rule
// matches; to are the servers of its routes.
func newRouter(s *server, to []*server, rest bool) *router {
	r := &router{
		s: s, table: route.New(s.config.Rules()), window: make([]byte, hello.MaxLength),
		mostWaiting: max(1, s.tenant.config().Connections/waitingShare),
	}
	r.looked.r, r.waiting.r = r, r
	for _, to := range to {
		r.lanes = append(r.lanes, r.newLane(to))
	}
	if rest {
		accept := s.resume
		r.rest = r.newLane(s)
		s.resume = func() {
			r.rest.resume()
			accept()
		}
	}
	return r
}

func (r *router) newLane(to *server) *lane {
	l := &lane{r: r, to: to}
	to.resume = l.resume
	return l
}

// take looks at a connection that has been accepted and counted.
func (r *router) take(a crew.Arrival) {
	lane, need, over := r.look(&a, 0, false)
	switch {
	case over:
	case lane != nil:
		r.choose(&caller{r: r, a: a}, lane)
	default:
		c := &caller{r: r, a: a}
		if !c.await(need) {
			r.refuse(&a, csa.MemoryFull.Because(tooLongForMemory))
			return
		}
		if err := r.s.home.Selector().Add(&c.d, a.FD, c); err != nil {
			c.settle()
			r.refuse(&a, csa.SystemFull.Because("the selector does not take it"), "error", err)
			return
		}
		r.looked.add(c)
		c.d.NewReader()
	}
}

// ReadReady is the selector's notice that more has come.
func (c *caller) ReadReady() {
	r := c.r
	lane, need, over := r.look(&c.a, c.need, c.d.HungUp())
	if !over && lane == nil {
		if !c.await(need) {
			r.drop(c)
			r.refuse(&c.a, csa.MemoryFull.Because(tooLongForMemory))
			return
		}
		// Nothing has been taken, and whatever comes now makes an edge.
		c.d.ReadBlocked()
		c.d.NewReader()
		return
	}
	r.forget(c)
	if lane != nil {
		r.choose(c, lane)
	}
}

// await notes how many bytes have to be there, and has the kernel make room for many. It
// reports false when the tenant has no memory for as many.
func (c *caller) await(need int) bool {
	c.need = need
	if need <= longHello {
		return true
	}
	if !c.long {
		if !c.r.s.tenant.Reserve(hello.MaxLength) {
			return false
		}
		c.long = true
	}
	expect(c.a.FD, need)
	return true
}

// settle ends what await began.
func (c *caller) settle() {
	if c.long {
		c.long = false
		c.r.s.tenant.Release(hello.MaxLength)
	}
}

// SendReady is not asked for.
func (c *caller) SendReady() {}

// Exceptional is not asked for.
func (c *caller) Exceptional() {}

// look says which lane a connection belongs to, or how many bytes have to be there for it to be
// said; over says that it has been closed. last says that the kernel has said that nothing
// follows.
func (r *router) look(a *crew.Arrival, need int, last bool) (_ *lane, more int, over bool) {
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
		if !a.Introduced && r.s.introduces(a.Peer) {
			header, err := r.introduce(a, p)
			switch {
			case err != nil:
				r.refuse(a, csa.ProxyHeader.Because(csa.ProxyHeader.Info().Words+", and "+err.Error()))
				return nil, 0, true
			case header > 0:
				if a.Local.IsValid() && !r.s.takeSource(a, r.s.home.Now()) {
					r.close(a)
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
			return r.lanes[answer.Rule], 0, false
		case r.rest != nil:
			return r.rest, 0, false
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

// introduce takes the PROXY header that p, what has come on a connection, begins with. It
// answers how long that was, 0 when it is not there yet.
func (r *router) introduce(a *crew.Arrival, p []byte) (int, error) {
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
	a.Introduced = true
	if !h.Local {
		a.Peer, a.Local = h.Source, h.Destination
	}
	return n, nil
}

// choose hands a connection on whose lane is known, or has it wait. It is in no list.
func (r *router) choose(c *caller, l *lane) {
	switch {
	case len(l.queue) == 0 && l.enter(c.a):
	case len(l.queue) >= laneQueue || r.waiting.n >= r.mostWaiting:
		l.refuse(c)
	default:
		c.lane = l
		l.queue = append(l.queue, c)
		r.waiting.add(c)
	}
}

// enter gives a connection to the lane's server, unless that has no place for it; then resume
// is called when it may have one.
func (l *lane) enter(a crew.Arrival) bool {
	to, from := l.to, l.r.s
	h := from.host
	at := to.crew.Reserve()
	if at < 0 {
		to.park(func() bool { return to.crew.Reserve() < 0 })
		return false
	}
	if to.tenant != from.tenant {
		if !to.tenant.connections.Take() {
			to.tenant.makeRoom()
			to.park(to.tenant.connections.Full)
			return false
		}
		now := from.home.Now()
		if wait := to.tenant.accepts.Spend(0, now); wait > 0 {
			to.tenant.connections.Release()
			h.wake()
			from.home.Selector().SetTimer(&l.again, l, now+wait)
			return false
		}
		to.tenant.accepts.Spend(1, now)
		from.tenant.connections.Release()
		h.wake()
	}
	if to != from {
		to.counters.accepted.Add(1)
	}
	a.At = at
	h.loops[at].Connections.Add(1)
	to.crew.Assign(a)
	return true
}

// resume hands on those who wait, as far as there are places.
func (l *lane) resume() {
	for len(l.queue) > 0 && !l.r.stopped {
		c := l.queue[0]
		if !l.enter(c.a) {
			return
		}
		l.r.forget(c)
	}
}

// Expired is the end of the wait for the tenant's accepts.
func (l *lane) Expired(*selector.Timer) { l.r.s.home.Event(l.resume) }

// refuse closes a connection that the lane has no place for.
func (l *lane) refuse(c *caller) {
	l.to.counters.Refused.Add(1)
	l.to.refused(&c.a, csa.NoRoom.Reason(), "a connection was closed: ")
	l.r.close(&c.a)
}

// sayUnrecognized tells a client of TLS why nobody answers. What it has sent is taken, into
// scratch, since closing would reset the connection otherwise, and the client never read it.
func sayUnrecognized(fd int, scratch []byte) {
	for taken := 0; taken < hello.MaxLength; {
		n, err := take(fd, scratch)
		if err != nil || n == 0 {
			break
		}
		taken += n
	}
	_, _ = unix.Write(fd, unrecognizedName)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
}

// refuse closes a connection that has no lane.
func (r *router) refuse(a *crew.Arrival, why csa.Reason, args ...any) {
	r.s.counters.unrouted.Add(1)
	r.s.refused(a, why, "a connection was closed, and went nowhere: ", args...)
	r.close(a)
}

// refused counts and logs the end of a connection that never was a CSA.
func (s *server) refused(a *crew.Arrival, why csa.Reason, line string, args ...any) {
	s.counters.ended[why.Cause].Add(1)
	info := why.Cause.Info()
	lines := s.closes
	if info.Level >= slog.LevelWarn {
		lines = s.noisy
	}
	if lines.May(info.Level) {
		lines.Write(info.Level, line+why.Why, append(args, "peer", a.Peer, "key", info.Key, "cause", info.Name)...)
	}
}

// close closes a connection that is in no list, and gives its places back.
func (r *router) close(a *crew.Arrival) {
	_ = unix.Close(a.FD)
	r.s.releaseSource(a.Source)
	r.s.putBack()
	r.s.gen.leave()
}

// forget takes a connection out of its list, and off the selector.
func (r *router) forget(c *caller) {
	if l := c.lane; l != nil {
		i := slices.Index(l.queue, c)
		l.queue = slices.Delete(l.queue, i, i+1)
		r.waiting.remove(c)
		c.lane = nil
		return
	}
	r.drop(c)
	if c.need > longHello {
		expect(c.a.FD, 1)
	}
}

// drop takes a connection that is looked at out of its list.
func (r *router) drop(c *caller) {
	c.settle()
	r.s.home.Selector().Remove(&c.d)
	r.looked.remove(c)
}

// end closes a connection that is in a list.
func (r *router) end(c *caller, why csa.Cause) {
	l := c.lane
	r.forget(c)
	if l != nil {
		l.refuse(c)
	} else {
		r.refuse(&c.a, why.Reason())
	}
}

// makeRoom closes the connection that has been looked at for longest, if that is long, since
// another wants its place. It reports whether it has.
func (r *router) makeRoom() bool {
	c := r.looked.first
	if c == nil || r.s.home.Now()-c.since < int64(silence) {
		return false
	}
	r.end(c, csa.PlaceWanted)
	return true
}

// roomIn is after how long makeRoom has somebody, of those that are looked at now.
func (r *router) roomIn() time.Duration {
	return time.Duration(r.looked.first.since + int64(silence) - r.s.home.Now())
}

// stop closes all that have not been handed on.
func (r *router) stop() {
	r.stopped = true
	for _, list := range []*callers{&r.looked, &r.waiting} {
		for list.first != nil {
			r.end(list.first, csa.HostStopped)
		}
	}
	for _, l := range r.lanes {
		r.s.home.Selector().StopTimer(&l.again)
	}
	if r.rest != nil {
		r.s.home.Selector().StopTimer(&r.rest.again)
	}
}

// callers is a list of connections in the order in which they came, each with the same time.
type callers struct {
	r           *router
	first, last *caller
	n           int
	timer       selector.Timer // the first one's
}

func (l *callers) add(c *caller) {
	c.since = l.r.s.home.Now()
	if c.prev = l.last; c.prev != nil {
		c.prev.next = c
	} else {
		l.first = c
	}
	l.last = c
	if l.n++; l.n == 1 {
		l.watch()
	}
}

func (l *callers) remove(c *caller) {
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
		l.r.s.home.Selector().StopTimer(&l.timer)
	}
}

// watch sets the timer for the first one. It may ring too early for the next.
func (l *callers) watch() {
	l.r.s.home.Selector().SetTimer(&l.timer, l, l.first.since+int64(l.r.s.config.RouteTimeout))
}

// Expired ends those whose time is over.
func (l *callers) Expired(*selector.Timer) {
	l.r.s.home.Event(func() {
		now := l.r.s.home.Now()
		for l.first != nil && now-l.first.since >= int64(l.r.s.config.RouteTimeout) {
			l.r.end(l.first, csa.RouteTimeout)
		}
		if l.first != nil {
			l.watch()
		}
	})
}
