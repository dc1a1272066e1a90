//go:build unix

package csa

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errWouldBlock is what reading and writing answer instead of waiting.
var errWouldBlock = errors.New("csa: would block")

// reasonOf says what an error of a socket means for its connection.
func reasonOf(err error) Reason {
	switch err {
	case unix.ECONNRESET, unix.EPIPE, unix.ECONNABORTED, unix.ENOTCONN:
		return PeerReset.Reason()
	case unix.ETIMEDOUT:
		return PeerVanished.Reason()
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.EHOSTDOWN:
		return PeerUnreachable.Reason()
	case unix.ENOMEM, unix.ENOBUFS:
		return SystemFull.Reason()
	}
	return SocketFailed.Because("the socket failed: " + err.Error())
}

func closeSocket(fd int) { _ = unix.Close(fd) }

// resetSocket closes a socket and throws away what the kernel still holds of
// it, on both ends.
func resetSocket(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	closeSocket(fd)
}

func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// socketError takes the error that waits on the socket, nil if there is none.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// socketPath is the path that a unix socket is bound to, "" if there is none.
func socketPath(fd int) string {
	sa, err := unix.Getsockname(fd)
	if a, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
		return a.Name
	}
	return ""
}

// AddrPortOf is the IP address and port of a socket address; the zero value
// if it has none. An IPv4 address that came over an IPv6 socket is given as
// IPv4, and a link-local one has its interface's name as its zone.
func AddrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := withZone(netip.AddrFrom16(a.Addr).Unmap(), a.ZoneId)
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}

// inet6 reports whether a socket is of IPv6, or of both.
func inet6(fd int) bool {
	sa, err := unix.Getsockname(fd)
	_, six := sa.(*unix.SockaddrInet6)
	return err == nil && six
}

// brokenSocket reports whether an error of reading is one that stays.
func brokenSocket(err error) bool {
	return err == unix.EBADF || err == unix.EINVAL || err == unix.ENOTSOCK
}

// badSource reports whether an error of sending may be of the address that a datagram was
// to leave from.
func badSource(err error) bool {
	return err == unix.EINVAL || err == unix.EADDRNOTAVAIL || err == unix.ENODEV
}

// earlierError reports whether an error of sending may be about what was sent before.
func earlierError(err error) bool { return err == unix.ECONNREFUSED }

func shutdownBoth(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }
