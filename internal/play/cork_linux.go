package play

import "golang.org/x/sys/unix"

// cork has the socket hold what is written until it is shut, so that the end travels with it.
func (o *party) cork() {
	_ = o.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
}
