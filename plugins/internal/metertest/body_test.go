package metertest

import (
	"encoding/binary"
	"slices"
)

// body generates one function: statements, which leave the stack as it is, and
// expressions, which push one value of a type.
type body struct {
	g       *generated
	in      *entropy
	index   int
	budget  int // how much more it may have, about in instructions
	params  []byte
	locals  []byte         // parameters first
	vars    map[byte][]int // locals that may be set, by type
	scratch map[byte]int   // a local for the moment, by type
	labels  []label        // the outermost, the function's own, first
	code    []byte
}

// label is what a branch may go to.
type label struct {
	types   []byte
	counter int // a loop's: the local that says how often more; else -1
}

func (b *body) generate() []byte {
	f := b.g.functions[b.index]
	b.params, b.vars, b.scratch = f.params, make(map[byte][]int), make(map[byte]int)
	for _, t := range f.params {
		b.vars[t] = append(b.vars[t], len(b.locals))
		b.locals = append(b.locals, t)
	}
	for _, t := range everyType {
		b.vars[t] = append(b.vars[t], b.local(t))
		b.scratch[t] = b.local(t)
	}
	b.labels = []label{{f.results, -1}}
	b.statements(5)
	for _, t := range f.results {
		b.expression(t, 4)
	}
	b.op(0x0b)
	var groups []byte
	own := b.locals[len(f.params):]
	for _, t := range own {
		groups = append(groups, 1, t)
	}
	return concat(binary.AppendUvarint(nil, uint64(len(own))), groups, b.code)
}

func (b *body) local(t byte) int {
	b.locals = append(b.locals, t)
	return len(b.locals) - 1
}

func (b *body) op(op ...byte) {
	b.budget--
	b.code = append(b.code, op...)
}

func (b *body) index1(op byte, index int) {
	b.op(binary.AppendUvarint([]byte{op}, uint64(index))...)
}

func (b *body) i32(v int) { b.op(constant(typeI32, uint64(v))...) }

func (b *body) get(l int) { b.index1(0x20, l) }
func (b *body) set(l int) { b.index1(0x21, l) }

// blockType writes the type of a block, loop or if.
func (b *body) blockType(op byte, s signature) {
	switch {
	case len(s.params) == 0 && len(s.results) == 0:
		b.op(op, 0x40)
	case len(s.params) == 0 && len(s.results) == 1 && b.in.n(2) == 0:
		b.op(op, s.results[0])
	default:
		b.op(appendSigned([]byte{op}, int64(b.g.typeIndex(s)))...)
	}
}

func (b *body) statements(depth int) {
	for n := b.in.n(5); n >= 0 && b.budget > 0; n-- {
		b.statement(depth)
	}
}

func (b *body) statement(depth int) {
	if depth <= 0 || b.budget <= 0 {
		b.op(0x01)
		return
	}
	switch b.in.n(16) {
	case 0, 1:
		t := pick(b.in, everyType...)
		b.expression(t, depth-1)
		b.set(pick(b.in, b.vars[t]...))
	case 2:
		b.setGlobal(depth - 1)
	case 3, 4:
		b.store(depth - 1)
	case 5, 6, 7:
		for range b.construct(depth, b.signature()).results {
			b.op(0x1a)
		}
	case 8, 9:
		b.jumpIf(depth - 1)
	case 10:
		s := b.call(depth - 1)
		for range s.results {
			b.op(0x1a)
		}
	case 11, 12:
		b.bulk(depth - 1)
	case 13:
		b.tables(depth - 1)
	case 14:
		b.expression(typeI32, depth-1)
		b.index1(0x10, markFunction)
		b.op(0x1a)
	case 15:
		b.expression(pick(b.in, everyType...), depth-1)
		b.op(0x1a)
	}
}

// signature is one for a block.
func (b *body) signature() (s signature) {
	for n := b.in.n(6) - 3; n > 0; n-- {
		s.params = append(s.params, pick(b.in, everyType...))
	}
	for n := b.in.n(6) - 3; n > 0; n-- {
		s.results = append(s.results, pick(b.in, everyType...))
	}
	return s
}

// construct writes a block, a loop or an if of that type.
func (b *body) construct(depth int, s signature) signature {
	kind := b.in.n(3)
	counter := -1
	if kind == 1 {
		counter = b.local(typeI32)
		b.i32(1 + b.in.n(5))
		b.set(counter)
	}
	for _, t := range s.params {
		b.expression(t, depth-1)
	}
	switch kind {
	case 0:
		b.blockType(0x02, s)
		b.labels = append(b.labels, label{s.results, -1})
		b.inside(depth-1, s)
	case 1:
		b.blockType(0x03, s)
		b.labels = append(b.labels, label{s.params, counter})
		b.takeParams(s)
		b.statements(depth - 1)
		for _, t := range s.params {
			b.expression(t, depth-2)
		}
		b.countDown(counter)
		b.index1(0x0d, 0)
		for range s.params {
			b.op(0x1a)
		}
		for _, t := range s.results {
			b.expression(t, depth-1)
		}
	case 2:
		b.expression(typeI32, depth-1)
		b.blockType(0x04, s)
		b.labels = append(b.labels, label{s.results, -1})
		b.inside(depth-1, s)
		if !slices.Equal(s.params, s.results) || b.in.n(2) > 0 {
			b.op(0x05)
			b.inside(depth-1, s)
		}
	}
	b.op(0x0b)
	b.labels = b.labels[:len(b.labels)-1]
	return s
}

