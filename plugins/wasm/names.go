package wasm

import (
	"encoding/binary"
	"unicode/utf8"
)

// nameSection keeps where the names of functions are in a name section. It never
// makes a module fail: what is malformed ends it.
func (m *Module) nameSection(b []byte) {
	for len(b) > 0 {
		id := b[0]
		n, k := binary.Uvarint(b[1:])
		if k <= 0 || n > uint64(len(b)-1-k) {
			return
		}
		b = b[1+k:]
		if id == 1 {
			m.names = b[:n]
			return
		}
		b = b[n:]
	}
}

// FunctionNames calls f with the name that the module's name section gives each
// function, in the order of their indices, until f returns false. Names that are
// not UTF-8, not in order, or of functions that there are not, end it: the
// section is only good for traces. The bytes are the file's.
func (m *Module) FunctionNames(f func(index uint32, name []byte) bool) {
	b := m.names
	number := func() (uint64, bool) {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return 0, false
		}
		b = b[k:]
		return n, true
	}
	count, ok := number()
	for next := uint64(0); ok && count > 0; count-- {
		i, ok1 := number()
		n, ok2 := number()
		if !ok1 || !ok2 || i < next || i >= uint64(len(m.funcs)) || n > uint64(len(b)) || !utf8.Valid(b[:n]) {
			return
		}
		if !f(uint32(i), b[:n]) {
			return
		}
		next, b = i+1, b[n:]
	}
}
