package loader

import (
	"slices"
	"sync"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/stats"
	"bulkhead/plugins"
)

// Pending is the provider of a listener whose plugin is loaded while the listener serves already,
// or would: connections, or datagrams, wait in the kernel's queue until then. If it cannot be
// loaded, or does not start, the listener is quarantined: it keeps its address, its connections are
// closed as they come, its datagrams are lost, and loading is tried again.
type Pending struct {
	s        Site
	q        *Queue
	at       int                               // the index of a loop on which any provider can have connections
	provider atomic.Pointer[handlers.Provider] // nil until it is loaded, for the guests' own needs at first
	begun    atomic.Bool                       // it has begun, and takes connections
	wanted   atomic.Bool                       // a connection waits
	// quarantine is nil while it is in none.
	quarantine atomic.Pointer[stats.Quarantine]
	starting   sync.Mutex  // held while it starts
	over       atomic.Bool // a reload has replaced its listener
	queued     bool        // it waits to be loaded, or is being loaded; under the queue's lock
	tried      bool        // these two are of who loads it
	tries      int         // in vain
	again      *csa.Timer  // the home loop's
}

var _ handlers.Provider = (*Pending)(nil)

// Quarantine is nil while the listener is in none. A nil Pending is in none.
func (k *Pending) Quarantine() *stats.Quarantine {
	if k == nil {
		return nil
	}
	return k.quarantine.Load()
}

// Settled reports whether it is known what becomes of connections: the plugin is loaded, or the
// listener is quarantined.
func (k *Pending) Settled() bool { return k.begun.Load() || k.quarantine.Load() != nil }

// Want has the plugin be loaded before those that nobody waits for.
func (k *Pending) Want() { k.wanted.Store(true) }

// RetryNow has the plugin be loaded again without a wait, if its listener is quarantined. Any
// goroutine may call it.
func (k *Pending) RetryNow() {
	k.s.Home().Post(func() {
		if k.again != nil && k.quarantine.Load() != nil {
			k.again.Reset(0)
		}
	})
}

// start starts what has to be there of the plugin, unless a reload has replaced the listener.
func (k *Pending) start(m *module) error {
	k.starting.Lock()
	defer k.starting.Unlock()
	if k.over.Load() {
		k.q.plugins.release(m)
		return nil
	}
	c, err := k.q.plugins.start(k.s, m)
	if err != nil {
		return err
	}
	k.s.Loaded(m.Module, m.key.sum)
	k.provider.Store(&c)
	c.Start()
	k.begun.Store(true)
	return nil
}

// forget is the end of loading the plugin: nothing of it begins any more when it returns. It is not
// called on a loop.
func (k *Pending) forget() {
	q := k.q
	q.mu.Lock()
	if !k.over.Swap(true) && !k.tried {
		q.untried--
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(other *Pending) bool { return other == k })
	q.mu.Unlock()
	k.starting.Lock() // it waits for one that starts
	defer k.starting.Unlock()
	k.s.Home().Call(func() {
		if k.again != nil {
			k.again.Stop()
		}
	})
}

// Start does nothing: what is loaded is started when it is.
func (k *Pending) Start() {}

// Reserve has the plugin be loaded before others, as long as it is not. In quarantine it reserves a
// loop for a connection that Assign closes.
func (k *Pending) Reserve() int {
	if k.begun.Load() {
		return (*k.provider.Load()).Reserve()
	}
	if k.quarantine.Load() != nil {
		return k.at
	}
	k.Want()
	return -1
}

// Assign gives the connection a handler, or closes it in quarantine.
func (k *Pending) Assign(a handlers.Arrival) {
	if k.begun.Load() {
		(*k.provider.Load()).Assign(a)
		return
	}
	k.s.Refuse(a, "a connection was closed: its listener is quarantined")
}

// Peer is nil until the plugin is loaded.
func (k *Pending) Peer(at int) csa.Handler {
	if k.begun.Load() {
		return (*k.provider.Load()).Peer(at)
	}
	return nil
}

// Release gives a handler back. Like StopOne and Retain, it is for handlers that Assign or Peer has
// given out.
func (k *Pending) Release(h csa.Handler) { (*k.provider.Load()).Release(h) }

// StopOne tells one to stop.
func (k *Pending) StopOne(h csa.Handler) { (*k.provider.Load()).StopOne(h) }

// Retain counts what keeps an instance alive.
func (k *Pending) Retain(i *plugins.Instance, n int) { (*k.provider.Load()).Retain(i, n) }

// Stop tells the handlers, if there are any.
func (k *Pending) Stop() {
	if c := k.provider.Load(); c != nil {
		(*c).Stop()
	}
}

// Close ends loading, and then what was loaded.
func (k *Pending) Close() {
	k.forget()
	if c := k.provider.Load(); c != nil {
		(*c).Close()
	}
}

// Travels is the Traveller that a server's provider is of; nil: it is of none, or its plugin is not
// loaded yet. Any goroutine may call it.
func Travels(p handlers.Provider) handlers.Traveller {
	if late, ok := p.(*Pending); ok {
		if !late.begun.Load() {
			return nil
		}
		p = *late.provider.Load()
	}
	if loaded, ok := p.(*provider); ok {
		p = loaded.Provider
	}
	t, _ := p.(handlers.Traveller)
	return t
}
