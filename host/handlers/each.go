package handlers

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/loops"
	"bulkhead/plugins"
)

// memoryPatience is how long a connection waits for memory or mappings for its instance,
// or for a place among its tenant's instances.
const memoryPatience = 10 * time.Second

// memoryRetry is how often it asks.
const memoryRetry = 50 * time.Millisecond

// quickStart is how long an instance may take to be made on a loop. Handing
// over to a goroutine costs more than such an instance does, and where the
// loops keep all CPUs busy it would wait for its turn.
const quickStart = 300 * time.Microsecond

// each gives every connection an instance of its own, when it needs one: at
// its first byte, or at once for a handler that hears of connections being opened.
// Instances are copies of a snapshot, from a pool that each loop has. Where there can
// be no snapshot they are made the plain way: on the connection's loop where that is
// quick; else off the loops, a few at a time, and connections wait their turn in a
// queue that the ceiling on connections bounds.
type each struct {
	site     Site
	module   *plugins.Module
	guests   *plugins.Listener
	snapshot *plugins.Snapshot // nil: there is none
	lazy     []*lazyHandler    // by loop
	starts   sync.WaitGroup
	quick    atomic.Bool // without a snapshot: instances are made on the loops
	queued   atomic.Int64

	// adopted are snapshots of another process's, whose instances have come here.
	adopting sync.Mutex
	adopted  []*Adopted

	// The rest is the home loop's.
	queue   []waiting
	running int        // starts under way
	pause   *csa.Timer // no start until it fires
	paused  bool
	backoff backoff
	closed  bool
}

// ownInstance is what its provider knows of an instance, which its loop owns.
type ownInstance struct {
	stopped bool
	// connections is how many connections keep it alive: the one that it was made for, and
	// those that it has dialled.
	connections int
}

// waiting is a connection that waits for its instance, since a time on the
// home loop. The connection is its own loop's.
type waiting struct {
	c           *csa.CSA
	lazyHandler *lazyHandler
	since       int64
}

// NewEach provides each connection with an instance of its own. It starts one, since the first
// connection should not be the one to find out that the plugin does not start.
func NewEach(site Site, m *plugins.Module) (Provider, error) {
	e := &each{site: site, module: m}
	e.guests = site.Guests(e.trapped)
	e.guests.OnSplice, e.guests.OnClosed = e.spliced, e.ended
	if err := e.prepare(); err != nil {
		return nil, err
	}
	for at, l := range site.Loops() {
		d := &lazyHandler{each: e, at: at}
		e.lazy = append(e.lazy, d)
		if e.snapshot != nil {
			l.Call(func() { d.pool = e.snapshot.Pool(l.Loop) })
		}
	}
	site.Home().Call(func() {
		e.pause = site.Home().NewTimer(func() {
			e.paused = false
			e.next()
			site.Unpark()
		})
	})
	return e, nil
}

// prepare starts an instance, since the first connection should not be the one to
// find out that the plugin does not start, and takes the snapshot.
func (e *each) prepare() error {
	if e.site.Config().Snapshot {
		var err error
		if e.snapshot, err = e.module.Snapshot(e.guests); err == nil {
			return nil
		}
		var cannot *plugins.SnapshotError
		if !errors.As(err, &cannot) {
			return err
		}
		e.site.Log().Warn(NoSnapshot, "why", cannot)
	}
	for range 3 {
		began := time.Now()
		i, err := e.module.Instantiate(e.guests)
		if err != nil {
			return err
		}
		if time.Since(began) < quickStart {
			e.quick.Store(true)
		}
		i.Close()
	}
	return nil
}

// NoSnapshot is what the log says where connections have no copies.
const NoSnapshot = "every connection starts its handler from nothing, which costs more; snapshot = false says so without this line"

// trapped is told on the instance's loop; its connection is being closed.
func (e *each) trapped(i *plugins.Instance, t *plugins.Trap) {
	e.site.Died(t, "a handler", "its connection is closed")
}

func (e *each) Start() {}

func (e *each) Reserve() int {
	if e.paused {
		return -1
	}
	return loops.LeastLoaded(e.site.Loops(), loops.Any)
}

func (e *each) Assign(a Arrival) {
	e.site.HandOver(a, func() (csa.Handler, NoHandler) { return e.lazy[a.At], NoHandler{} })
}

func (e *each) Peer(at int) csa.Handler { return e.lazy[at] }

// lazyHandler is the handler of a loop's connections that have no instance yet.
type lazyHandler struct {
	csa.Base // TLS that the guest has not asked for is up before the connection comes here
	each     *each
	at       int
	pool     *plugins.Pool // nil: there is no snapshot
}

