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
func readSocket(fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
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

// writeSocket writes once from p, which must not be empty, and says how much
// went. It answers errWouldBlock when nothing did.
func writeSocket(fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
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
