package wasm

import (
	"encoding/binary"
	"unicode/utf8"
)

// The subsections of a name section that are read.
const (
	functionNames = 1
	tagNames      = 11
)

// nameSection keeps where the names of functions and tags are in a name section. It never
// makes a module fail: what is malformed ends it.
func (m *Module) nameSection(b []byte) {
	for len(b) > 0 {
		id := b[0]
		n, k := binary.Uvarint(b[1:])
		if k <= 0 || n > uint64(len(b)-1-k) {
			return
		}
		b = b[1+k:]
		switch {
		case id == functionNames && m.names == nil:
			m.names = b[:n]
		case id == tagNames && m.tagNames == nil:
			m.tagNames = b[:n]
		}
		b = b[n:]
	}
}

// FunctionNames calls f with the name that the module's name section gives each
// function, in the order of their indices, until f returns false. Names that are
// not UTF-8, not in order, or of functions that there are not, end it: the
// section is only good for traces. The bytes are the file's.
func (m *Module) FunctionNames(f func(index uint32, name []byte) bool) {
	eachName(m.names, len(m.funcs), f)
}

// TagNames is FunctionNames for the tags of exceptions.
func (m *Module) TagNames(f func(index uint32, name []byte) bool) {
	eachName(m.tagNames, len(m.tags), f)
}

func eachName(b []byte, things int, f func(index uint32, name []byte) bool) {
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
		if !ok1 || !ok2 || i < next || i >= uint64(things) || n > uint64(len(b)) || !utf8.Valid(b[:n]) {
			return
		}
		if !f(uint32(i), b[:n]) {
			return
		}
		next, b = i+1, b[n:]
	}
}
