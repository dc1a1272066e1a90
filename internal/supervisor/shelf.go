package supervisor

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in the service manager's store: of what the supervisor has put there, and of its notes.
const (
	storedPrefix = "held."
	notesName    = storedPrefix + "notes"
)

// mostNotes bounds what is read of notes, in bytes.
const mostNotes = 64 << 20

// shelf is the service manager's store of descriptors, which has the sockets that the supervisor
// holds, so that they outlive it. It has no room for notes: these are in a file without a name,
// which lies there, too. Nothing of it fails: without it, the next supervisor opens sockets of its
// own. A nil one has no room.
type shelf struct {
	store   func(name string, fd int) error
	unstore func(name string) error
	notes   int            // the file; -1: there is none
	found   map[string]int // what the supervisor before has left: descriptors by name
}

// shelved is one line of the notes.
type shelved struct {
	Name string `json:"name"`
	Note []byte `json:"note"`
}

func newShelf(found map[string]int, store func(string, int) error, unstore func(string) error) *shelf {
	return &shelf{store: store, unstore: unstore, notes: -1, found: found}
}

// take gives what the supervisor before has left, in the order that it had. What it has no note of
// is closed.
func (s *shelf) take() (all []held) {
	if s == nil {
		return nil
	}
	if fd, ok := s.found[notesName]; ok {
		delete(s.found, notesName)
		s.notes = fd
		for _, one := range readNotes(fd) {
			if fd, ok := s.found[storedPrefix+one.Name]; ok {
				delete(s.found, storedPrefix+one.Name)
				all = append(all, held{one.Name, one.Note, fd})
			}
		}
	}
	for name, fd := range s.found {
		_ = s.unstore(name)
		_ = unix.Close(fd)
	}
	s.found = nil
	if s.notes < 0 {
		if s.notes = newNotes(); s.notes >= 0 {
			_ = s.store(notesName, s.notes)
		}
	}
	return all
}

// readNotes reads the file, in which there may be rests of longer notes. A supervisor that was
// killed while it wrote may have left nothing.
func readNotes(fd int) (all []shelved) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size <= 0 || st.Size > mostNotes {
		return nil
	}
	text := make([]byte, st.Size)
	n, err := unix.Pread(fd, text, 0)
	if err != nil || json.NewDecoder(bytes.NewReader(text[:n])).Decode(&all) != nil {
		return nil
	}
	return all
}

func (s *shelf) put(h held) {
	if s != nil {
		_ = s.store(storedPrefix+h.name, h.fd)
	}
}

func (s *shelf) remove(h held) {
	if s != nil {
		_ = s.unstore(storedPrefix + h.name)
	}
}

// write writes the notes down.
func (s *shelf) write(order []string, sockets map[string]held) {
	if s == nil || s.notes < 0 {
		return
	}
	all := make([]shelved, 0, len(order))
	for _, name := range order {
		all = append(all, shelved{name, sockets[name].note})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return
	}
	if _, err := unix.Pwrite(s.notes, text, 0); err == nil {
		_ = unix.Ftruncate(s.notes, int64(len(text)))
	}
}

// takeStored takes those out of what was inherited that a supervisor has put into the store.
func (in *inherited) takeStored() map[string]int {
	found := make(map[string]int)
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return found
	}
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if !strings.HasPrefix(name, storedPrefix) || i >= len(in.files) || in.files[i] == nil {
			continue
		}
		if fd, err := unix.FcntlInt(in.files[i].Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			found[name] = fd
		}
		_ = in.files[i].Close()
		in.files[i] = nil
	}
	return found
}
