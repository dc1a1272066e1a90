package host

import (
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// memoryPatience is how long a connection waits for memory for its instance, or
// for a place among its tenant's instances.
const memoryPatience = 10 * time.Second

// memoryRetry is how often it asks.
const memoryRetry = 50 * time.Millisecond

// quickStart is how long an instance may take to be made on a loop. Handing
// over to a goroutine costs more than such an instance does, and where the
// loops keep all CPUs busy it would wait for its turn.
const quickStart = 300 * time.Microsecond

// eachCrew gives every connection an instance of its own. Where that is quick
// it is made on the connection's loop; else off the loops, a few at a time,
// and connections wait their turn in a queue that the ceiling on connections
// bounds.
type eachCrew struct {
	s      *server
	module *plugins.Module
	guests *plugins.Listener
	starts sync.WaitGroup

	// The rest is the home loop's.
	quick   bool
	queue   []waiting
	running int        // starts under way
	pause   *csa.Timer // no start until it fires
	paused  bool
	backoff backoff
	closed  bool
}

// ownInstance is what the crew knows of an instance, which its loop owns.
type ownInstance struct{ stopped bool }

// waiting is a connection that waits for its instance, since a time on the
// home loop.
type waiting struct {
	arrival
	since int64
}

func newEachCrew(s *server, m *plugins.Module) (*eachCrew, error) {
	e := &eachCrew{s: s, module: m}
	e.guests = guestListener(&s.config, s.tenant.config.Stack, e.trapped)
	// The first connection should not be the one to find out that the plugin
	// does not start, or how long it takes.
	for range 3 {
		began := time.Now()
		i, err := m.Instantiate(e.guests)
		if err != nil {
			return nil, err
		}
		e.quick = e.quick || time.Since(began) < quickStart
		i.Close()
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

// trapped is told on the instance's loop; its connection is being closed.
func (e *eachCrew) trapped(i *plugins.Instance, t *plugins.Trap) {
	e.s.died(t, "a handler", "its connection is closed")
}

func (e *eachCrew) place() int {
	if e.paused {
		return -1
	}
	return leastLoaded(e.s.host.loops, anyLoop)
}

func (e *eachCrew) take(a arrival) {
	w := waiting{a, e.s.home.Now()}
	if e.quick && len(e.queue) == 0 {
		if !e.s.host.loops[a.at].Post(func() { e.startHere(w) }) {
			e.s.drop(a)
		}
		return
	}
	e.queue = append(e.queue, w)
	e.next()
}

// startHere makes the instance of one connection, on that connection's loop.
func (e *eachCrew) startHere(w waiting) {
	i, err := e.made(e.module.InstantiateHere(e.guests))
	if err == nil {
		e.s.wire(w.arrival, i) // last, since it may not return
	} else if !e.s.home.Post(func() { e.failedHere(w, err) }) {
		e.s.drop(w.arrival)
	}
}

// failedHere deals with an instance that could not be made on a loop, on the
// home loop.
func (e *eachCrew) failedHere(w waiting, err error) {
	if !errors.Is(err, plugins.ErrSlow) || e.closed {
		e.failed(w, err)
		return
	}
	// It was quick when it was tried, and is not now. From here on they are
	// made off the loops.
	e.quick = false
	e.queue = append(e.queue, w)
	e.next()
}

func (e *eachCrew) made(i *plugins.Instance, err error) (*plugins.Instance, error) {
	if err == nil {
		i.Owner = &ownInstance{}
		e.s.counters.instances.Add(1)
	}
	return i, err
}

// next starts instances for those who wait, as many at once as there are
// CPUs.
func (e *eachCrew) next() {
	for len(e.queue) > 0 && e.running < runtime.GOMAXPROCS(0) && !e.paused && !e.closed {
		w := e.queue[0]
		e.queue = e.queue[1:]
		e.running++
		e.starts.Go(func() { e.start(w) })
	}
	if len(e.queue) == 0 {
		e.queue = nil
	}
}

// start makes the instance of one connection, on a goroutine of its own.
func (e *eachCrew) start(w waiting) {
	i, err := e.made(e.module.Instantiate(e.guests))
	if err == nil {
		e.s.handOver(w.arrival, func() csa.Handler { return i })
	}
	e.s.home.call(func() {
		e.running--
		if err != nil {
			e.failed(w, err)
		}
		e.next()
	})
}

// failed deals with an instance that could not be made, on the home loop.
func (e *eachCrew) failed(w waiting, err error) {
	if errors.Is(err, plugins.ErrClosed) { // the host stops
		e.s.drop(w.arrival)
		return
	}
	now := e.s.home.Now()
	wait := memoryRetry
	full := errors.Is(err, plugins.ErrMemory) || errors.Is(err, plugins.ErrInstances)
	if full && now-w.since < int64(memoryPatience) && !e.closed {
		// Another connection's end may make room: this one waits on, first.
		e.queue = append([]waiting{w}, e.queue...)
	} else {
		if !full {
			e.s.counters.failed.Add(1)
			wait = e.backoff.failed(now)
		}
		e.s.noisy.event(slog.LevelError, "a connection was closed: its handler did not start", "error", err, "next_start_in", wait.String())
		e.s.drop(w.arrival)
	}
	if !e.closed {
		e.paused = true
		e.pause.Reset(wait)
	}
}

func (e *eachCrew) release(h csa.Handler) {
	i := h.(*plugins.Instance)
	i.Close()
	e.s.counters.instances.Add(-1)
}

func (e *eachCrew) stop() {}

func (e *eachCrew) stopOne(h csa.Handler) {
	i := h.(*plugins.Instance)
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
		for _, w := range e.queue {
			e.s.drop(w.arrival)
		}
		e.queue = nil
	})
	e.starts.Wait()
}
