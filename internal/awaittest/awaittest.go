// Package awaittest waits in tests for what has to come. How soon it comes says how busy the
// machine is and nothing else, so nothing here judges by the clock: who waits gives up only when
// there is no hope any more.
package awaittest

import (
	"runtime"
	"time"
)

// Longest is for how long a test waits before it says that something never comes: longer than
// anything takes on a machine ten times slower with twenty busy processes, and shorter than a
// test binary may run.
const Longest = 4 * time.Minute

// eager is how often a condition is asked without a pause: what comes at all comes mostly then,
// where the machine is quiet. Asking on would take the processor from what is waited for.
const eager = 200

// TB is what of a testing.TB is needed.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Until returns when cond is true, which is asked again and again on the test's goroutine, and
// fails the test after Longest.
func Until(t TB, what string, cond func() bool) {
	t.Helper()
	began := time.Now()
	pause := 50 * time.Microsecond
	for asked := 1; !cond(); asked++ {
		if asked < eager {
			runtime.Gosched()
			continue
		}
		if time.Since(began) > Longest {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(pause)
		pause = min(2*pause, time.Millisecond)
	}
}

// Deadline is when to give up what begins now.
func Deadline() time.Time { return time.Now().Add(Longest) }
