package selector

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is epoll. Descriptors are registered once, edge-triggered, for
// everything: RATIONALE.md, "Why edge-triggered?", has the measurements.
type poller struct {
	epoll  int
	waker  int
	events [128]unix.EpollEvent
}

func (p *poller) open() (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if p.waker, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(p.epoll)
		return err
	}
	// Edge-triggered, each write to the eventfd is an event of its own: it
	// never has to be read.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.waker, &event); err != nil {
		p.close()
	}
	return err
}

func (p *poller) close() {
	unix.Close(p.waker)
	unix.Close(p.epoll)
}

const (
	// still is what a muted descriptor reports: everything but that there is something to read.
	// Datagrams say EPOLLPRI with it.
	still = unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	all   = still | unix.EPOLLIN | unix.EPOLLPRI
)

func (p *poller) add(fd int, index, gen uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, index, gen, all)
}

// mute has a descriptor that was added not report that there is something to read. It answers
// whether that was done.
func (p *poller) mute(fd int, index, gen uint32) bool {
	return p.control(unix.EPOLL_CTL_MOD, fd, index, gen, still) == nil
}

// unmute undoes mute. What can be read by then is reported.
func (p *poller) unmute(fd int, index, gen uint32) {
	_ = p.control(unix.EPOLL_CTL_MOD, fd, index, gen, all)
}

func (p *poller) control(op, fd int, index, gen, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(index), Pad: int32(gen)}
	return unix.EpollCtl(p.epoll, op, fd, &event)
}

// remove is made before every close: a descriptor that a child has inherited
// would otherwise go on reporting.
func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// wait sleeps for at most the given nanoseconds (negative: without end) and
// returns how many events there are.
func (p *poller) wait(timeout int64) int {
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+999_999)/1_000_000, 1<<30))
	}
	var n uintptr
	var errno unix.Errno
	if ms == 0 {
		// It cannot block, so the scheduler need not hear of it.
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(ms), 0, 0)
	}
	if errno != 0 {
		return 0 // EINTR; nothing else can be wrong with our own descriptors
	}
	return int(n)
}

func (p *poller) event(i int) (index, gen uint32, ready int8) {
	e := &p.events[i]
	if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= forReader
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= forWriter
	}
	if e.Events&(unix.EPOLLPRI|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= forExceptional
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= hungUp
	}
	return uint32(e.Fd), uint32(e.Pad), ready
}

func (p *poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.waker, one[:])
}
