package exceptions

import (
	"strings"

	"bulkhead/plugins/wasm"
)

// effect is what an instruction takes from the stack, the last on top, and what it puts there. Both
// are value types, a byte each.
type effect struct{ takes, makes string }

// effects are those of the instructions whose operands have one type each, whatever else the module
// has, by slot. The others are nil: the checker knows them.
var effects = func() (t [0x300]*effect) {
	letters := strings.NewReplacer("i", "\x7f", "I", "\x7e", "f", "\x7d", "F", "\x7c", "v", "\x7b")
	set := func(from, to wasm.Opcode, s string) {
		takes, makes, _ := strings.Cut(s, ":")
		e := &effect{letters.Replace(takes), letters.Replace(makes)}
		for op := from; op <= to; op++ {
			t[slot(op)] = e
		}
	}
	set(0x01, 0x01, ":")
	set(0x28, 0x28, "i:i")
	set(0x29, 0x29, "i:I")
	set(0x2a, 0x2a, "i:f")
	set(0x2b, 0x2b, "i:F")
	set(0x2c, 0x2f, "i:i")
	set(0x30, 0x35, "i:I")
	set(0x36, 0x36, "ii:")
	set(0x37, 0x37, "iI:")
	set(0x38, 0x38, "if:")
	set(0x39, 0x39, "iF:")
	set(0x3a, 0x3b, "ii:")
	set(0x3c, 0x3e, "iI:")
	set(0x3f, 0x3f, ":i")
	set(0x40, 0x40, "i:i")
	set(0x41, 0x41, ":i")
	set(0x42, 0x42, ":I")
	set(0x43, 0x43, ":f")
	set(0x44, 0x44, ":F")
	set(0x45, 0x45, "i:i") // comparisons
	set(0x46, 0x4f, "ii:i")
	set(0x50, 0x50, "I:i")
	set(0x51, 0x5a, "II:i")
	set(0x5b, 0x60, "ff:i")
	set(0x61, 0x66, "FF:i")
	set(0x67, 0x69, "i:i") // arithmetic
	set(0x6a, 0x78, "ii:i")
	set(0x79, 0x7b, "I:I")
	set(0x7c, 0x8a, "II:I")
	set(0x8b, 0x91, "f:f")
	set(0x92, 0x98, "ff:f")
	set(0x99, 0x9f, "F:F")
	set(0xa0, 0xa6, "FF:F")
	set(0xa7, 0xa7, "I:i") // conversions
	set(0xa8, 0xa9, "f:i")
	set(0xaa, 0xab, "F:i")
	set(0xac, 0xad, "i:I")
	set(0xae, 0xaf, "f:I")
	set(0xb0, 0xb1, "F:I")
	set(0xb2, 0xb3, "i:f")
	set(0xb4, 0xb5, "I:f")
	set(0xb6, 0xb6, "F:f")
	set(0xb7, 0xb8, "i:F")
	set(0xb9, 0xba, "I:F")
	set(0xbb, 0xbb, "f:F")
	set(0xbc, 0xbc, "f:i")
	set(0xbd, 0xbd, "F:I")
	set(0xbe, 0xbe, "i:f")
	set(0xbf, 0xbf, "I:F")
	set(0xc0, 0xc1, "i:i")
	set(0xc2, 0xc4, "I:I")
	set(0xfc00, 0xfc01, "f:i")
	set(0xfc02, 0xfc03, "F:i")
	set(0xfc04, 0xfc05, "f:I")
	set(0xfc06, 0xfc07, "F:I")
	set(wasm.OpMemoryInit, wasm.OpMemoryInit, "iii:")
	set(wasm.OpDataDrop, wasm.OpDataDrop, ":")
	set(wasm.OpMemoryCopy, wasm.OpMemoryFill, "iii:")
	set(wasm.OpTableInit, wasm.OpTableInit, "iii:")
	set(wasm.OpElemDrop, wasm.OpElemDrop, ":")
	set(wasm.OpTableCopy, wasm.OpTableCopy, "iii:")
	set(wasm.OpTableSize, wasm.OpTableSize, ":i")
	set(0xfd00, 0xfdff, "vv:v") // what is not named below
	set(0xfd00, 0xfd0a, "i:v")
	set(0xfd0b, 0xfd0b, "iv:")
	set(0xfd0c, 0xfd0c, ":v")
	set(0xfd0f, 0xfd11, "i:v")
	set(0xfd12, 0xfd12, "I:v")
	set(0xfd13, 0xfd13, "f:v")
	set(0xfd14, 0xfd14, "F:v")
	for _, op := range []wasm.Opcode{0xfd15, 0xfd16, 0xfd18, 0xfd19, 0xfd1b} {
		set(op, op, "v:i")
	}
	for _, op := range []wasm.Opcode{0xfd17, 0xfd1a, 0xfd1c} {
		set(op, op, "vi:v")
	}
	set(0xfd1d, 0xfd1d, "v:I")
	set(0xfd1e, 0xfd1e, "vI:v")
	set(0xfd1f, 0xfd1f, "v:f")
	set(0xfd20, 0xfd20, "vf:v")
	set(0xfd21, 0xfd21, "v:F")
	set(0xfd22, 0xfd22, "vF:v")
	set(0xfd4d, 0xfd4d, "v:v")
	set(0xfd52, 0xfd52, "vvv:v")
	set(0xfd53, 0xfd53, "v:i")
	set(0xfd54, 0xfd57, "iv:v")
	set(0xfd58, 0xfd5b, "iv:")
	set(0xfd5c, 0xfd5d, "i:v")
	set(0xfd5e, 0xfd5f, "v:v")
	set(0xfd60, 0xfd62, "v:v")
	set(0xfd67, 0xfd6a, "v:v")
	set(0xfd74, 0xfd75, "v:v")
	set(0xfd7a, 0xfd7a, "v:v")
	set(0xfd7c, 0xfd7f, "v:v")
	set(0xfd94, 0xfd94, "v:v")
	for base := wasm.Opcode(0xfd80); base < 0xfde0; base += 0x20 { // i16x8, i32x4, i64x2
		set(base, base+1, "v:v")
		set(base+7, base+10, "v:v")
	}
	for base := wasm.Opcode(0xfd60); base < 0xfde0; base += 0x20 { // and i8x16
		set(base+3, base+4, "v:i")
		set(base+11, base+13, "vi:v")
	}
	set(0xfde0, 0xfde1, "v:v")
	set(0xfde3, 0xfde3, "v:v")
	set(0xfdec, 0xfded, "v:v")
	set(0xfdef, 0xfdef, "v:v")
	set(0xfdf8, 0xfdff, "v:v")
	return t
}()

// slot folds the two prefixes into 0x1fc and 0x2fd and what follows.
func slot(op wasm.Opcode) int {
	if op < 0x100 {
		return int(op)
	}
	return int(op)&0xff | int(op>>8&3+1)<<8
}

// isReference reports whether a value of the type is a reference.
func isReference(t wasm.ValueType) bool {
	return t == wasm.FuncRef || t == wasm.ExternRef || t == wasm.ExnRef
}
