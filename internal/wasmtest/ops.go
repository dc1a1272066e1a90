package wasmtest

import (
	"encoding/binary"
	"math"
)

// Instructions without operands of their own.
var (
	Unreachable = []byte{0x00}
	Nop         = []byte{0x01}
	End         = []byte{0x0b}
	Return      = []byte{0x0f}
	Drop        = []byte{0x1a}
	Select      = []byte{0x1b}
	MemorySize  = []byte{0x3f, 0}
	MemoryGrow  = []byte{0x40, 0}
	MemoryCopy  = []byte{0xfc, 10, 0, 0}
	MemoryFill  = []byte{0xfc, 11, 0}

	I32Eqz  = []byte{0x45}
	I32Eq   = []byte{0x46}
	I32Ne   = []byte{0x47}
	I32LtS  = []byte{0x48}
	I32LtU  = []byte{0x49}
	I32GtS  = []byte{0x4a}
	I32GtU  = []byte{0x4b}
	I32LeS  = []byte{0x4c}
	I32GeS  = []byte{0x4e}
	I32Add  = []byte{0x6a}
	I32Sub  = []byte{0x6b}
	I32Mul  = []byte{0x6c}
	I32DivS = []byte{0x6d}
	I32And  = []byte{0x71}
	I32Or   = []byte{0x72}
	I32Xor  = []byte{0x73}
	I32Shl  = []byte{0x74}

	I64Eqz     = []byte{0x50}
	I64Add     = []byte{0x7c}
	I64Sub     = []byte{0x7d}
	I64Or      = []byte{0x84}
	I64Shl     = []byte{0x86}
	I32WrapI64 = []byte{0xa7}
	I64ExtendU = []byte{0xad} // i64.extend_i32_u
)

// I32Const pushes v.
func I32Const(v int32) []byte { return cat(code{0x41}, sleb(int64(v))) }

// I64Const pushes v.
func I64Const(v int64) []byte { return cat(code{0x42}, sleb(v)) }

// F64Const pushes v.
func F64Const(v float64) []byte {
	return binary.LittleEndian.AppendUint64(code{0x44}, math.Float64bits(v))
}

// Window is the result of csa_window for a window of n bytes at ptr.
func Window(ptr, n int64) int64 { return ptr<<32 | n }

// LocalGet pushes a local; the parameters are the first locals.
func LocalGet(i int) []byte { return cat(code{0x20}, uleb(uint64(i))) }

// LocalSet pops a local.
func LocalSet(i int) []byte { return cat(code{0x21}, uleb(uint64(i))) }

// LocalTee copies the top of the stack to a local.
func LocalTee(i int) []byte { return cat(code{0x22}, uleb(uint64(i))) }

// GlobalGet pushes a global.
func GlobalGet(i int) []byte { return cat(code{0x23}, uleb(uint64(i))) }

// GlobalSet pops a global.
func GlobalSet(i int) []byte { return cat(code{0x24}, uleb(uint64(i))) }

// Call calls a function.
func Call(f Func) []byte { return cat(code{0x10}, uleb(uint64(f))) }

// CallIndirect calls the function of table 0 at the index on the stack, which
// has to be of the type with that index.
func CallIndirect(typ int) []byte { return cat(code{0x11}, uleb(uint64(typ)), code{0}) }

// TableGrow grows a table: the value and the number are on the stack.
func TableGrow(table int) []byte { return cat(code{0xfc, 15}, uleb(uint64(table))) }

// TableFill sets elements of a table: where, the value and the number are on the
// stack.
func TableFill(table int) []byte { return cat(code{0xfc, 17}, uleb(uint64(table))) }

// TableCopy copies elements of one table to another: where to, where from and
// the number are on the stack.
func TableCopy(to, from int) []byte {
	return cat(code{0xfc, 14}, uleb(uint64(to)), uleb(uint64(from)))
}

// MemoryInit copies bytes of a passive data segment to the memory: where to,
// where from and the number are on the stack.
func MemoryInit(segment int) []byte { return cat(code{0xfc, 8}, uleb(uint64(segment)), code{0}) }

// RefNull pushes a null funcref.
func RefNull() []byte { return code{0xd0, 0x70} }

// Block is a block without results; Br to it goes to its end.
func Block(body ...[]byte) []byte { return cat(code{0x02, 0x40}, cat(body...), End) }

// Loop is a loop without results; Br to it goes to its start.
func Loop(body ...[]byte) []byte { return cat(code{0x03, 0x40}, cat(body...), End) }

// If runs then when the top of the stack is not zero.
func If(then ...[]byte) []byte { return cat(code{0x04, 0x40}, cat(then...), End) }

// IfElse leaves one value of the type: that of then, or that of otherwise. A
// letter of 0 is no type, and leaves none.
func IfElse(letter byte, then, otherwise []byte) []byte {
	result := byte(0x40)
	if letter != 0 {
		result = valueType(letter)
	}
	return cat(code{0x04, result}, then, code{0x05}, otherwise, End)
}

// Br leaves or repeats the nth enclosing block, 0 being the innermost.
func Br(n int) []byte { return cat(code{0x0c}, uleb(uint64(n))) }

// BrIf is Br when the top of the stack is not zero.
func BrIf(n int) []byte { return cat(code{0x0d}, uleb(uint64(n))) }

// BrTable is Br to the label whose place the top of the stack names, or to the
// last one.
func BrTable(labels ...int) []byte {
	b := cat(code{0x0e}, uleb(uint64(len(labels)-1)))
	for _, l := range labels {
		b = append(b, uleb(uint64(l))...)
	}
	return b
}

// I32Load reads at the address on the stack plus offset.
func I32Load(offset int) []byte { return cat(code{0x28, 0}, uleb(uint64(offset))) }

// I64Load reads at the address on the stack plus offset.
func I64Load(offset int) []byte { return cat(code{0x29, 0}, uleb(uint64(offset))) }

// I32Load8U reads one byte.
func I32Load8U(offset int) []byte { return cat(code{0x2d, 0}, uleb(uint64(offset))) }

// I32Store writes the top of the stack at the address below it plus offset.
func I32Store(offset int) []byte { return cat(code{0x36, 0}, uleb(uint64(offset))) }

// I64Store writes the top of the stack at the address below it plus offset.
func I64Store(offset int) []byte { return cat(code{0x37, 0}, uleb(uint64(offset))) }

// I32Store8 writes one byte.
func I32Store8(offset int) []byte { return cat(code{0x3a, 0}, uleb(uint64(offset))) }

// Cat joins instructions, for a body that is put together in parts.
func Cat(parts ...[]byte) []byte { return cat(parts...) }

// Forever is a loop that never ends.
func Forever() []byte { return Loop(Br(0)) }
