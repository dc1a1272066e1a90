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
	var p pace
	for stopping.Load() == 0 {
		if p.idle {
			sleeping.Store(1)
			if !look(all, false).running && stopping.Load() == 0 {
				<-bell
			}
			sleeping.Store(0)
		}
		time.Sleep(p.next())
		found := look(all, false)
		if found.running {
			time.Sleep(Again)
			again := look(all, true)
			again.entered = again.entered || found.entered
			found = again
		}
		p.note(found)
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
