package csa

import "golang.org/x/sys/unix"

// pipe is where the kernel keeps bytes on their way from one socket to another, so
// that they are not copied.
type pipe struct {
	r, w     int
	buffered int       // bytes
	share    PipeShare // that it counts for while it is in use; nil: none
}

const (
	// pipeSize is what a pipe is to hold. The kernel may grant less.
	pipeSize = 256 << 10
	// PipeDescriptors is how many descriptors a pipe takes; 0 where relays use none.
	PipeDescriptors = 2
)

// pipePool are a loop's pipes that are empty.
type pipePool struct {
	most int
	free []*pipe
}

// get returns an empty pipe, which counts for a share; nil when that, or the system, has none.
func (p *pipePool) get(share PipeShare) *pipe {
	if share != nil && !share.TakePipe() {
		return nil
	}
	one := p.any()
	if one != nil {
		one.share = share
	} else if share != nil {
		share.ReturnPipe()
	}
	return one
}

func (p *pipePool) any() *pipe {
	if n := len(p.free); n > 0 {
		one := p.free[n-1]
		p.free = p.free[:n-1]
		return one
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes an empty pipe back.
func (p *pipePool) put(one *pipe) {
	one.leave()
	if len(p.free) < p.most {
		p.free = append(p.free, one)
	} else {
		one.close()
	}
}

func (p *pipePool) close() {
	for _, one := range p.free {
		one.close()
	}
	p.free = nil
}

// leave has the pipe count for nobody any more.
func (p *pipe) leave() {
	if p.share != nil {
		p.share.ReturnPipe()
		p.share = nil
	}
}

func (p *pipe) close() {
	p.leave()
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// readFrom moves what a socket has into the pipe, which has to be empty. It answers as
// readSocket does.
func (p *pipe) readFrom(fd int) (int, error) {
	n, err := splice(fd, p.w, pipeSize)
	p.buffered += n
	return n, err
}

// writeTo moves what the pipe holds to a socket, and answers as writeSocket does.
func (p *pipe) writeTo(fd int) (int, error) {
	n, err := splice(p.r, fd, p.buffered)
	p.buffered -= n
	return n, err
}

// splice does not block, as the pipes and sockets do not; so the scheduler need not hear
// of it. If it did, it would often think that the loop is stuck, since a quarter of a
// megabyte takes longer than it waits for, and have threads change places: a third of the
// CPU time of a relay at full speed.
func splice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(moved), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, errno
		}
	}
}
