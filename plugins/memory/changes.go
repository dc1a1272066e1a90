package memory

import (
	"encoding/binary"
	"slices"
	"sync"
)

const (
	// MostChanges is how many bytes Changes may be, of as many as changedPages pages, and
	// mostGrown how much larger than its image a copy may be that has some.
	MostChanges  = 32 << 10
	changedPages = 256
	mostGrown    = 32 << 20
	// sameBytes is how many equal bytes end a change. Writing down where the next one
	// is takes as many at most.
	sameBytes = 8
)

// Typical are changes that other copies of the same image are likely to have most of, so that only
// what they have that these have not need be kept of them. It does not change. Any goroutine may
// use it. A nil Typical are no changes.
type Typical struct {
	changes []byte
	pages   []typicalPage // in their order
}

// typicalPage is one page that a Typical changes.
type typicalPage struct {
	page  int32
	first int32 // where its first change is in changes
	end   int   // where the change before that ends, in the memory
}

// NewTypical makes a Typical of what Changes has returned, with no Typical. The changes are kept,
// and must not be written to.
func NewTypical(changes []byte) *Typical {
	t := &Typical{changes: changes}
	before := 0
	for rest := changes; len(rest) > 0; {
		first := len(changes) - len(rest)
		c, at := nextChange(rest, before)
		if page := int32(at / systemPage); len(t.pages) == 0 || t.pages[len(t.pages)-1].page != page {
			t.pages = append(t.pages, typicalPage{page, int32(first), before})
		}
		rest, before = c.rest, at+len(c.bytes)
	}
	t.pages = slices.Clip(t.pages)
	return t
}

// Size is how many bytes its changes take.
func (t *Typical) Size() int {
	if t == nil {
		return 0
	}
	return len(t.changes)
}

// under are those of its pages that a memory of so many bytes has.
func (t *Typical) under(size int) []typicalPage {
	if t == nil {
		return nil
	}
	n := len(t.pages)
	for n > 0 && int(t.pages[n-1].page) >= size/systemPage {
		n--
	}
	return t.pages[:n]
}

// apply makes the changes of one page, which is in b, and at an offset in the memory.
func (t *Typical) apply(b []byte, p typicalPage, offset int) {
	c, at := nextChange(t.changes[p.first:], p.end)
	for c.bytes != nil && at < offset+systemPage { // none goes beyond its page
		copy(b[at-offset:], c.bytes)
		c, at = nextChange(c.rest, at+len(c.bytes))
	}
}

// Changes appends to b what a copy has that its image, with typical changes, has not: for each
// stretch how far it is from the end of the one before, its length, and its bytes; and on how many
// pages the copy differs from the image. ok is false when that is too much, cannot be told, or the
// memory is no copy; changes then is b with as much room as was needed.
func (m *Linear) Changes(b []byte, typical *Typical) (changes []byte, pages int, ok bool) {
	g := m.image
	if g == nil || m.Grown() > mostGrown {
		return b, 0, false
	}
	var written [changedPages]int32
	n, ok := writtenTo(m.b, written[:])
	if !ok || n > changedPages {
		return b, 0, false
	}
	theirs := typical.under(len(m.b))
	if len(theirs) == 0 {
		b, ok = m.appendWritten(b, written[:n], MostChanges)
		return b, n, ok
	}
	scratch := pageBuffers.Get().(*[]byte)
	defer pageBuffers.Put(scratch)
	own, end := written[:n], 0
	for ; len(own)+len(theirs) > 0; pages++ {
		// What is the next page that has changes, here or there?
		here := len(own) > 0 && (len(theirs) == 0 || own[0] <= theirs[0].page)
		there := len(theirs) > 0 && (len(own) == 0 || theirs[0].page <= own[0])
		p := 0
		if here {
			p, own = int(own[0]), own[1:]
		} else {
			p = int(theirs[0].page)
		}
		offset, was := p*systemPage, g.page(p)
		is := was // to look at the copy there would have the kernel map that page
		if here {
			is = m.b[offset:][:systemPage]
		}
		if there {
			copy(*scratch, was)
			was = *scratch
			typical.apply(was, theirs[0], offset)
			theirs = theirs[1:]
		}
		if b, end = appendChanges(b, is, was, offset, end); len(b) > MostChanges {
			return b, pages, false
		}
	}
	return b, pages, true
}

// pageBuffers are for a page each.
var pageBuffers = sync.Pool{New: func() any { b := make([]byte, systemPage); return &b }}

// appendWritten appends what a copy has on those pages that its image has not. It reports false
// when that is more than most bytes.
func (m *Linear) appendWritten(b []byte, pages []int32, most int) ([]byte, bool) {
	end := 0
	for _, p := range pages {
		at := int(p) * systemPage
		if b, end = appendChanges(b, m.b[at:at+systemPage], m.image.page(int(p)), at, end); len(b) > most {
			return b, false
		}
	}
	return b, true
}

// appendChanges does so for one page, which is at an offset in the memory, where the
// stretch before ended at end. It returns where the last one ends.
func appendChanges(b, is, was []byte, offset, end int) ([]byte, int) {
	for at := 0; at < len(is); {
		if at+8 <= len(is) && binary.LittleEndian.Uint64(is[at:]) == binary.LittleEndian.Uint64(was[at:]) {
			at += 8
			continue
		}
		if is[at] == was[at] {
			at++
			continue
		}
		last := at
		for k := at + 1; k < len(is) && k-last <= sameBytes; k++ {
			if is[k] != was[k] {
				last = k
			}
		}
		b = binary.AppendUvarint(b, uint64(offset+at-end))
		b = binary.AppendUvarint(b, uint64(last+1-at))
		b = append(b, is[at:last+1]...)
		at = last + 1
		end = offset + at
	}
	return b, end
}

// Apply writes the typical changes to a copy that is as its image, and those that Changes has found
// beside them. The copy has grown as far as the one had that they are of. It reports false when the
// account has no room for the pages they are on; they are written nevertheless.
func (m *Linear) Apply(typical *Typical, changes []byte, pages int) bool {
	for _, p := range typical.under(len(m.b)) {
		offset := int(p.page) * systemPage
		typical.apply(m.b[offset:][:systemPage], p, offset)
	}
	c, at := nextChange(changes, 0)
	for c.bytes != nil {
		copy(m.b[at:], c.bytes)
		c, at = nextChange(c.rest, at+len(c.bytes))
	}
	m.written.may += pages * systemPage
	return m.cover()
}