// inside writes the body of a block.
func (b *body) inside(depth int, s signature) {
	b.takeParams(s)
	b.statements(depth)
	for _, t := range s.results {
		b.expression(t, depth)
	}
}

// takeParams puts a block's parameters into locals.
func (b *body) takeParams(s signature) {
	for i := len(s.params) - 1; i >= 0; i-- {
		b.set(pick(b.in, b.vars[s.params[i]]...))
	}
}

// countDown pushes whether a loop may go on.
func (b *body) countDown(counter int) {
	b.get(counter)
	b.i32(-1)
	b.op(0x6a)
	b.index1(0x22, counter)
	b.i32(0)
	b.op(0x4a)
}

// jumpIf leaves some block, on a condition.
func (b *body) jumpIf(depth int) {
	at := b.in.n(len(b.labels)) // counted from the innermost, as the format does
	l := b.labels[len(b.labels)-1-at]
	condition := func() {
		b.expression(typeI32, depth)
		if l.counter >= 0 && !b.in.rarely(24) {
			b.countDown(l.counter) // else it might never end
			b.op(0x71)
		}
	}
	if b.in.n(2) == 0 { // br_if
		for _, t := range l.types {
			b.expression(t, depth)
		}
		condition()
		b.index1(0x0d, at)
		for range l.types {
			b.op(0x1a)
		}
		return
	}
	condition()
	b.op(0x04, 0x40) // one label more
	b.labels = append(b.labels, label{nil, -1})
	for range b.in.n(3) {
		b.statement(depth - 1)
	}
	ended := true
	switch kind := b.in.n(8); {
	case kind < 3: // br
		for _, t := range l.types {
			b.expression(t, depth)
		}
		b.index1(0x0c, at+1)
	case kind < 6:
		b.brTable(depth, at+1, l)
	case kind < 7: // return
		for _, t := range b.labels[0].types {
			b.expression(t, depth)
		}
		b.op(0x0f)
	case b.in.rarely(4):
		b.op(0x00)
	default:
		ended = false
	}
	if ended && b.in.rarely(2) {
		b.dead(depth)
	}
	b.op(0x0b)
	b.labels = b.labels[:len(b.labels)-1]
}

// brTable branches to one of the labels that take what l takes. Loops are
// among them only when they count down first.
func (b *body) brTable(depth, at int, l label) {
	targets := []int{at}
	for i := range b.labels {
		other := b.labels[len(b.labels)-1-i]
		if other.counter < 0 && slices.Equal(other.types, l.types) && b.in.n(2) == 0 {
			targets = append(targets, i)
		}
	}
	for _, t := range l.types {
		b.expression(t, depth)
	}
	b.expression(typeI32, depth)
	b.i32(7)
	b.op(0x71)
	n := 1 + b.in.n(6)
	b.index1(0x0e, n)
	for range n + 1 {
		b.code = binary.AppendUvarint(b.code, uint64(pick(b.in, targets...)))
	}
}

// dead writes code that is never reached, where the types of operands are free.
func (b *body) dead(depth int) {
	for range b.in.n(6) {
		switch b.in.n(10) {
		case 0:
			b.op(0x1a)
		case 1:
			b.op(0x6a)
		case 2:
			b.op(0xfc, 11, 0) // memory.fill
		case 3:
			b.op(0x03, 0x40, 0x0c, 0, 0x0b) // loop br 0 end
		case 4:
			b.op(0x04, 0x40, 0x05, 0x00, 0x0b) // if else unreachable end
		case 5:
			b.op(0x00) // whatever has been pushed
			b.index1(0x10, b.in.n(len(b.g.functions)))
			b.op(0x00)
		case 6:
			b.op(0x02, 0x40, 0x00, 0x0e, 1, 0, 1, 0x0b) // block unreachable br_table 0 1 end
		case 7:
			b.op(0x40, 0) // memory.grow
			b.op(0x1a)
		case 8:
			b.statement(depth - 1)
		case 9:
			b.op(0x1b) // select
			b.op(0x1a)
		}
	}
	b.op(0x00)
}

