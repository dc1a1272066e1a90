package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a copy has goes to another process as its image's file, which both have then, and as what
// the copy has that the image has not.

// mostTravels is how many bytes AllChanges may be.
const mostTravels = 64 << 20

// AllChanges is what a copy has that its image has not, as Changes writes it down, however many
// pages it is on, up to 64 MiB. ok is false when that is too much, cannot be told, or the memory is
// no copy.
func (m *Linear) AllChanges() (changes []byte, ok bool) {
	if m.image == nil {
		return nil, false
	}
	var few [changedPages]int32
	written := few[:]
	n, ok := writtenTo(m.b, written)
	if ok && n > len(written) {
		written = make([]int32, n)
		n, ok = writtenTo(m.b, written)
	}
	if !ok || n > len(written) {
		return nil, false
	}
	return m.appendWritten(nil, written[:n], mostTravels)
}

// CheckChanges reports on how many pages changes are that came from elsewhere, and whether they are
// what Changes writes down of a memory of so many bytes.
func CheckChanges(changes []byte, size int) (pages int, err error) {
	bad := func(why string) (int, error) { return 0, fmt.Errorf("the changes of a memory are no such: %s", why) }
	last, end := -1, uint64(0)
	for len(changes) > 0 {
		gap, k := binary.Uvarint(changes)
		if k <= 0 {
			return bad("a place is cut")
		}
		n, l := binary.Uvarint(changes[k:])
		if l <= 0 {
			return bad("a length is cut")
		}
		changes = changes[k+l:]
		if n == 0 || n > uint64(len(changes)) {
			return bad("a length is wrong")
		}
		if gap > uint64(size) || end+gap+n > uint64(size) {
			return bad("a change is outside the memory")
		}
		at := end + gap
		end = at + n
		changes = changes[n:]
		page := int(at) / systemPage
		if page != int(end-1)/systemPage {
			return bad("a change is on two pages")
		}
		if page != last {
			last = page
			pages++
		}
	}
	return pages, nil
}

var errNoFile = errors.New("the image has no file")
