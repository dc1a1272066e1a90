package supervisor

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// manager is a service manager's store.
type manager map[string]int

func (m manager) store(name string, fd int) (err error) {
	m[name], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return err
}

func (m manager) unstore(name string) error {
	unix.Close(m[name])
	delete(m, name)
	return nil
}

// The next supervisor gets the sockets from the service manager, with their notes, in their order.
func TestSocketsOutliveTheSupervisor(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is no such manager
	}
	var last *actor
	m := manager{}
	life := func(do func(s *stage)) {
		found := map[string]int{}
		for name, fd := range m {
			found[name], _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		}
		synctest.Test(t, func(t *testing.T) {
			s := newStageWith(t, 0, newShelf(found, m.store, m.unstore))
			last = s.last()
			do(s)
			s.finish()
		})
	}
	hold := func(s *stage, name, note string) {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.says(message{Kind: kindHold, Name: name, Note: []byte(note), fd: fd})
	}
	life(func(s *stage) {
		for i := range 20 {
			hold(s, "1."+strconv.Itoa(i), "a note that is not short: "+strconv.Itoa(i))
		}
		s.says(message{Kind: kindHold, Name: "1.3", Note: []byte("changed"), fd: -1})
		time.Sleep(time.Second)
		for i := range 20 {
			if i != 3 && i != 7 {
				s.says(message{Kind: kindRelease, Name: "1." + strconv.Itoa(i), fd: -1})
			}
		}
		hold(s, "1.0", "last")
		time.Sleep(time.Second)
	})
	if len(m) != 4 {
		t.Fatalf("the manager has %d descriptors", len(m))
	}
	// Of one that is not in the notes nobody knows what it is.
	m["held.unknown"], _ = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	life(func(s *stage) { s.serves() })
	var have []string
	for _, sent := range last.sent {
		if sent.Kind == kindSocket {
			have = append(have, sent.Name+": "+string(sent.Note))
			unix.Close(sent.fd)
		}
	}
	if want := []string{"1.3: changed", "1.7: a note that is not short: 7", "1.0: last"}; !slices.Equal(have, want) {
		t.Fatalf("the next worker was sent %q, want %q", have, want)
	}
	if _, there := m["held.unknown"]; there || len(m) != 4 {
		t.Fatalf("the manager has %d descriptors", len(m))
	}
	// Notes that are no notes: all is opened anew.
	if _, err := unix.Pwrite(m[notesName], []byte("no"), 0); err != nil {
		t.Fatal(err)
	}
	life(func(s *stage) { s.serves() })
	if len(m) != 1 || len(last.sent) == 0 || last.sent[0].Kind != kindBegin {
		t.Fatalf("the manager has %d descriptors, and the worker was sent %v", len(m), last.kinds())
	}
	_ = m.unstore(notesName)
}

// What was stored is told from what was passed for the configuration's sake, which stays in place.
func TestStoredDescriptorsAreNotTheWorkers(t *testing.T) {
	in := new(inherited)
	for range 3 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		in.files = append(in.files, f)
	}
	t.Setenv("LISTEN_FDNAMES", "web:held.1.2:dns:held.notes")
	t.Setenv("LISTEN_PID", "1")
	if found := in.takeStored(); len(found) > 0 || in.files[1] == nil {
		t.Fatalf("%v was found, and is another process's", found)
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	found := in.takeStored()
	if len(found) != 1 || !open(found["held.1.2"]) || in.files[0] == nil || in.files[1] != nil || in.files[2] == nil {
		t.Fatalf("%v was found, and %v is left", found, in.files)
	}
	unix.Close(found["held.1.2"])
	in.release("fd/3")
	in.release("fd/4")
	in.release("fd/99")
	in.release("5")
	if in.files[0] != nil || in.files[2] == nil {
		t.Fatalf("%v is left", in.files)
	}
}
