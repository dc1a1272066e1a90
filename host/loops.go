package host

import (
	"fmt"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/selector"
)

// loop is one of the host's loops and what others may know of it.
type loop struct {
	*csa.Loop
	// connections counts those that live on the loop or are on their way to
	// it, so that the next can go to the least loaded.
	connections atomic.Int64
}

// newLoops makes loops that run. fault is csa.Loop.OnFault's, idlePipes KeepPipes'.
func newLoops(n int, clock selector.Clock, fault func(*csa.Fault) bool, idlePipes int) ([]*loop, error) {
	loops := make([]*loop, n)
	for i := range loops {
		sel, err := selector.New(selector.Options{Clock: clock})
		if err != nil {
			stopLoops(loops[:i])
			return nil, fmt.Errorf("making loop %d of %d: %w", i+1, n, err)
		}
		loops[i] = &loop{Loop: csa.NewLoop(sel)}
		loops[i].OnFault(fault)
		loops[i].KeepPipes(idlePipes)
		go sel.Run()
	}
	return loops, nil
}

// stopLoops stops them and returns when their last event is over.
func stopLoops(loops []*loop) {
	for _, l := range loops {
		l.Selector().Stop()
	}
	for _, l := range loops {
		<-l.Selector().Done()
	}
}

// call runs f on the loop as one event and waits until that is over, with the
// connections buried that f has ended. It must not be called from a loop. On a
// loop that has stopped it does nothing.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	// The second post runs when the event of the first is over, also if a
	// handler has passed the loop on in it.
	if l.Post(f) && l.Post(func() { close(done) }) {
		<-done
	}
}

// leastLoaded is the index of the loop with the fewest connections among
// those for which usable answers true; -1 when there is none.
func leastLoaded(loops []*loop, usable func(i int) bool) (best int) {
	best = -1
	for i := range loops {
		if usable(i) && (best < 0 || loops[i].connections.Load() < loops[best].connections.Load()) {
			best = i
		}
	}
	return best
}

// anyLoop is for leastLoaded where every loop will do.
func anyLoop(int) bool { return true }
