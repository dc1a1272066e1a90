package load

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// backend is what a relay connects to: an echo, served by the generator's own thread,
// so that one core plays both sides. It closes a connection when the other side has
// finished, and all has been sent back.
type backend struct {
	poll  *poller
	fd    int // the listening socket
	conns []behindConn
	free  []int
	buf   []byte
}

// behindConn is one connection of it.
type behindConn struct {
	fd    int    // -1: none
	rest  []byte // read, and not taken by the socket
	ended bool
}

// listen makes the listening socket of a backend.
func listen(address string) (int, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().Is4() {
		return -1, fmt.Errorf("backend %q: want an IPv4 address and a port", address)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("making the backend's socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted ones inherit it
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listening on the backend's address %s: %w", address, err)
	}
	return fd, nil
}

// serve has the poller be a backend too.
func (p *poller) serve(address string) error {
	fd, err := listen(address)
	if err != nil {
		return err
	}
	if err := p.add(fd, -1); err != nil {
		unix.Close(fd)
		return err
	}
	p.behind = &backend{poll: p, fd: fd, buf: make([]byte, bufferSize)}
	return nil
}

func (b *backend) close() {
	for i := range b.conns {
		if c := &b.conns[i]; c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
	unix.Close(b.fd)
}

// event is one of the listening socket (0) or of connection n-1.
func (b *backend) event(n int, what uint32) {
	if n == 0 {
		b.accept()
		return
	}
	c := &b.conns[n-1]
	if c.fd < 0 {
		return
	}
	if what&unix.EPOLLOUT != 0 && len(c.rest) > 0 {
		b.send(c)
	}
	if c.fd >= 0 && what&^uint32(unix.EPOLLOUT) != 0 && len(c.rest) == 0 {
		b.receive(c)
	}
	if c.fd >= 0 && c.ended && len(c.rest) == 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
	if c.fd < 0 {
		b.free = append(b.free, n-1)
	}
}

func (b *backend) accept() {
	for {
		fd, _, err := unix.Accept4(b.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		var i int
		if last := len(b.free) - 1; last >= 0 {
			i = b.free[last]
			b.free = b.free[:last]
		} else {
			i = len(b.conns)
			b.conns = append(b.conns, behindConn{})
		}
		b.conns[i] = behindConn{fd: fd}
		if b.poll.add(fd, -2-i) != nil {
			unix.Close(fd)
			b.conns[i].fd = -1
			b.free = append(b.free, i)
		}
	}
}

// receive sends back what has come, until there is no more or the socket is full.
func (b *backend) receive(c *behindConn) {
	for !c.ended && len(c.rest) == 0 {
		n, err := unix.Read(c.fd, b.buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil:
			b.drop(c)
			return
		case n == 0:
			c.ended = true
		default:
			c.rest = b.buf[:n]
			if b.send(c); c.fd < 0 {
				return
			}
		}
	}
}

// send sends the rest, as far as the socket takes it, and keeps a copy of what is left.
// When that is gone, it reads on.
func (b *backend) send(c *behindConn) {
	own := len(c.rest) > 0 && &c.rest[0] != &b.buf[0]
	for len(c.rest) > 0 {
		n, err := unix.Write(c.fd, c.rest)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if !own {
				c.rest = append([]byte(nil), c.rest...)
			}
			return
		case err != nil:
			b.drop(c)
			return
		default:
			c.rest = c.rest[n:]
			if !own && len(c.rest) > 0 {
				c.rest, own = append([]byte(nil), c.rest...), true
			}
		}
	}
	c.rest = nil
	if own {
		b.receive(c)
	}
}

func (b *backend) drop(c *behindConn) {
	unix.Close(c.fd)
	c.fd, c.rest = -1, nil
}
