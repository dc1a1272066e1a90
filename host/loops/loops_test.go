package loops

import (
	"context"
	"runtime"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/internal/awaittest"
	"bulkhead/selector"
)

func start(t *testing.T, n int) []*Loop {
	t.Helper()
	all, err := New(n, selector.System, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Stop(all) })
	return all
}

// Loops run side by side, and have ended when Stop returns.
func TestLoopsRunUntilStop(t *testing.T) {
	all := start(t, 3)
	for i, l := range all {
		// It would wait for ever if the next loop were the same one.
		next := make(chan struct{})
		l.Post(func() { <-next })
		all[(i+1)%len(all)].Call(func() { close(next) })
	}
	ran := 0
	for _, l := range all {
		l.Call(func() { ran++ })
	}
	if ran != 3 {
		t.Errorf("%d of 3 calls have run", ran)
	}
	Stop(all)
	for i, l := range all {
		select {
		case <-l.Selector().Done():
		default:
			t.Errorf("loop %d still runs", i)
		}
		l.Call(func() { t.Errorf("loop %d runs something after Stop", i) })
	}
}

type eventOver struct{ over bool }

func (e *eventOver) EventOver() { e.over = true }

// Call returns when the event is over, and also when its function has passed the loop on.
func TestCallWaitsForTheEndOfTheEvent(t *testing.T) {
	l := start(t, 1)[0]
	var first, passed eventOver
	l.Call(func() { l.AtEnd(&first) })
	if !first.over {
		t.Error("it has returned before the end of the event")
	}
	l.Call(func() {
		l.AtEnd(&passed)
		l.Pass()
		runtime.Goexit()
	})
	if !passed.over {
		t.Error("the loop was passed on, and it has returned before the end of the event")
	}
}

func TestFaultsGoWhereTheySay(t *testing.T) {
	faults := make(chan *csa.Fault, 1)
	all, err := New(1, selector.System, func(f *csa.Fault) bool { faults <- f; return true }, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Stop(all)
	all[0].Post(func() { panic("a bug") })
	select {
	case f := <-faults:
		if f == nil {
			t.Error("the fault is nil")
		}
	case <-time.After(awaittest.Longest):
		t.Fatal("nobody hears of the fault")
	}
	ran := false
	all[0].Call(func() { ran = true })
	if !ran {
		t.Error("the loop does not run on after a fault that may be survived")
	}
}

func TestLeastLoaded(t *testing.T) {
	all := []*Loop{{}, {}, {}}
	for _, c := range []struct {
		load   [3]int64
		usable func(int) bool
		want   int
	}{
		{[3]int64{0, 0, 0}, Any, 0},
		{[3]int64{2, 1, 1}, Any, 1},
		{[3]int64{2, 3, -1}, Any, 2},
		{[3]int64{0, 5, 4}, func(i int) bool { return i > 0 }, 2},
		{[3]int64{0, 5, 4}, func(i int) bool { return i == 1 }, 1},
		{[3]int64{0, 0, 0}, func(int) bool { return false }, -1},
	} {
		for i, n := range c.load {
			all[i].Connections.Store(n)
		}
		if got := LeastLoaded(all, c.usable); got != c.want {
			t.Errorf("of %v it takes %d, not %d", c.load, got, c.want)
		}
	}
	if got := LeastLoaded(nil, Any); got != -1 {
		t.Errorf("of no loops it takes %d", got)
	}
}

// refresher returns a Refresher of the loops, and what stops them.
func refresher(t *testing.T, all []*Loop) (r *Refresher, stop func()) {
	stopped := make(chan struct{})
	stop = func() {
		select {
		case <-stopped:
		default:
			Stop(all)
			close(stopped)
		}
	}
	t.Cleanup(stop)
	return NewRefresher(all, stopped), stop
}

// Show has every loop show every tally, however many there are.
func TestShowAsksAllLoops(t *testing.T) {
	all := start(t, 2)
	r, stop := refresher(t, all)
	for _, n := range []int{0, 1, refreshSlice, 2*refreshSlice + 1} {
		tallies := make([]*csa.Tallies, n)
		for i := range tallies {
			tallies[i] = csa.NewTallies(len(all))
		}
		// Show gives up after a second, which a busy machine may take.
		awaittest.Until(t, "all loops show their tallies", func() bool { return r.Show(context.Background(), tallies) })
	}
	for i := range all {
		if lag := r.Lag(i); lag < 0 || lag > awaittest.Longest {
			t.Errorf("loop %d is said to take %v to answer", i, lag)
		}
	}
	stop()
	if !r.Show(context.Background(), []*csa.Tallies{csa.NewTallies(len(all))}) {
		t.Error("of loops that have stopped it says that they have not shown all")
	}
}

// Nobody waits for ever for a loop that stands still. It is not asked again meanwhile, and its lag
// grows.
func TestShowOfALoopThatStandsStill(t *testing.T) {
	all := start(t, 2)
	r, _ := refresher(t, all)
	held, release := make(chan struct{}), make(chan struct{})
	all[1].Post(func() { close(held); <-release })
	<-held
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r.Show(ctx, nil) {
		t.Error("a loop that stands still is said to have shown all")
	}
	before := r.Lag(1)
	awaittest.Until(t, "the lag grows", func() bool { return r.Lag(1) > before })
	awaittest.Until(t, "the other loop answers", func() bool { return r.asked[0].at.Load() == 0 })
	if r.Show(context.Background(), nil) {
		t.Error("a loop that has not answered yet is said to have shown all")
	}
	close(release)
	awaittest.Until(t, "both loops answer", func() bool { return r.Show(context.Background(), nil) })
}
