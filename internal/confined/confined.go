// Package confined says of an error whether it comes from what the process has given away, and what
// to do then. Package host/confine says what that is.
package confined

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var landlock, dropped atomic.Bool

// SayLandlock says that Landlock is in force in this process from now on. There is no way back.
func SayLandlock() { landlock.Store(true) }

// SayDropped says that the process has given up its privileges for [host] user. There is no way
// back.
func SayDropped() { dropped.Store(true) }

// Mend is the mend for an error of reading a file or a folder, or of changing a folder (writes): a
// clause of its own. It is "" where the permissions of the path alone explain the error, and where
// Landlock is not in force. Any goroutine may call it.
func Mend(err error, path string, writes bool) string {
	if !landlock.Load() || !errors.Is(err, unix.EACCES) {
		return ""
	}
	mode := uint32(unix.R_OK)
	if writes {
		mode = unix.W_OK | unix.X_OK
	}
	if unix.Access(path, mode) != nil { // which Landlock does not hear of
		return ""
	}
	return "Landlock keeps this process from all but what its configuration named when it started: use a folder that it named then, or restart the daemon"
}

// MendPrivilege is the mend for what privileges are needed for: a clause of its own. It is "" where
// the process has not given them up. Any goroutine may call it.
func MendPrivilege() string {
	if !dropped.Load() {
		return ""
	}
	return "this process has given up its privileges for [host] user: restart the daemon"
}
