package wasi

import "math"

func (n *node) kind() byte {
	switch {
	case n.folder:
		return kindFolder
	case n.link != "":
		return kindLink
	}
	return kindRegular
}

// onFolder runs do for a folder, with the path that stands at s[k] and s[k+1].
func onFolder(k int, do func(p *Process, at *node, path string, s []uint64) Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		name, e := p.path(s[k:])
		f := p.look(uint32(s[0]))
		switch {
		case f == nil:
			return Badf
		case e != Success:
			return e
		case f.node == nil || !f.node.folder:
			return NotDir
		}
		return do(p, f.node, name, s)
	}
}

// maxPath bounds a path.
const maxPath = 4096

// path reads a path whose place and length are s[0] and s[1].
func (p *Process) path(s []uint64) (string, Errno) {
	name := at(p.System.Memory(), uint32(s[0]), uint32(s[1]))
	switch {
	case name == nil:
		return "", Fault
	case len(name) > maxPath:
		return "", NameTooLong
	}
	return string(name), Success
}

// followed is the flag that says that a path's last part is followed when it is a link.
const followed = 1

// readOnly is what changing a folder's contents answers. Who asks for what lies outside hears that
// first.
func readOnly(_ *Process, from *node, name string, _ []uint64) Errno {
	if _, e := from.walk(name, false); e == NotCapable {
		return e
	}
	return ROFS
}

// newName is readOnly for what would have a new name, and says when there is one such already.
func newName(p *Process, from *node, name string, s []uint64) Errno {
	if _, e := from.walk(name, false); e == Success {
		return Exist
	}
	return readOnly(p, from, name, s)
}

// symlink would make a link. Its text is no path yet, and may be anything.
func symlink(p *Process, s []uint64) Errno {
	if _, e := p.path(s); e != Success {
		return e
	}
	return onFolder(1, newName)(p, s[2:])
}

// link would give a file a second name, and rename another one: both are about two folders.
func link(p *Process, from *node, name string, s []uint64) Errno {
	if s[1] != 0 { // no link is followed
		return Inval
	}
	if _, e := from.walk(name, false); e != Success {
		return e
	}
	return onFolder(1, newName)(p, s[4:])
}

func rename(p *Process, from *node, name string, s []uint64) Errno {
	if _, e := from.walk(name, false); e != Success {
		return e
	}
	return onFolder(1, readOnly)(p, s[3:])
}

// The flags of setting times.
const (
	timesAccess, timesAccessNow     = 1, 2
	timesModified, timesModifiedNow = 4, 8
	timesAll                        = 15
)

// timesMakeSense reports whether flags of setting times do not contradict each other.
func timesMakeSense(flags uint32) bool {
	const access, modified = timesAccess | timesAccessNow, timesModified | timesModifiedNow
	return flags&^timesAll == 0 && flags&access != access && flags&modified != modified
}

func setTimes(_ *Process, _ *file, s []uint64) Errno {
	if !timesMakeSense(uint32(s[3])) {
		return Inval
	}
	return ROFS
}

func pathSetTimes(_ *Process, from *node, name string, s []uint64) Errno {
	if s[1]&^followed != 0 || !timesMakeSense(uint32(s[6])) {
		return Inval
	}
	if _, e := from.walk(name, s[1]&followed != 0); e != Success {
		return e
	}
	return ROFS
}

// mostAdvice is the last kind of advice about how a file will be read. None is needed.
const mostAdvice = 5

func advise(_ *Process, _ *file, s []uint64) Errno {
	if uint32(s[3]) > mostAdvice {
		return Inval
	}
	return Success
}

// isPreopened reports whether a descriptor is the folder that the program was given, in its place.
func (p *Process) isPreopened(fd uint32) bool {
	f := p.look(fd)
	return fd == preopened && f != nil && p.Folder != nil && f.node == p.Folder.opened.node
}

