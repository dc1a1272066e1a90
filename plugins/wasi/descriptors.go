package wasi

import (
	"encoding/binary"
	"slices"
)

var le = binary.LittleEndian

const (
	// streams is how many descriptors are streams when a program starts: 0 to 2.
	streams = 3
	// preopened is the descriptor that a program's folder has when it starts.
	preopened = streams
	// mostFiles is how many files and folders a program may have open. They cost the host a
	// few words each.
	mostFiles = 256
)

// Flags of descriptors.
const (
	nonBlocking = 1 << 2 // no call is to wait
	flagsAll    = 1<<5 - 1
)

// The kinds of files.
const (
	kindCharacterDevice = 2
	kindFolder          = 3
	kindRegular         = 4
	kindStream          = 6
	kindLink            = 7
)

// file is what a descriptor is for: a stream, or an open file or folder of a Folder.
type file struct {
	node               *node // nil: no file of a folder
	at                 int64 // where it is read next
	rights, inheriting uint64
	flags              uint16
	stream             int8 // which stream it is, of those that the System knows; closed: none
	open               bool
}

// theStreams are the first descriptors of every program.
var theStreams = [streams]file{
	{rights: rightsInput, stream: 0, open: true},
	{rights: rightsOutput, stream: 1, open: true},
	{rights: rightsOutput, stream: 2, open: true},
}

// look is what a descriptor is for; nil: it is not open. What it gives may not be changed.
func (p *Process) look(fd uint32) *file {
	switch {
	case p.files == nil && fd < streams:
		return &theStreams[fd]
	case p.files == nil && fd == preopened && p.Folder != nil:
		return &p.Folder.opened
	case fd < uint32(len(p.files)) && p.files[fd].open:
		return &p.files[fd]
	}
	return nil
}

// own is look for who changes what it gives. Programs that change nothing share their table.
func (p *Process) own(fd uint32) *file {
	if p.look(fd) == nil {
		return nil
	}
	switch {
	case p.files == nil:
		p.files = slices.Clone(theStreams[:])
		if p.Folder != nil {
			p.files = append(p.files, p.Folder.opened)
		}
	case p.shared:
		p.files = slices.Clone(p.files)
	}
	p.shared = false
	return &p.files[fd]
}

// free is a descriptor that is not open, above those of the streams. The caller must have
// the process own its table.
func (p *Process) free() (fd uint32, e Errno) {
	for i := streams; i < len(p.files); i++ {
		if !p.files[i].open {
			return uint32(i), Success
		}
	}
	if len(p.files) >= streams+mostFiles {
		return 0, MFile
	}
	p.files = append(p.files, file{})
	return uint32(len(p.files) - 1), Success
}

// streamOf is the stream that a descriptor is, and whether it is one.
func (p *Process) streamOf(fd uint32) (*file, bool) {
	f := p.look(fd)
	return f, f != nil && f.node == nil
}

// onFile runs do for an open file or folder. Streams answer stream, and what is not open Badf.
func onFile(stream Errno, do func(p *Process, f *file, s []uint64) Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		switch f := p.look(uint32(s[0])); {
		case f == nil:
			return Badf
		case f.node == nil:
			return stream
		default:
			return do(p, f, s)
		}
	}
}

// onOpen runs do for whatever is open, which do may change.
func onOpen(do func(p *Process, f *file, s []uint64) Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		f := p.own(uint32(s[0]))
		if f == nil {
			return Badf
		}
		return do(p, f, s)
	}
}

func fileError(e Errno) func(*Process, *file, []uint64) Errno {
	return func(*Process, *file, []uint64) Errno { return e }
}

// kind is what it is. Standard input is a connection, and no terminal. Standard output
// passes for a terminal, since C libraries keep back what is written to anything else
// until a buffer is full, and a peer would wait for an answer.
func (f *file) kind() byte {
	switch {
	case f.node != nil:
		return f.node.kind()
	case f.stream == 0:
		return kindStream
	}
	return kindCharacterDevice
}

func fdStat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 24)
	f := p.look(uint32(s[0]))
	switch {
	case f == nil:
		return Badf
	case out == nil:
		return Fault
	}
	clear(out)
	out[0] = f.kind()
	le.PutUint16(out[2:], f.flags)
	le.PutUint64(out[8:], f.rights)
	le.PutUint64(out[16:], f.inheriting)
	return Success
}

// setFlags has a stream's calls not wait, or wait again. Files never wait.
func setFlags(_ *Process, f *file, s []uint64) Errno {
	flags, known := uint32(s[1]), uint32(flagsAll)
	if f.node == nil {
		known = nonBlocking
	}
	if flags&^known != 0 {
		return Inval
	}
	f.flags = uint16(flags)
	return Success
}

