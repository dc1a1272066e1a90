package host

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

// eachCrew gives every connection an instance of its own, when it needs one: at
// its first byte, or at once for a handler that hears of connections being opened.
// Instances are copies of a snapshot, from a pool that each loop has. Where there can
// be no snapshot they are made the plain way: on the connection's loop where that is
// quick; else off the loops, a few at a time, and connections wait their turn in a
// queue that the ceiling on connections bounds.
type eachCrew struct {
	s        *server
	module   *plugins.Module
	guests   *plugins.Listener
	snapshot *plugins.Snapshot // nil: there is none
	doors    []*door           // by loop
	starts   sync.WaitGroup
	quick    atomic.Bool // without a snapshot: instances are made on the loops
	queued   atomic.Int64

	// The rest is the home loop's.
	queue   []waiting
	running int        // starts under way
	pause   *csa.Timer // no start until it fires
	paused  bool
	backoff backoff
	closed  bool
}

// ownInstance is what the crew knows of an instance, which its loop owns.
type ownInstance struct {
	stopped bool
	// held is how many connections keep it alive: the one that it was made for, and
	// those that it has dialled.
	held int
}

// waiting is a connection that waits for its instance, since a time on the
// home loop. The connection is its own loop's.
type waiting struct {
	c     *csa.CSA
	door  *door
	since int64
}

func newEachCrew(s *server, m *plugins.Module) (*eachCrew, error) {
	e := &eachCrew{s: s, module: m}
	e.guests = s.guests(e.trapped)
	e.guests.OnSplice, e.guests.OnClosed = e.spliced, e.ended
	if err := e.prepare(); err != nil {
		return nil, err
	}
	for at, l := range s.host.loops {
		d := &door{crew: e, at: at}
		e.doors = append(e.doors, d)
		if e.snapshot != nil {
			l.call(func() { d.pool = e.snapshot.Pool(l.Loop) })
		}
	}
	s.home.call(func() {
		e.pause = s.home.NewTimer(func() {
			e.paused = false
			e.next()
			s.unpark()
		})
	})
	return e, nil
}

