package admin

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reach gives a path by which the socket can be named to the system, however long its own is. It is
// good until done is called.
func reach(path string) (short string, done func(), err error) {
	if len(path) < mostPath {
		return path, func() {}, nil
	}
	dir, name := filepath.Split(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", fd, name), func() { _ = unix.Close(fd) }, nil
}
