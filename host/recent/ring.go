package recent

import (
	"bytes"
	"slices"
	"sync"
)

// firstBytes is how large a ring's memory is with its first line. It doubles from there.
const firstBytes = 1 << 10

// ring has the last of the lines that were added. Any goroutine may use it. Lines have numbers,
// from 0 on.
type ring struct {
	mostLines int

	mu    sync.Mutex
	most  int    // bytes, a power of two
	text  []byte // in a circle; a power of two long, nil before the first line
	head  int    // where the first line begins
	size  int    // bytes of all lines
	lines int
	next  place           // of the line that comes
	wakes []chan struct{} // of those who wait for it
}

// place is where a line is.
type place struct {
	line uint64 // its number
	at   uint64 // how many bytes of lines have been added before it
}

// skipped is how many lines are skipped at a time: whoever adds waits for that.
const skipped = 256

// newRing makes one of so many bytes, a power of two, and lines at most.
func newRing(mostBytes, mostLines int) *ring { return &ring{most: mostBytes, mostLines: mostLines} }

// add adds a copy of a line, which ends in its only line feed. The oldest make room for it. One
// that has no room at all takes the place of all of them, and is not there.
func (r *ring) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(line) > r.most {
		r.head, r.size, r.lines = 0, 0, 0
	} else {
		for r.lines >= r.mostLines || r.size+len(line) > r.most {
			r.drop()
		}
		r.grow(r.size + len(line))
		at := (r.head + r.size) & (len(r.text) - 1)
		n := copy(r.text[at:], line)
		copy(r.text, line[n:])
		r.size += len(line)
		r.lines++
		r.next.at += uint64(len(line))
	}
	r.next.line++
	for _, w := range r.wakes {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// drop forgets the oldest line.
func (r *ring) drop() {
	n := r.end(0)
	r.head = (r.head + n) & (len(r.text) - 1)
	r.size -= n
	r.lines--
}

// end is where the line ends that begins so many bytes behind head.
func (r *ring) end(from int) int {
	at := (r.head + from) & (len(r.text) - 1)
	if i := bytes.IndexByte(r.text[at:min(len(r.text), at+r.size-from)], '\n'); i >= 0 {
		return from + i + 1
	}
	beyond := len(r.text) - at
	return from + beyond + bytes.IndexByte(r.text, '\n') + 1
}

// grow makes room for so many bytes in all.
func (r *ring) grow(n int) {
	if n <= len(r.text) {
		return
	}
	size := max(len(r.text), min(firstBytes, r.most))
	for size < n {
		size *= 2
	}
	r.move(size)
}

// move gives the lines another memory.
func (r *ring) move(size int) {
	text := make([]byte, size)
	r.copyTo(text, 0, r.size)
	r.text, r.head = text, 0
}

// copyTo copies the bytes between two places behind head.
func (r *ring) copyTo(b []byte, from, to int) {
	at := (r.head + from) & (len(r.text) - 1)
	n := copy(b[:to-from], r.text[min(at, len(r.text)):])
	copy(b[n:to-from], r.text)
}

// limit has it hold no more than so many bytes from now on, a power of two.
func (r *ring) limit(most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = most
	for r.size > most {
		r.drop()
	}
	if len(r.text) > most {
		r.move(most)
	}
}

// first is the place of the oldest line.
func (r *ring) first() place {
	return place{r.next.line - uint64(r.lines), r.next.at - uint64(r.size)}
}

// last is the place of the first of the last n lines that are there.
func (r *ring) last(n int) place {
	r.mu.Lock()
	from, end := r.first(), r.next
	r.mu.Unlock()
	if n <= 0 {
		return end
	}
	for from.line+uint64(n) < end.line {
		from = r.skip(from, end.line-uint64(n))
	}
	return from
}

// skip goes some lines on from a place, towards the line with a number.
func (r *ring) skip(from place, line uint64) place {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.first()
	if from.line < first.line {
		from = first
	}
	for range skipped {
		if from.line >= line {
			break
		}
		begin := int(from.at - first.at)
		from = place{from.line + 1, from.at + uint64(r.end(begin)-begin)}
	}
	return from
}

// read appends the lines from a place on to b, as many as have room in most bytes, but one at least
// if there is one. lost is how many are not there any more, and next the place to go on from.
func (r *ring) read(b []byte, from place, most int) (_ []byte, next place, lost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.first()
	if from.line < first.line {
		lost = int64(first.line - from.line)
		from = first
	}
	begin := int(from.at - first.at)
	end := begin
	for from.line < r.next.line {
		e := r.end(end)
		if end > begin && e-begin > most {
			break
		}
		end = e
		from.line++
	}
	from.at += uint64(end - begin)
	if end > begin {
		n := len(b)
		b = slices.Grow(b, end-begin)[:n+end-begin]
		r.copyTo(b[n:], begin, end)
	}
	return b, from, lost
}

// wake has a channel that can hold one value be given one with each line, until the result is
// called.
func (r *ring) wake(w chan struct{}) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakes = append(r.wakes, w)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if i := slices.Index(r.wakes, w); i >= 0 {
			r.wakes = slices.Delete(r.wakes, i, i+1)
		}
	}
}
