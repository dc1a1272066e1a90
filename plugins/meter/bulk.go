package meter

import (
	"encoding/binary"
	"fmt"

	"bulkhead/plugins/wasm"
)

// MaxHelpers is how many different bulk operations a module may use: an operation on
// another table or segment is another one.
const MaxHelpers = 4096

// Chunk is how many bytes are moved or set between two checks.
const Chunk = 64 << 10

// operation is a bulk instruction with its indices.
type operation struct {
	op   wasm.Opcode
	x, y uint32
}

// name is what stack traces call the helper.
func (o operation) name() string {
	switch o.op {
	case wasm.OpMemoryGrow:
		return "memory.grow"
	case wasm.OpMemoryInit:
		return fmt.Sprintf("memory.init %d", o.x)
	case wasm.OpMemoryCopy:
		return "memory.copy"
	case wasm.OpMemoryFill:
		return "memory.fill"
	case wasm.OpTableGrow:
		return fmt.Sprintf("table.grow %d", o.x)
	case wasm.OpTableInit:
		return fmt.Sprintf("table.init %d %d", o.y, o.x)
	case wasm.OpTableCopy:
		return fmt.Sprintf("table.copy %d %d", o.x, o.y)
	default:
		return fmt.Sprintf("table.fill %d", o.x)
	}
}

// instruction is the operation itself.
func (o operation) instruction(b []byte) []byte {
	if o.op < 0x100 {
		return append(b, byte(o.op), 0)
	}
	b = append(b, byte(o.op>>8), byte(o.op))
	switch o.op {
	case wasm.OpMemoryInit:
		return append(binary.AppendUvarint(b, uint64(o.x)), 0)
	case wasm.OpMemoryCopy:
		return append(b, 0, 0)
	case wasm.OpMemoryFill:
		return append(b, 0)
	case wasm.OpTableInit, wasm.OpTableCopy:
		b = binary.AppendUvarint(b, uint64(o.x))
		return binary.AppendUvarint(b, uint64(o.y))
	default:
		return binary.AppendUvarint(b, uint64(o.x))
	}
}

// signature is the type of the operation's operands and results.
func (o operation) signature(m *wasm.Module) wasm.FuncType {
	switch o.op {
	case wasm.OpMemoryGrow:
		return wasm.FuncType{Params: []wasm.ValueType{wasm.I32}, Results: []wasm.ValueType{wasm.I32}}
	case wasm.OpTableGrow:
		t, _ := m.Table(o.x)
		return wasm.FuncType{Params: []wasm.ValueType{t, wasm.I32}, Results: []wasm.ValueType{wasm.I32}}
	case wasm.OpTableFill:
		t, _ := m.Table(o.x)
		return wasm.FuncType{Params: []wasm.ValueType{wasm.I32, t, wasm.I32}}
	default:
		return wasm.FuncType{Params: []wasm.ValueType{wasm.I32, wasm.I32, wasm.I32}}
	}
}

// The instructions that only helpers are made of.
const (
	i32Ne       = 0x47
	i32GtU      = 0x4b
	i64LtS      = 0x53
	i64GtU      = 0x56
	i64GeS      = 0x59
	i32Add      = 0x6a
	i32Sub      = 0x6b
	i64Add      = 0x7c
	i64Mul      = 0x7e
	i64Sub      = 0x7d
	i64Shl      = 0x86
	i64ShrU     = 0x88
	i64ExtendU  = 0xad
	emptyBlock  = 0x40
	selectOne   = 0x1b
	opBlock     = byte(wasm.OpBlock)
	opLoop      = byte(wasm.OpLoop)
	opIf        = byte(wasm.OpIf)
	opElse      = byte(wasm.OpElse)
	opEnd       = byte(wasm.OpEnd)
	opBr        = byte(wasm.OpBr)
	opBrIf      = byte(wasm.OpBrIf)
	opReturn    = byte(wasm.OpReturn)
	opCall      = byte(wasm.OpCall)
	opLocalGet  = byte(wasm.OpLocalGet)
	opLocalSet  = byte(wasm.OpLocalSet)
	opLocalTee  = byte(wasm.OpLocalTee)
	opGlobalGet = byte(wasm.OpGlobalGet)
	opGlobalSet = byte(wasm.OpGlobalSet)
	opMemSize   = byte(wasm.OpMemorySize)
	opI32Const  = byte(wasm.OpI32Const)
	opI64Const  = byte(wasm.OpI64Const)
)

