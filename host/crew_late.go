package host

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"
	"bulkhead/plugins"
)

// lateCrew is the crew of a plugin that is loaded when its listener serves already, or
// would: connections, or datagrams, wait in the kernel's queue until then. If it cannot be
// loaded, or does not start, the listener is quarantined: it keeps its address, its
// connections are closed as they come, its datagrams are lost, and loading is tried again.
type lateCrew struct {
	s      *server
	lives  int                               // the index of a loop on which any crew can have connections
	crew   atomic.Pointer[handlers.Provider] // nil until it is loaded, for the guests' own needs at first
	begun  atomic.Bool                       // it has begun, and takes connections
	wanted atomic.Bool                       // a connection waits
	// quarantine is nil while it is in none.
	quarantine atomic.Pointer[Quarantine]
	starting   sync.Mutex  // held while it starts
	over       atomic.Bool // a reload has replaced its listener
	tried      bool        // these two are of who loads it
	tries      int         // in vain
	again      *csa.Timer  // the home loop's
}

func newLateCrew(s *server) *lateCrew {
	return &lateCrew{s: s, lives: slices.Index(s.host.loops, s.lives)}
}

// state is nil while it is in no quarantine, and for no crew.
func (k *lateCrew) state() *Quarantine {
	if k == nil {
		return nil
	}
	return k.quarantine.Load()
}

// settled reports whether it is known what becomes of connections.
func (k *lateCrew) settled() bool { return k.begun.Load() || k.quarantine.Load() != nil }

// The crew that was loaded does what a crew does.

func (k *lateCrew) Start() {} // the one that is loaded does, when it is

func (k *lateCrew) Reserve() int {
	if k.begun.Load() {
		return (*k.crew.Load()).Reserve()
	}
	if k.quarantine.Load() != nil {
		return k.lives
	}
	k.wanted.Store(true)
	return -1
}

func (k *lateCrew) Assign(a handlers.Arrival) {
	if k.begun.Load() {
		(*k.crew.Load()).Assign(a)
		return
	}
	listen.ResetOnClose(a.FD)
	k.s.noisy.Event(slog.LevelInfo, "a connection was closed: its listener is quarantined", "peer", a.Peer)
	k.s.drop(a)
}

func (k *lateCrew) Release(h csa.Handler)             { (*k.crew.Load()).Release(h) }
func (k *lateCrew) StopOne(h csa.Handler)             { (*k.crew.Load()).StopOne(h) }
func (k *lateCrew) Retain(i *plugins.Instance, n int) { (*k.crew.Load()).Retain(i, n) }

func (k *lateCrew) Peer(at int) csa.Handler {
	if k.begun.Load() {
		return (*k.crew.Load()).Peer(at)
	}
	return nil
}

func (k *lateCrew) Stop() {
	if c := k.crew.Load(); c != nil {
		(*c).Stop()
	}
}

func (k *lateCrew) Close() {
	if c := k.crew.Load(); c != nil {
		(*c).Close()
	}
}
