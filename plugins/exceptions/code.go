package exceptions

import (
	"encoding/binary"
	"fmt"

	"bulkhead/plugins/wasm"
)

// What the writer puts in, beside what package wasm names.
const (
	i32Eqz            = 0x45
	i32Eq             = 0x46
	i64Eqz            = 0x50
	i64Or             = 0x84
	i64Shl            = 0x86
	i64ShrU           = 0x88
	i32WrapI64        = 0xa7
	i64ExtendI32U     = 0xad
	i32ReinterpretF32 = 0xbc
	i64ReinterpretF64 = 0xbd
	f32ReinterpretI32 = 0xbe
	f64ReinterpretI64 = 0xbf
	vectors           = 0xfd
	i32x4Splat        = 0x11
	i32x4ExtractLane  = 0x1b
	i32x4ReplaceLane  = 0x1c
)

// place is a block that is open, as the writer sees it: depths are how many blocks were
// open in what comes out, the function's own not counted.
type place struct {
	op      wasm.Opcode
	depth   int // of where a branch to its label goes
	handler int // of where an exception goes that is thrown here
	catches int // of a try_table: where its instruction is
	saved   int // of a legacy catch whose exception is thrown again: the local that keeps it; else -1
}

// body writes the code of one function.
type body struct {
	w      *writer
	m      *wasm.Module
	index  uint32
	s      wasm.Instructions
	b      []byte
	depth  int
	places []place
	locals uint32           // that the function has
	added  []wasm.ValueType // more of them
	free   []uint32         // of those that keep exceptions
	number uint32           // a local of type i64, and one of v128, once they are needed
	vector uint32
	base   int // where the function begins in the code section
}

// noHandler is the handler of what never throws.
const noHandler = -1

// wasm.CodeSection writes all functions into w.code.
func (w *writer) codeSection(s *wasm.Section) error {
	r := wasm.Source{Bytes: s.Content}
	n := r.U32()
	w.code = binary.AppendUvarint(make([]byte, 0, len(s.Content)+len(s.Content)/4+1024), uint64(n)+uint64(len(w.wrapped)))
	f := body{w: w, m: w.m}
	for i := range n {
		index := uint32(w.m.Imported(wasm.Function)) + i
		size := int(r.U32())
		f.base = r.Next
		if err := f.write(index, r.Take(size)); err != nil {
			return &wasm.SyntaxError{Offset: s.Offset + f.base, What: fmt.Sprintf("function %d: %v", index, err)}
		}
		if len(w.code) > w.limit {
			return w.tooLarge(len(w.code))
		}
	}
	w.origins.add(w.o.Origins, origin{new: uint32(len(w.code)), old: noOrigin})
	for _, i := range w.wrapped {
		w.code = w.appendWrapper(w.code, i)
		if len(w.code) > w.limit {
			return w.tooLarge(len(w.code))
		}
	}
	return nil
}

// appendWrapper appends the function that the host calls instead of another, and that traps when an
// exception comes out of that.
func (w *writer) appendWrapper(b []byte, i uint32) []byte {
	f := []byte{0} // no locals
	for k := range w.m.FunctionType(i).Params {
		f = binary.AppendUvarint(append(f, byte(wasm.OpLocalGet)), uint64(k))
	}
	f = binary.AppendUvarint(append(f, byte(wasm.OpCall)), uint64(i))
	f = binary.AppendUvarint(append(f, byte(wasm.OpGlobalGet)), uint64(w.flight))
	f = append(f, byte(wasm.OpIf), emptyBlock, byte(wasm.OpUnreachable), byte(wasm.OpEnd), byte(wasm.OpEnd))
	return append(binary.AppendUvarint(b, uint64(len(f))), f...)
}

