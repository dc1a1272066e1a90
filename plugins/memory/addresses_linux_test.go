package memory

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Blocks of all sizes never overlap, and become the largest again when all are given back.
func TestAddresses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a := &addresses{known: true, left: []gap{{8 * block, 8*block + block/2}, {16 * block, 20 * block}}}
	type taken struct{ at, n uint64 }
	var held []taken
	overlaps := func(x taken) bool {
		return slices.ContainsFunc(held, func(y taken) bool { return x.at < y.at+y.n && y.at < x.at+x.n })
	}
	refused := 0
	for range 20_000 {
		if r.IntN(5) < 3 {
			x := taken{n: uint64(r.Int64N(1<<r.IntN(blockBits+1)) + 1)}
			var ok bool
			if x.at, ok = a.take(x.n); !ok {
				refused++
				continue
			}
			if x.at%(1<<leastBits) != 0 || x.at < 16*block || x.at+x.n > 20*block || overlaps(x) {
				t.Fatalf("%d bytes at %#x are not free", x.n, x.at)
			}
			held = append(held, x)
		} else if len(held) > 0 {
			k := r.IntN(len(held))
			a.give(held[k].at, held[k].n)
			held[k] = held[len(held)-1]
			held = held[:len(held)-1]
		}
	}
	for _, x := range held {
		a.give(x.at, x.n)
	}
	a.join()
	for size := range a.free {
		want := 0
		if size == blockBits {
			want = 4
		}
		if n := len(a.free[size].at); n != want || len(a.free[size].where) != want {
			t.Errorf("%d blocks of 2^%d bytes are left, want %d", n, size, want)
		}
	}
	if refused == 0 {
		t.Error("it was never full")
	}
	if _, ok := a.take(block + 1); ok {
		t.Error("it has more than the largest block at once")
	}
}

// What is used is far from where anything is.
func TestGaps(t *testing.T) {
	for name, c := range map[string]struct {
		maps string
		want string
	}{
		"amd64": {"00400000-00e00000 r-xp 00000000 fe:00 5 /b\nc000000000-c000400000 rw-p 00000000 00:00 0 \n7ff000000000-7ff000010000 rw-p 00000000 00:00 0\n7ffff0000000-7ffff0001000 rw-p 00000000 00:00 0 [stack]\nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
			"10a700000000-700a00000000 1900000000-a800000000"},
		"39 bits":  {"00400000-00e00000 r-xp\n4000000000-4000400000 rw-p\n7f00000000-7f00010000 rw-p\n", "900000000-3800000000 4800000000-7700000000"},
		"nothing":  {"", ""},
		"nonsense": {"x\n-\n1-\n-2 \nzz-zz x\n", ""},
	} {
		got := ""
		for _, g := range gaps([]byte(c.maps)) {
			got += fmt.Sprintf(" %x-%x", g.from, g.to)
		}
		if got != "" {
			got = got[1:]
		}
		if got != c.want {
			t.Errorf("%s: it finds %s, want %s", name, got, c.want)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	room := uint64(0)
	for _, g := range gaps(maps) {
		room += g.to - g.from
	}
	if room < 60_000*256<<20 && unix.Getpagesize() == 4096 {
		t.Errorf("this process has %d GiB of room, too little for 60,000 instances", room>>30)
	}
}

// A place in which somebody has something is left to him.
func TestTakenPlace(t *testing.T) {
	at, ok := places.take(wasmPage)
	if !ok {
		t.Fatal("there is no place")
	}
	theirs, err := unix.MmapPtr(-1, 0, pointer(at), wasmPage, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED)
	if err != nil {
		t.Fatal(err)
	}
	places.give(at, wasmPage)
	m, err := New(&account{}, Unlimited{}, wasmPage, wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	m.b[0] = 1
	m.Free()
	if err := unix.MunmapPtr(theirs, wasmPage); err != nil {
		t.Error(err)
	}
	places.give(at, wasmPage)
}

// What is above a memory faults, whatever it was before.
func TestAboveTheMemory(t *testing.T) {
	image, err := NewImage(Unlimited{}, make([]byte, 2*wasmPage), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	copied, err := image.Copy(&account{}, Unlimited{}, 9*wasmPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Free()
	plain, err := New(&account{}, Unlimited{}, 9*wasmPage, 2*wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Free()
	faults := func(b []byte, at int) (did bool) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { did = recover() != nil }()
		b[at]++
		return false
	}
	for name, m := range map[string]*Linear{"copy": copied, "plain": plain} {
		for _, pages := range []int{2, 3, 5} {
			if m.Grow(uint64(pages)*wasmPage) == nil {
				t.Fatal("it does not grow")
			}
			for _, at := range []int{pages * wasmPage, 9*wasmPage - 1} {
				if !faults(m.space, at) {
					t.Errorf("%s: byte %d of %d can be written to", name, at, pages*wasmPage)
				}
			}
			if at := pages*wasmPage - 1; faults(m.space, at) || m.b[at] != 1 {
				t.Errorf("%s: byte %d of %d cannot be written to", name, at, pages*wasmPage)
			}
		}
	}
	if _, ok := copied.PutBack(); !ok || !faults(copied.space, 2*wasmPage) {
		t.Error("what it had grown by is still there when it is put back")
	}
}
