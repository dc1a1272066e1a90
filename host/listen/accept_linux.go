package listen

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharesDatagrams says that the system deals datagrams out, by peer, over the sockets that share an
// address.
const sharesDatagrams = true

// Accept takes the next connection off the queue: non-blocking, and closed on
// exec. It answers EAGAIN when there is none. The address is that of the other end; nil
// if it has none that is an IP address.
//
// It is unix.Accept4 without what a busy listener pays for at each connection and has no
// use for: the scheduler's bookkeeping, as the socket does not block, and the question which
// protocol the socket is of.
func (s *Socket) Accept() (int, unix.Sockaddr, error) {
	var from unix.RawSockaddrInet6 // an IPv4 address fits in, too
	length := uint32(unsafe.Sizeof(from))
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.FD), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&length)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, nil, errno
	}
	port := func(p uint16) int {
		b := (*[2]byte)(unsafe.Pointer(&p))
		return int(b[0])<<8 | int(b[1])
	}
	switch {
	case length >= unix.SizeofSockaddrInet4 && from.Family == unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&from))
		return int(fd), &unix.SockaddrInet4{Port: port(four.Port), Addr: four.Addr}, nil
	case length >= unix.SizeofSockaddrInet6 && from.Family == unix.AF_INET6:
		return int(fd), &unix.SockaddrInet6{Port: port(from.Port), ZoneId: from.Scope_id, Addr: from.Addr}, nil
	}
	return int(fd), nil, nil
}

// Tune gives an accepted connection the options it has not inherited. On
// Linux it has them all.
func Tune(int, Options) {}

// tuneSystem sets what only this system has, or has more of.
func tuneSystem(fd int, o Options) error {
	if seconds := int(o.Keepalive / time.Second); seconds > 0 {
		for name, value := range map[int]int{unix.TCP_KEEPIDLE: seconds, unix.TCP_KEEPINTVL: seconds, unix.TCP_KEEPCNT: keepaliveProbes} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, name, value); err != nil {
				return err
			}
		}
	}
	if o.UserTimeout > 0 {
		ms := int(min(max(o.UserTimeout/attempts, leastPause), mostPause) / time.Millisecond)
		// Without it, in an older kernel, a peer that has no room and vanishes is found out late.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMax, ms)
	}
	if o.NotSent > 0 {
		// A system that only looks like Linux may have none.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSent); err != nil && err != unix.ENOPROTOOPT {
			return err
		}
	}
	return nil
}

// leaveToSystem leaves what now leaves to the kernel, and before did not, to it.
func leaveToSystem(fd int, before, now Options) error {
	if before.UserTimeout > 0 && now.UserTimeout <= 0 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMax, int(mostPause/time.Millisecond))
	}
	if before.NotSent > 0 && now.NotSent <= 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 0); err != nil && err != unix.ENOPROTOOPT {
			return err
		}
	}
	return nil
}

const keepaliveProbes = 5

// tcpRTOMax is TCP_RTO_MAX_MS, of Linux 6.15: the longest pause between two attempts to reach a
// peer that does not answer, or has no room.
const tcpRTOMax = 44

const (
	attempts   = 4 // in UserTimeout, the first ones not counted, which follow each other sooner
	leastPause = time.Second
	mostPause  = 2 * time.Minute // the kernel's default
)

func streamSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
