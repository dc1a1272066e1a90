package csa

import "math/bits"

// Buffers come in powers of two from 4 KiB to 16 MiB and go back to their
// loop's pool, so that sending allocates nothing in the steady state and an
// idle connection holds none.
const (
	smallestBuffer = 4 << 10
	bufferClasses  = 13
	pooledPerClass = 1 << 20 // bytes kept in each class
)

type bufferPool [bufferClasses][][]byte

// class is the number of the smallest class of at least n bytes; it may be
// bufferClasses or more.
func class(n int) int {
	if n <= smallestBuffer {
		return 0
	}
	return bits.Len(uint(n-1)) - bits.Len(uint(smallestBuffer-1))
}

func (p *bufferPool) get(class int) []byte {
	if have := p[class]; len(have) > 0 {
		b := have[len(have)-1]
		have[len(have)-1] = nil
		p[class] = have[:len(have)-1]
		return b
	}
	return make([]byte, smallestBuffer<<class)
}

func (p *bufferPool) put(b []byte) {
	c := class(len(b))
	if len(p[c])*len(b) < pooledPerClass {
		p[c] = append(p[c], b)
	}
}

// fifo holds bytes in order, in one buffer of the loop's pool that is charged
// to a budget while it is held. Empty, it holds none.
type fifo struct {
	b          []byte
	start, end int32 // 32 bits are enough for 16 MiB, and every connection has two
}

func (f *fifo) len() int      { return int(f.end - f.start) }
func (f *fifo) bytes() []byte { return f.b[f.start:f.end] }

// room makes space for n bytes behind the last one and returns all the space
// there is. It returns nil when the budget has none left.
func (f *fifo) room(l *Loop, budget Budget, n int) []byte {
	if len(f.b)-int(f.end) >= n {
		return f.b[f.end:]
	}
	held := f.len()
	c := class(held + n)
	if c >= bufferClasses {
		return nil
	}
	if f.b != nil && smallestBuffer<<c <= len(f.b) {
		copy(f.b, f.bytes())
		f.start, f.end = 0, int32(held)
		return f.b[f.end:]
	}
	if !budget.Reserve(smallestBuffer << c) {
		return nil
	}
	b := l.buffers.get(c)
	copy(b, f.bytes())
	f.release(l, budget)
	f.b, f.end = b, int32(held)
	return f.b[f.end:]
}

// crowded reports whether n more bytes would have many moved within a large buffer, to gain
// little: whoever is always nearly full would pay for that with each datagram.
func (f *fifo) crowded(n int) bool {
	size := len(f.b)
	return size > 16*smallestBuffer && int(f.end)+n > size && f.len()+n <= size && int(f.start) < size/2
}

// append copies p behind the last byte; it reports false, and takes nothing,
// when the budget has no room.
func (f *fifo) append(l *Loop, budget Budget, p []byte) bool {
	room := f.room(l, budget, len(p))
	if room == nil {
		return false
	}
	f.end += int32(copy(room, p))
	return true
}

// discard drops the first n bytes, and the buffer with the last of them.
func (f *fifo) discard(l *Loop, budget Budget, n int) {
	f.start += int32(n)
	if f.start == f.end {
		f.release(l, budget)
	}
}

func (f *fifo) release(l *Loop, budget Budget) {
	if f.b != nil {
		budget.Release(len(f.b))
		l.buffers.put(f.b)
	}
	*f = fifo{}
}
