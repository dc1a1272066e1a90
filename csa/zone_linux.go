package csa

import (
	"golang.org/x/sys/unix"
)

// interfaceName is the name of a network interface; "" if there is none of the index. It
// does not block.
func interfaceName(index uint32) string {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	ask, err := unix.NewIfreq("?") // the answer goes here
	if err != nil {
		return ""
	}
	ask.SetUint32(index)
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ask) != nil {
		return ""
	}
	return ask.Name()
}
