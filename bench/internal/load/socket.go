package load

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sourcePorts is how many connections are made from one source address before
// the next is taken: fewer than the ports that Linux hands out by default.
const sourcePorts = 16384

// open makes a socket that is bound to source address number i: 127.0.0.1,
// 127.0.0.2 and so on, 250 of them, so that a port in TIME_WAIT is met again
// only after millions of connections. A server that is not on the loopback is
// reached from whichever address the kernel picks.
func open(to netip.AddrPort, i int, flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	if to.Addr().IsLoopback() {
		// The port is chosen in connect, where the pair has to be free, and
		// not in bind, where the port would have to be.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		src := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i%250)}}
		if err := unix.Bind(fd, src); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("binding to 127.0.0.%d: %w", src.Addr[3], err)
		}
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return fd, nil
}

// dial opens a connection and waits for it, then makes it non-blocking.
func dial(to netip.AddrPort, i int, timeout time.Duration) (int, error) {
	fd, err := open(to, i, 0)
	if err != nil {
		return -1, err
	}
	tv := unix.NsecToTimeval(int64(timeout))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	for {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EALREADY || err == unix.EISCONN {
		err = nil // an interrupted connect went on by itself
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connecting to %v: %w", to, err)
	}
	return fd, nil
}

// poller is an epoll descriptor whose sockets are armed once, for everything,
// edge-triggered. It has a backend's events seen to by that.
type poller struct {
	fd     int
	behind *backend // nil: none
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll descriptor: %w", err)
	}
	return &poller{fd: fd}, nil
}

func (p *poller) close() {
	if p.behind != nil {
		p.behind.close()
	}
	unix.Close(p.fd)
}

// add watches fd; slot comes back with its events. Those below zero are the
// backend's.
func (p *poller) add(fd, slot int) error {
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff,
		Fd:     int32(slot),
	}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watching descriptor %d: %w", fd, err)
	}
	return nil
}

// wait returns the events that are there, or come within timeout. Zero or less
// does not wait.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	ms := 0
	if timeout > 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1000))
	}
	n, err := unix.EpollWait(p.fd, p.events[:], ms)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("waiting for events: %w", err)
	}
	if p.behind == nil {
		return p.events[:n], nil
	}
	mine := 0
	for i := range n {
		if e := &p.events[i]; e.Fd < 0 {
			p.behind.event(-int(e.Fd)-1, e.Events)
		} else {
			p.events[mine] = *e
			mine++
		}
	}
	return p.events[:mine], nil
}

// portInConnect has a socket that is bound to an address get its port in connect.
func portInConnect(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
