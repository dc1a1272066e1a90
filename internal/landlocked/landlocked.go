// Package landlocked says of an error whether Landlock is to blame for it, and what to do then.
package landlocked

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var inForce atomic.Bool

// Say has Landlock be in force in this process from now on. There is no way back.
func Say() { inForce.Store(true) }

// mend is what can be done.
const mend = "Landlock keeps this process from all but what its configuration named when it started: use a folder that it named then, or restart the daemon"

// Mend is the mend for an error of reading a file or a folder, or of changing a folder (writes): a
// clause of its own. It is "" where the permissions of the path alone explain the error, and where
// Landlock is not in force. Any goroutine may call it.
func Mend(err error, path string, writes bool) string {
	if !inForce.Load() || !errors.Is(err, unix.EACCES) {
		return ""
	}
	mode := uint32(unix.R_OK)
	if writes {
		mode = unix.W_OK | unix.X_OK
	}
	if unix.Access(path, mode) != nil { // which Landlock does not hear of
		return ""
	}
	return mend
}