func (b *body) setGlobal(depth int) {
	g := 1 + b.in.n(len(b.g.globals)-1)
	if t := b.g.globals[g]; t.mutable {
		b.expression(t.t, depth)
		b.index1(0x24, g)
	}
}

// call calls a function, and pushes what it results in. What could lead back
// here is called a few times only.
func (b *body) call(depth int) signature {
	in, n := b.in, len(b.g.functions)
	callee := in.n(n)
	if callee <= b.index && b.index+1 < n && in.n(3) > 0 {
		callee = b.index + 1 + in.n(n-b.index-1)
	}
	s := b.g.functions[callee]
	indirect := in.n(3) == 0
	guarded := indirect || callee > 0 && (callee <= b.index || in.n(2) > 0)
	if guarded {
		b.index1(0x23, recursionGlobal)
		b.i32(1)
		b.op(0x6b)
		b.index1(0x24, recursionGlobal)
		b.index1(0x23, recursionGlobal)
		b.i32(0)
		b.op(0x4a)
		b.blockType(0x04, signature{nil, s.results})
		b.labels = append(b.labels, label{s.results, -1})
	}
	for _, t := range s.params {
		b.expression(t, depth)
	}
	if indirect {
		slot := slices.Index(b.g.table, callee) + 2
		if slot < 2 || in.rarely(16) {
			slot = in.n(functionSlots + 4)
		}
		b.i32(slot)
		b.op(append(binary.AppendUvarint([]byte{0x11}, b.g.typeIndex(s)), functionTable)...)
	} else {
		b.index1(0x10, callee)
	}
	if guarded {
		b.op(0x05)
		for _, t := range s.results {
			b.expression(t, 0)
		}
		b.op(0x0b)
		b.labels = b.labels[:len(b.labels)-1]
	}
	return s
}

// masked pushes a number from 0 to mask, which is one less than a power of
// two; rarely, any number.
func (b *body) masked(mask, depth int) {
	b.expression(typeI32, depth)
	if !b.in.rarely(48) {
		b.i32(mask)
		b.op(0x71)
	}
}

// half is a mask for half of the memory.
func (b *body) half() int { return b.g.pages<<15 - 1 }

// length pushes one for a bulk operation, of a few bytes or of many.
func (b *body) length(depth int) {
	b.masked(pick(b.in, 31, 255, b.half()), depth)
}

// bulk writes an instruction that moves memory, or asks for more.
func (b *body) bulk(depth int) {
	if !b.g.bulk {
		return
	}
	kind := b.in.n(12)
	switch {
	case kind < 4:
		b.masked(b.half(), depth)
		b.expression(typeI32, depth)
		b.length(depth)
		b.op(0xfc, 11, 0) // memory.fill
	case kind < 8:
		b.masked(b.half(), depth)
		b.masked(b.half(), depth)
		b.length(depth)
		b.op(0xfc, 10, 0, 0) // memory.copy
	case kind < 9:
		b.masked(b.half(), depth)
		b.masked(smallDataSize/2-1, depth)
		b.masked(smallDataSize/2-1, depth)
		b.op(0xfc, 8, smallData, 0) // memory.init
	case kind < 10:
		b.masked(b.half(), depth)
		b.masked(1<<14-1, depth)
		b.masked(min(b.half(), 1<<17-1), depth)
		b.op(0xfc, 8, largeData, 0)
	case kind < 11:
		b.masked(1, depth)
		b.op(0x40, 0) // memory.grow
		b.op(0x1a)
	case b.in.rarely(4):
		b.op(0xfc, 9, byte(b.in.n(3))) // data.drop
	}
}

// tables writes an instruction that changes a table.
func (b *body) tables(depth int) {
	table, t, mask := byte(functionTable), byte(typeFuncref), 7
	if b.in.n(3) == 0 {
		table, t, mask = externTable, typeExternref, 3
	}
	kind := b.in.n(8)
	if !b.g.bulk {
		kind = 0
	}
	switch kind {
	case 0, 1:
		b.masked(mask, depth)
		b.expression(t, depth)
		b.op(0x26, table) // table.set
	case 2, 3:
		b.expression(t, depth)
		b.masked(3, depth)
		b.op(0xfc, 15, table) // table.grow
		b.op(0x1a)
	case 4:
		b.masked(mask, depth)
		b.expression(t, depth)
		b.masked(mask>>1, depth)
		b.op(0xfc, 17, table) // table.fill
	case 5:
		b.masked(mask, depth)
		b.masked(mask, depth)
		b.masked(mask>>1, depth)
		b.op(0xfc, 14, table, table) // table.copy
	case 6:
		b.masked(3, depth)
		b.masked(3, depth)
		b.masked(3, depth)
		b.op(0xfc, 12, passiveElements, functionTable) // table.init
	case 7:
		if b.in.rarely(4) {
			b.op(0xfc, 13, byte(b.in.n(declaredElements+1))) // elem.drop
		}
	}
}
