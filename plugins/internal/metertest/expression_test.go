package metertest

import (
	"flag"
	"slices"
)

// Set, the engine's fault shows as such: plain in the compiler is then not what it is
// plain in the interpreter.
var floatSelect = flag.Bool("float-select", false, "generate select of floats and vectors, which the engine's compiler gets wrong on amd64 (wazero #2534)")

// operator pushes a value of the type result, from operands of these types.
type operator struct {
	op       []byte
	operands []byte
	result   byte
}

// operators are those without immediates. The dividing and truncating ones may
// trap.
var operators = func() map[byte][]operator {
	all := make(map[byte][]operator)
	add := func(result byte, first, last byte, operands ...byte) {
		for op := int(first); op <= int(last); op++ {
			all[result] = append(all[result], operator{[]byte{byte(op)}, operands, result})
		}
	}
	add(typeI32, 0x45, 0x45, typeI32)
	add(typeI32, 0x46, 0x4f, typeI32, typeI32)
	add(typeI32, 0x50, 0x50, typeI64)
	add(typeI32, 0x51, 0x5a, typeI64, typeI64)
	add(typeI32, 0x5b, 0x60, typeF32, typeF32)
	add(typeI32, 0x61, 0x66, typeF64, typeF64)
	add(typeI32, 0x67, 0x69, typeI32)
	add(typeI32, 0x6a, 0x6c, typeI32, typeI32)
	add(typeI32, 0x6d, 0x70, typeI32, typeI32)
	add(typeI32, 0x71, 0x78, typeI32, typeI32)
	add(typeI32, 0xa7, 0xa7, typeI64)
	add(typeI32, 0xa8, 0xa9, typeF32)
	add(typeI32, 0xaa, 0xab, typeF64)
	add(typeI32, 0xbc, 0xbc, typeF32)
	add(typeI32, 0xc0, 0xc1, typeI32)
	add(typeI32, 0xd1, 0xd1, typeFuncref)
	add(typeI32, 0xd1, 0xd1, typeExternref)
	add(typeI64, 0x79, 0x7b, typeI64)
	add(typeI64, 0x7c, 0x8a, typeI64, typeI64)
	add(typeI64, 0xac, 0xad, typeI32)
	add(typeI64, 0xae, 0xaf, typeF32)
	add(typeI64, 0xb0, 0xb1, typeF64)
	add(typeI64, 0xbd, 0xbd, typeF64)
	add(typeI64, 0xc2, 0xc4, typeI64)
	add(typeF32, 0x8b, 0x91, typeF32)
	add(typeF32, 0x92, 0x98, typeF32, typeF32)
	add(typeF32, 0xb2, 0xb3, typeI32)
	add(typeF32, 0xb4, 0xb5, typeI64)
	add(typeF32, 0xb6, 0xb6, typeF64)
	add(typeF32, 0xbe, 0xbe, typeI32)
	add(typeF64, 0x99, 0x9f, typeF64)
	add(typeF64, 0xa0, 0xa6, typeF64, typeF64)
	add(typeF64, 0xb7, 0xb8, typeI32)
	add(typeF64, 0xb9, 0xba, typeI64)
	add(typeF64, 0xbb, 0xbb, typeF32)
	add(typeF64, 0xbf, 0xbf, typeI64)
	for i, t := range []byte{typeF32, typeF32, typeF64, typeF64} { // those that saturate
		all[typeI32] = append(all[typeI32], operator{[]byte{0xfc, byte(i)}, []byte{t}, typeI32})
		all[typeI64] = append(all[typeI64], operator{[]byte{0xfc, byte(i + 4)}, []byte{t}, typeI64})
	}
	vector := func(result byte, op int, immediates int, operands ...byte) {
		code := appendOpcode(op)
		for range immediates {
			code = append(code, 1) // a lane that all shapes have
		}
		all[result] = append(all[result], operator{code, operands, result})
	}
	for i, t := range []byte{typeI32, typeI32, typeI32, typeI64, typeF32, typeF64} { // splat
		vector(typeV128, 15+i, 0, t)
	}
	for _, op := range []int{21, 22, 24, 25, 27} {
		vector(typeI32, op, 1, typeV128)
	}
	vector(typeI64, 29, 1, typeV128)
	vector(typeF32, 31, 1, typeV128)
	vector(typeF64, 33, 1, typeV128)
	for i, t := range []byte{typeI32, typeI32, typeI32, typeI64, typeF32, typeF64} { // replace_lane
		vector(typeV128, []int{23, 26, 28, 30, 32, 34}[i], 1, typeV128, t)
	}
	for _, op := range []int{
		14, 35, 36, 40, 45, 47, 51, 55, 57, 61, 65, 67, 69, 71, 73, 76, 78, 79, 80, 81, 101, 102, 110, 111, 113, 118, 123,
		133, 142, 145, 149, 174, 177, 181, 182, 186, 206, 209, 213, 228, 229, 230, 231, 232, 233, 240, 241, 242, 243, 244, 245,
	} {
		vector(typeV128, op, 0, typeV128, typeV128)
	}
	for _, op := range []int{77, 96, 97, 98, 128, 129, 160, 161, 192, 193, 224, 225, 227, 236, 237, 239, 248, 249, 250} {
		vector(typeV128, op, 0, typeV128)
	}
	vector(typeV128, 82, 0, typeV128, typeV128, typeV128)
	for _, op := range []int{107, 108, 109, 139, 171, 172, 173, 203, 204, 205} { // shifts
		vector(typeV128, op, 0, typeV128, typeI32)
	}
	for _, op := range []int{83, 99, 100, 131, 132, 163, 164, 195, 196} {
		vector(typeI32, op, 0, typeV128)
	}
	return all
}()