func fileStat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 64)
	f := p.look(uint32(s[0]))
	switch {
	case f == nil:
		return Badf
	case out == nil:
		return Fault
	case f.node != nil:
		f.node.stat(out)
		return Success
	}
	clear(out)
	out[16] = f.kind()
	le.PutUint64(out[24:], 1)
	return Success
}

// shut closes what a descriptor is for.
func (p *Process) shut(f *file) {
	was := *f
	*f = file{}
	if was.node == nil {
		p.System.Close(int(was.stream))
	}
}

func fdClose(p *Process, f *file, _ []uint64) Errno {
	p.shut(f)
	return Success
}

// renumber has one descriptor be what another was, which is not open any more.
func renumber(p *Process, f *file, s []uint64) Errno {
	to := p.own(uint32(s[1]))
	switch {
	case to == nil:
		return Badf
	case f == to:
		return Success
	}
	was := *f
	*f = file{}
	p.shut(to)
	*to = was
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
	f, stream := p.streamOf(uint32(s[0]))
	if f != nil && !stream {
		n, e := p.readAt(f, f.at, s, at(memory, uint32(s[3]), 4))
		if n > 0 {
			p.own(uint32(s[0])).at += int64(n)
		}
		return e
	}
	defer p.dropVectors()
	iov, e := p.vectors(memory, uint32(s[1]), uint32(s[2]), 1)
	out := at(memory, uint32(s[3]), 4)
	switch {
	case f == nil || f.stream != 0:
		return Badf
	case f.rights&rightRead == 0:
		return NotCapable
	case e != Success:
		return e
	case out == nil: // found out before anything is read, so that nothing is lost
		return Fault
	}
	n := 0
	switch {
	case len(iov) == 0:
	case p.mustWait(f):
		e = Again
	default:
		n, e = p.System.Read(iov[0])
	}
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}

// mustWait reports whether reading from standard input would have to wait, and is not to.
func (p *Process) mustWait(f *file) bool {
	if f.flags&nonBlocking == 0 {
		return false
	}
	got, _ := p.System.Poll(Readable, 0)
	return got == 0
}

func fdWrite(p *Process, s []uint64) Errno {
	memory := p.System.Memory()
	f, stream := p.streamOf(uint32(s[0]))
	defer p.dropVectors()
	iov, e := p.vectors(memory, uint32(s[1]), uint32(s[2]), maxVectors)
	out := at(memory, uint32(s[3]), 4)
	switch {
	case !stream || f.stream == 0: // files can only be read
		return Badf
	case f.rights&rightWrite == 0:
		return NotCapable
	case e != Success:
		return e
	case out == nil:
		return Fault
	}
	n := 0
	if len(iov) > 0 {
		n, e = p.System.Write(int(f.stream), iov, f.flags&nonBlocking == 0)
		p.System.YieldIfDue()
	}
	if e == Success {
		le.PutUint32(out, uint32(n))
	}
	return e
}

// Descriptor is what a guest has made of one of its descriptors that is no file's.
type Descriptor struct {
	// Rights and Inheriting are fd_fdstat_get's, and so are Flags.
	Rights, Inheriting uint64
	Flags              uint16
	// Stream is which of the streams it is: 0 to 2; Open, that it is not closed.
	Stream int8
	Open   bool
}

// MostDescriptors is how many Descriptors a guest may have.
const MostDescriptors = streams + mostFiles

// Descriptors are the guest's, so that it can go on elsewhere: nil are those that all begin with.
// ok is false where one is of a folder.
func (p *Process) Descriptors() (all []Descriptor, ok bool) {
	for _, f := range p.files {
		if f.node != nil {
			return nil, false
		}
		all = append(all, Descriptor{f.rights, f.inheriting, f.flags, f.stream, f.open})
	}
	return all, p.Folder == nil
}

// SetDescriptors has the guest, which has no folder and makes no call, have them. It reports false,
// and does nothing, where there are no such.
func (p *Process) SetDescriptors(all []Descriptor) bool {
	if len(all) > MostDescriptors {
		return false
	}
	var files []file
	for _, d := range all {
		if d.Stream < 0 && d.Open || d.Stream >= streams {
			return false
		}
		files = append(files, file{rights: d.Rights, inheriting: d.Inheriting, flags: d.Flags, stream: d.Stream, open: d.Open})
	}
	p.files, p.shared = files, false
	return true
}
