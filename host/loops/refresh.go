package loops

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/csa"
)

const (
	// ShowPatience is for how long Show waits for a loop.
	ShowPatience = time.Second
	// refreshSlice is how many tallies a loop shows at one go.
	refreshSlice = 512
)

// Refresher has loops show what they count, and measures how long they take to come to it.
type Refresher struct {
	loops   []*Loop
	began   time.Time
	stopped <-chan struct{}
	mu      sync.Mutex // held while loops are asked
	asked   []asked    // by loop
}

// asked is when a loop was asked last, and how long it took to come to it.
type asked struct {
	at  atomic.Int64 // since began; 0: it has answered
	lag atomic.Int64
}

// NewRefresher makes one for loops. stopped is closed when they have stopped.
func NewRefresher(all []*Loop, stopped <-chan struct{}) *Refresher {
	return &Refresher{loops: all, began: time.Now(), stopped: stopped, asked: make([]asked, len(all))}
}

// Show has each loop show the tallies. It returns when all loops have, or after a second, since a
// loop may stand still, or when ctx is done; the answer is whether all have. It may be called from
// any goroutine but a loop's, also when the loops have stopped.
func (r *Refresher) Show(ctx context.Context, all []*csa.Tallies) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown := make(chan struct{}, len(r.loops))
	asked, before := 0, 0
	for i := range r.loops {
		if r.ask(i, all, shown) {
			asked++
		} else {
			before++
		}
	}
	late := time.NewTimer(ShowPatience)
	defer late.Stop()
	for range asked {
		select {
		case <-shown:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		case <-r.stopped:
			return true
		}
	}
	select {
	case <-r.stopped:
		return true
	default:
		return before == 0
	}
}

// ask has a loop show what it has counted, unless it is asked already, or has stopped.
func (r *Refresher) ask(i int, all []*csa.Tallies, shown chan<- struct{}) bool {
	l, state := r.loops[i], &r.asked[i]
	now := int64(max(time.Since(r.began), 1))
	if !state.at.CompareAndSwap(0, now) {
		return false
	}
	var show func()
	show = func() {
		if at := state.at.Swap(0); at != 0 {
			state.lag.Store(int64(time.Since(r.began)) - at)
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
		state.at.Store(0)
		return false
	}
	return true
}

// Lag is how long a loop, by its index, has taken to come to the last Show, or takes yet. Any
// goroutine may call it.
func (r *Refresher) Lag(i int) time.Duration {
	state := &r.asked[i]
	lag := time.Duration(state.lag.Load())
	if at := state.at.Load(); at != 0 {
		lag = max(lag, time.Since(r.began)-time.Duration(at))
	}
	return lag
}
