package memory

import (
	"encoding/binary"
	"slices"
)

// Difference is what a memory holds, as what it has that an image has not. An image of its own can
// be made of that at any time, as long as the other is there. It does not change. Any goroutine may
// use it.
type Difference struct {
	from     *Image
	size     int
	changes  []byte
	frequent *frequent // of all its images
}

const (
	// mostDifference is how many bytes a Difference may be, of as many as differentPages pages.
	mostDifference = 128 << 10
	differentPages = 1024
)

// Difference is what a copy has that its image has not. ok is false when that is too much to be
// kept like this, cannot be told, or the memory is no copy.
func (m *Linear) Difference() (d *Difference, ok bool) {
	if m.image == nil || m.Grown() > mostGrown {
		return nil, false
	}
	written := make([]int32, differentPages)
	n, ok := writtenTo(m.b, written)
	if !ok || n > len(written) {
		return nil, false
	}
	changes, ok := m.appendWritten(nil, written[:n], mostDifference)
	if !ok {
		return nil, false
	}
	return &Difference{m.image, len(m.b), slices.Clip(changes), &frequent{}}, true
}

// Size is how many bytes the memory has.
func (d *Difference) Size() int { return d.size }

// Bytes is how many bytes the difference takes.
func (d *Difference) Bytes() int { return len(d.changes) }

// From is the image that it differs from.
func (d *Difference) From() *Image { return d.from }

// Image makes an image of the memory, as NewImage does.
func (d *Difference) Image(mappings MappingAccount, extra int) (*Image, error) {
	next, at := nextChange(d.changes, 0)
	changed := make([]byte, systemPage)
	g, err := newImage(mappings, d.size, extra, func(p int) []byte {
		end := (p + 1) * systemPage
		if next.bytes == nil || at >= end {
			return d.from.page(p)
		}
		copy(changed, d.from.page(p))
		for next.bytes != nil && at < end { // none goes beyond its page
			copy(changed[at-p*systemPage:], next.bytes)
			next, at = nextChange(next.rest, at+len(next.bytes))
		}
		return changed
	})
	if err == nil {
		g.frequent = d.frequent
	}
	return g, err
}

// change is one stretch of changes, and those behind it. bytes is nil behind the last.
type change struct{ bytes, rest []byte }

// nextChange is the first of changes, of which the one before ended at end, and where it is.
func nextChange(changes []byte, end int) (c change, at int) {
	if len(changes) == 0 {
		return change{}, end
	}
	gap, k := binary.Uvarint(changes)
	n, l := binary.Uvarint(changes[k:])
	changes = changes[k+l:]
	return change{changes[:n], changes[n:]}, end + int(gap)
}
