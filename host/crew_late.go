package host

import (
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// lateCrew is the crew of a plugin that is loaded when its listener serves already, or
// would: connections, or datagrams, wait in the kernel's queue until then.
type lateCrew struct {
	s      *server
	crew   atomic.Pointer[crew] // nil until it is loaded
	begun  atomic.Bool          // it has begun
	wanted atomic.Bool          // a connection waits
	// backoff is the loading's.
	backoff backoff
}

// lateLoads loads plugins that wait to be loaded, for one tenant one at a time, those
// first for which connections wait. Any goroutine may use it.
type lateLoads struct {
	load func(*server) (crew, error)

	mu      sync.Mutex
	waiting []*lateCrew
	busy    map[string]bool // tenants of which one is being loaded
	again   map[*time.Timer]struct{}
	stopped bool
	workers sync.WaitGroup
}

func newLateLoads(load func(*server) (crew, error)) *lateLoads {
	return &lateLoads{load: load, busy: make(map[string]bool), again: make(map[*time.Timer]struct{})}
}

// crewOf is a crew for the server that is loaded once start has been called.
func (q *lateLoads) crewOf(s *server) crew {
	k := &lateCrew{s: s}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, k)
	return k
}

// start has n goroutines load what waits, and end with that.
func (q *lateLoads) start(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		q.work()
	}
}

// work starts one. The lock is held.
func (q *lateLoads) work() {
	if q.stopped {
		return
	}
	q.workers.Go(func() {
		last := false
		for k := q.next(); k != nil; k = q.next() {
			c, err := q.load(k.s)
			if err == nil {
				k.crew.Store(&c)
				c.begin()
				k.begun.Store(true)
			}
			last = q.loaded(k, err)
		}
		if last {
			debug.FreeOSMemory() // loading takes more than serving
		}
	})
}

// next is what is to be loaded now; nil when there is nothing, or another goroutine
// will come to it.
func (q *lateLoads) next() *lateCrew {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return nil
	}
	at := -1
	for i, k := range q.waiting {
		if q.busy[k.s.config.Tenant] {
			continue
		}
		if k.wanted.Load() {
			at = i
			break
		}
		if at < 0 {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	k := q.waiting[at]
	q.waiting = slices.Delete(q.waiting, at, at+1)
	q.busy[k.s.config.Tenant] = true
	return k
}

// loaded has the listener serve, or tries again after a while. It reports whether
// nothing is left to be loaded.
func (q *lateLoads) loaded(k *lateCrew, err error) (last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, k.s.config.Tenant)
	switch {
	case err == nil:
		k.s.unpark()
		k.s.readLate()
	case q.stopped || errors.Is(err, plugins.ErrClosed):
	default:
		k.s.counters.failed.Add(1)
		wait := k.backoff.failed(k.s.host.clock.Now())
		k.s.log.Error("a plugin that has started before cannot be loaded now; its listener's connections wait", "error", err, "next_try_in", wait.String())
		var t *time.Timer
		t = time.AfterFunc(wait, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			delete(q.again, t)
			q.waiting = append(q.waiting, k)
			q.work()
		})
		q.again[t] = struct{}{}
	}
	return len(q.waiting) == 0 && len(q.busy) == 0
}

// stop has no more loaded. What is being loaded ends when its runtime is closed; wait
// returns then.
func (q *lateLoads) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	for t := range q.again {
		t.Stop()
	}
}

func (q *lateLoads) wait() { q.workers.Wait() }

// The crew that was loaded does what a crew does.

func (k *lateCrew) begin() {} // the one that is loaded does, when it is

func (k *lateCrew) place() int {
	if c := k.crew.Load(); c != nil {
		return (*c).place()
	}
	k.wanted.Store(true)
	return -1
}

func (k *lateCrew) take(a arrival)                  { (*k.crew.Load()).take(a) }
func (k *lateCrew) release(h csa.Handler)           { (*k.crew.Load()).release(h) }
func (k *lateCrew) stopOne(h csa.Handler)           { (*k.crew.Load()).stopOne(h) }
func (k *lateCrew) hold(i *plugins.Instance, n int) { (*k.crew.Load()).hold(i, n) }

func (k *lateCrew) peer(at int) csa.Handler {
	if c := k.crew.Load(); c != nil {
		return (*c).peer(at)
	}
	return nil
}

func (k *lateCrew) stop() {
	if c := k.crew.Load(); c != nil {
		(*c).stop()
	}
}

func (k *lateCrew) close() {
	if c := k.crew.Load(); c != nil {
		(*c).close()
	}
}