// assembler writes the body of a helper.
type assembler struct {
	w *writer
	b []byte
}

func (a *assembler) raw(b ...byte)  { a.b = append(a.b, b...) }
func (a *assembler) get(i byte)     { a.raw(opLocalGet, i) }
func (a *assembler) set(i byte)     { a.raw(opLocalSet, i) }
func (a *assembler) i32(v int64)    { a.b = wasm.AppendSigned(append(a.b, opI32Const), v) }
func (a *assembler) i64(v int64)    { a.b = wasm.AppendSigned(append(a.b, opI64Const), v) }
func (a *assembler) wide(i byte)    { a.get(i); a.raw(i64ExtendU) }
func (a *assembler) check()         { a.b = append(a.b, a.w.check...) }
func (a *assembler) charge(n int64) { a.b = a.w.charge(a.b, uint64(n)) }

// chargeBy charges what is on the stack before and after amount has run: an i64.
func (a *assembler) chargeBy(amount func()) {
	a.b = append(a.b, a.w.getFuel...)
	amount()
	a.raw(i64Sub)
	a.b = append(a.b, a.w.setFuel...)
}

// body is the code of the helper, with its locals. The parameters are those of the
// operation.
func (o operation) body(w *writer) []byte {
	a := &assembler{w: w, b: []byte{0}} // no locals
	switch o.op {
	case wasm.OpMemoryFill, wasm.OpMemoryCopy, wasm.OpMemoryInit:
		o.memoryBody(a)
	case wasm.OpMemoryGrow:
		return o.growthBody(w, 0, PageUnits)
	case wasm.OpTableGrow:
		return o.growthBody(w, 1, ElementUnits)
	case wasm.OpTableFill, wasm.OpTableCopy:
		a.chargeAtMost(2, w.tableLimits(o.x).Max, ElementUnits)
	case wasm.OpTableInit:
		a.chargeAtMost(2, w.m.ElementLength(o.x), ElementUnits)
	}
	for i := range o.signature(w.m).Params {
		a.get(byte(i))
	}
	a.b = o.instruction(a.b)
	a.raw(opEnd)
	return a.b
}

// growthBody grows a memory or table and charges units for each page or element, n being
// the parameter that says how many. It is charged afterwards, since what fails does
// nothing, and what succeeds is bounded.
func (o operation) growthBody(w *writer, n byte, units int64) []byte {
	a := &assembler{w: w}
	t := o.signature(w.m)
	was := byte(len(t.Params))
	a.raw(1, 1, byte(wasm.I32)) // a local
	for i := range was {
		a.get(i)
	}
	a.b = o.instruction(a.b)
	a.raw(opLocalTee, was)
	a.i32(-1)
	a.raw(i32Ne, opIf, emptyBlock)
	a.chargeBy(func() {
		a.wide(n)
		a.i64(units)
		a.raw(i64Mul)
	})
	a.check()
	a.raw(opEnd)
	a.get(was)
	a.raw(opEnd)
	return a.b
}

// chargeAtMost charges units for each of the parameter n, but for no more than most:
// what is longer traps or fails without doing anything.
func (a *assembler) chargeAtMost(n byte, most uint32, units int64) {
	a.chargeBy(func() {
		a.wide(n)
		a.i64(int64(most))
		a.wide(n)
		a.i64(int64(most))
		a.raw(i64LtS, selectOne)
		if units != 1 {
			a.i64(units)
			a.raw(i64Mul)
		}
	})
	a.check()
}

