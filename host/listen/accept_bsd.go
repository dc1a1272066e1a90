//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sharesDatagrams says that the system deals datagrams out, by peer, over the sockets that share an
// address.
const sharesDatagrams = false

// Accept takes the next connection off the queue: non-blocking, and closed on
// exec. It answers EAGAIN when there is none.
func (s *Socket) Accept() (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	fd, sa, err := unix.Accept(s.FD)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, sa, nil
}

// Tune gives an accepted connection the options it has not inherited.
func Tune(fd int, o Options) { _ = tune(fd, o) }

// TuneDialled gives a TCP socket that is about to connect its options.
func TuneDialled(fd int, o Options) { _ = tune(fd, o) }

// tune sets what all of these systems have: no delay, the room to send, and whether to probe a
// silent peer, at the system's intervals. There is no TCP_USER_TIMEOUT, and no
// TCP_NOTSENT_LOWAT but on one of them.
func tune(fd int, o Options) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if o.SendBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer); err != nil {
			return err
		}
	}
	if o.Keepalive > 0 {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	return nil
}

func streamSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	return fd, unix.SetNonblock(fd, true)
}