var _ csa.Handler = (*lazyHandler)(nil)

// Open asks for an instance if the guest is to hear of it.
func (d *lazyHandler) Open(c *csa.CSA) {
	if d.each.module.HearsOpen() {
		if i := d.instance(c); i != nil {
			d.enter(c, i)
		}
	}
}

// Window is where the first bytes would go: an instance's. While there is none,
// reading is paused.
func (d *lazyHandler) Window(c *csa.CSA) []byte {
	if c.Tag == waits {
		return nil
	}
	i := d.instance(c)
	if i == nil {
		return nil
	}
	d.enter(c, i)
	return i.Window(c)
}

// EOF is the end of a connection that has sent nothing. Some protocols answer that.
func (d *lazyHandler) EOF(c *csa.CSA) {
	switch {
	case !d.each.module.HearsEOF():
		c.ProducerFinished()
	case c.Tag == waits:
		c.Tag = waitsAtEnd
	default:
		c.Tag = waitsAtEnd
		if i := d.instance(c); i != nil {
			d.enter(c, i)
			i.EOF(c)
		}
	}
}

// The tags of connections that wait for an instance. One that has an instance has a
// handle for a tag, which is positive.
const (
	waits      = -1
	waitsAtEnd = -2 // and has heard that the peer has finished
)

// Waits reports whether a connection waits for an instance, whose handler is h. It is called on the
// connection's loop.
func Waits(h csa.Handler, c *csa.CSA) bool {
	_, ok := h.(*lazyHandler)
	return ok && (c.Tag == waits || c.Tag == waitsAtEnd)
}

// instance provides a connection with an instance, or has it wait for one.
func (d *lazyHandler) instance(c *csa.CSA) *plugins.Instance {
	e := d.each
	var i *plugins.Instance
	var err error
	switch {
	case d.pool != nil && e.queued.Load() == 0:
		i, err = d.pool.Get()
	case d.pool == nil && e.quick.Load() && e.queued.Load() == 0:
		if i, err = e.module.InstantiateHere(e.guests); errors.Is(err, plugins.ErrSlow) {
			// It was quick when it was tried, and is not now. From here on they
			// are made off the loops.
			e.quick.Store(false)
			err = nil
		}
	}
	if i != nil {
		return i
	}
	if c.Tag != waitsAtEnd {
		c.Tag = waits
	}
	e.queued.Add(1)
	e.site.Home().Post(func() {
		w := waiting{c, d, e.site.Home().Now()}
		switch {
		case e.closed:
			e.queued.Add(-1)
		case err != nil:
			e.failed(w, err)
		default:
			e.queue = append(e.queue, w)
			e.next()
		}
	})
	return nil
}

// enter wires a connection to its instance, which does not hear of it by that.
func (d *lazyHandler) enter(c *csa.CSA, i *plugins.Instance) {
	e := d.each
	i.Owner = &ownInstance{connections: 1}
	e.site.CountInstances(1)
	c.Rewire(i)
	if e.site.Draining() {
		// It came too late to be told with the others.
		c.Loop().Post(func() { e.StopOne(i) })
	}
	i.Open(c)
}

// arrive gives a connection the instance that it has waited for.
func (d *lazyHandler) arrive(c *csa.CSA, i *plugins.Instance) {
	if c.Over() {
		i.Close()
		return
	}
	if c.Tag == waitsAtEnd {
		c.Loop().Post(func() {
			if !c.Over() {
				i.EOF(c)
			}
		})
	}
	c.Tag = 0
	c.Offer()
	d.enter(c, i) // last, since it may not return
}

// next makes instances for those who wait, as many at once as there are CPUs.
func (e *each) next() {
	for len(e.queue) > 0 && e.running < runtime.GOMAXPROCS(0) && !e.paused && !e.closed {
		w := e.queue[0]
		e.queue = e.queue[1:]
		e.running++
		if e.snapshot != nil {
			w.c.Loop().Post(func() { e.copyFor(w) })
		} else {
			e.starts.Go(func() { e.startFor(w) })
		}
	}
	if len(e.queue) == 0 {
		e.queue = nil
	}
}

// copyFor provides a connection that waits with an instance, on its loop.
func (e *each) copyFor(w waiting) {
	if w.c.Over() {
		e.site.Home().Post(func() { e.finished(w, nil) })
		return
	}
	i, err := w.lazyHandler.pool.Get()
	e.site.Home().Post(func() { e.finished(w, err) })
	if err == nil {
		w.lazyHandler.arrive(w.c, i)
	}
}

