package plugins

import (
	"sync/atomic"

	"bulkhead/plugins/wasm"
)

// written is what is known of the pages of an image's copy that were written to.
// They take memory of their own, so they are charged. Only the kernel knows which
// they are, and asking it costs some microseconds. So a guest is asked after when it
// has run for long enough to have written to many pages for the first time, which
// no program can do faster than the machine copies pages; in between, what it may
// have written to is charged.
type written struct {
	known  int // bytes that were found to be
	may    int // bytes that may be beside those
	filled int // bytes of the window that the host has written to
	// before is what was charged with the copy.
	before int
}

const (
	// copyOverhead is charged for a copy beside its pages: the kernel's and the
	// host's own state of it.
	copyOverhead = 8 << 10
	// mostUnknown is how much may be charged that was perhaps not written to.
	mostUnknown = 64 << 10
	// keptPages is how many written pages a copy may have to be kept as it is, with
	// the image copied over them, when it is put back. A copy of a page costs a
	// fiftieth of writing to it for the first time.
	keptPages = 64
)

// image is what a memory starts as, for any number of private copies. Any
// goroutine may use it.
type image struct {
	bytes []byte // to be read only
	fd    int
	zero  []bool // of each page of the system's: all bytes are zero
	extra int    // bytes that each copy takes beside copyOverhead
}

// page is what a page of the image's copies, or of what they have grown by, is at first.
func (g *image) page(p int) []byte {
	if p >= len(g.zero) || g.zero[p] {
		return zeros // to read the image there would give it a page
	}
	return g.bytes[p*systemPage:][:systemPage]
}

var zeros = make([]byte, systemPage)

// newCopy takes a place for max pages, the first of which are a copy of an image, and
// charges usual bytes for what will be written to.
func newCopy(o *RuntimeOptions, of *image, max uint32, usual int) (*linearMemory, error) {
	m := &linearMemory{account: o.Memory, maps: mapped{account: o.Mappings}, image: of}
	if !m.charge(copyOverhead + of.extra + usual) {
		return nil, noRoom(int64(copyOverhead + of.extra + usual))
	}
	if !m.maps.take(copyMappings) {
		m.discharge(m.charged)
		return nil, noMappings()
	}
	m.written.before = usual
	space, err := of.copyOf(max)
	if err != nil {
		m.discharge(m.charged)
		m.maps.drop()
		return nil, err
	}
	m.space = space
	m.b = space[:len(of.bytes):len(of.bytes)]
	return m, nil
}

// ran notes that the guest has run for so many nanoseconds. It reports false when
// the account has no room for what it has written to.
func (m *linearMemory) ran(ns int64) bool {
	if m.image == nil || ns < faultTime() {
		return true
	}
	m.written.may += int(ns/faultTime()) * systemPage
	return m.cover()
}

// fill notes that the host has written to the first n bytes of the window.
func (m *linearMemory) fill(n int) bool {
	if m.image == nil || n <= m.written.filled {
		return true
	}
	m.written.may += (n-m.written.filled)/systemPage*systemPage + 2*systemPage
	m.written.filled = n
	return m.cover()
}

// cover charges what may have been written to.
func (m *linearMemory) cover() bool {
	w := &m.written
	bound := min(w.known+w.may, len(m.image.bytes))
	if bound <= w.before {
		return true
	}
	if w.may <= mostUnknown && m.charge(bound-w.before) {
		w.before = bound
		return true
	}
	n, ok := writtenTo(m.b[:len(m.image.bytes)], nil)
	if !ok {
		n = bound / systemPage
	}
	w.known, w.may = n*systemPage, 0
	if more := w.known - w.before; more > 0 && !m.charge(more) {
		return false
	} else if more < 0 {
		m.discharge(-more)
	}
	w.before = w.known
	return true
}

// shrink gives the system back what the memory has grown by. What is charged for that is the
// caller's then. It reports false, and does nothing, when the system does not take it.
func (m *linearMemory) shrink() bool {
	n := len(m.image.bytes)
	grown := len(m.b) - n
	if !shrinkSpace(m.space, n, len(m.b)) {
		return false
	}
	m.b = m.space[:n:n]
	m.maps.give(1)
	m.charged -= grown
	return true
}

// putBack makes the memory what its image is, and charges what it keeps. It reports
// how many bytes had been written to, and false when the memory cannot be used
// again.
func (m *linearMemory) putBack() (wrote int, ok bool) {
	if grown := len(m.b) - len(m.image.bytes); grown > 0 {
		if !m.shrink() {
			return 0, false
		}
		m.account.Release(grown)
	}
	n, kept := m.image.restore(m.b)
	if !kept && !dropPages(m.b) {
		return n * systemPage, false
	}
	m.discharge(m.written.before)
	m.written = written{}
	if kept {
		// They were charged until now, or nearly.
		keep := n * systemPage
		if !m.charge(keep) {
			return keep, false
		}
		m.written.known, m.written.before = keep, keep
	}
	return n * systemPage, true
}

// reuse charges usual bytes for a memory that was put back.
func (m *linearMemory) reuse(usual int) bool {
	if more := usual - m.written.before; more > 0 {
		if !m.charge(more) {
			return false
		}
		m.written.before = usual
	}
	return true
}

// restore copies the image over the pages of its copy that were written to. It
// reports how many, and false when those are too many to be worth it, or cannot be
// told.
func (g *image) restore(copied []byte) (n int, ok bool) {
	var pages [keptPages]int32
	n, ok = writtenTo(copied, pages[:])
	if !ok || n > keptPages {
		return n, false
	}
	for _, p := range pages[:n] {
		at := int(p) * systemPage
		to := copied[at : at+systemPage]
		if g.zero[p] {
			clear(to)
		} else {
			copy(to, g.bytes[at:])
		}
	}
	return n, true
}

// faultTime is less than it takes to write to a page of an image's copy for the
// first time, in nanoseconds. It is measured once. A measurement that fails, since some
// tenant has used up what it takes, is not kept.
func faultTime() int64 {
	ns := measuredFault.Load()
	if ns == 0 {
		if ns = measureFault(); ns == 0 {
			return leastFault
		}
		measuredFault.Store(ns)
	}
	return ns
}

var measuredFault atomic.Int64

const leastFault, mostFault = 100, 5000 // ns

// measureFault is zero when there is no memory to measure with.
func measureFault() int64 {
	const pages = 2 * wasm.PageSize / 4096
	g, err := newImage(make([]byte, 2*wasm.PageSize))
	if err != nil {
		return 0
	}
	defer g.close()
	m, err := newCopy(&RuntimeOptions{Memory: unlimited{}, Mappings: unlimited{}}, g, 2, 0)
	if err != nil {
		return 0
	}
	defer m.Free()
	fastest := int64(mostFault)
	for p := range pages {
		began := nanotime()
		m.b[p*4096] = 1
		fastest = min(fastest, nanotime()-began)
	}
	return max(fastest/2, leastFault)
}
