package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's settings for TCP differ from machine to machine, and one of them has been
// seen to decide all that bytes in bulk show: BBR, the congestion control of some cloud images,
// takes the loopback for a network with a round trip of a microsecond, sends
// a few packets, and waits for acknowledgements that are delayed.
const (
	congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control"
	availableFile  = "/proc/sys/net/ipv4/tcp_available_congestion_control"
)

// ownNetwork gives the calling thread, and the processes that it starts from here on, a
// network of their own that has a loopback, nothing else, and the kernel's usual congestion
// control; it takes root. It says in a clause what came of it.
func ownNetwork() string {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return "the machine's loopback, with congestion control " + congestion()
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Sprintf("a loopback that does not come up (%v)", err)
	}
	for _, usual := range []string{"cubic", "reno"} {
		if b, err := os.ReadFile(availableFile); err == nil && strings.Contains(string(b), usual) {
			if os.WriteFile(congestionFile, []byte(usual), 0) == nil {
				break
			}
		}
	}
	return "a loopback of their own, with congestion control " + congestion()
}

func congestion() string {
	b, err := os.ReadFile(congestionFile)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// raiseLoopback switches the loopback of the thread's network on.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
