package cputime

import (
	"runtime"
	"sync"
)

// leastWake and mostWake bound what Wake answers, in nanoseconds.
const leastWake, mostWake = 500, 20_000

// Wake is about how many nanoseconds of processor time it takes to put a thread to sleep and wake
// it: from one microsecond to ten, on virtual machines. It is measured once, by whoever asks first,
// for some milliseconds.
var Wake = sync.OnceValue(func() int64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// One that was interrupted tells nothing, so the fastest of some counts.
	const times, sleeps = 8, 8
	fastest := int64(mostWake)
	for range times {
		began := Thread()
		for range sleeps {
			doze()
		}
		fastest = min(fastest, (Thread()-began)/sleeps)
	}
	return max(fastest, leastWake)
})
