package listen

import (
	"time"

	"golang.org/x/sys/unix"
)

// TuneDialled gives a TCP socket that is about to connect its options.
func TuneDialled(fd int, o Options) { _ = tune(fd, o) }

// tune sets the options of a TCP socket. Where the kernel hands them down, the connections that
// are accepted from it have them, which costs no system call a connection.
func tune(fd int, o Options) error {
	type option struct{ level, name, value int }
	set := []option{{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}}
	if o.Keepalive >= time.Second {
		set = append(set, option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1})
	}
	if o.SendBuffer > 0 {
		set = append(set, option{unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer})
	}
	for _, x := range set {
		if err := unix.SetsockoptInt(fd, x.level, x.name, x.value); err != nil {
			return err
		}
	}
	return tuneSystem(fd, o)
}

// ResetOnClose has a connection be reset when it is closed, so that its peer does not take the end
// for an answer that is empty.
func ResetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
