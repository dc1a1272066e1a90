package memory

import "encoding/binary"

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

// Changes appends to b what a copy has that its image has not: for each stretch how far it is from
// the end of the one before, its length, and its bytes; and on how many pages that is. ok is false
// when that is too much, cannot be told, or the memory is no copy; changes then is b with as much
// room as was needed.
func (m *Linear) Changes(b []byte) (changes []byte, pages int, ok bool) {
	g := m.image
	if g == nil || m.Grown() > mostGrown {
		return b, 0, false
	}
	var written [changedPages]int32
	n, ok := writtenTo(m.b, written[:])
	if !ok || n > changedPages {
		return b, 0, false
	}
	b, ok = m.appendWritten(b, written[:n], MostChanges)
	return b, n, ok
}

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

// Apply writes changes to a copy that is as its image, and has grown as far as the one had that
// they are of. It reports false when the account has no room for the pages they are on; they are
// written nevertheless.
func (m *Linear) Apply(changes []byte, pages int) bool {
	c, at := nextChange(changes, 0)
	for c.bytes != nil {
		copy(m.b[at:], c.bytes)
		c, at = nextChange(c.rest, at+len(c.bytes))
	}
	m.written.may += pages * systemPage
	return m.cover()
}
