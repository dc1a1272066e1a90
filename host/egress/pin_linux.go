package egress

import (
	"os"
	"strconv"
	"syscall"
)

// oPath opens a place in the file system and nothing more; the syscall package
// has it for some architectures only, but it is the same for all.
const oPath = 0x200000

// pin holds on to the file that path leads to by a descriptor, under whose
// name in /proc the kernel gives the file's own path and connects to it.
func pin(path string) (pinned, error) {
	fd, err := openPath(path)
	if err != nil {
		return pinned{}, err
	}
	dial := "/proc/self/fd/" + strconv.Itoa(fd)
	real, err := os.Readlink(dial)
	if err != nil { // there is no /proc here
		_ = syscall.Close(fd)
		return pinPath(path)
	}
	return pinned{path: real, dial: dial, release: func() { _ = syscall.Close(fd) }}, nil
}

func openPath(path string) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, oPath|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}
