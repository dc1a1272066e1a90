//go:build !linux || !(amd64 || arm64) || race

package watchdog

import "time"

// alone says that the thread has no part in Go's scheduler.
const alone = false

// bell ends the sleep of the goroutine that watches.
var bell = make(chan struct{}, 1)

// watch looks who runs until stopping is set. It is an ordinary goroutine here, which does
// not run while guests have all places of Go's scheduler.
func watch(all []place) { run(all) }

// doze sleeps until wake, unless wake was called since sleeping was set.
func doze() { <-bell }

// nap sleeps for d.
func nap(d time.Duration) { time.Sleep(d) }

// wake ends the goroutine's sleep.
func wake() {
	if sleeping.Swap(0) != 0 {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
}
