package wasm

import "encoding/binary"

// Code are the instructions of one of the module's own functions, imports counted,
// with its last end; nil for any other. It looks for them from the start, and the bytes
// are the file's.
func (m *Module) Code(function uint32) []byte {
	at := int64(function) - int64(m.imported[Function])
	if at < 0 || at >= int64(m.Functions) {
		return nil
	}
	for _, s := range m.sections {
		if s.ID != CodeSection {
			continue
		}
		b := s.Content
		number := func() uint64 {
			n, k := binary.Uvarint(b)
			b = b[k:]
			return n
		}
		number() // of functions
		for ; at > 0; at-- {
			size := number()
			b = b[size:]
		}
		b = b[:number()]
		for groups := number(); groups > 0; groups-- {
			number()
			b = b[1:]
		}
		return b
	}
	return nil
}