// write appends the function to w.code.
func (f *body) write(index uint32, code []byte) error {
	w := f.w
	f.index, f.b, f.depth = index, f.b[:0], 0
	f.places, f.added, f.free, f.number, f.vector = f.places[:0], f.added[:0], f.free[:0], 0, 0
	r := wasm.Source{Bytes: code}
	f.locals = uint32(len(f.m.FunctionType(index).Params))
	groups := r.U32()
	var locals []byte
	for range groups {
		n := r.U32()
		f.locals += n
		locals = append(binary.AppendUvarint(locals, uint64(n)), w.valueType(wasm.ValueType(r.Take(1)[0])))
	}
	from := len(w.origins)
	leaves := w.may[index]
	f.places = append(f.places, place{op: wasm.OpBlock, handler: noHandler, saved: -1})
	f.s = wasm.Instructions{Code: code, Next: r.Next}
	f.origin(r.Next, false)
	if leaves {
		f.op(wasm.OpBlock, emptyBlock)
		f.depth++
		f.places[0].handler = f.depth
	}
	for f.s.Step() {
		f.instruction()
		if len(f.b) > w.limit {
			return w.tooLarge(len(f.b))
		}
	}
	// What stands in front of the last end returns, and here is what an exception leaves by.
	if leaves {
		f.leave()
		f.op(wasm.OpEnd)
	}
	head := binary.AppendUvarint(nil, uint64(groups)+uint64(len(f.added)))
	head = append(head, locals...)
	for _, t := range f.added {
		head = append(head, 1, byte(t))
	}
	w.code = binary.AppendUvarint(w.code, uint64(len(head)+len(f.b)))
	w.code = append(w.code, head...)
	w.origins[from:].move(len(w.code), f.base)
	w.code = append(w.code, f.b...)
	return nil
}

// leave ends the function for an exception: the results mean nothing then.
func (f *body) leave() {
	if f.w.bare[f.index] {
		f.op(wasm.OpUnreachable)
		return
	}
	for _, t := range f.m.FunctionType(f.index).Results {
		f.b = appendZero(f.b, wasm.ValueType(f.w.valueType(t)))
	}
}

// origin notes where what is appended from now on comes from.
func (f *body) origin(at int, copied bool) {
	f.w.origins.add(f.w.o.Origins, origin{uint32(len(f.b)), uint32(at), copied})
}

// copy appends the instruction in hand as it is.
func (f *body) copy() {
	f.origin(f.s.Start, true)
	f.b = append(f.b, f.s.Code[f.s.Start:f.s.Next]...)
}

// op appends an instruction with bytes behind it.
func (f *body) op(op wasm.Opcode, operands ...byte) {
	f.b = append(append(f.b, byte(op)), operands...)
}

// indexed appends an instruction with an index behind it.
func (f *body) indexed(op wasm.Opcode, i uint32) {
	f.b = binary.AppendUvarint(append(f.b, byte(op)), uint64(i))
}

// number32 appends the constant.
func (f *body) number32(v uint32) {
	f.b = wasm.AppendSigned(append(f.b, byte(wasm.OpI32Const)), int64(int32(v)))
}

// branch appends a branch, or what ends the code where there is nowhere to go, since nothing comes
// here.
func (f *body) branch(op wasm.Opcode, depth int) {
	if depth == noHandler {
		if op == wasm.OpBrIf {
			f.op(wasm.OpIf, emptyBlock)
			f.op(wasm.OpUnreachable)
			f.op(wasm.OpEnd)
			return
		}
		f.op(wasm.OpUnreachable)
		return
	}
	f.indexed(op, uint32(f.depth-depth))
}

func (f *body) top() *place { return &f.places[len(f.places)-1] }

func (f *body) at(label uint32) *place { return &f.places[len(f.places)-1-int(label)] }

// raise goes to the handler with what is set.
func (f *body) raise() { f.branch(wasm.OpBr, f.top().handler) }

// look goes to the handler if an exception is under way: behind a call.
func (f *body) look() {
	f.indexed(wasm.OpGlobalGet, f.w.flight)
	f.branch(wasm.OpBrIf, f.top().handler)
}

// local is one more local of the function.
func (f *body) local(t wasm.ValueType) uint32 {
	f.added = append(f.added, t)
	return f.locals + uint32(len(f.added)) - 1
}

// scratch is the local for numbers of 64 bits.
func (f *body) scratch() uint32 {
	if f.number == 0 {
		f.number = f.local(wasm.I64) + 1
	}
	return f.number - 1
}

