package csa

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sockets are non-blocking, so the scheduler need not hear of these
// calls: RawSyscall saves its bookkeeping on both ends.

// readSocket reads once into p, which must not be empty. It answers
// errWouldBlock when nothing is there, and 0 without an error at the end of
// the stream.
func readSocket(fd int, p []byte) (int, error) { return move(unix.SYS_RECVFROM, fd, p, 0) }

// writeSocket writes once from p, which must not be empty, and says how much
// went. It answers errWouldBlock when nothing did.
func writeSocket(fd int, p []byte) (int, error) {
	return move(unix.SYS_SENDTO, fd, p, unix.MSG_NOSIGNAL)
}

func move(call uintptr, fd int, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, errno
		}
	}
}

// openSocket makes a non-blocking socket.
func openSocket(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// localAddrPort is this end's IP address and port; the zero value if it has none.
func localAddrPort(fd int) netip.AddrPort {
	at, _ := endpoint(unix.SYS_GETSOCKNAME, fd)
	return at
}

// peerAddrPort is the other end's; unix.ENOTCONN says that there is none.
func peerAddrPort(fd int) (netip.AddrPort, error) { return endpoint(unix.SYS_GETPEERNAME, fd) }

// endpoint asks for an end of a socket. It is unix.Getsockname or unix.Getpeername without
// their question which protocol the socket is of.
func endpoint(call uintptr, fd int) (netip.AddrPort, error) {
	var at unix.RawSockaddrInet6 // an IPv4 address fits in, too
	length := uint32(unsafe.Sizeof(at))
	if _, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&length))); errno != 0 {
		return netip.AddrPort{}, errno
	}
	port := (*[2]byte)(unsafe.Pointer(&at.Port))
	switch {
	case length >= unix.SizeofSockaddrInet4 && at.Family == unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&at))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), uint16(port[0])<<8|uint16(port[1])), nil
	case length >= unix.SizeofSockaddrInet6 && at.Family == unix.AF_INET6:
		return netip.AddrPortFrom(withZone(netip.AddrFrom16(at.Addr).Unmap(), at.Scope_id), uint16(port[0])<<8|uint16(port[1])), nil
	}
	return netip.AddrPort{}, nil
}

// system is the kernel, with room for its answers.
type system struct {
	queue  int32
	info   unix.TCPInfo
	length uint32
	held   [9]uint32 // SO_MEMINFO: see sk_get_meminfo
}

func (s *system) unacknowledged(fd int) int {
	s.queue = 0
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&s.queue)))
	if errno != 0 {
		return 0
	}
	return int(s.queue)
}

func (s *system) look(fd int, w *peerInfo) {
	w.unacknowledged = s.unacknowledged(fd)
	s.length = uint32(unsafe.Sizeof(s.info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&s.info)), uintptr(unsafe.Pointer(&s.length)), 0)
	if errno != 0 || s.length < uint32(unsafe.Offsetof(s.info.Rwnd_limited)) { // before Linux 4.10
		return
	}
	w.known = true
	silent := min(s.info.Last_ack_recv, s.info.Last_data_recv)
	w.silent = time.Duration(silent) * time.Millisecond
	w.busy = time.Duration(s.info.Busy_time) * time.Microsecond
	w.asked = int(s.info.Retransmits) + int(s.info.Probes)
}

// What of SO_MEMINFO is where.
const (
	heldReceived = iota
	heldReadBuffer
	heldSent
	heldSendBuffer
	_
	heldQueued
)

// What SO_BUF_LOCK says.
const (
	lockedSendBuffer = 1 << iota
	lockedReadBuffer
)

func (s *system) memory(fd int, w *memoryInfo) bool {
	s.length = uint32(unsafe.Sizeof(s.held))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&s.held)), uintptr(unsafe.Pointer(&s.length)), 0)
	if errno != 0 { // before Linux 4.12
		return false
	}
	h := &s.held
	*w = memoryInfo{
		// A unix socket has no queue of its own: its bytes are the other end's.
		queued: int(max(h[heldQueued], h[heldSent])), sendBuffer: int(h[heldSendBuffer]),
		received: int(h[heldReceived]), readBuffer: int(h[heldReadBuffer]),
	}
	return true
}

func (*system) sendBufferSet(fd int) bool {
	locks, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
	return err != nil || locks&lockedSendBuffer != 0
}

// The system doubles what it is told, for its own overhead.
func (*system) setSendBuffer(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n/2)
}

func (*system) setReadBuffer(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n/2)
}

func (s *system) widenSendBuffer(fd, n int, set bool) {
	s.setSendBuffer(fd, n)
	if !set {
		lock(fd, 0, lockedSendBuffer)
	}
}

func (*system) keepReadBuffer(fd, n int) bool {
	return lock(fd, lockedReadBuffer, 0) || unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n/2) == nil
}

func (*system) freeReadBuffer(fd int) { lock(fd, 0, lockedReadBuffer) }

// lock changes whether the system leaves a socket's buffers as they are. It reports false where it
// cannot be told, before Linux 5.14.
func lock(fd, on, off int) bool {
	locks, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
	return err == nil && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, locks&^off|on) == nil
}

// resetShared resets a TCP connection whose socket others may have open: it is disconnected, which
// tells the peer. A unix socket is shut down.
func resetShared(fd int) {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		_ = shutdownBoth(fd)
	}
}
