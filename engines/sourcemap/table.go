package sourcemap

import (
	"encoding/binary"
	"math"
)

// Table is the map as an engine reads it: the number of places, the number of sources, the places
// and the names of the sources, each with a zero byte behind it. A place is its line, its column
// and its source, then the line and the column there. Numbers are little-endian, of four bytes; the
// column and the source have two. Places that follow from the one before are left out. Where that
// has more than most bytes, each line keeps one place. It is nil if that is too much, too, or if
// there is no place.
func (m *Map) Table(most int) []byte {
	names := 0
	for _, s := range m.Sources {
		names += len(s) + 1
	}
	for _, keep := range []func(last, p Place) bool{
		func(last, p Place) bool {
			return last.Line != p.Line || last.File != p.File || last.WasLine != p.WasLine || p.WasColumn-last.WasColumn != p.Column-last.Column
		},
		func(last, p Place) bool { return last.Line != p.Line },
	} {
		var kept []Place
		for _, p := range m.Places {
			if p.Column > math.MaxUint16 {
				continue
			}
			if len(kept) == 0 || keep(kept[len(kept)-1], p) {
				kept = append(kept, p)
			}
		}
		if size := 8 + placeSize*len(kept) + names; len(kept) > 0 && size <= most {
			return m.table(kept, size)
		}
	}
	return nil
}

const placeSize = 16

func (m *Map) table(places []Place, size int) []byte {
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(places)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Sources)))
	for _, p := range places {
		b = binary.LittleEndian.AppendUint32(b, p.Line)
		b = binary.LittleEndian.AppendUint16(b, uint16(p.Column))
		b = binary.LittleEndian.AppendUint16(b, uint16(p.File))
		b = binary.LittleEndian.AppendUint32(b, p.WasLine)
		b = binary.LittleEndian.AppendUint32(b, p.WasColumn)
	}
	for _, s := range m.Sources {
		b = append(append(b, s...), 0)
	}
	return b
}
