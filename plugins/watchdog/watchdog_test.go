package watchdog

import (
	"runtime"
	"sync/atomic"
	"testing"

	"bulkhead/internal/awaittest"
)

// wait waits for a condition, for as long as it takes.
func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	awaittest.Until(t, what, f)
}

// Fuel that lasts for too long is taken away, and what was left can still be told.
func TestFuelIsTaken(t *testing.T) {
	Start()
	defer Stop()
	word := new(int64)
	c := NewCounter(word)
	c.Set(1000)
	c.Enter()
	wait(t, "the fuel is taken", func() bool { return atomic.LoadInt64(word) < 0 })
	if left := c.Left(); left != 1000 {
		t.Errorf("%d units are left; want 1000", left)
	}
	// It is taken again, had the guest's own store undone it.
	atomic.StoreInt64(word, 900)
	wait(t, "the fuel is taken again", func() bool { return atomic.LoadInt64(word) < 0 })
	if left := c.Left(); left != 900 {
		t.Errorf("%d units are left; want 900", left)
	}
	c.Leave()
	// What is owed is not taken to be taken.
	c.Set(-5)
	if left := c.Left(); left != -5 {
		t.Errorf("%d units are left; want -5", left)
	}
}

// Who does not run keeps what it has, also while others run.
func TestFuelIsKeptWhereNobodyRuns(t *testing.T) {
	Start()
	defer Stop()
	rests, runs := NewCounter(new(int64)), NewCounter(new(int64))
	rests.Set(7)
	runs.Set(7)
	rests.Enter()
	rests.Leave()
	for range 3 {
		runs.Set(7)
		runs.Enter()
		wait(t, "the fuel of the one that runs is taken", func() bool { return atomic.LoadInt64(runs.word) < 0 })
		runs.Leave()
	}
	if v := atomic.LoadInt64(rests.word); v != 7 {
		t.Errorf("%d units are left to one that does not run; want 7", v)
	}
	rests.Leave() // does nothing
}

// Guests that hold every place of Go's scheduler, and never give one back, are found all the
// same; so is the first one after a rest.
func TestTheThreadNeedsNoPlace(t *testing.T) {
	if !alone {
		t.Skip("the watchdog is an ordinary goroutine in this build")
	}
	Start()
	defer Stop()
	wait(t, "it sleeps", func() bool { return sleeping.Load() == 1 })
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	word := new(int64)
	c := NewCounter(word)
	c.Set(1 << 30)
	c.Enter()
	spin(word)
	c.Leave()
	if v := *word; v >= 0 {
		t.Errorf("%d", v)
	}
}

// spin is a guest: it has no place where the scheduler could stop it.
//
//go:nosplit
func spin(word *int64) {
	for atomic.LoadInt64(word) >= 0 {
	}
}

// More than there are places run unwatched, and harm nobody.
func TestPlacesRunOut(t *testing.T) {
	Start()
	defer Stop()
	all := make([]Counter, len(places())+3)
	for k := range all {
		all[k] = NewCounter(new(int64))
		all[k].Prefer(uintptr(k % 5))
		all[k].Enter()
	}
	for k := range all {
		all[k].Leave()
	}
	for k := range places() {
		if places()[k].word.Load() != nil {
			t.Errorf("place %d is still taken", k)
		}
	}
}

// The thread begins and ends with its users.
func TestHoldersEnd(t *testing.T) {
	for range 50 {
		Start()
		Start()
		Stop()
		Stop()
	}
	if users != 0 {
		t.Errorf("%d holders are left", users)
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	Start()
	defer Stop()
	c := NewCounter(new(int64))
	for b.Loop() {
		c.Enter()
		c.Leave()
	}
}
