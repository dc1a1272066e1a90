package wasm

import "encoding/binary"

// Instructions steps through the code of one function, which a Module of
// [Parse] has to have given: nothing is checked again.
type Instructions struct {
	// Code is what is read, and Start and Next where in it the instruction in
	// hand begins and ends.
	Code        []byte
	Start, Next int
	// Op is the instruction in hand.
	Op Opcode
	// X and Y are its indices, in the order of the format: the label of a br,
	// br_if, rethrow or delegate; the tag of a throw or catch; the number of labels of a br_table
	// but the last; the function of a call or ref.func; the type and table of a call_indirect; a
	// local; a global; tables and segments; else they mean nothing.
	X, Y uint32
}

// Step goes to the next instruction, and reports whether there was one.
func (s *Instructions) Step() bool {
	pos := s.Next
	if pos >= len(s.Code) {
		return false
	}
	s.Start = pos
	b := s.Code[pos]
	pos++
	s.Op = Opcode(b)
	switch operands[b] {
	case nothing:
	case local, label, function, global, table, tag:
		s.X, pos = s.index(pos)
	case number32, number64:
		pos = s.skip(pos)
	case access:
		pos = s.skip(s.skip(pos))
	case blockType:
		pos = s.skip(pos)
	case tryTable:
		pos = s.skip(pos)
		s.X, pos = s.index(pos)
		for n := s.X; n > 0; n-- {
			kind := s.Code[pos]
			if pos++; kind < 2 {
				pos = s.skip(pos)
			}
			pos = s.skip(pos)
		}
	case labels:
		s.X, pos = s.index(pos)
		for n := s.X; ; n-- {
			pos = s.skip(pos)
			if n == 0 {
				break
			}
		}
	case indirect:
		s.X, pos = s.index(pos)
		s.Y, pos = s.index(pos)
	case memory, referenceType:
		pos++
	case bytes4:
		pos += 4
	case bytes8:
		pos += 8
	case valueTypes:
		pos = s.skip(pos) + 1
	case prefix:
		var n uint32
		n, pos = s.index(pos)
		s.Op = Opcode(b)<<8 | Opcode(n)
		if b == prefixMisc {
			pos = s.misc(miscOperands[n], pos)
		} else {
			pos = s.vector(vectorOperands[n], pos)
		}
	}
	s.Next = pos
	return true
}

func (s *Instructions) misc(o operand, pos int) int {
	switch o {
	case dataMemory:
		s.X, pos = s.index(pos)
		pos++
	case data, element, table:
		s.X, pos = s.index(pos)
	case memories:
		pos += 2
	case memory:
		pos++
	case elementTable, tables:
		s.X, pos = s.index(pos)
		s.Y, pos = s.index(pos)
	}
	return pos
}

func (s *Instructions) vector(o operand, pos int) int {
	switch o {
	case access:
		return s.skip(s.skip(pos))
	case bytes16, lanes:
		return pos + 16
	case accessLane:
		return s.skip(s.skip(pos)) + 1
	case lane:
		return pos + 1
	}
	return pos
}

// Labels calls f for each label of the br_table in hand, the last one too.
func (s *Instructions) Labels(f func(label uint32)) {
	_, pos := s.index(s.Start + 1)
	for n := s.X; ; n-- {
		var l uint32
		l, pos = s.index(pos)
		f(l)
		if n == 0 {
			return
		}
	}
}

// Catch is one of the catches of a try_table.
type Catch struct {
	Any   bool   // it catches whatever is thrown; Tag means nothing then
	Ref   bool   // it hands on the exception itself, behind what the tag has
	Tag   uint32 // that it catches
	Label uint32 // that it goes to, counted from outside of the try_table
}

// Catches calls f for each catch of the try_table in hand.
func (s *Instructions) Catches(f func(Catch)) {
	n, pos := s.index(s.skip(s.Start + 1))
	for ; n > 0; n-- {
		kind := s.Code[pos]
		c := Catch{Any: kind >= 2, Ref: kind&1 != 0}
		if pos++; !c.Any {
			c.Tag, pos = s.index(pos)
		}
		c.Label, pos = s.index(pos)
		f(c)
	}
}

func (s *Instructions) index(pos int) (uint32, int) {
	if b := s.Code[pos]; b < 0x80 {
		return uint32(b), pos + 1
	}
	v, n := binary.Uvarint(s.Code[pos:])
	return uint32(v), pos + n
}

func (s *Instructions) skip(pos int) int {
	for s.Code[pos] >= 0x80 {
		pos++
	}
	return pos + 1
}
