// Package forbidden says what to do about a system call that something forbids to this process.
package forbidden

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Mend is the mend for an error of a system call that takes no privilege: a clause of its own. It
// is "" where a filter of system calls does not explain the error. Any goroutine may call it.
func Mend(err error, call string) string {
	if !errors.Is(err, unix.EPERM) {
		return ""
	}
	return "something forbids the system call " + call + ": allow it in SystemCallFilter= of the systemd unit, or in the container's seccomp profile"
}
