package memory

import (
	"bytes"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"sync"
)

// addresses hands out address space in which nothing is mapped, and which nobody else
// takes: the system places mappings from the top down (or, with an unlimited stack, from a third
// up), and Go's heap grows up from where it is; these are far from both. It is taken in
// blocks of 4 GiB, which are halved as often as it takes, and put together again. Any
// goroutine may use it.
//
// The usual way to keep addresses is to map them without access. That costs each memory a
// mapping, of which a process is given so many.
type addresses struct {
	mu    sync.Mutex
	known bool
	left  []gap // of which nothing was taken yet
	free  [blockBits + 1]freeBlocks
	kept  [blockBits + 1][]uint64 // given back, and not put together with others yet
}

// gap is a stretch of addresses in which nothing is mapped.
type gap struct{ from, to uint64 }

const (
	// blockBits is the size of the largest block, and leastBits of the smallest, which is a
	// page of WebAssembly's.
	blockBits = 32
	leastBits = 16
	block     = 1 << blockBits
	// mostKeptBlocks is how many blocks of a size are kept as they are for the next.
	mostKeptBlocks = 256
	// leastGap is how wide a gap has to be to be used.
	leastGap = 64 << 30
)

// freeBlocks are blocks of one size.
type freeBlocks struct {
	at    []uint64
	where map[uint64]int // in at
}

func (f *freeBlocks) put(at uint64) {
	if f.where == nil {
		f.where = make(map[uint64]int)
	}
	f.where[at] = len(f.at)
	f.at = append(f.at, at)
}

// remove takes one out, if it is there.
func (f *freeBlocks) remove(at uint64) bool {
	k, ok := f.where[at]
	if !ok {
		return false
	}
	last := len(f.at) - 1
	f.at[k] = f.at[last]
	f.where[f.at[k]] = k
	f.at = f.at[:last]
	delete(f.where, at)
	return true
}

// sizeBits is the size of the block that n bytes take, as a power of two.
func sizeBits(n uint64) int { return max(bits.Len64(max(n, 1)-1), leastBits) }

// take takes n bytes, n <= 4 GiB, or reports false when there are none.
func (a *addresses) take(n uint64) (at uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want := sizeBits(n)
	if want > blockBits {
		return 0, false
	}
	if kept := a.kept[want]; len(kept) > 0 {
		at = kept[len(kept)-1]
		a.kept[want] = kept[:len(kept)-1]
		return at, true
	}
	if at, ok = a.split(want); !ok && a.join() {
		return a.split(want)
	}
	return at, ok
}

// split takes a block out of the smallest that there is.
func (a *addresses) split(want int) (at uint64, ok bool) {
	have := want
	for have <= blockBits && len(a.free[have].at) == 0 {
		have++
	}
	if have > blockBits {
		if at, ok = a.block(); !ok {
			return 0, false
		}
		have = blockBits
	} else {
		list := &a.free[have]
		at = list.at[len(list.at)-1]
		list.remove(at)
	}
	for have > want {
		have--
		a.free[have].put(at + 1<<have)
	}
	return at, true
}

// give takes back what take has given for as many bytes. Nothing is mapped there.
func (a *addresses) give(at, n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := sizeBits(n)
	if len(a.kept[size]) < mostKeptBlocks {
		a.kept[size] = append(a.kept[size], at)
	} else {
		a.put(at, size)
	}
}

// join puts all together that is kept, and reports whether there was any.
func (a *addresses) join() (any bool) {
	for size, kept := range a.kept {
		for _, at := range kept {
			a.put(at, size)
			any = true
		}
		a.kept[size] = nil
	}
	return any
}

// put puts a block together with its other half, and that with its own.
func (a *addresses) put(at uint64, size int) {
	for size < blockBits && a.free[size].remove(at^1<<size) {
		at &^= 1 << size
		size++
	}
	a.free[size].put(at)
}

// block is one of the largest that was never taken.
func (a *addresses) block() (at uint64, ok bool) {
	if !a.known {
		a.known = true
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			// As the machines are that have no /proc in a sandbox.
			a.left = []gap{{1 << 44, 1 << 46}}
		} else {
			a.left = gaps(maps)
		}
	}
	for len(a.left) > 0 {
		g := &a.left[0]
		if g.to-g.from >= block {
			at = g.from
			g.from += block
			return at, true
		}
		a.left = a.left[1:]
	}
	return 0, false
}

// gaps finds the wide gaps between the mappings that /proc/self/maps tells, the widest
// first, without an eighth at both ends of each, into which the neighbours may grow.
func gaps(maps []byte) []gap {
	var found []gap
	last := uint64(0)
	for line := range bytes.Lines(maps) {
		from, rest, ok := bytes.Cut(line, []byte("-"))
		to, _, ok2 := bytes.Cut(rest, []byte(" "))
		begin, err := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if !ok || !ok2 || err != nil || err2 != nil || begin >= 1<<56 { // the kernel's own
			continue
		}
		if begin > last && begin-last >= leastGap {
			eighth := (begin - last) / 8
			found = append(found, gap{(last + eighth + block - 1) &^ (block - 1), (begin - eighth) &^ (block - 1)})
		}
		last = max(last, end)
	}
	slices.SortStableFunc(found, func(a, b gap) int {
		switch x, y := a.to-a.from, b.to-b.from; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return found
}
