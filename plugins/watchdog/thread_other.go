//go:build !linux || !(amd64 || arm64) || race

package watchdog

import "time"

// alone says that the thread has no part in Go's scheduler.
const alone = false

// bell ends the sleep of the goroutine that watches.
var bell = make(chan struct{}, 1)

// watch looks who runs until stopping is set. It is an ordinary goroutine here, which does
// not run while guests have all places of Go's scheduler.
func watch(all []place) {
	nobody := 0
	for stopping.Load() == 0 {
		if nobody == quiet {
			sleeping.Store(1)
			if look(all, false) == 0 && stopping.Load() == 0 {
				<-bell
			}
			sleeping.Store(0)
			nobody = 0
		}
		time.Sleep(Look)
		if look(all, false) == 0 {
			nobody++
			continue
		}
		nobody = 0
		time.Sleep(Again)
		look(all, true)
	}
}

// wake ends the goroutine's sleep.
func wake() {
	if sleeping.Swap(0) != 0 {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
}
