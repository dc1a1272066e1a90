package zoo

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/internal/cputime"

	"golang.org/x/sys/unix"
)

// machine says what the machine does to threads while a test runs. One and the same virtual machine
// can be some times as dear, or as late, as it was an hour before.
type machine struct {
	wake atomic.Int64 // ns
	late atomic.Int64 // ns
}

// watchMachine has a thread sleep for a millisecond over and over until the test is over.
func watchMachine(t *testing.T) *machine {
	m := &machine{}
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case <-stop:
				return
			default:
				m.sleep()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-gone })
	return m
}

// sleep sleeps once, and notes what that took. It is called on one thread only.
func (m *machine) sleep() {
	began, spent := cputime.Monotonic(), cputime.Thread()
	_, _ = unix.Poll(nil, 1)
	spent, late := cputime.Thread()-spent, cputime.Monotonic()-began-int64(time.Millisecond)
	mean := m.wake.Load()
	if mean == 0 {
		mean = spent
	}
	m.wake.Store(mean + (spent-mean)/64)
	m.late.Store(max(m.late.Load(), late))
}

// wakeCost is how much processor time a thread uses to go to sleep and wake: the mean of the last
// tenth of a second or so.
func (m *machine) wakeCost() time.Duration { return time.Duration(m.wake.Load()) }

// latest is how much later than it had to a thread was woken at most, by the clock.
func (m *machine) latest() time.Duration { return time.Duration(m.late.Load()) }
