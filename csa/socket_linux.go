package csa

import (
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

// streamSocket makes a non-blocking socket.
func streamSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