// memoryBody does the operation on memory in chunks and leaves the last one to the
// instruction behind it. The parameters are 0 where to, 1 where from or the value, 2 how
// many bytes.
func (o operation) memoryBody(a *assembler) {
	const to, from, n = 0, 1, 2
	outside := func() {
		// What does not fit traps, as a whole and before it has written anything.
		for i := range 3 {
			a.get(byte(i))
		}
		a.b = o.instruction(a.b)
		a.raw(opReturn)
	}
	fits := func(base byte) {
		a.wide(base)
		a.wide(n)
		a.raw(i64Add, opMemSize, 0, i64ExtendU)
		a.i64(16)
		a.raw(i64Shl, i64GtU, opIf, emptyBlock)
		outside()
		a.raw(opEnd)
	}
	pay := func() {
		a.chargeBy(func() {
			a.wide(n)
			a.i64(byteShift)
			a.raw(i64ShrU)
		})
		a.check()
	}
	if o.op == wasm.OpMemoryInit && a.w.m.DataLength(o.x) <= Chunk {
		// A greater length than the segment's traps.
		a.chargeBy(func() {
			a.wide(n)
			a.i64(Chunk)
			a.wide(n)
			a.i64(Chunk)
			a.raw(i64LtS, selectOne)
			a.i64(byteShift)
			a.raw(i64ShrU)
		})
		a.check()
		return
	}
	more := func(label byte) { // branches while there is more than a chunk left
		a.get(n)
		a.i32(Chunk)
		a.raw(i32GtU, opBrIf, label)
	}
	chunkPrice := func() {
		a.charge(Chunk / BytesPerUnit)
		a.check()
	}
	less := func() {
		a.get(n)
		a.i32(Chunk)
		a.raw(i32Sub)
	}
	forward := func() {
		a.raw(opLoop, emptyBlock)
		chunkPrice()
		a.get(to)
		a.get(from)
		a.i32(Chunk)
		a.b = o.instruction(a.b)
		a.get(to)
		a.i32(Chunk)
		a.raw(i32Add)
		a.set(to)
		if o.op != wasm.OpMemoryFill {
			a.get(from)
			a.i32(Chunk)
			a.raw(i32Add)
			a.set(from)
		}
		less()
		a.set(n)
		more(0)
		a.raw(opEnd)
	}
	a.get(n)
	a.i32(Chunk)
	a.raw(i32GtU, opIf, emptyBlock)
	fits(to)
	switch o.op {
	case wasm.OpMemoryCopy:
		fits(from)
		a.get(to)
		a.get(from)
		a.raw(i32GtU, opIf, emptyBlock)
		// From the end, as what is still to be read would be overwritten.
		a.raw(opLoop, emptyBlock)
		chunkPrice()
		less()
		a.set(n)
		for _, base := range []byte{to, from} {
			a.get(base)
			a.get(n)
			a.raw(i32Add)
		}
		a.i32(Chunk)
		a.b = o.instruction(a.b)
		more(0)
		a.raw(opEnd, opElse)
		forward()
		a.raw(opEnd)
	case wasm.OpMemoryInit:
		// Nothing from where the segment ends traps if it ends earlier, having been
		// dropped. What cannot be so long is left to the instruction.
		a.wide(from)
		a.wide(n)
		a.raw(i64Add)
		a.i64(int64(a.w.m.DataLength(o.x)))
		a.raw(i64GtU, opIf, emptyBlock)
		outside()
		a.raw(opEnd)
		a.i32(0)
		a.get(from)
		a.get(n)
		a.raw(i32Add)
		a.i32(0)
		a.b = o.instruction(a.b)
		forward()
	default:
		forward()
	}
	a.raw(opEnd)
	pay()
}
