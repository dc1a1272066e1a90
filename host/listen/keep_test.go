package listen

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cupboard is a keeper, in the test's own process.
type cupboard struct {
	t       *testing.T
	kept    []Kept
	settled int
}

func (c *cupboard) Hold(name string, note []byte, fd int) {
	i := slices.IndexFunc(c.kept, func(k Kept) bool { return k.Name == name })
	switch {
	case i >= 0 && fd < 0:
		c.kept[i].Note = note
	case i < 0 && fd >= 0:
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		c.kept = append(c.kept, Kept{name, note, copied})
	default:
		c.t.Fatalf("%s is held with descriptor %d", name, fd)
	}
}

func (c *cupboard) Release(name string) {
	for i, k := range c.kept {
		if k.Name == name {
			unix.Close(k.FD)
			c.kept = slices.Delete(c.kept, i, i+1)
			return
		}
	}
}

func (c *cupboard) Settle() { c.settled++ }

// begin has this be a process with a keeper that has been left something.
func (c *cupboard) begin(kept ...Kept) {
	keeping.Lock()
	keeping.left = nil
	keeping.Unlock()
	KeepWith(c, kept)
}

// die has all descriptors of the process be closed that are not the keeper's, and gives what it is
// left for the next one.
func (c *cupboard) die(all ...*Socket) (left []Kept) {
	for _, s := range all {
		unix.Close(s.FD)
	}
	for _, k := range c.kept {
		copied, err := unix.FcntlInt(uintptr(k.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		left = append(left, Kept{k.Name, k.Note, copied})
	}
	return left
}

func newCupboard(t *testing.T) *cupboard {
	c := &cupboard{t: t}
	c.begin()
	t.Cleanup(func() {
		KeepWith(nil, nil)
		for _, k := range c.kept {
			unix.Close(k.FD)
		}
		if len(c.kept) > 0 {
			t.Errorf("%d sockets are held that nobody has", len(c.kept))
		}
	})
	return c
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestAProcessGetsTheSocketsOfTheOneBefore(t *testing.T) {
	c := newCupboard(t)
	path := filepath.Join(t.TempDir(), "s")
	o := Options{Backlog: 16, Keepalive: 20 * time.Second}
	open := must[*Socket](t)
	one, two := open(Open("tcp", "127.0.0.1:0", o)), open(Open("tcp", "127.0.0.1:0", o))
	local := open(Open("unix", path, Options{Mode: 0o600}))
	if one.Addr == two.Addr || len(c.kept) != 3 || c.settled != 3 {
		t.Fatalf("%s, %s; %d are held, settled %d times", one.Addr, two.Addr, len(c.kept), c.settled)
	}
	// One that is waiting when the process dies.
	client := must[net.Conn](t)(net.Dial("tcp", two.Addr))
	defer client.Close()

	c.begin(c.die(one, two, local)...)
	now := o
	now.Keepalive = 40 * time.Second
	again, second := open(Open("tcp", "127.0.0.1:0", now)), open(Open("tcp", "127.0.0.1:0", now))
	if again.Addr != one.Addr || second.Addr != two.Addr || c.settled != 3 {
		t.Fatalf("it listens at %s and %s, not at %s and %s", again.Addr, second.Addr, one.Addr, two.Addr)
	}
	fd, _, err := unix.Accept(second.FD)
	if err != nil {
		t.Fatalf("who has waited is not there: %v", err)
	}
	unix.Close(fd)
	same := open(Open("unix", path, Options{Mode: 0o640}))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("the socket's file has mode %v, %v", info.Mode(), err)
	}
	if !strings.Contains(string(c.kept[0].Note), `"Keepalive":40000000000`) {
		t.Fatalf("the next process is told %s", c.kept[0].Note)
	}
	ReleaseRest()
	if len(c.kept) != 3 {
		t.Fatalf("%d are held", len(c.kept))
	}

	// The last one removes the file, and nobody holds the port any more.
	for _, s := range []*Socket{again, second, same} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file is there yet")
	}
	if _, err := net.Dial("tcp", one.Addr); err == nil {
		t.Error("somebody listens yet")
	}
}

// What no listener asks for is closed, and what does not fit is opened anew.
func TestSocketsThatAreNotWantedAnyMore(t *testing.T) {
	c := newCupboard(t)
	path := filepath.Join(t.TempDir(), "s")
	open := must[*Socket](t)
	gone, local := open(Open("tcp", "127.0.0.1:0", Options{})), open(Open("unix", path, Options{}))
	left := c.die(gone, local)
	// Somebody has removed the file: nobody finds the socket by its path.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.begin(append(left, Kept{"old", []byte("no JSON"), must[int](t)(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))})...)
	local = open(Open("unix", path, Options{}))
	must[net.Conn](t)(net.Dial("unix", path)).Close()
	ReleaseRest()
	if _, err := net.Dial("tcp", gone.Addr); err == nil {
		t.Error("a listener that is not there any more takes connections")
	}
	if len(c.kept) != 1 {
		t.Errorf("%d are held", len(c.kept))
	}
	local.Close()
}

func TestUDPSocketsOfTheProcessBefore(t *testing.T) {
	c := newCupboard(t)
	open := must[[]*Socket](t)
	const n = 3
	all := open(OpenUDP("udp4", "127.0.0.1:0", n, Options{}))
	at := all[0].Addr
	client := must[net.Conn](t)(net.Dial("udp4", at))
	defer client.Close()
	if _, err := client.Write([]byte("waits")); err != nil {
		t.Fatal(err)
	}

	c.begin(c.die(all...)...)
	again := open(OpenUDP("udp4", "127.0.0.1:0", n, Options{ReceiveBuffer: 64 << 10}))
	if len(again) != len(all) || again[0].Addr != at {
		t.Fatalf("there are %d sockets, at %s", len(again), again[0].Addr)
	}
	got := ""
	for _, s := range again {
		b := make([]byte, 10)
		if n, err := unix.Read(s.FD, b); err == nil {
			got += string(b[:n])
		}
	}
	if got != "waits" {
		t.Fatalf("what has waited is %q", got)
	}

	// Other groups, or another number of loops: they are made anew, where nobody is in the way.
	for _, o := range []struct {
		n int
		o Options
	}{{2, Options{}}, {2, Options{Groups: Groups{Addresses: []netip.Addr{netip.MustParseAddr("239.1.2.3")}, Interface: "lo"}}}} {
		c.begin(c.die(again...)...)
		var err error
		if again, err = OpenUDP("udp4", "127.0.0.1:0", o.n, o.o); err != nil {
			t.Logf("no groups here: %v", err)
			again = nil
			break
		}
		if len(c.kept) != len(again) {
			t.Fatalf("%d are held, of %d", len(c.kept), len(again))
		}
	}
	for i, s := range again {
		if i == 0 {
			s.Forget() // its descriptor is somebody else's, who closes it
			unix.Close(s.FD)
		} else if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A note may be of a worker that somebody has taken over, and who reads it may have privileges: a
// file that is not the socket's own is neither removed nor given away.
func TestANoteThatLies(t *testing.T) {
	c := newCupboard(t)
	path := filepath.Join(t.TempDir(), "another's")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dev, ino, _ := identity(path)
	for _, network := range []string{"tcp", "unix"} {
		s := must[*Socket](t)(Open("tcp", "127.0.0.1:0", Options{}))
		lie := s.kept.note
		lie.Network, lie.Address, lie.Path, lie.Dev, lie.Inode = network, path, path, dev, ino
		s.kept.note = lie
		s.kept.hold(Options{Mode: 0o600}, -1)
		c.begin(c.die(s)...)
		if network == "unix" {
			if _, err := Open("unix", path, Options{Mode: 0o666}); err == nil || !strings.Contains(err.Error(), "another process listens there") {
				t.Fatalf("the address of another: %v", err)
			}
		}
		ReleaseRest()
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm()&0o222 == 0o222 {
			t.Fatalf("the other's file: %v, %v", info, err)
		}
	}
}