// startFor does the same with a plain instance, on a goroutine of its own.
func (e *each) startFor(w waiting) {
	var err error
	over := true
	l := e.site.Loops()[w.lazyHandler.at]
	l.Call(func() { over = w.c.Over() })
	if !over {
		var i *plugins.Instance
		if i, err = e.site.Instantiate(e.module, e.guests); err == nil && !l.Post(func() { w.lazyHandler.arrive(w.c, i) }) {
			i.Close()
		}
	}
	e.site.Home().Call(func() { e.finished(w, err) })
}

// finished goes on with the others who wait, on the home loop.
func (e *each) finished(w waiting, err error) {
	e.running--
	if err == nil {
		e.queued.Add(-1)
	} else {
		e.failed(w, err)
	}
	e.next()
}

// failed deals with an instance that could not be made, on the home loop.
func (e *each) failed(w waiting, err error) {
	if errors.Is(err, plugins.ErrClosed) { // the host stops
		e.queued.Add(-1)
		return
	}
	now := e.site.Home().Now()
	wait := memoryRetry
	_, full := fullBy(err)
	if full && now-w.since < int64(memoryPatience) && !e.closed {
		// Another connection's end may make room: this one waits on, first.
		e.queue = append([]waiting{w}, e.queue...)
	} else {
		if !full {
			e.site.Counters().Failed.Add(1)
			wait = e.backoff.failed(now)
		}
		e.refuse(w, err, wait)
		for full && len(e.queue) > 0 && now-e.queue[0].since >= int64(memoryPatience) {
			w, e.queue = e.queue[0], e.queue[1:]
			e.refuse(w, err, wait)
		}
	}
	if !e.closed {
		e.paused = true
		e.pause.Reset(wait)
	}
}

// refuse closes a connection whose handler could not be made.
func (e *each) refuse(w waiting, err error, wait time.Duration) {
	e.queued.Add(-1)
	e.site.Counters().Refused.Add(1)
	e.site.LogLimited(slog.LevelError, "a connection was closed: its handler did not start", "connection", w.c.Number(), "peer", w.c.Peer(), "error", err, "next_start_in", wait.String())
	why := csa.NotStarted.Reason()
	if cause, full := fullBy(err); full {
		why = cause.With(abi.Refused, fmt.Sprintf("its handler did not start: its tenant had no room for another instance for %v (%s)", memoryPatience, cause.Info().Key))
	}
	w.c.Loop().Post(func() { w.c.ShutdownMicroprocess(why) })
}

// fullBy is the limit that keeps an instance from being made, while others hold what it needs;
// full is false when it is something else.
func fullBy(err error) (limit csa.Cause, full bool) {
	switch {
	case errors.Is(err, plugins.ErrMappings):
		return csa.MappingsFull, true
	case errors.Is(err, plugins.ErrMemory):
		return csa.MemoryFull, true
	case errors.Is(err, plugins.ErrInstances):
		return csa.InstancesFull, true
	case errors.Is(err, plugins.ErrTimers):
		return csa.TimersFull, true
	}
	return csa.NotStarted, false
}

func (e *each) Release(h csa.Handler) {
	if i, ok := h.(*plugins.Instance); ok {
		e.Retain(i, -1)
	}
}

func (e *each) Retain(i *plugins.Instance, n int) {
	own := i.Owner.(*ownInstance)
	own.connections += n
	switch {
	case own.connections == 0:
		i.Close()
	case n > 0:
		// It may have been about to be closed: a guest may dial in the event that
		// tells it of the end of its last connection.
		i.StayOpen()
	}
}

// ended counts an instance that is closed. One that was never given to a connection has no
// owner, and is in no count.
func (e *each) ended(i *plugins.Instance) {
	if _, ok := i.Owner.(*ownInstance); ok {
		e.site.CountInstances(-1)
	}
}

// spliced lets go of an instance that has given its connections away.
func (e *each) spliced(i *plugins.Instance) { e.Retain(i, -2) }

func (e *each) Stop() {}

func (e *each) StopOne(h csa.Handler) {
	i, ok := h.(*plugins.Instance)
	if !ok {
		return // it will be told when it has come
	}
	if own := i.Owner.(*ownInstance); !own.stopped {
		own.stopped = true
		i.Stop()
	}
}

func (e *each) Close() {
	e.site.Home().Call(func() {
		e.closed = true
		if e.pause != nil {
			e.pause.Stop()
		}
		e.queue = nil
	})
	e.starts.Wait()
	if e.snapshot != nil {
		for at, l := range e.site.Loops() {
			l.Call(func() { e.lazy[at].pool.Close() })
		}
		e.snapshot.Close()
	}
	e.closeAdopted()
}
