package access

import (
	"fmt"

	"bulkhead/internal/confined"

	"golang.org/x/sys/unix"
)

// mayMake says whether Landlock keeps files from being made in a folder. It makes one without a
// name.
func mayMake(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return unix.Close(fd)
	}
	if mend := confined.Mend(err, dir, true); mend != "" {
		return fmt.Errorf("%w; %s", err, mend)
	}
	return nil // not every file system has such files
}
