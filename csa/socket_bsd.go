//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package csa

import (
	"net/netip"

	"syscall"

	"golang.org/x/sys/unix"
)

// readSocket reads once into p, which must not be empty. It answers
// errWouldBlock when nothing is there, and 0 without an error at the end of
// the stream.
func readSocket(fd int, p []byte) (int, error) {
	return once(func() (int, error) { return unix.Read(fd, p) })
}

// writeSocket writes once from p, which must not be empty, and says how much
// went. It answers errWouldBlock when nothing did. The Go runtime ignores
// SIGPIPE for descriptors above 2.
func writeSocket(fd int, p []byte) (int, error) {
	return once(func() (int, error) { return unix.Write(fd, p) })
}

func once(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, err
		}
	}
}

// openSocket makes a non-blocking socket.
func openSocket(family, kind int) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		closeSocket(fd)
		return -1, err
	}
	return fd, nil
}

// localAddrPort is this end's IP address and port; the zero value if it has none.
func localAddrPort(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return AddrPortOf(sa)
}

// peerAddrPort is the other end's; unix.ENOTCONN says that there is none.
func peerAddrPort(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return AddrPortOf(sa), nil
}

// system is the kernel. It is not asked: these systems say that a socket has room as soon as it
// has room for 2 KiB, so that what it takes is what the peer takes.
type system struct{}

func (*system) unacknowledged(int) int { return 0 }
func (*system) look(int, *peerInfo)    {}

// It does not tell what a socket holds. The buffers of these systems have a fixed bound each.
func (*system) memory(int, *memoryInfo) bool     { return false }
func (*system) sendBufferSet(int) bool           { return false }
func (*system) setSendBuffer(_, _ int)           {}
func (*system) setReadBuffer(_, _ int)           {}
func (*system) widenSendBuffer(_, _ int, _ bool) {}
func (*system) keepReadBuffer(_, _ int) bool     { return false }
func (*system) freeReadBuffer(int)               {}

// resetShared ends a connection whose socket others may have open.
func resetShared(fd int) { _ = shutdownBoth(fd) }