func (f *body) vectorScratch() uint32 {
	if f.vector == 0 {
		f.vector = f.local(wasm.V128) + 1
	}
	return f.vector - 1
}

// block opens a block of the type of the instruction in hand.
func (f *body) block(op wasm.Opcode) {
	s := &f.s
	f.op(op)
	if b := s.Code[s.Start+1]; b&0xc0 == 0x40 && b != emptyBlock {
		f.b = append(f.b, f.w.valueType(wasm.ValueType(b)))
	} else {
		r := wasm.Source{Bytes: s.Code, Next: s.Start + 1}
		r.U32()
		f.b = append(f.b, s.Code[s.Start+1:r.Next]...)
	}
	f.depth++
}

// try opens the two blocks of a try: one that ends where it ends, and in it one that ends where the
// catches are.
func (f *body) try() place {
	params := blockType(f.m, &f.s).Params
	p := place{op: f.s.Op, catches: f.s.Start, saved: -1}
	f.block(wasm.OpBlock)
	p.depth = f.depth
	f.op(wasm.OpBlock)
	if len(params) == 0 {
		f.op(emptyBlock)
	} else {
		f.b = wasm.AppendSigned(f.b, int64(f.w.blockWith(params)))
	}
	f.depth++
	p.handler = f.depth
	return p
}

// blockWith is the type of a block with these parameters and no results.
func (w *writer) blockWith(params []wasm.ValueType) uint32 {
	key := string(wasm.FuncType{Params: params}.Key())
	i, ok := w.blockOf[key]
	if !ok {
		i = uint32(w.m.Types() + len(w.blocks))
		w.blocks = append(w.blocks, params)
		w.blockOf[key] = i
	}
	return i
}

// close ends one block.
func (f *body) close() {
	f.op(wasm.OpEnd)
	f.depth--
}

// caught leaves what is tried, or a catch with a tag: results go where the try ends.
func (f *body) caught(p *place) {
	f.branch(wasm.OpBr, p.depth)
	f.close()
	if p.saved >= 0 {
		f.free = append(f.free, uint32(p.saved))
		p.saved = -1
	}
	p.handler = f.places[len(f.places)-2].handler
}

func (f *body) instruction() {
	s := &f.s
	switch s.Op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		f.origin(s.Start, true)
		f.block(s.Op)
		f.places = append(f.places, place{op: s.Op, depth: f.depth, handler: f.top().handler, saved: -1})
	case wasm.OpTry, wasm.OpTryTable:
		f.origin(s.Start, false)
		f.places = append(f.places, f.try())
	case wasm.OpEnd:
		f.origin(s.Start, false)
		f.end()
	case wasm.OpCatch, wasm.OpCatchAll:
		f.origin(s.Start, false)
		f.clause()
	case wasm.OpDelegate:
		f.origin(s.Start, false)
		p := f.places[len(f.places)-1]
		f.branch(wasm.OpBr, p.depth)
		f.close()
		f.places = f.places[:len(f.places)-1]
		f.branch(wasm.OpBr, f.at(s.X).handler)
		f.close()
	case wasm.OpThrow:
		f.origin(s.Start, false)
		f.store(f.m.TagType(s.X).Params)
		f.number32(s.X + 1)
		f.indexed(wasm.OpGlobalSet, f.w.flight)
		f.raise()
	case wasm.OpThrowRef:
		f.origin(s.Start, false)
		f.restore()
		// No exception has the number zero: that is null, and nothing is under way then.
		f.indexed(wasm.OpGlobalGet, f.w.flight)
		f.branch(wasm.OpBrIf, f.top().handler)
		f.op(wasm.OpUnreachable)
	case wasm.OpRethrow:
		f.origin(s.Start, false)
		f.indexed(wasm.OpLocalGet, uint32(f.at(s.X).saved))
		f.restore()
		f.raise()
	case wasm.OpBr, wasm.OpBrIf:
		f.origin(s.Start, true)
		f.branch(s.Op, f.at(s.X).depth)
	case wasm.OpBrTable:
		f.origin(s.Start, true)
		f.indexed(s.Op, s.X)
		s.Labels(func(l uint32) { f.b = binary.AppendUvarint(f.b, uint64(f.depth-f.at(l).depth)) })
	case wasm.OpCall:
		f.copy()
		if f.w.may[s.X] {
			f.origin(s.Start, false)
			f.look()
		}
	case wasm.OpCallIndirect:
		f.copy()
		if f.w.may[f.w.found.calls.node(s.X)] {
			f.origin(s.Start, false)
			f.look()
		}
	case wasm.OpSelectTyped:
		f.copy()
		f.b[len(f.b)-1] = f.w.valueType(wasm.ValueType(f.b[len(f.b)-1]))
	case wasm.OpRefNull:
		f.origin(s.Start, true)
		f.b = appendZero(f.b, wasm.ValueType(f.w.valueType(wasm.ValueType(s.Code[s.Start+1]))))
	case wasm.OpRefIsNull:
		if len(f.w.nulls) == 0 || f.w.nulls[0] != f.base+s.Start {
			f.copy()
			return
		}
		f.w.nulls = f.w.nulls[1:]
		f.origin(s.Start, true)
		if f.w.exnref == wasm.I64 {
			f.op(i64Eqz)
		} else {
			f.op(vectors, i32x4ExtractLane, 0)
			f.op(i32Eqz)
		}
	default:
		f.copy()
	}
}

