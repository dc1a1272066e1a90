package listen

import (
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Keeper is another process that holds copies of this process's listening sockets, so that they
// stay open when this process dies. Any goroutine may call its methods.
type Keeper interface {
	// Hold has it hold a copy of the socket fd by a name that no other has, with a note for whoever
	// takes the socket over. Hold makes the copy before it returns. A negative fd is for a name
	// that it holds already, which gets the new note. It does not wait.
	Hold(name string, note []byte, fd int)
	// Release has it close its copy. It does not wait.
	Release(name string)
	// Settle waits until it has closed what was released, some seconds at most.
	Settle()
}

// Kept is a socket that a process before this one has left with the keeper.
type Kept struct {
	Name string
	Note []byte
	FD   int // this process's own copy, which the listener that asks for its address gets
}

// note is what is written down of a socket that is held.
type note struct {
	// Network and Address are those that it was opened with.
	Network string `json:"network"`
	Address string `json:"address"`
	// Group is the name of the first of the sockets that were opened together for one address of
	// UDP, and Members how many these are.
	Group   string `json:"group,omitempty"`
	Members int    `json:"members,omitempty"`
	// At is Socket.Addr.
	At string `json:"at"`
	// Path, Dev and Inode are of the file that the last user of a Unix socket removes.
	Path  string `json:"path,omitempty"`
	Dev   uint64 `json:"dev,omitempty"`
	Inode uint64 `json:"inode,omitempty"`
	// Options are those that it has.
	Options Options `json:"options"`
}

// keeping is the keeper of this process, and what it has left of the one before.
var keeping struct {
	sync.Mutex
	keeper Keeper
	began  string // when KeepWith was called
	made   int
	left   []left
}

type left struct {
	Kept
	note note
}

// KeepWith has a keeper hold all the listening sockets that this process opens from now on. Those
// in kept are given to the listeners that open the same addresses, in the order that they stand in;
// Open and OpenUDP then open nothing, and give the socket the options that differ. A process calls
// it once at most, before it opens anything.
func KeepWith(k Keeper, kept []Kept) {
	keeping.Lock()
	defer keeping.Unlock()
	keeping.keeper, keeping.began = k, strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, one := range kept {
		l := left{Kept: one}
		if json.Unmarshal(one.Note, &l.note) != nil { // of a version that nobody understands
			k.Release(one.Name)
			_ = unix.Close(one.FD)
			continue
		}
		keeping.left = append(keeping.left, l)
	}
}

// ReleaseRest closes the sockets of KeepWith that no listener has asked for: the addresses are not
// in the configuration any more. It is called when the listeners are open.
func ReleaseRest() {
	keeping.Lock()
	rest, k := keeping.left, keeping.keeper
	keeping.left = nil
	keeping.Unlock()
	for i := range rest {
		rest[i].discard(k)
	}
}

// discard closes the socket for good, with the file of a Unix socket.
func (l *left) discard(k Keeper) {
	s := l.socket(k)
	_ = s.Close()
}

func (l *left) socket(k Keeper) *Socket {
	_ = unix.SetNonblock(l.FD, true) // whoever has had it
	// This process may have privileges that the one before had given away when it wrote the note:
	// no other file than the socket's own is removed, or given to somebody.
	file := unlinkable{l.note.Path, l.note.Dev, l.note.Inode}
	if sa, err := unix.Getsockname(l.FD); err != nil {
		file = unlinkable{}
	} else if own, ok := sa.(*unix.SockaddrUnix); !ok || own.Name != file.path {
		file = unlinkable{}
	}
	return &Socket{
		FD: l.FD, Addr: l.note.At, unlink: file,
		kept: &keptBy{keeper: k, name: l.Name, note: l.note},
	}
}

// keptBy is what a socket knows of its copy.
type keptBy struct {
	keeper Keeper
	name   string
	note   note
}

// hold writes the note, with the options that the socket has.
func (k *keptBy) hold(o Options, fd int) {
	k.note.Options = o
	if text, err := json.Marshal(&k.note); err == nil {
		k.keeper.Hold(k.name, text, fd)
	}
}

// Forget has the keeper close its copy of the socket: for whoever has taken FD, and closes it
// without Close. It does not wait.
func (s *Socket) Forget() {
	if s.kept != nil {
		s.kept.keeper.Release(s.kept.name)
		s.kept = nil
	}
}

// keep has the keeper, if there is one, hold sockets that were opened together.
func keep(network, address string, o Options, sockets ...*Socket) {
	keeping.Lock()
	defer keeping.Unlock()
	if keeping.keeper == nil {
		return
	}
	group := ""
	for _, s := range sockets {
		keeping.made++
		// Numbers of processes come again; with the time of a start they do not.
		name := strconv.Itoa(os.Getpid()) + "." + keeping.began + "." + strconv.Itoa(keeping.made)
		if group == "" {
			group = name
		}
		s.kept = &keptBy{keeper: keeping.keeper, name: name, note: note{
			Network: network, Address: address, Group: group, Members: len(sockets), At: s.Addr,
			Path: s.unlink.path, Dev: s.unlink.dev, Inode: s.unlink.ino,
		}}
		s.kept.hold(o, s.FD)
	}
}

// keepInherited has the keeper close its copy of an inherited socket when this one is closed.
func keepInherited(s *Socket) {
	keeping.Lock()
	defer keeping.Unlock()
	if keeping.keeper != nil {
		s.kept = &keptBy{keeper: keeping.keeper, name: InheritedName(s.FD)}
	}
}

// InheritedName is the name by which an inherited descriptor is released.
func InheritedName(fd int) string { return "fd/" + strconv.Itoa(fd) }

// settle waits until addresses are free whose sockets were closed.
func settle() {
	keeping.Lock()
	k := keeping.keeper
	keeping.Unlock()
	if k != nil {
		k.Settle()
	}
}

// takeLeft gives the sockets that were left for an address, with the options that they now have:
// as many as wanted, opened together. Nil: there are none that fit, and those that stood in the way
// have been closed.
func takeLeft(network, address string, wanted int, o Options, change func(s *Socket, before Options) error) []*Socket {
	keeping.Lock()
	var mine []left
	rest := keeping.left[:0:0]
	for _, l := range keeping.left {
		if l.note.Network == network && l.note.Address == address && (len(mine) == 0 || mine[0].note.Group == l.note.Group) {
			mine = append(mine, l)
		} else {
			rest = append(rest, l)
		}
	}
	keeping.left = rest
	k := keeping.keeper
	keeping.Unlock()
	if len(mine) == 0 {
		return nil
	}
	all := make([]*Socket, len(mine))
	fits := len(mine) == wanted && mine[0].note.Members == wanted
	for i := range mine {
		all[i] = mine[i].socket(k)
		fits = fits && all[i].unlink.path == mine[i].note.Path && all[i].there() && mine[i].note.Options.Groups.equal(o.Groups)
		if fits {
			fits = change(all[i], mine[i].note.Options) == nil
		}
	}
	if !fits {
		for _, s := range all {
			_ = s.Close()
		}
		return nil
	}
	for _, s := range all {
		s.kept.hold(o, -1)
	}
	return all
}

// there reports whether clients still find the socket: the file of a Unix socket may be gone, or be
// another one's.
func (s *Socket) there() bool {
	if s.unlink.path == "" {
		return true
	}
	dev, ino, ok := identity(s.unlink.path)
	return ok && dev == s.unlink.dev && ino == s.unlink.ino
}