func appendOpcode(vector int) []byte {
	if vector < 128 {
		return []byte{0xfd, byte(vector)}
	}
	return []byte{0xfd, byte(vector) | 0x80, byte(vector >> 7)}
}

// expression pushes a value of that type.
func (b *body) expression(t byte, depth int) {
	if depth <= 0 || b.budget <= 0 {
		b.leaf(t)
		return
	}
	switch b.in.n(12) {
	case 0, 1, 2:
		b.leaf(t)
	case 3:
		b.load(t, depth-1)
	case 4:
		results := []byte{t}
		if b.in.rarely(3) {
			results = append(results, pick(b.in, everyType...))
		}
		s := b.construct(depth, signature{b.signature().params, results})
		for range s.results[1:] {
			b.op(0x1a)
		}
	case 5:
		b.choose(t, depth-1)
	case 6:
		b.callFor(t, depth-1)
	case 7:
		b.expression(t, depth-1)
		b.index1(0x22, pick(b.in, b.vars[t]...))
	case 8:
		b.special(t, depth-1)
	default:
		b.operator(t, depth-1)
	}
}

func (b *body) leaf(t byte) {
	switch b.in.n(3) {
	case 0:
		b.op(constant(t, b.in.bits(t))...)
	case 1:
		b.get(pick(b.in, b.vars[t]...))
	case 2:
		for g, have := range b.g.globals {
			if g != recursionGlobal && have.t == t {
				b.index1(0x23, g)
				return
			}
		}
		b.op(constant(t, 0)...)
	}
}

func (b *body) operator(t byte, depth int) {
	if len(operators[t]) == 0 {
		b.leaf(t)
		return
	}
	o := pick(b.in, operators[t]...)
	for i, operand := range o.operands {
		b.expression(operand, depth)
		switch {
		case o.op[0] == 0xbc, o.op[0] == 0xbd, // they show the bits, as copysign shows the sign
			o.op[0] == 0x98 && i == 1, o.op[0] == 0xa6 && i == 1:
			b.canonical(operand)
		}
	}
	divides := o.op[0] >= 0x6d && o.op[0] <= 0x70 || o.op[0] >= 0x7f && o.op[0] <= 0x82
	if divides && !b.in.rarely(16) { // by an odd number
		b.op(constant(t, 1)...)
		b.op(map[byte]byte{typeI32: 0x72, typeI64: 0x84}[t])
	}
	truncates := o.op[0] >= 0xa8 && o.op[0] <= 0xab || o.op[0] >= 0xae && o.op[0] <= 0xb1
	if truncates && !b.in.rarely(16) { // a number that fits
		b.op(0x1a)
		b.expression(typeI32, depth)
		if o.operands[0] == typeF32 {
			b.op(0xb2, 0x8b) // half of its magnitude
			b.op(append(constant(typeF32, 0x3f000000), 0x94)...)
		} else {
			b.op(0xb7, 0x99)
			b.op(append(constant(typeF64, 0x3fe0000000000000), 0xa2)...)
		}
	}
	b.op(o.op...)
	if o.op[0] == 0xfd && t == typeV128 {
		b.canonicalLanes(o)
	}
}

// canonical makes any NaN on the stack the canonical one.
func (b *body) canonical(t byte) {
	s := b.scratch[t]
	b.index1(0x22, s)
	b.get(s)
	b.op(map[byte]byte{typeF32: 0x5c, typeF64: 0x62}[t]) // ne
	b.op(0x04, t)
	b.op(constant(t, map[byte]uint64{typeF32: 0x7fc00000, typeF64: 0x7ff8000000000000}[t])...)
	b.op(0x05)
	b.get(s)
	b.op(0x0b)
}

