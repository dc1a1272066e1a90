package memory

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
	// mostUnknown is how much may be charged that was perhaps not written to.
	mostUnknown = 64 << 10
	// KeptPages is how many written pages a copy may have to be kept as it is, with
	// the image copied over them, when it is put back. A copy of a page costs a
	// fiftieth of writing to it for the first time.
	KeptPages = 64
)

// Copy takes a place for most bytes, the first of which are a private copy of the image, and
// charges usual bytes for what will be written to. The error has ErrNoRoom or ErrNoMappings
// inside.
func (g *Image) Copy(account Account, mappings MappingAccount, most, usual int) (*Linear, error) {
	return g.copyFor(account, mappings, most, g.Cost(usual), usual)
}

// CopyWhole is Copy for a memory that is charged as one of New's is: for all of its bytes, and for
// nothing beside them.
func (g *Image) CopyWhole(account Account, mappings MappingAccount, most int) (*Linear, error) {
	return g.copyFor(account, mappings, most, len(g.bytes), len(g.bytes))
}

// copyFor is Copy that charges so many bytes, which do for as many as before that are written to.
func (g *Image) copyFor(account Account, mappings MappingAccount, most, charged, before int) (*Linear, error) {
	m := &Linear{account: account, maps: mapped{account: mappings}, image: g}
	if !m.charge(charged) {
		return nil, NoRoom(charged)
	}
	if !m.maps.take(copyMappings) {
		m.discharge(m.charged)
		return nil, noMappings()
	}
	m.written.before = before
	space, err := g.copyOf(most)
	if err != nil {
		m.discharge(m.charged)
		m.maps.drop()
		return nil, err
	}
	m.space = space
	m.b = space[:len(g.bytes):len(g.bytes)]
	g.frequent.give(m)
	return m, nil
}

// Cost is how many bytes another copy of the image is charged that is to have what this copy has
// written to, or usual bytes where that is more. What it has grown by is not among them.
func (m *Linear) Cost(usual int) int { return m.image.Cost(max(m.written.before, usual)) }

// Grown is how many bytes a copy has grown by.
func (m *Linear) Grown() int { return len(m.b) - len(m.image.bytes) }

// Ran notes that the guest has run for so many nanoseconds. It reports false when
// the account has no room for what it has written to. Only copies have to be told.
func (m *Linear) Ran(ns int64) bool {
	if m.image == nil || ns < FaultTime() {
		return true
	}
	m.written.may += int(ns/FaultTime()) * systemPage
	return m.cover()
}

// Filled notes that the host has written to the first n bytes of the window. It reports false as
// Ran does.
func (m *Linear) Filled(n int) bool {
	if m.image == nil || n <= m.written.filled {
		return true
	}
	m.written.may += (n-m.written.filled)/systemPage*systemPage + 2*systemPage
	m.written.filled = n
	return m.cover()
}

// cover charges what may have been written to.
func (m *Linear) cover() bool {
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

// Shrink gives the system back what a copy has grown by, which is more than nothing. What is
// charged for that is the caller's then. It reports false, and does nothing, when the system does
// not take it.
func (m *Linear) Shrink() bool {
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

// PutBack makes a copy what its image is, and charges what it keeps. It reports
// how many bytes had been written to, and false when the memory cannot be used
// again: it can only be freed then.
func (m *Linear) PutBack() (wrote int, ok bool) {
	if grown := m.Grown(); grown > 0 {
		if !m.Shrink() {
			return 0, false
		}
		m.account.Release(grown)
	}
	n, kept := m.restore()
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

// Reuse charges usual bytes, as Image.Copy does, for a copy that was put back. The error has
// ErrNoRoom inside.
func (m *Linear) Reuse(usual int) error {
	if more := usual - m.written.before; more > 0 {
		if !m.charge(more) {
			return NoRoom(usual)
		}
		m.written.before = usual
	}
	return nil
}

// restore copies the image over the pages of a copy that were written to. It
// reports how many, and false when those are too many to be worth it, or cannot be
// told.
func (m *Linear) restore() (n int, ok bool) {
	g := m.image
	var pages [KeptPages]int32
	n, ok = writtenTo(m.b, pages[:])
	if ok {
		m.tell(pages[:min(n, KeptPages)])
	}
	m.tells = false // the next instance has the pages of this one
	if !ok || n > KeptPages {
		return n, false
	}
	for _, p := range pages[:n] {
		at := int(p) * systemPage
		to := m.b[at : at+systemPage]
		if g.zero[p] {
			clear(to)
		} else {
			copy(to, g.bytes[at:])
		}
	}
	return n, true
}
