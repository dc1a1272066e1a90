//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package csa

import "golang.org/x/sys/unix"

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