// prepare starts an instance, since the first connection should not be the one to
// find out that the plugin does not start, and takes the snapshot.
func (e *eachCrew) prepare() error {
	if e.s.config.Snapshot {
		var err error
		if e.snapshot, err = e.module.Snapshot(e.guests); err == nil {
			return nil
		}
		var cannot *plugins.SnapshotError
		if !errors.As(err, &cannot) {
			return err
		}
		e.s.log.Warn(noSnapshot, "why", cannot)
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

const noSnapshot = "every connection starts its handler from nothing, which costs more; snapshot = false says so without this line"

// trapped is told on the instance's loop; its connection is being closed.
func (e *eachCrew) trapped(i *plugins.Instance, t *plugins.Trap) {
	e.s.died(t, "a handler", "its connection is closed")
}

func (e *eachCrew) begin() {}

func (e *eachCrew) place() int {
	if e.paused {
		return -1
	}
	return leastLoaded(e.s.host.loops, anyLoop)
}

func (e *eachCrew) take(a arrival) {
	e.s.handOver(a, func() csa.Handler { return e.doors[a.at] })
}

func (e *eachCrew) peer(at int) csa.Handler { return e.doors[at] }

// door is the handler of a loop's connections that have no instance yet.
type door struct {
	crew *eachCrew
	at   int
	pool *plugins.Pool // nil: there is no snapshot
}

var _ csa.Handler = (*door)(nil)

// Open asks for an instance if the guest is to hear of it.
func (d *door) Open(c *csa.CSA) {
	if d.crew.module.HearsOpen() {
		if i := d.instance(c); i != nil {
			d.enter(c, i)
		}
	}
}

// Window is where the first bytes would go: an instance's. While there is none,
// reading is paused.
func (d *door) Window(c *csa.CSA) []byte {
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

// Data is never called, as nothing is read without a window.
func (d *door) Data(*csa.CSA, []byte) int { return 0 }

// Writable has nobody to tell.
func (d *door) Writable(*csa.CSA) {}

// Secured has nobody to tell: TLS that the guest has not asked for is up before the
// connection comes here.
func (d *door) Secured(*csa.CSA, abi.Code) {}

// EOF is the end of a connection that has sent nothing. Some protocols answer that.
func (d *door) EOF(c *csa.CSA) {
	switch {
	case !d.crew.module.HearsEOF():
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

// Timer has nobody to tell.
func (d *door) Timer(*csa.CSA, int32) {}

// Closed has nobody to tell.
func (d *door) Closed(*csa.CSA, csa.Reason) {}

// The tags of connections that wait for an instance. One that has an instance has a
// handle for a tag, which is positive.
const (
	waits      = -1
	waitsAtEnd = -2 // and has heard that the peer has finished
)

// instance provides a connection with an instance, or has it wait for one.
func (d *door) instance(c *csa.CSA) *plugins.Instance {
	e := d.crew
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
	e.s.home.Post(func() {
		w := waiting{c, d, e.s.home.Now()}
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
func (d *door) enter(c *csa.CSA, i *plugins.Instance) {
	e := d.crew
	i.Owner = &ownInstance{held: 1}
	e.s.counters.instances.Add(1)
	c.Rewire(i)
	if e.s.host.draining.Load() {
		// It came too late to be told with the others.
		c.Loop().Post(func() { e.stopOne(i) })
	}
	i.Open(c)
}

// arrive gives a connection the instance that it has waited for.
func (d *door) arrive(c *csa.CSA, i *plugins.Instance) {
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
func (e *eachCrew) next() {
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
func (e *eachCrew) copyFor(w waiting) {
	if w.c.Over() {
		e.s.home.Post(func() { e.finished(w, nil) })
		return
	}
	i, err := w.door.pool.Get()
	e.s.home.Post(func() { e.finished(w, err) })
	if err == nil {
		w.door.arrive(w.c, i)
	}
}

// startFor does the same with a plain instance, on a goroutine of its own.
func (e *eachCrew) startFor(w waiting) {
	var err error
	over := true
	l := e.s.host.loops[w.door.at]
	l.call(func() { over = w.c.Over() })
	if !over {
		var i *plugins.Instance
		if i, err = e.s.instantiate(e.module, e.guests); err == nil && !l.Post(func() { w.door.arrive(w.c, i) }) {
			i.Close()
		}
	}
	e.s.home.call(func() { e.finished(w, err) })
}

// finished goes on with the others who wait, on the home loop.
func (e *eachCrew) finished(w waiting, err error) {
	e.running--
	if err == nil {
		e.queued.Add(-1)
	} else {
		e.failed(w, err)
	}
	e.next()
}

// failed deals with an instance that could not be made, on the home loop.
func (e *eachCrew) failed(w waiting, err error) {
	if errors.Is(err, plugins.ErrClosed) { // the host stops
		e.queued.Add(-1)
		return
	}
	now := e.s.home.Now()
	wait := memoryRetry
	_, full := fullBy(err)
	if full && now-w.since < int64(memoryPatience) && !e.closed {
		// Another connection's end may make room: this one waits on, first.
		e.queue = append([]waiting{w}, e.queue...)
	} else {
		if !full {
			e.s.counters.failed.Add(1)
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
func (e *eachCrew) refuse(w waiting, err error, wait time.Duration) {
	e.queued.Add(-1)
	e.s.counters.refused.Add(1)
	e.s.noisy.event(slog.LevelError, "a connection was closed: its handler did not start", "error", err, "next_start_in", wait.String())
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

func (e *eachCrew) release(h csa.Handler) {
	if i, ok := h.(*plugins.Instance); ok {
		e.hold(i, -1)
	}
}

func (e *eachCrew) hold(i *plugins.Instance, n int) {
	own := i.Owner.(*ownInstance)
	own.held += n
	switch {
	case own.held == 0:
		i.Close()
	case n > 0:
		// It may have been about to be closed: a guest may dial in the event that
		// tells it of the end of its last connection.
		i.StayOpen()
	}
}

// ended counts an instance that is closed. One that was never given to a connection has no
// owner, and is in no count.
func (e *eachCrew) ended(i *plugins.Instance) {
	if _, ok := i.Owner.(*ownInstance); ok {
		e.s.counters.instances.Add(-1)
	}
}

// spliced lets go of an instance that has given its connections away.
func (e *eachCrew) spliced(i *plugins.Instance) { e.hold(i, -2) }

func (e *eachCrew) stop() {}

func (e *eachCrew) stopOne(h csa.Handler) {
	i, ok := h.(*plugins.Instance)
	if !ok {
		return // it will be told when it has come
	}
	if own := i.Owner.(*ownInstance); !own.stopped {
		own.stopped = true
		i.Stop()
	}
}

func (e *eachCrew) close() {
	e.s.home.call(func() {
		e.closed = true
		if e.pause != nil {
			e.pause.Stop()
		}
		e.queue = nil
	})
	e.starts.Wait()
	if e.snapshot != nil {
		for at, l := range e.s.host.loops {
			l.call(func() { e.doors[at].pool.Close() })
		}
		e.snapshot.Close()
	}
}
