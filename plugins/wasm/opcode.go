package wasm

// Opcode is an instruction of WebAssembly 2.0, or of the proposal for exceptions. Those of one byte
// are that byte. Those behind the prefixes 0xfc and 0xfd have the prefix as the high byte and their
// number as the low one.
type Opcode uint16

// The instructions that a reader of code has to tell from the rest.
const (
	OpUnreachable  Opcode = 0x00
	OpNop          Opcode = 0x01
	OpBlock        Opcode = 0x02
	OpLoop         Opcode = 0x03
	OpIf           Opcode = 0x04
	OpElse         Opcode = 0x05
	OpTry          Opcode = 0x06 // legacy
	OpCatch        Opcode = 0x07 // legacy
	OpThrow        Opcode = 0x08
	OpRethrow      Opcode = 0x09 // legacy
	OpThrowRef     Opcode = 0x0a
	OpEnd          Opcode = 0x0b
	OpBr           Opcode = 0x0c
	OpBrIf         Opcode = 0x0d
	OpBrTable      Opcode = 0x0e
	OpReturn       Opcode = 0x0f
	OpCall         Opcode = 0x10
	OpCallIndirect Opcode = 0x11
	OpDelegate     Opcode = 0x18 // legacy
	OpCatchAll     Opcode = 0x19 // legacy
	OpDrop         Opcode = 0x1a
	OpSelect       Opcode = 0x1b
	OpSelectTyped  Opcode = 0x1c
	OpTryTable     Opcode = 0x1f
	OpLocalGet     Opcode = 0x20
	OpLocalSet     Opcode = 0x21
	OpLocalTee     Opcode = 0x22
	OpGlobalGet    Opcode = 0x23
	OpGlobalSet    Opcode = 0x24
	OpTableGet     Opcode = 0x25
	OpTableSet     Opcode = 0x26
	OpMemorySize   Opcode = 0x3f
	OpMemoryGrow   Opcode = 0x40
	OpI32Const     Opcode = 0x41
	OpI64Const     Opcode = 0x42
	OpF32Const     Opcode = 0x43
	OpF64Const     Opcode = 0x44
	OpRefNull      Opcode = 0xd0
	OpRefIsNull    Opcode = 0xd1
	OpRefFunc      Opcode = 0xd2
	OpMemoryInit   Opcode = 0xfc08
	OpDataDrop     Opcode = 0xfc09
	OpMemoryCopy   Opcode = 0xfc0a
	OpMemoryFill   Opcode = 0xfc0b
	OpTableInit    Opcode = 0xfc0c
	OpElemDrop     Opcode = 0xfc0d
	OpTableCopy    Opcode = 0xfc0e
	OpTableGrow    Opcode = 0xfc0f
	OpTableSize    Opcode = 0xfc10
	OpTableFill    Opcode = 0xfc11
	OpV128Const    Opcode = 0xfd0c
)

// The bytes that open the instructions of two numbers.
const (
	prefixMisc   = 0xfc
	prefixVector = 0xfd
)

// operand is what follows an opcode in the code.
type operand uint8

const (
	unknown operand = iota // no instruction of WebAssembly 2.0
	nothing
	blockType
	label
	labels // a vector of labels, and one more
	function
	indirect // a type and a table
	valueTypes
	local
	global
	table
	access // an alignment and an offset
	memory // the memory, as one byte
	number32
	number64
	bytes4
	bytes8
	bytes16
	referenceType
	prefix
	dataMemory   // a data segment and the memory
	data         // a data segment
	memories     // the memory, twice
	elementTable // an element segment and a table
	element      // an element segment
	tables       // two tables
	lanes        // sixteen lanes of two vectors
	lane         // a lane
	accessLane   // an access and a lane
	tag
	tryTable // a block type, and a vector of catches
)

// operands and the two tables after it say what follows each opcode.
var operands = func() (t [256]operand) {
	set := func(o operand, from, to int) {
		for i := from; i <= to; i++ {
			t[i] = o
		}
	}
	set(nothing, 0x00, 0x01)
	set(blockType, 0x02, 0x04)
	t[0x05], t[0x0b], t[0x0f] = nothing, nothing, nothing
	t[0x06], t[0x07], t[0x08], t[0x09], t[0x0a] = blockType, tag, tag, label, nothing
	t[0x18], t[0x19], t[0x1f] = label, nothing, tryTable
	set(label, 0x0c, 0x0d)
	t[0x0e], t[0x10], t[0x11] = labels, function, indirect
	set(nothing, 0x1a, 0x1b)
	t[0x1c] = valueTypes
	set(local, 0x20, 0x22)
	set(global, 0x23, 0x24)
	set(table, 0x25, 0x26)
	set(access, 0x28, 0x3e)
	set(memory, 0x3f, 0x40)
	t[0x41], t[0x42], t[0x43], t[0x44] = number32, number64, bytes4, bytes8
	set(nothing, 0x45, 0xc4)
	t[0xd0], t[0xd1], t[0xd2] = referenceType, nothing, function
	t[prefixMisc], t[prefixVector] = prefix, prefix
	return t
}()

var miscOperands = [18]operand{
	nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing,
	dataMemory, data, memories, memory, elementTable, element, tables, table, table, table,
}

var vectorOperands = func() (t [256]operand) {
	for i := range t {
		switch {
		case i <= 11, i == 0x5c, i == 0x5d:
			t[i] = access
		case i == 12:
			t[i] = bytes16
		case i == 13:
			t[i] = lanes
		case i >= 21 && i <= 34:
			t[i] = lane
		case i >= 0x54 && i <= 0x5b:
			t[i] = accessLane
		default:
			t[i] = nothing
		}
	}
	for _, i := range []int{0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee} {
		t[i] = unknown
	}
	return t
}()

// accessSizes are the bytes that a load or store moves, as a power of two, from
// i32.load on. The alignment that the code states may not be above it.
var accessSizes = [0x3f - 0x28]byte{2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2}

// vectorSize is accessSizes for the loads and stores of vectors.
func vectorSize(n byte) byte {
	switch {
	case n == 0 || n == 11:
		return 4
	case n <= 6:
		return 3
	case n <= 10:
		return n - 7
	case n == 0x5c:
		return 2
	case n == 0x5d:
		return 3
	default:
		return (n - 0x54) % 4
	}
}

// laneCount is how many lanes an instruction chooses one of.
func laneCount(n byte) byte {
	switch {
	case n <= 23:
		return 16
	case n <= 26:
		return 8
	case n <= 28, n == 31, n == 32:
		return 4
	case n <= 34:
		return 2
	default:
		return 16 >> ((n - 0x54) % 4)
	}
}
