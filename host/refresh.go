package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/service"
)

const (
	// refreshPatience is for how long Refresh waits for a loop.
	refreshPatience = time.Second
	// refreshSlice is how many tallies a loop shows at one go.
	refreshSlice = 512
)

// refreshes have the loops show what they count.
type refreshes struct {
	mu    sync.Mutex // held while one is made
	loops []refreshedLoop
}

// refreshedLoop is when a loop was asked last, and how long it took to come to it.
type refreshedLoop struct {
	asked atomic.Int64 // by the clock of began; 0: it has answered
	lag   atomic.Int64
}

// Refresh has Stats know what the loops have counted of the connections that are open. It returns
// when all loops have shown it, or after a second, since a loop may stand still, or when ctx is
// done; the answer is whether all have. It may be called from any goroutine but a loop's, while the
// host runs and after.
func (h *Host) Refresh(ctx context.Context) bool {
	r := &h.refreshes
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*csa.Tallies
	seen := make(map[*service.Totals]bool)
	h.now.Load().each(func(s *service.Server) {
		if t := s.Totals(); !seen[t] {
			seen[t] = true
			tallies := t.Tallies()
			all = append(all, tallies[:]...)
		}
	})
	shown := make(chan struct{}, len(h.machine.Loops))
	asked, before := 0, 0
	for i := range h.machine.Loops {
		if h.ask(i, all, shown) {
			asked++
		} else {
			before++
		}
	}
	late := time.NewTimer(refreshPatience)
	defer late.Stop()
	for range asked {
		select {
		case <-shown:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		case <-h.closed:
			return true
		}
	}
	select {
	case <-h.closed:
		return true
	default:
		return before == 0
	}
}

// ask has a loop show what it has counted, unless it is asked already, or has stopped.
func (h *Host) ask(i int, all []*csa.Tallies, shown chan<- struct{}) bool {
	l, state := h.machine.Loops[i], &h.refreshes.loops[i]
	now := int64(max(time.Since(h.began), 1))
	if !state.asked.CompareAndSwap(0, now) {
		return false
	}
	var show func()
	show = func() {
		if asked := state.asked.Swap(0); asked != 0 {
			state.lag.Store(int64(time.Since(h.began)) - asked)
		}
		n := min(len(all), refreshSlice)
		for _, a := range all[:n] {
			a.Show(l.Loop)
		}
		if all = all[n:]; len(all) == 0 || !l.Post(show) {
			shown <- struct{}{}
		}
	}
	if !l.Post(show) {
		state.asked.Store(0)
		return false
	}
	return true
}

// lag is how long the loop has taken to answer, or takes yet.
func (h *Host) lag(i int) time.Duration {
	state := &h.refreshes.loops[i]
	if asked := state.asked.Load(); asked != 0 {
		return max(time.Since(h.began)-time.Duration(asked), time.Duration(state.lag.Load()))
	}
	return time.Duration(state.lag.Load())
}