func prestat(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 8)
	switch {
	case !p.isPreopened(uint32(s[0])):
		return Badf
	case out == nil:
		return Fault
	}
	clear(out)
	le.PutUint32(out[4:], uint32(len(p.Folder.opened.node.name)))
	return Success
}

func prestatName(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), uint32(s[2]))
	switch {
	case !p.isPreopened(uint32(s[0])):
		return Badf
	case out == nil:
		return Fault
	case len(out) < len(p.Folder.opened.node.name):
		return NameTooLong
	}
	copy(out, p.Folder.opened.node.name)
	return Success
}

const (
	openCreate    = 1
	openDirectory = 2
	openExclusive = 4
	openTruncate  = 8
	openAll       = 15
)

func pathOpen(p *Process, from *node, name string, s []uint64) Errno {
	how, rights, inheriting, flags := uint32(s[4]), s[5], s[6], uint32(s[7])
	out := at(p.System.Memory(), uint32(s[8]), 4)
	n, e := from.walk(name, s[1]&followed != 0)
	switch {
	case out == nil:
		return Fault
	case s[1]&^followed != 0, how&^openAll != 0, flags&^flagsAll != 0:
		return Inval
	case e == NoEnt && how&openCreate != 0:
		return ROFS
	case e != Success:
		return e
	case how&openCreate != 0 && how&openExclusive != 0:
		return Exist
	case n.link != "": // it was not to be followed
		return Loop
	case how&openDirectory != 0 && !n.folder:
		return NotDir
	case n.folder && rights&rightWrite != 0:
		return IsDir
	case how&openTruncate != 0, rights&rightWrite != 0:
		return ROFS
	}
	p.own(preopened)
	fd, e := p.free()
	if e != Success {
		return e
	}
	opened := file{node: n, flags: uint16(flags), rights: rights & rightsFile, open: true}
	if n.folder {
		opened.rights, opened.inheriting = rights&rightsFolder, inheriting&rightsBelow
	}
	p.files[fd] = opened
	le.PutUint32(out, fd)
	return Success
}

// readPart is how much of a file one call reads at most.
const readPart = 1 << 20

// readAt copies from a file, from an offset on.
func (p *Process) readAt(f *file, offset int64, s []uint64, out []byte) (n int, e Errno) {
	iov, e := p.vectors(p.System.Memory(), uint32(s[1]), uint32(s[2]), maxVectors)
	defer p.dropVectors()
	switch {
	case f.node.folder:
		return 0, IsDir
	case f.rights&rightRead == 0:
		return 0, NotCapable
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
	le.PutUint32(out, uint32(n))
	p.System.YieldIfDue()
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
	p.own(uint32(s[0])).at = to
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
	p.System.YieldIfDue()
	return Success
}

// stat describes a file in 64 bytes.
func (n *node) stat(out []byte) {
	clear(out)
	le.PutUint64(out[8:], n.number)
	out[16] = n.kind()
	le.PutUint64(out[24:], 1)
	le.PutUint64(out[32:], uint64(len(n.data)+len(n.link)))
	for at := 40; at < 64; at += 8 {
		le.PutUint64(out[at:], uint64(n.modified))
	}
}

func pathStat(p *Process, from *node, name string, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[4]), 64)
	n, e := from.walk(name, s[1]&followed != 0)
	switch {
	case s[1]&^followed != 0:
		return Inval
	case e != Success:
		return e
	case out == nil:
		return Fault
	}
	n.stat(out)
	return Success
}

// readLink gives as much of where a link leads as there is room for.
func readLink(p *Process, from *node, name string, s []uint64) Errno {
	memory := p.System.Memory()
	buffer, out := at(memory, uint32(s[3]), uint32(s[4])), at(memory, uint32(s[5]), 4)
	n, e := from.walk(name, false)
	switch {
	case e != Success:
		return e
	case n.link == "":
		return Inval
	case buffer == nil || out == nil:
		return Fault
	}
	le.PutUint32(out, uint32(copy(buffer, n.link)))
	return Success
}
