//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package selector

import "golang.org/x/sys/unix"

// poller is kqueue, with EV_CLEAR for the same edges as epoll's.
type poller struct {
	kqueue int
	pipe   [2]int // woken through a pipe: OpenBSD has no EVFILT_USER
	batch  uint64
	known  []registration // by descriptor
	events [128]unix.Kevent_t
}

// registration stands for epoll's tag, since the field for one differs among
// the BSDs. A descriptor that was registered after a batch of events was
// fetched can have no event in that batch: what bears its number there is of
// an earlier descriptor.
type registration struct {
	index, gen uint32
	batch      uint64
}

func (p *poller) open() (err error) {
	if p.kqueue, err = unix.Kqueue(); err != nil {
		return err
	}
	unix.CloseOnExec(p.kqueue)
	if err = unix.Pipe(p.pipe[:]); err != nil {
		unix.Close(p.kqueue)
		return err
	}
	for _, fd := range p.pipe {
		unix.CloseOnExec(fd)
		if err = unix.SetNonblock(fd, true); err != nil {
			p.close()
			return err
		}
	}
	if err = p.change(p.pipe[0], unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR); err != nil {
		p.close()
	}
	return err
}

func (p *poller) close() {
	unix.Close(p.pipe[0])
	unix.Close(p.pipe[1])
	unix.Close(p.kqueue)
}

func (p *poller) change(fd, filter, flags int) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], fd, filter, flags)
	_, err := unix.Kevent(p.kqueue, change[:], nil, nil)
	return err
}

func (p *poller) add(fd int, index, gen uint32) error {
	if err := p.change(fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR); err != nil {
		return err
	}
	if err := p.change(fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_CLEAR); err != nil {
		_ = p.change(fd, unix.EVFILT_READ, unix.EV_DELETE)
		return err
	}
	for len(p.known) <= fd {
		p.known = append(p.known, registration{})
	}
	p.known[fd] = registration{index, gen, p.batch}
	return nil
}

func (p *poller) remove(fd int) {
	_ = p.change(fd, unix.EVFILT_READ, unix.EV_DELETE)
	_ = p.change(fd, unix.EVFILT_WRITE, unix.EV_DELETE)
	p.known[fd] = registration{}
}

// mute answers that it was not done: a filter that is off would not say that the peer has hung up.
func (p *poller) mute(int, uint32, uint32) bool { return false }

func (p *poller) unmute(int, uint32, uint32) {}

func (p *poller) wait(timeout int64) int {
	p.batch++
	var until *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(timeout)
		until = &ts
	}
	n, err := unix.Kevent(p.kqueue, nil, p.events[:], until)
	if err != nil {
		return 0 // EINTR
	}
	return n
}

func (p *poller) event(i int) (index, gen uint32, ready int8) {
	e := &p.events[i]
	fd := int(e.Ident)
	if fd == p.pipe[0] {
		var drained [64]byte
		for {
			if n, err := unix.Read(fd, drained[:]); n < len(drained) || err != nil {
				return 0, 0, 0
			}
		}
	}
	if fd >= len(p.known) || p.known[fd].batch == p.batch {
		return 0, 0, 0
	}
	switch int(e.Filter) {
	case unix.EVFILT_READ:
		ready = forReader
		if int(e.Flags)&unix.EV_EOF != 0 {
			ready |= hungUp
		}
	case unix.EVFILT_WRITE:
		ready = forWriter
		if int(e.Flags)&unix.EV_EOF != 0 {
			ready |= forReader | forExceptional | hungUp
		}
	}
	return p.known[fd].index, p.known[fd].gen, ready
}

func (p *poller) wake() { _, _ = unix.Write(p.pipe[1], []byte{1}) }
