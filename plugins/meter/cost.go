package meter

import "bulkhead/plugins/wasm"

// The prices that depend on an operand, in units.
const (
	// BytesPerUnit are how many bytes of memory one unit copies or sets.
	BytesPerUnit = 1 << byteShift
	byteShift    = 4
	// PageUnits is the price of a page that a memory has grown by, which the system has
	// to find and to zero. Growth that fails costs what Cost says and no more.
	PageUnits = 16 << 10
	// ElementUnits is the price of an element that a table operation moves or sets.
	ElementUnits = 4
	// SlotsPerUnit is how many slots of a function's frame, of 8 bytes, one unit pays.
	SlotsPerUnit = 8
	// Turn is the price of a turn of a loop, and of a call of a function, beside what is
	// executed: that of the check.
	Turn = 1
	// FreeMoves is how many slots of values a call, a branch or a block carries for
	// its own price, and MoveUnits the price of each above.
	FreeMoves = 16
	MoveUnits = 8
	// HostCall is the price of a call of an imported function by its index.
	HostCall = 256
)

// Cost is the price of an instruction in units, before what depends on its
// operands: the call of an imported function costs [HostCall] instead, and bulk
// operations and growth cost by length on top.
func Cost(op wasm.Opcode) uint32 { return uint32(prices[slot(op)]) }

// slot folds the two prefixes into 0x1fc and 0x2fd and what follows.
func slot(op wasm.Opcode) int {
	if op < 0x100 {
		return int(op)
	}
	return int(op)&0xff | int(op>>8&3+1)<<8
}

// prices are about the time that an instruction takes with its operands at hand, in
// units of an addition's, rounded up.
var prices = func() (t [0x300]uint16) {
	for i := range t {
		t[i] = 1
	}
	set := func(units uint16, ops ...wasm.Opcode) {
		for _, op := range ops {
			t[slot(op)] = units
		}
	}
	through := func(units uint16, from, to wasm.Opcode) {
		for op := from; op <= to; op++ {
			t[slot(op)] = units
		}
	}
	set(0, wasm.OpUnreachable, wasm.OpNop, wasm.OpBlock, wasm.OpLoop, wasm.OpElse, wasm.OpEnd)
	// The engine makes nothing of these, or what it makes is part of what uses them.
	set(0, wasm.OpDrop, wasm.OpLocalGet, wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const, wasm.OpRefNull)
	set(4, wasm.OpBrTable)
	set(8, wasm.OpCall)
	set(16, wasm.OpCallIndirect)
	set(4, wasm.OpTableGet, wasm.OpTableSet)
	through(2, 0x28, 0x3e)         // loads and stores
	through(20, 0x6d, 0x70)        // i32 division
	through(24, 0x7f, 0x82)        // i64 division
	through(2, 0x92, 0x94)         // f32 addition to multiplication
	through(2, 0xa0, 0xa2)         // the same of f64
	set(12, 0x95, 0xa3)            // float division
	set(16, 0x91, 0x9f)            // square roots
	set(4, 0x96, 0x97, 0xa4, 0xa5) // min and max, with NaN
	through(4, 0xa8, 0xab)         // float to i32
	through(4, 0xae, 0xb1)         // float to i64
	through(2, 0xb2, 0xbb)         // integer to float, float to float
	through(6, 0xfc00, 0xfc07)     // float to integer, saturating
	set(256, wasm.OpRefFunc)       // the engine asks Go
	set(512, wasm.OpMemoryGrow, wasm.OpTableGrow)
	set(48, wasm.OpMemoryInit, wasm.OpMemoryCopy, wasm.OpMemoryFill)
	set(48, wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableFill)
	set(2, wasm.OpDataDrop, wasm.OpElemDrop)
	through(2, 0xfd00, 0xfdff)                      // vectors
	set(4, 0xfd0d)                                  // a shuffle
	set(12, 0xfd62, 0xfd6b, 0xfd6c, 0xfd6d, 0xfdd5) // made of many instructions
	through(12, 0xfdcb, 0xfdcd)                     // shifts of i64x2
	set(16, 0xfde3, 0xfdef, 0xfde7, 0xfdf3)         // square roots and division
	// What has no instruction of the processor's, or a slow one: see BenchmarkInstructions.
	through(6, 0x8d, 0x90) // f32 rounding
	through(6, 0x9b, 0x9e) // f64 rounding
	set(3, 0x98, 0xa6)     // copysign
	through(8, 0xfd67, 0xfd6a)
	set(8, 0xfd74, 0xfd75, 0xfd7a, 0xfd94)          // rounding of vectors
	through(6, 0xfd7c, 0xfd7f)                      // pairwise addition
	set(8, 0xfd82, 0xfdb5)                          // q15mulr, i32x4.mul
	through(8, 0xfd9c, 0xfd9f)                      // widening multiplication to i16x8,
	through(10, 0xfdbc, 0xfdbf)                     // to i32x4,
	through(10, 0xfddc, 0xfddf)                     // and to i64x2
	set(16, 0xfde8, 0xfde9, 0xfdf4, 0xfdf5)         // min and max of floats, with NaN
	set(16, 0xfdf8, 0xfdf9, 0xfdfc, 0xfdfd, 0xfdfb) // truncation, and u32 to f32
	return t
}()

// valuesMade is how many values of 8 bytes an instruction makes, but for those whose
// operands say so: blocks and calls.
var valuesMade = func() (t [0x300]uint8) {
	for op := range wasm.Opcode(0x100) {
		switch {
		case op < wasm.OpSelect, op == wasm.OpLocalSet, op == wasm.OpGlobalSet, op == wasm.OpTableSet, op >= 0x36 && op <= 0x3e:
		default:
			t[slot(op)] = 1
		}
		t[slot(0xfd00|op)] = 2
	}
	t[slot(0xfd0b)] = 0
	for op := wasm.Opcode(0xfd58); op <= 0xfd5b; op++ {
		t[slot(op)] = 0
	}
	for op := wasm.Opcode(0xfc00); op <= 0xfc07; op++ {
		t[slot(op)] = 1
	}
	for _, op := range []wasm.Opcode{wasm.OpMemoryGrow, wasm.OpTableGrow, wasm.OpTableSize} {
		t[slot(op)] = 1
	}
	return t
}()
