package wasi

import "encoding/binary"

var le = binary.LittleEndian

// nonBlocking is the flag of a descriptor that no call is to wait for.
const nonBlocking = 1 << 2

// streamKind is what a stream is: standard input is a connection, and no terminal. Standard
// output passes for a terminal, since C libraries keep back what is written to anything else
// until a buffer is full, and a peer would wait for an answer.
func streamKind(fd uint32) byte {
	if fd == 0 {
		return kindStream
	}
	return kindCharacterDevice
}

func fdStat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 24)
	fd := uint32(s[0])
	f := p.file(fd)
	switch {
	case f == nil && !p.open(fd):
		return Badf
	case out == nil:
		return Fault
	}
	clear(out)
	if f != nil {
		out[0] = f.node.kind()
		le.PutUint16(out[2:], f.flags)
		// All of them, so that what is not allowed is asked for, and has its own error.
		le.PutUint64(out[8:], rightsAll)
		le.PutUint64(out[16:], rightsAll)
		return Success
	}
	out[0] = streamKind(fd)
	le.PutUint16(out[2:], p.flags[fd])
	rights := uint64(rightWrite | rightPoll)
	if fd == 0 {
		rights = rightRead | rightPoll
	}
	le.PutUint64(out[8:], rights)
	return Success
}

// setFlags has a stream's calls not wait, or wait again. Files never wait.
func setFlags(p *Process, s []uint64) Errno {
	fd, flags := uint32(s[0]), uint16(s[1])
	switch f := p.file(fd); {
	case f != nil:
		f.flags = flags
	case !p.open(fd):
		return Badf
	case flags&^nonBlocking != 0:
		return Inval
	default:
		p.flags[fd] = flags
	}
	return Success
}

func fileStat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 64)
	fd := uint32(s[0])
	f := p.file(fd)
	switch {
	case f == nil && !p.open(fd):
		return Badf
	case out == nil:
		return Fault
	case f != nil:
		f.node.stat(out)
		return Success
	}
	clear(out)
	out[16] = streamKind(fd)
	le.PutUint64(out[24:], 1)
	return Success
}

func fdClose(p *Process, s []uint64) Errno {
	fd := uint32(s[0])
	if f := p.file(fd); f != nil {
		*f = file{}
		return Success
	}
	if !p.open(fd) {
		return Badf
	}
	p.closed[fd] = true
	p.System.Close(int(fd))
	return Success
}

// vectors collects the buffers that are not empty, at most most of them. They are for dropVectors
// when the call is over.
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

// keptVectors is how many buffers a Process keeps room for between calls: one call may name a
// thousand, and 24 KB that nobody is charged for would stay with each instance. C libraries
// name two.
const keptVectors = 8

// dropVectors forgets the buffers, which must not outlive the memory.
func (p *Process) dropVectors() {
	if cap(p.iov) > keptVectors {
		p.iov = nil
		return
	}
	clear(p.iov)
	p.iov = p.iov[:0]
}

func fdRead(p *Process, s []uint64) Errno {
	memory := p.System.Memory()
	if f := p.file(uint32(s[0])); f != nil {
		n, e := p.readAt(f, f.at, s, at(memory, uint32(s[3]), 4))
		f.at += int64(n)
		return e
	}
	defer p.dropVectors()
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
	switch {
	case len(iov) == 0:
	case p.mustWait():
		e = Again
	default:
		n, e = p.System.Read(iov[0])
	}
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}

// mustWait reports whether reading would have to wait, and is not to.
func (p *Process) mustWait() bool {
	if p.flags[0]&nonBlocking == 0 {
		return false
	}
	got, _ := p.System.Poll(Readable, 0)
	return got == 0
}

func fdWrite(p *Process, s []uint64) Errno {
	memory, fd := p.System.Memory(), uint32(s[0])
	defer p.dropVectors()
	iov, e := p.vectors(memory, uint32(s[1]), uint32(s[2]), maxVectors)
	out := at(memory, uint32(s[3]), 4)
	switch {
	case fd == 0 || !p.open(fd): // files can only be read
		return Badf
	case e != Success:
		return e
	case out == nil:
		return Fault
	}
	n := 0
	if len(iov) > 0 {
		n, e = p.System.Write(int(fd), iov, p.flags[fd]&nonBlocking == 0)
		p.System.Breathe()
	}
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}
