package wasm

import "encoding/binary"

// Header is how a module starts.
const Header = "\x00asm\x01\x00\x00\x00"

// Section is the section with a number; nil if the module has none. A custom one is never found.
func (m *Module) Section(id byte) *Section {
	for i := range m.sections {
		if s := &m.sections[i]; s.ID == id {
			return s
		}
	}
	return nil
}

// Source reads what [Parse] has accepted, such as the content of a section. It checks nothing: to
// read what is not there panics.
type Source struct {
	Bytes []byte
	Next  int // where in Bytes it reads on
}

// U32 reads a number.
func (r *Source) U32() uint32 {
	v, n := binary.Uvarint(r.Bytes[r.Next:])
	r.Next += n
	return uint32(v)
}

// Take reads n bytes, which are a part of Bytes.
func (r *Source) Take(n int) []byte {
	r.Next += n
	return r.Bytes[r.Next-n : r.Next]
}

// AppendSigned appends a number as the format writes signed ones.
func AppendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
