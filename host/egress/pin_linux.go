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
	if err := leadsTo(real, fd); err != nil {
		_ = syscall.Close(fd)
		return pinned{}, err
	}
	return pinned{path: real, dial: dial, release: func() { _ = syscall.Close(fd) }}, nil
}

// leadsTo wants that the path the kernel gives for fd leads there from here. It does not
// when the file is deleted, or when a link in /proc (to the root of another process) led
// out of what this process sees: then the kernel gives a path as that one sees it, which
// may look like one that is listed.
func leadsTo(real string, fd int) error {
	var here, there syscall.Stat_t
	if err := syscall.Fstat(fd, &there); err != nil {
		return err
	}
	if err := syscall.Lstat(real, &here); err != nil {
		return err
	}
	if here.Dev != there.Dev || here.Ino != there.Ino {
		return syscall.ENOENT
	}
	return nil
}

func openPath(path string) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, oPath|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}
