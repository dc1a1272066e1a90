//go:build unix

package csa

import (
	"errors"
	"net/netip"

	"bulkhead/abi"

	"golang.org/x/sys/unix"
)

// errSelf is a TCP socket that was connected to itself, which happens when nobody
// listens on a port that the kernel then picks for this end.
var errSelf = errors.New("the socket would be connected to itself")

// connects is the address that a socket for to is connected to; not valid: that is Path.
func (to Address) connects() netip.AddrPort {
	if to.Via.IsValid() {
		return to.Via
	}
	return to.IP
}

// newSocket makes a non-blocking socket of the address's family.
func newSocket(to Address) (int, error) {
	kind := unix.SOCK_STREAM
	if to.UDP {
		kind = unix.SOCK_DGRAM
	}
	switch ip := to.connects(); {
	case !ip.IsValid():
		return openSocket(unix.AF_UNIX, kind)
	case ip.Addr().Unmap().Is4():
		return openSocket(unix.AF_INET, kind)
	}
	return openSocket(unix.AF_INET6, kind)
}

// connectSocket begins to connect, and reports whether that is over already.
func connectSocket(fd int, to Address) (connected bool, err error) {
	var sa unix.Sockaddr
	port := int(to.connects().Port())
	switch ip := to.connects().Addr().Unmap(); {
	case !ip.IsValid():
		sa = &unix.SockaddrUnix{Name: to.Path}
	case ip.Is4():
		sa = &unix.SockaddrInet4{Addr: ip.As4(), Port: port}
	default:
		sa = &unix.SockaddrInet6{Addr: ip.As16(), Port: port}
	}
	for {
		switch err := unix.Connect(fd, sa); err {
		case nil:
			return connectedSocket(fd, to)
		case unix.EINPROGRESS, unix.EALREADY:
			return false, nil
		case unix.EISCONN:
			return true, nil
		case unix.EINTR:
			continue
		default:
			return false, err
		}
	}
}

// connectedSocket reports whether a socket that was connecting is connected now.
func connectedSocket(fd int, to Address) (bool, error) {
	if err := socketError(fd); err != nil {
		return false, err
	}
	peer, err := peerAddrPort(fd)
	if err == unix.ENOTCONN {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if to.IP.IsValid() {
		if own := localAddrPort(fd); own.IsValid() && own == peer {
			return false, errSelf
		}
	}
	return true, nil
}

// dialReason says what an error of a connect means to whoever has asked for it.
func dialReason(err error) Reason {
	switch err {
	case unix.ECONNREFUSED, unix.ECONNRESET, unix.ECONNABORTED, errSelf:
		return NotConnected.With(abi.Refused, "the other side refused the connection")
	case unix.EAGAIN: // of a unix socket
		return NotConnected.With(abi.Refused, "the other side's queue is full")
	case unix.ENOENT, unix.ENOTDIR:
		return NotConnected.With(abi.NotFound, "there is no such socket")
	case unix.EACCES, unix.EPERM:
		return NotConnected.With(abi.Denied, "the system does not allow the host to connect there")
	case unix.ETIMEDOUT:
		return ConnectTimeout.Reason()
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.EHOSTDOWN:
		return NotConnected.With(abi.Unreachable, "the other side cannot be reached")
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL:
		return NotConnected.With(abi.Quota, "the system is out of descriptors, ports or memory for another connection")
	}
	return NotConnected.With(abi.Unreachable, "connecting failed: "+err.Error())
}
