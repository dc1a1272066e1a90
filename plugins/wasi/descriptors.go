package wasi

import "encoding/binary"

var le = binary.LittleEndian

// The rights of the descriptors, and what they are: a terminal rather than a
// socket, so that C libraries flush standard output at the end of a line.
const (
	rightRead       = 1 << 1
	rightWrite      = 1 << 6
	rightPoll       = 1 << 27
	characterDevice = 2
)

func fdStat(p *Process, s []uint64) Errno {
	out, e := p.describe(s, 24)
	if e != Success {
		return e
	}
	out[0] = characterDevice
	rights := uint64(rightWrite | rightPoll)
	if uint32(s[0]) == 0 {
		rights = rightRead | rightPoll
	}
	le.PutUint64(out[8:], rights)
	return Success
}

func fileStat(p *Process, s []uint64) Errno {
	out, e := p.describe(s, 64)
	if e != Success {
		return e
	}
	out[16] = characterDevice
	le.PutUint64(out[24:], 1)
	return Success
}

// describe gives the place, with zeros in it, for a description of an open
// descriptor: s holds the descriptor and where the guest wants n bytes.
func (p *Process) describe(s []uint64, n uint32) ([]byte, Errno) {
	out := at(p.System.Memory(), uint32(s[1]), n)
	switch {
	case !p.open(uint32(s[0])):
		return nil, Badf
	case out == nil:
		return nil, Fault
	}
	clear(out)
	return out, Success
}

func fdClose(p *Process, s []uint64) Errno {
	fd := uint32(s[0])
	if !p.open(fd) {
		return Badf
	}
	p.closed[fd] = true
	p.System.Close(int(fd))
	return Success
}

// vectors collects the buffers that are not empty, at most most of them.
func (p *Process) vectors(memory []byte, ptr, n uint32, most int) ([][]byte, Errno) {
	if n > maxVectors {
		return nil, Inval
	}
	list := at(memory, ptr, 8*n)
	if list == nil {
		return nil, Fault
	}
	p.iov = p.iov[:0]
	for ; len(list) > 0; list = list[8:] {
		b := at(memory, le.Uint32(list), le.Uint32(list[4:]))
		if b == nil {
			return nil, Fault
		}
		if len(b) > 0 && len(p.iov) < most {
			p.iov = append(p.iov, b)
		}
	}
	return p.iov, Success
}

func fdRead(p *Process, s []uint64) Errno {
	memory := p.System.Memory()
	iov, e := p.vectors(memory, uint32(s[1]), uint32(s[2]), 1)
	out := at(memory, uint32(s[3]), 4)
	switch {
	case uint32(s[0]) != 0 || p.closed[0]:
		return Badf
	case e != Success:
		return e
	case out == nil: // found out before anything is read, so that nothing is lost
		return Fault
	}
	n := 0
	if len(iov) > 0 {
		n, e = p.System.Read(iov[0])
	}
	clear(iov) // they must not outlive the memory
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}

func fdWrite(p *Process, s []uint64) Errno {
	memory, fd := p.System.Memory(), uint32(s[0])
	iov, e := p.vectors(memory, uint32(s[1]), uint32(s[2]), maxVectors)
	out := at(memory, uint32(s[3]), 4)
	switch {
	case fd == 0 || !p.open(fd):
		return Badf
	case e != Success:
		return e
	case out == nil:
		return Fault
	}
	n := 0
	if len(iov) > 0 {
		n, e = p.System.Write(int(fd), iov)
		p.System.Breathe()
	}
	clear(iov)
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}
