package wasi

import "math"

// mostFiles is how many files and folders a program may have open. They cost the host a few
// words each.
const mostFiles = 256

// preopened is the descriptor that a program's folder has when it starts.
const preopened = 3

// file is an open file or folder of a Folder.
type file struct {
	node  *node // nil: the descriptor is free
	at    int64 // where it is read next
	flags uint16
}

// The kinds of files.
const (
	kindCharacterDevice = 2
	kindFolder          = 3
	kindRegular         = 4
	kindStream          = 6
)

// Rights of descriptors.
const (
	rightRead  = 1 << 1
	rightWrite = 1 << 6
	rightPoll  = 1 << 27
	rightsAll  = 1<<30 - 1
)

func (n *node) kind() byte {
	if n.folder {
		return kindFolder
	}
	return kindRegular
}

// file is the open file of a descriptor; nil when it has none.
func (p *Process) file(fd uint32) *file {
	if p.Folder == nil || fd < preopened || fd-preopened >= uint32(len(p.files)) {
		if p.Folder != nil && fd == preopened && p.files == nil {
			p.files = []file{{node: p.Folder.root}}
			return &p.files[0]
		}
		return nil
	}
	if f := &p.files[fd-preopened]; f.node != nil {
		return f
	}
	return nil
}

// onFile runs do for an open file or folder. Streams answer stream, and what is not open Badf.
func onFile(stream Errno, do func(p *Process, f *file, s []uint64) Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		fd := uint32(s[0])
		if p.open(fd) {
			return stream
		}
		f := p.file(fd)
		if f == nil {
			return Badf
		}
		return do(p, f, s)
	}
}

// onFolder does it for a folder, with the path that stands at s[k] and s[k+1].
func onFolder(k int, do func(p *Process, at *node, path string, s []uint64) Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		f := p.file(uint32(s[0]))
		if f == nil {
			return Badf
		}
		name := at(p.System.Memory(), uint32(s[k]), uint32(s[k+1]))
		switch {
		case name == nil:
			return Fault
		case len(name) > maxPath:
			return NameTooLong
		case !f.node.folder:
			return NotDir
		}
		return do(p, f.node, string(name), s)
	}
}

// maxPath bounds a path.
const maxPath = 4096

// readOnly is what changing a folder's contents answers.
func readOnly(*Process, *node, string, []uint64) Errno { return ROFS }

// symlink is one of those, with its folder in another place.
func symlink(p *Process, s []uint64) Errno {
	return onFolder(1, readOnly)(p, s[2:])
}

func fileError(e Errno) func(*Process, *file, []uint64) Errno {
	return func(*Process, *file, []uint64) Errno { return e }
}

func prestat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 8)
	switch {
	case uint32(s[0]) != preopened || p.file(preopened) == nil || p.file(preopened).node != p.Folder.root:
		return Badf
	case out == nil:
		return Fault
	}
	clear(out)
	le.PutUint32(out[4:], uint32(len(p.Folder.root.name)))
	return Success
}

func prestatName(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), uint32(s[2]))
	switch {
	case uint32(s[0]) != preopened || p.file(preopened) == nil || p.file(preopened).node != p.Folder.root:
		return Badf
	case out == nil:
		return Fault
	case len(out) < len(p.Folder.root.name):
		return NameTooLong
	}
	copy(out, p.Folder.root.name)
	return Success
}

const (
	openCreate    = 1
	openDirectory = 2
	openExclusive = 4
	openTruncate  = 8
)

func pathOpen(p *Process, from *node, name string, s []uint64) Errno {
	how, rights := uint32(s[4]), s[5]
	out := at(p.System.Memory(), uint32(s[8]), 4)
	if out == nil {
		return Fault
	}
	n, e := from.walk(name)
	switch {
	case e == NoEnt && how&openCreate != 0:
		return ROFS
	case e != Success:
		return e
	case how&openCreate != 0 && how&openExclusive != 0:
		return Exist
	case how&openDirectory != 0 && !n.folder:
		return NotDir
	case n.folder && rights&rightWrite != 0 && how&openDirectory == 0:
		return IsDir
	case how&openTruncate != 0, rights&rightWrite != 0 && !n.folder:
		return ROFS
	}
	at := -1
	for i := range p.files {
		if p.files[i].node == nil {
			at = i
			break
		}
	}
	if at < 0 {
		if len(p.files) >= mostFiles {
			return MFile
		}
		p.files = append(p.files, file{})
		at = len(p.files) - 1
	}
	p.files[at] = file{node: n, flags: uint16(s[7])}
	le.PutUint32(out, uint32(at+preopened))
	return Success
}