// canonicalLanes makes zeroes of the NaNs that o may have put into lanes.
func (b *body) canonicalLanes(o operator) {
	r := bytesReader{b: o.op}
	op, _ := r.instruction()
	var equal byte
	switch sub := int(op & 0xff); {
	case sub == 19, sub == 32, sub >= 227 && sub <= 235:
		equal = 65
	case sub == 20, sub == 34, sub >= 239 && sub <= 247:
		equal = 71
	default:
		return
	}
	s := b.scratch[typeV128]
	b.index1(0x22, s)
	b.get(s)
	b.get(s)
	b.op(0xfd, equal)
	b.op(0xfd, 78)
}

// choose pushes one of two, by select where that is safe.
func (b *body) choose(t byte, depth int) {
	if !*floatSelect && (t == typeF32 || t == typeF64 || t == typeV128) {
		b.expression(typeI32, depth)
		b.op(0x04, t)
		b.labels = append(b.labels, label{[]byte{t}, -1})
		b.expression(t, depth)
		b.op(0x05)
		b.expression(t, depth)
		b.op(0x0b)
		b.labels = b.labels[:len(b.labels)-1]
		return
	}
	b.expression(t, depth)
	b.expression(t, depth)
	b.expression(typeI32, depth)
	if t == typeFuncref || t == typeExternref || b.in.n(2) == 0 {
		b.op(0x1c, 1, t)
	} else {
		b.op(0x1b)
	}
}

// callFor calls a function that has the type as its last result, if there is
// one behind this one, and else any one, and pushes a leaf.
func (b *body) callFor(t byte, depth int) {
	s := b.call(depth)
	for i := len(s.results) - 1; i >= 0; i-- {
		if s.results[i] == t {
			b.set(b.scratch[t])
			for range i {
				b.op(0x1a)
			}
			b.get(b.scratch[t])
			return
		}
		b.op(0x1a)
	}
	b.leaf(t)
}

// special pushes what only one instruction has.
func (b *body) special(t byte, depth int) {
	switch t {
	case typeI32:
		switch b.in.n(4) {
		case 0:
			b.op(0x3f, 0) // memory.size
		case 1:
			b.op(0xfc, 16, byte(b.in.n(2))) // table.size
		case 2:
			b.expression(typeI32, depth)
			b.index1(0x10, markFunction)
		case 3:
			if b.g.bulk {
				b.masked(1, depth)
				b.op(0x40, 0)
			} else {
				b.leaf(t)
			}
		}
	case typeFuncref:
		if b.in.n(2) == 0 {
			b.index1(0xd2, b.in.n(len(b.g.functions)))
		} else {
			b.masked(7, depth)
			b.op(0x25, functionTable)
		}
	case typeExternref:
		b.masked(3, depth)
		b.op(0x25, externTable)
	case typeV128:
		b.expression(t, depth)
		b.expression(t, depth)
		b.op(0xfd, 13)
		for range 16 {
			b.code = append(b.code, byte(b.in.n(32)))
		}
	default:
		b.operator(t, depth)
	}
}

// access writes an instruction that reads or writes memory, and its immediates.
func (b *body) access(op ...byte) {
	b.op(append(op, 0, byte(b.in.n(64)))...)
}

func (b *body) load(t byte, depth int) {
	ops := map[byte][]byte{
		typeI32: {0x28, 0x2c, 0x2d, 0x2e, 0x2f},
		typeI64: {0x29, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35},
		typeF32: {0x2a}, typeF64: {0x2b},
		// v128.load, those that extend, those that splat, and load_zero
		typeV128: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 92, 93},
	}[t]
	if ops == nil {
		b.leaf(t)
		return
	}
	b.masked(b.half(), depth)
	op := pick(b.in, ops...)
	switch {
	case t == typeV128 && b.in.rarely(8):
		b.expression(t, depth)
		b.op(0xfd, byte(84+b.in.n(4)), 0, byte(b.in.n(64)), 1) // a lane
	case t == typeV128:
		b.access(0xfd, op)
	default:
		b.access(op)
	}
	// Memory may hold any bits, such as those of a signalling NaN. They are
	// equal everywhere, until an operator meets them.
	if slices.Contains([]byte{typeF32, typeF64}, t) && b.in.n(2) == 0 {
		b.canonical(t)
	}
}

func (b *body) store(depth int) {
	b.masked(b.half(), depth)
	t := pick(b.in, everyType[:6]...)
	b.expression(t, depth)
	switch t {
	case typeF32, typeF64:
		b.canonical(t)
		b.access(map[byte]byte{typeF32: 0x38, typeF64: 0x39}[t])
	case typeV128:
		if b.in.rarely(4) {
			b.op(0xfd, byte(88+b.in.n(4)), 0, byte(b.in.n(64)), 1)
		} else {
			b.access(0xfd, 11)
		}
	case typeI32:
		b.access(pick(b.in, []byte{0x36, 0x3a, 0x3b}...))
	case typeI64:
		b.access(pick(b.in, []byte{0x37, 0x3c, 0x3d, 0x3e}...))
	}
}
