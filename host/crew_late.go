package host

import (
	"log/slog"
	"slices"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// lateCrew is the crew of a plugin that is loaded when its listener serves already, or
// would: connections, or datagrams, wait in the kernel's queue until then. If it cannot be
// loaded, or does not start, the listener is quarantined: it keeps its address, its
// connections are closed as they come, its datagrams are lost, and loading is tried again.
type lateCrew struct {
	s      *server
	lives  int                  // the index of a loop on which any crew can have connections
	crew   atomic.Pointer[crew] // nil until it is loaded, for the guests' own needs at first
	begun  atomic.Bool          // it has begun, and takes connections
	wanted atomic.Bool          // a connection waits
	// quarantine is nil while it is in none.
	quarantine atomic.Pointer[Quarantine]
	tried      bool       // these two are of who loads it
	tries      int        // in vain
	again      *csa.Timer // the home loop's
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

func (k *lateCrew) begin() {} // the one that is loaded does, when it is

func (k *lateCrew) place() int {
	if k.begun.Load() {
		return (*k.crew.Load()).place()
	}
	if k.quarantine.Load() != nil {
		return k.lives
	}
	k.wanted.Store(true)
	return -1
}

func (k *lateCrew) take(a arrival) {
	if k.begun.Load() {
		(*k.crew.Load()).take(a)
		return
	}
	resetOnClose(a.fd)
	k.s.noisy.event(slog.LevelInfo, "a connection was closed: its listener is quarantined", "peer", a.peer)
	k.s.drop(a)
}

func (k *lateCrew) release(h csa.Handler)           { (*k.crew.Load()).release(h) }
func (k *lateCrew) stopOne(h csa.Handler)           { (*k.crew.Load()).stopOne(h) }
func (k *lateCrew) hold(i *plugins.Instance, n int) { (*k.crew.Load()).hold(i, n) }

func (k *lateCrew) peer(at int) csa.Handler {
	if k.begun.Load() {
		return (*k.crew.Load()).peer(at)
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