func renumber(p *Process, s []uint64) Errno {
	from, to := p.file(uint32(s[0])), p.file(uint32(s[1]))
	if from == nil || to == nil {
		return Badf
	}
	if from != to {
		*to, *from = *from, file{}
	}
	return Success
}

// readPart is how much of a file one call reads at most.
const readPart = 1 << 20

// readAt copies from a file, from an offset on.
func (p *Process) readAt(f *file, offset int64, s []uint64, out []byte) (n int, e Errno) {
	iov, e := p.vectors(p.System.Memory(), uint32(s[1]), uint32(s[2]), maxVectors)
	switch {
	case f.node.folder:
		return 0, IsDir
	case e != Success:
		return 0, e
	case out == nil:
		return 0, Fault
	}
	for _, b := range iov {
		if offset >= int64(len(f.node.data)) || n >= readPart {
			break
		}
		c := copy(b[:min(len(b), readPart-n)], f.node.data[offset:])
		n, offset = n+c, offset+int64(c)
	}
	clear(iov)
	le.PutUint32(out, uint32(n))
	p.System.Breathe()
	return n, Success
}

func pread(p *Process, f *file, s []uint64) Errno {
	if int64(s[3]) < 0 {
		return Inval
	}
	_, e := p.readAt(f, int64(s[3]), s, at(p.System.Memory(), uint32(s[4]), 4))
	return e
}

func seek(p *Process, f *file, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[3]), 8)
	to := int64(s[1])
	switch uint32(s[2]) {
	case 0:
	case 1:
		to = add(f.at, to)
	case 2:
		to = add(int64(len(f.node.data)), to)
	default:
		return Inval
	}
	switch {
	case out == nil:
		return Fault
	case f.node.folder:
		return IsDir
	case to < 0:
		return Inval
	}
	f.at = to
	le.PutUint64(out, uint64(to))
	return Success
}

// add is a sum of which the first is not negative; where that is too large, it is negative.
func add(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return -1
	}
	return a + b
}

func tell(p *Process, f *file, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 8)
	switch {
	case out == nil:
		return Fault
	case f.node.folder:
		return IsDir
	}
	le.PutUint64(out, uint64(f.at))
	return Success
}

const entrySize = 24

// readdir lists a folder; the cookie is how many entries were there before. What does not fit
// is cut, and the program asks for it again with more room.
func readdir(p *Process, f *file, s []uint64) Errno {
	memory := p.System.Memory()
	buffer, out := at(memory, uint32(s[1]), uint32(s[2])), at(memory, uint32(s[4]), 4)
	switch {
	case !f.node.folder:
		return NotDir
	case buffer == nil || out == nil:
		return Fault
	}
	used := 0
	for i := s[3]; i < uint64(len(f.node.names)+2) && used < len(buffer); i++ {
		name, n := ".", f.node
		switch {
		case i == 1:
			name, n = "..", f.node.parent
		case i > 1:
			n = f.node.names[i-2]
			name = n.name
		}
		var entry [entrySize]byte
		le.PutUint64(entry[0:], i+1)
		le.PutUint64(entry[8:], n.number)
		le.PutUint32(entry[16:], uint32(len(name)))
		entry[20] = n.kind()
		used += copy(buffer[used:], entry[:])
		used += copy(buffer[used:], name)
	}
	le.PutUint32(out, uint32(used))
	p.System.Breathe()
	return Success
}

// stat describes a file in 64 bytes.
func (n *node) stat(out []byte) {
	clear(out)
	le.PutUint64(out[8:], n.number)
	out[16] = n.kind()
	le.PutUint64(out[24:], 1)
	le.PutUint64(out[32:], uint64(len(n.data)))
	for at := 40; at < 64; at += 8 {
		le.PutUint64(out[at:], uint64(n.modified))
	}
}

func pathStat(p *Process, from *node, name string, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[4]), 64)
	n, e := from.walk(name)
	switch {
	case e != Success:
		return e
	case out == nil:
		return Fault
	}
	n.stat(out)
	return Success
}

// readLink finds no link: they were followed when the folder was read.
func readLink(_ *Process, from *node, name string, _ []uint64) Errno {
	if _, e := from.walk(name); e != Success {
		return e
	}
	return Inval
}
