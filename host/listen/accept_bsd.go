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

// tuneSystem has nothing to add: keepalive probes come at the system's intervals, there is no
// TCP_USER_TIMEOUT, and no TCP_NOTSENT_LOWAT but on one of these systems.
func tuneSystem(int, Options) error { return nil }

// leaveToSystem has nothing to do: see tuneSystem.
func leaveToSystem(int, Options, Options) error { return nil }

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
