package loader

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/stats"
	"bulkhead/plugins"
)

const (
	// A quarantined listener is tried again after firstRetry, and then after twice as long
	// each time, lastRetry at most; a quarter more or less, so that those that were
	// quarantined together do not come back together for ever.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// startPatience is for how long who loads one plugin waits for it to start. One that
	// takes longer goes on by itself: it is its own tenant's time that it uses.
	startPatience = 50 * time.Millisecond
)

// retryAfter is the wait after so many tries in vain, at random around the right one.
func retryAfter(tries int) time.Duration {
	wait := firstRetry
	for ; tries > 1 && wait < lastRetry; tries-- {
		wait *= 2
	}
	wait = min(wait, lastRetry)
	return wait*3/4 + rand.N(wait/2)
}

// Queue loads plugins that wait to be loaded, for one tenant one at a time, those
// first for which connections wait, and again those that could not be. Any goroutine may
// use it.
type Queue struct {
	plugins *Loader
	config  *config.Config
	// ready is closed when there is something to serve; or when every plugin was tried in vain,
	// and hopeless says why.
	ready    chan struct{}
	hopeless config.Errors

	mu      sync.Mutex
	waiting []*Pending
	busy    map[string]bool // tenants of which one is being loaded
	untried int             // plugins
	serves  bool            // a plugin is loaded, or there is something else
	errs    config.Errors   // of first tries
	stopped bool
	workers sync.WaitGroup
}

// NewQueue makes a queue of plugins that p will load. Errors are those of c.
func NewQueue(p *Loader, c *config.Config) *Queue {
	return &Queue{plugins: p, config: c, ready: make(chan struct{}), busy: make(map[string]bool)}
}

// Add is the provider of a listener whose plugin is loaded once First has been called. No more are
// added then.
func (q *Queue) Add(s Site) *Pending {
	k := &Pending{s: s, q: q, at: slices.Index(s.Loops(), s.InstanceLoop())}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wait(k)
	q.untried++
	return k
}

// ServeAnyway says that there is something to serve beside the plugins.
func (q *Queue) ServeAnyway() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.serves = true
}

// start has n goroutines load what waits, and end with that. It is called once.
func (q *Queue) start(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.serves || q.untried == 0 {
		q.serves = true
		close(q.ready)
	}
	for range n {
		q.work()
	}
}

// First begins to load, and returns when a plugin is loaded, or there is something else to serve.
// The error is config.Errors where every plugin was tried in vain, or why loading, which may be
// nil, was done.
func (q *Queue) First(loading context.Context) error {
	q.start(runtime.GOMAXPROCS(0))
	var given <-chan struct{}
	if loading != nil {
		given = loading.Done()
	}
	select {
	case <-q.ready:
	case <-given:
		return context.Cause(loading)
	}
	if q.hopeless != nil {
		return q.hopeless
	}
	return nil
}

// work starts one. The lock is held.
func (q *Queue) work() {
	if q.stopped {
		return
	}
	q.workers.Go(func() {
		for k := q.next(); k != nil; k = q.next() {
			m, err := q.plugins.load(k.s.Config(), k.s.Pinned())
			if err != nil {
				q.tried(k, err)
				continue
			}
			started := make(chan struct{})
			q.workers.Go(func() {
				defer close(started)
				q.tried(k, k.start(m))
			})
			select {
			case <-started:
			case <-time.After(startPatience):
			}
		}
	})
}

// next is what is to be loaded now; nil when there is nothing, or another goroutine
// will come to it.
func (q *Queue) next() *Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return nil
	}
	at := -1
	for i, k := range q.waiting {
		if q.busy[k.s.Config().Tenant] {
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
	q.busy[k.s.Config().Tenant] = true
	return k
}

// tried has the listener serve, or quarantines it.
func (q *Queue) tried(k *Pending, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k.queued = false
	tenant := k.s.Config().Tenant
	delete(q.busy, tenant)
	if slices.ContainsFunc(q.waiting, func(other *Pending) bool { return other.s.Config().Tenant == tenant }) {
		q.work() // the others of the tenant may have been passed over meanwhile
	}
	if k.over.Load() {
		return // a reload has replaced it, and forget has counted it
	}
	first := !k.tried
	if first {
		k.tried = true
		q.untried--
	}
	switch {
	case err == nil:
		if !q.serves {
			q.serves = true
			close(q.ready)
		}
		k.quarantine.Store(nil)
		if k.tries > 0 {
			k.s.Log().Info("the listener is out of quarantine: its plugin is loaded", "tries", k.tries+1)
			k.tries = 0
		}
	case q.stopped || errors.Is(err, plugins.ErrClosed):
		return
	default:
		k.tries++
		k.s.Counters().Failed.Add(1)
		if first {
			q.errs = append(q.errs, q.config.ListenerError(k.s.Config(), KeyOf(err), err))
		}
		if q.untried == 0 && !q.serves {
			q.giveUp()
			return
		}
		wait := retryAfter(k.tries)
		k.quarantine.Store(&stats.Quarantine{Cause: err.Error(), Tries: k.tries, Wait: wait})
		k.s.Log().Error("the listener is quarantined: its plugin cannot be loaded, or does not start; connections are closed until it does",
			"error", err, "tries", k.tries, "next_try_in", wait.Round(time.Millisecond).String(),
			"mend", "put a plugin there that can be loaded: it is tried again by itself")
		k.s.Home().Post(func() {
			if k.again == nil {
				k.again = k.s.Home().NewTimer(func() { go q.retry(k) })
			}
			k.again.Reset(wait)
		})
	}
	k.s.Settled()
	if q.untried == 0 && len(q.waiting) == 0 && len(q.busy) == 0 {
		q.plugins.Idle()
		go debug.FreeOSMemory() // loading takes more than serving
	}
}

// giveUp tries no more, since there is nothing to serve. The lock is held.
func (q *Queue) giveUp() {
	q.stopped = true
	q.hopeless = q.errs
	slices.SortStableFunc(q.hopeless, func(a, b *config.Error) int { return a.Line - b.Line })
	close(q.ready)
}

// wait puts one where it will be loaded. The lock is held.
func (q *Queue) wait(k *Pending) {
	k.queued = true
	q.waiting = append(q.waiting, k)
}

// retry has one loaded again, unless it is, or is to be already: its time may come while somebody
// asks for it.
func (q *Queue) retry(k *Pending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if k.over.Load() || k.queued || k.begun.Load() {
		return
	}
	q.wait(k)
	q.work()
}

// Stop has no more loaded. What is being loaded ends when its runtime is closed; Wait returns
// then.
func (q *Queue) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
}

// Wait waits for that.
func (q *Queue) Wait() { q.workers.Wait() }
