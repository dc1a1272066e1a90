package memory

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A copy that has any number of changes is made again of its image's file and of these.
func TestCopyTravels(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 1<<21)
	for k := range b[1<<20:] {
		b[1<<20+k] = byte(r.Uint32())
	}
	g, err := NewImage(Unlimited{}, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	fd, err := g.File()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ImageOf(Unlimited{}, fd, len(b), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if !slices.Equal(theirs.zero, g.zero) || !bytes.Equal(theirs.Bytes(), b) {
		t.Error("the image is another, or has other pages of zeros")
	}
	for round := range 20 {
		m, err := g.Copy(Unlimited{}, Unlimited{}, 40*wasmPage, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range round % 4 {
			m.Grow(uint64(len(m.b)) + wasmPage)
		}
		for range round * 100 { // up to nearly all pages
			m.b[r.IntN(len(m.b))] = byte(r.Uint32())
		}
		changes, ok := m.AllChanges()
		if !ok {
			t.Fatal("there are no changes")
		}
		pages, err := CheckChanges(changes, len(m.b))
		if err != nil || pages*systemPage > len(m.b) {
			t.Errorf("they are on %d pages, %v", pages, err)
		}
		n, err := theirs.Copy(Unlimited{}, Unlimited{}, 40*wasmPage, 0)
		if err != nil || n.GrowTo(uint64(len(m.b))) != nil || !n.Apply(nil, changes, pages) {
			t.Fatal(err)
		}
		if !bytes.Equal(m.b, n.b) {
			t.Errorf("round %d: the copy is another", round)
		}
		m.Free()
		n.Free()
	}
}

// A file that somebody could change, or of another size, is no image, and is closed.
func TestImageOfWrongFiles(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil || unix.Ftruncate(fd, wasmPage) != nil {
		t.Fatal(err)
	}
	sealed, _ := unix.Dup(fd)
	if g, err := ImageOf(Unlimited{}, fd, wasmPage, 0); err == nil {
		g.Close()
		t.Error("a file without seals is taken")
	}
	if unix.Close(fd) == nil {
		t.Error("it is left open")
	}
	if _, err := unix.FcntlInt(uintptr(sealed), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{2 * wasmPage, 100, 0, -wasmPage} {
		fd, _ := unix.Dup(sealed)
		if g, err := ImageOf(Unlimited{}, fd, size, 0); err == nil {
			g.Close()
			t.Errorf("it is taken for one of %d bytes", size)
		}
	}
	g, err := ImageOf(Unlimited{}, sealed, wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	if _, err := g.File(); err == nil {
		t.Error("an image that is closed has a file")
	}
}

// FuzzCheckChanges: what passes can be applied, and touches nothing but the memory.
func FuzzCheckChanges(f *testing.F) {
	f.Add([]byte{0, 1, 7})
	f.Add([]byte{5, 2, 1, 2, 0xff, 0x7f, 1, 9})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1})
	g, err := NewImage(Unlimited{}, make([]byte, 2*wasmPage), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		m, err := g.Copy(Unlimited{}, Unlimited{}, 2*wasmPage, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		if pages, err := CheckChanges(changes, len(m.b)); err == nil {
			m.Apply(nil, changes, pages)
			if len(changes) > 0 && (pages == 0 || pages > 2*wasmPage/systemPage) {
				t.Errorf("they are on %d pages", pages)
			}
		}
	})
}
