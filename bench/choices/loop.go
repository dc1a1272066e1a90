package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is one connection of a loop.
type conn struct {
	fd       int
	armed    uint32 // what the epoll descriptor watches for
	readable bool   // edge: there may be more to read
	hungUp   bool   // edge: the end has come, and no event will follow for it
	waiting  bool   // edge: it is on the loop's list of those with more to read
	out      []byte // taken in and not yet sent; nothing is read meanwhile
	sent     int    // of out
}

// loop is one event loop: an epoll descriptor and the connections on it.
type loop struct {
	o        options
	epfd     int
	wake     int // eventfd
	file     *os.File
	raw      syscall.RawConn // the epoll descriptor in Go's poller, to park on
	listener int             // -1: none
	all      []*loop
	conns    []*conn // by descriptor
	events   [128]unix.EpollEvent
	buf      []byte
	more     []*conn      // edge: those with something to read
	spare    []*conn      // the list that was more
	open     atomic.Int64 // connections, with those handed over and not yet taken

	mu     sync.Mutex
	handed []int // descriptors that another loop has accepted for this one
	woken  atomic.Bool
}

func newLoop(o options) (*loop, error) {
	l := &loop{o: o, listener: -1, buf: make([]byte, 64<<10)}
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an epoll descriptor: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	if err := l.ctl(unix.EPOLL_CTL_ADD, l.wake, unix.EPOLLIN|unix.EPOLLET&0xffffffff); err != nil {
		return nil, err
	}
	if o.Wait == "park" || o.Wait == "spin+park" {
		// NewFile puts a descriptor into Go's poller only when it is
		// non-blocking.
		if err := unix.SetNonblock(l.epfd, true); err != nil {
			return nil, fmt.Errorf("making the epoll descriptor non-blocking: %w", err)
		}
		l.file = os.NewFile(uintptr(l.epfd), "epoll")
		if l.raw, err = l.file.SyscallConn(); err != nil {
			return nil, fmt.Errorf("putting the epoll descriptor into Go's poller: %w", err)
		}
	}
	return l, nil
}

func (l *loop) ctl(op, fd int, events uint32) error {
	if err := unix.EpollCtl(l.epfd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl of descriptor %d: %w", fd, err)
	}
	return nil
}

func (l *loop) run() {
	for {
		for _, ev := range l.wait() {
			switch fd := int(ev.Fd); fd {
			case l.wake:
				l.take()
			case l.listener:
				l.accept()
			default:
				// A connection closed earlier in this batch has no events
				// left in it: one wait gives one event a descriptor.
				if c := l.conns[fd]; c != nil {
					l.event(c, ev.Events)
				}
			}
		}
		l.readMore()
	}
}

// take adopts what other loops have accepted for this one.
func (l *loop) take() {
	var b [8]byte
	unix.Read(l.wake, b[:])
	l.woken.Store(false)
	l.mu.Lock()
	handed := l.handed
	l.handed = nil
	l.mu.Unlock()
	for _, fd := range handed {
		l.adopt(fd)
	}
}

// hand gives the loop a descriptor, from another loop.
func (l *loop) hand(fd int) {
	l.mu.Lock()
	l.handed = append(l.handed, fd)
	l.mu.Unlock()
	if l.woken.CompareAndSwap(false, true) {
		one := [8]byte{1}
		unix.Write(l.wake, one[:])
	}
}

// accept takes at most 64 connections, and places them.
func (l *loop) accept() {
	for range 64 {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // EAGAIN, or a peer that has gone already
		}
		to := l
		if l.o.Accept == "one" {
			for _, m := range l.all {
				if m.open.Load() < to.open.Load() {
					to = m
				}
			}
		}
		to.open.Add(1)
		if to == l {
			l.adopt(fd)
		} else {
			to.hand(fd)
		}
	}
}

// adopt arms a new connection on its loop.
func (l *loop) adopt(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if l.o.SndBuf > 0 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, l.o.SndBuf)
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, make([]*conn, max(64, len(l.conns)))...)
	}
	c := &conn{fd: fd}
	switch l.o.Trigger {
	case "edge":
		c.armed = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	case "oneshot":
		c.armed = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT
	default:
		c.armed = unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if l.ctl(unix.EPOLL_CTL_ADD, fd, c.armed) != nil {
		unix.Close(fd)
		l.open.Add(-1)
		return
	}
	l.conns[fd] = c
}

func (l *loop) close(c *conn) {
	l.conns[c.fd] = nil
	unix.Close(c.fd)
	l.open.Add(-1)
}

// event does what an event allows, and arms the next one.
func (l *loop) event(c *conn, what uint32) {
	if l.o.Trigger == "edge" {
		if what&^unix.EPOLLOUT != 0 {
			c.readable = true
		}
		if what&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.hungUp = true
		}
		// Bytes that come in while others wait to go out are events too, and
		// no reason to ask the socket again whether it has room.
		if what&^(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 && !l.flush(c) {
			return
		}
		l.next(c)
		return
	}
	if c.out != nil {
		if !l.flush(c) {
			return
		}
	} else if !l.echo(c) {
		return
	}
	want := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if c.out != nil {
		want = unix.EPOLLOUT
	}
	if l.o.Trigger == "oneshot" {
		l.ctl(unix.EPOLL_CTL_MOD, c.fd, want|unix.EPOLLONESHOT)
	} else if want != c.armed {
		c.armed = want
		l.ctl(unix.EPOLL_CTL_MOD, c.fd, want)
	}
}

// next has an edge-triggered connection read at the end of this turn, or in the
// next one when that has begun, if there is anything to read and nothing to send
// before. No event may follow for that.
func (l *loop) next(c *conn) {
	if c.readable && c.out == nil && !c.waiting {
		c.waiting = true
		l.more = append(l.more, c)
	}
}

// readMore lets each connection on the list read once.
func (l *loop) readMore() {
	now := l.more
	l.more = l.spare[:0]
	for _, c := range now {
		c.waiting = false
		if l.conns[c.fd] == c && c.out == nil && l.echo(c) {
			l.next(c)
		}
	}
	l.spare = now
}

// echo reads once and sends what it read; false when the connection is over.
func (l *loop) echo(c *conn) bool {
	n, err := unix.Read(c.fd, l.buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		c.readable = err == unix.EINTR
		return true
	}
	if n <= 0 || err != nil {
		l.close(c)
		return false
	}
	c.readable = n == len(l.buf) || c.hungUp
	m, err := unix.Write(c.fd, l.buf[:n])
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		l.close(c)
		return false
	}
	if m = max(m, 0); m < n {
		c.out, c.sent = append([]byte(nil), l.buf[m:n]...), 0
	}
	return true
}

// flush sends what is left over; false when the connection is over.
func (l *loop) flush(c *conn) bool {
	for c.out != nil {
		n, err := unix.Write(c.fd, c.out[c.sent:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return true
		}
		if err != nil {
			l.close(c)
			return false
		}
		if c.sent += n; c.sent == len(c.out) {
			c.out = nil
		}
	}
	return true
}
