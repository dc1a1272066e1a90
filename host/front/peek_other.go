//go:build !linux

package front

import "golang.org/x/sys/unix"

// peek reads what has come on a socket without taking it, into p, which must not be empty. It
// answers EAGAIN when there is nothing, and 0 without an error at the end of the stream.
func peek(fd int, p []byte) (int, error) { return receive(fd, p, unix.MSG_PEEK) }

// take reads what has come on a socket.
func take(fd int, p []byte) (int, error) { return receive(fd, p, 0) }

// expect has nothing to do here.
func expect(int, int) {}

func receive(fd int, p []byte, flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, p, flags)
		if err != unix.EINTR {
			return n, err
		}
	}
}
