package front

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// peek reads what has come on a socket without taking it, into p, which must not be empty. It
// answers EAGAIN when there is nothing, and 0 without an error at the end of the stream.
func peek(fd int, p []byte) (int, error) { return receive(fd, p, unix.MSG_PEEK) }

// take reads what has come on a socket.
func take(fd int, p []byte) (int, error) { return receive(fd, p, 0) }

// expect has the kernel say nothing before n bytes are there, and make room for as many. What
// cannot be set costs looking more often, or some time.
func expect(fd, n int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) }

// receive is raw, as the socket does not block.
func receive(fd int, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
