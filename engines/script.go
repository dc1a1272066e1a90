package engines

import (
	"bytes"
	"encoding/binary"

	"bulkhead/plugins/wasm"
)

// Script returns the script that Pack has put into a module, and its name. ok is false for a module
// that has none, and for anything else. name and text are parts of b.
func Script(b []byte) (name, text []byte, ok bool) {
	_, script := scriptIn(b)
	return parts(script)
}

// scriptIn is the data segment with the script that a module has, and where that stands; nil if it
// has none.
func scriptIn(b []byte) (at uint32, script []byte) {
	at, err := scriptAddress(b)
	if err != nil {
		return 0, nil
	}
	all, err := sections(b)
	if err != nil {
		return 0, nil
	}
	for _, s := range all {
		if s.id == wasm.DataSection {
			r := reader{b: s.body}
			return at, r.segmentAt(at)
		}
	}
	return 0, nil
}

// segmentAt reads the data segments up to the one that begins at an address; nil if there is none.
// Segments whose address is no constant, which engines do not have, end the search.
func (r *reader) segmentAt(at uint32) []byte {
	for n := r.number(); n > 0 && !r.bad; n-- {
		kind, here := r.number(), false
		switch kind {
		case 0:
			if r.byte() != 0x41 {
				return nil
			}
			here = uint32(r.signed()) == at
			if r.byte() != 0x0b {
				return nil
			}
		case 1: // for memory.init: it has no address
		default:
			return nil
		}
		if b := r.take(int(r.number())); here && !r.bad {
			return b
		}
	}
	return nil
}

// parts takes what is in the segment of a script apart.
func parts(segment []byte) (name, text []byte, ok bool) {
	r := reader{b: segment}
	lengths := r.take(8)
	if len(lengths) < 8 {
		return nil, nil, false
	}
	name = r.take(int(binary.LittleEndian.Uint32(lengths)))
	zero := r.take(1)
	text = r.take(int(binary.LittleEndian.Uint32(lengths[4:])))
	return name, text, !r.bad && len(text) > 0 && bytes.Equal(zero, []byte{0})
}
