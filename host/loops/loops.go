// Package loops has a host's loops, which outlive its configurations.
package loops

import (
	"fmt"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/arriving"
	"bulkhead/selector"
)

// Loop is one of the host's loops and what others may know of it.
type Loop struct {
	*csa.Loop
	// Connections counts those that live on the loop or are on their way to
	// it, so that the next can go to the least loaded.
	Connections atomic.Int64
	// Arriving are the connections of its listeners that have no handler yet, since their route is
	// not known or has no place. It is the loop's.
	Arriving arriving.List
}

// New makes n loops that run. fault is csa.Loop.OnFault's, idlePipes KeepPipes'.
func New(n int, clock selector.Clock, fault func(*csa.Fault) bool, idlePipes int) ([]*Loop, error) {
	all := make([]*Loop, n)
	for i := range all {
		sel, err := selector.New(selector.Options{Clock: clock})
		if err != nil {
			Stop(all[:i])
			return nil, fmt.Errorf("making loop %d of %d: %w", i+1, n, err)
		}
		all[i] = &Loop{Loop: csa.NewLoop(sel)}
		all[i].SetPlace(i)
		all[i].OnFault(fault)
		all[i].KeepPipes(idlePipes)
		go sel.Run()
	}
	return all, nil
}

// Stop stops them and returns when their last event is over.
func Stop(all []*Loop) {
	for _, l := range all {
		l.Selector().Stop()
	}
	for _, l := range all {
		<-l.Selector().Done()
	}
}

// Call runs f on the loop as one event and waits until that is over, with the
// connections destroyed that f has ended. It must not be called from a loop. On a
// loop that has stopped it does nothing.
func (l *Loop) Call(f func()) {
	done := make(chan struct{})
	// The second post runs when the event of the first is over, also if a
	// handler has passed the loop on in it.
	if l.Post(f) && l.Post(func() { close(done) }) {
		<-done
	}
}

// LeastLoaded is the index of the loop with the fewest connections among
// those for which usable answers true; -1 when there is none.
func LeastLoaded(all []*Loop, usable func(i int) bool) (best int) {
	best = -1
	for i := range all {
		if usable(i) && (best < 0 || all[i].Connections.Load() < all[best].Connections.Load()) {
			best = i
		}
	}
	return best
}

// Any is for LeastLoaded where every loop will do.
func Any(int) bool { return true }