// end ends the block in hand.
func (f *body) end() {
	p := *f.top()
	if len(f.places) == 1 {
		if f.places = f.places[:0]; f.w.may[f.index] {
			f.op(wasm.OpReturn)
		}
		f.op(wasm.OpEnd) // the one block that is open, or the function
		return
	}
	switch p.op {
	case wasm.OpTryTable:
		f.branch(wasm.OpBr, p.depth)
		f.close()
		f.places = f.places[:len(f.places)-1]
		f.dispatch(p.catches)
	case wasm.OpTry, wasm.OpCatch:
		f.caught(f.top())
		f.places = f.places[:len(f.places)-1]
		f.raise()
	default:
		if p.saved >= 0 {
			f.free = append(f.free, uint32(p.saved))
		}
		f.places = f.places[:len(f.places)-1]
	}
	f.close()
}

// dispatch goes where the catches of a try_table say, whose instruction is at a place. The
// try_table is not among f.places any more.
func (f *body) dispatch(at int) {
	s := wasm.Instructions{Code: f.s.Code, Next: at}
	s.Step()
	done := false
	s.Catches(func(c wasm.Catch) {
		if done {
			return // there was one for all
		}
		var params []wasm.ValueType
		if !c.Any {
			f.ifTag(c.Tag)
			params = f.m.TagType(c.Tag).Params
		}
		f.load(params)
		if c.Ref {
			f.keep()
		}
		f.clear()
		f.branch(wasm.OpBr, f.at(c.Label).depth)
		if done = c.Any; !done {
			f.close()
		}
	})
	if !done {
		f.raise()
	}
}

// clause begins a legacy catch.
func (f *body) clause() {
	p := f.top()
	f.caught(p)
	rethrown := f.w.found.rethrow[f.w.clauses]
	f.w.clauses++
	var params []wasm.ValueType
	if p.op = f.s.Op; p.op == wasm.OpCatch {
		f.ifTag(f.s.X)
		params = f.m.TagType(f.s.X).Params
	}
	if rethrown {
		if n := len(f.free); n > 0 {
			p.saved, f.free = int(f.free[n-1]), f.free[:n-1]
		} else {
			p.saved = int(f.local(f.w.exnref))
		}
		f.keep()
		f.indexed(wasm.OpLocalSet, uint32(p.saved))
	}
	f.load(params)
	f.clear()
}

// ifTag opens an if for what is under way having a tag.
func (f *body) ifTag(tag uint32) {
	f.indexed(wasm.OpGlobalGet, f.w.flight)
	f.number32(tag + 1)
	f.op(i32Eq)
	f.op(wasm.OpIf, emptyBlock)
	f.depth++
}

// clear says that nothing is under way.
func (f *body) clear() {
	f.number32(0)
	f.indexed(wasm.OpGlobalSet, f.w.flight)
}
