package metertest

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The value types, as the format has them.
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeF32       = 0x7d
	typeF64       = 0x7c
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
)

// everyType are the types of generated locals, parameters and results.
var everyType = []byte{typeI32, typeI64, typeF32, typeF64, typeI32, typeV128, typeFuncref, typeExternref}

type signature struct{ params, results []byte }

type globalType struct {
	t       byte
	mutable bool
}

// recursionExport is the global that has to be set to recursionCalls before each
// call.
const recursionExport = "recursion"

// What a generated module always has at the same place.
const (
	markFunction     = 0 // the one import
	recursionGlobal  = 0 // how many calls that could recurse are left
	recursionCalls   = 12
	functionTable    = 0
	externTable      = 1
	functionSlots    = 12
	externSlots      = 6
	smallData        = 0 // passive, of smallDataSize bytes
	largeData        = 1 // passive, of largeDataSize bytes: more than two chunks of the meter
	smallDataSize    = 64
	largeDataSize    = 150_000
	passiveElements  = 1 // functions
	declaredElements = 2
)

// generated is a valid module, and what a caller has to know of it.
type generated struct {
	types     []signature
	functions []signature // the import first
	globals   []globalType
	pages     int // a power of two
	maxPages  int
	growth    int  // what each table may grow by
	bulk      bool // it has instructions whose cost depends on operands

	start    int // zero: none
	table    []int
	initial  [][]byte // the value of each global, as an instruction
	bodies   [][]byte
	contents byte
}

// generate makes a module from bytes. Nearly all of its calls end. It has no
// way to see the bits of a NaN, which engines choose freely, and no select of
// floats, which the engine's compiler gets wrong on amd64 (issue #2534 of
// wazero: when registers are short, what was in one before may be the result); but see
// the flag -float-select.
func generate(in *entropy) *generated {
	g := &generated{
		functions: []signature{{[]byte{typeI32}, []byte{typeI32}}},
		pages:     pick(in, 1, 2, 4),
		growth:    1 + in.n(12),
		contents:  in.take(),
		bulk:      in.n(4) > 0,
	}
	g.maxPages = g.pages + in.n(4)
	g.global(globalType{typeI32, true}, constant(typeI32, recursionCalls))
	for _, t := range everyType[:6] {
		g.global(globalType{t, true}, constant(t, in.bits(t)))
		if in.rarely(4) {
			g.global(globalType{t, false}, constant(t, in.bits(t)))
		}
	}
	own := 1 + in.n(6)
	for range own {
		var s signature
		for range in.n(5) {
			s.params = append(s.params, pick(in, everyType...))
		}
		for range in.n(4) {
			s.results = append(s.results, pick(in, everyType...))
		}
		g.functions = append(g.functions, s)
	}
	if in.rarely(4) {
		g.start = len(g.functions)
		g.functions = append(g.functions, signature{})
	}
	g.global(globalType{typeFuncref, true}, binary.AppendUvarint([]byte{0xd2}, uint64(1+in.n(own))))
	g.global(globalType{typeExternref, true}, []byte{0xd0, typeExternref})
	for range functionSlots - 4 {
		g.table = append(g.table, in.n(len(g.functions)))
	}
	budget := 60 + 4*len(in.b)
	for i := 1; i < len(g.functions); i++ {
		b := &body{g: g, in: in, index: i, budget: min(budget/own, 2500)}
		g.bodies = append(g.bodies, b.generate())
	}
	return g
}

func (g *generated) global(t globalType, value []byte) {
	g.globals = append(g.globals, t)
	g.initial = append(g.initial, value)
}

// constant is the instruction that pushes these bits. A v128 has them twice.
func constant(t byte, bits uint64) []byte {
	switch t {
	case typeI32:
		return appendSigned([]byte{0x41}, int64(int32(bits)))
	case typeI64:
		return appendSigned([]byte{0x42}, int64(bits))
	case typeF32:
		return binary.LittleEndian.AppendUint32([]byte{0x43}, uint32(bits))
	case typeF64:
		return binary.LittleEndian.AppendUint64([]byte{0x44}, bits)
	case typeV128:
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{0xfd, 12}, bits), ^bits)
	}
	return []byte{0xd0, t}
}

// typeIndex is the index of a signature among the module's types.
func (g *generated) typeIndex(s signature) uint64 {
	for i, have := range g.types {
		if slices.Equal(have.params, s.params) && slices.Equal(have.results, s.results) {
			return uint64(i)
		}
	}
	g.types = append(g.types, s)
	return uint64(len(g.types) - 1)
}

// name is what a function is exported as.
func name(function int) string { return fmt.Sprintf("f%d", function) }

// bytes writes the module. tight says that it has the maxima of memory and
// tables itself; else it has larger ones or none, and who loads it has to bound
// them.
func (g *generated) bytes(tight bool) []byte {
	var functions, globals, exports, bodies [][]byte
	for i, f := range g.functions {
		if i == 0 {
			continue
		}
		functions = append(functions, binary.AppendUvarint(nil, g.typeIndex(f)))
		exports = append(exports, export(name(i), 0, i))
	}
	exports = append(exports, export(recursionExport, 3, recursionGlobal))
	imported := concat(text(markModule), text(markName), []byte{0}, binary.AppendUvarint(nil, g.typeIndex(g.functions[0])))
	for i, t := range g.globals {
		mutable := byte(0)
		if t.mutable {
			mutable = 1
		}
		globals = append(globals, concat([]byte{t.t, mutable}, g.initial[i], []byte{0x0b}))
	}
	for _, b := range g.bodies {
		bodies = append(bodies, concat(binary.AppendUvarint(nil, uint64(len(b))), b))
	}
	memory, table0, table1 := bounds(g.pages, -1), bounds(functionSlots, 1<<20), bounds(externSlots, -1)
	if tight {
		memory = bounds(g.pages, g.maxPages)
		table0, table1 = bounds(functionSlots, functionSlots+g.growth), bounds(externSlots, externSlots+g.growth)
	}
	var types [][]byte
	for _, t := range g.types {
		types = append(types, concat([]byte{0x60}, list(t.params), list(t.results)))
	}
	var slots, passive []byte
	for _, f := range g.table {
		slots = binary.AppendUvarint(slots, uint64(f))
		passive = concat(passive, binary.AppendUvarint([]byte{0xd2}, uint64(f)), []byte{0x0b})
	}
	var all []byte
	for f := range g.functions {
		all = append(all, byte(f))
	}
	count := byte(len(g.table))
	elements := [][]byte{
		concat([]byte{0}, constant(typeI32, 2), []byte{0x0b, count}, slots),
		concat([]byte{5, typeFuncref, count}, passive),
		concat([]byte{3, 0, byte(len(g.functions))}, all),
	}
	pattern := make([]byte, largeDataSize)
	for i := range pattern {
		pattern[i] = byte(i*i>>7) ^ byte(i) + g.contents
	}
	data := [][]byte{
		concat([]byte{1}, list(pattern[:smallDataSize])),
		concat([]byte{1}, list(pattern)),
		concat([]byte{0}, constant(typeI32, 100), []byte{0x0b}, list(pattern[1000:3000])),
	}
	b := []byte("\x00asm\x01\x00\x00\x00")
	b = appendSection(b, 1, items(types))
	b = appendSection(b, 2, items([][]byte{imported}))
	b = appendSection(b, 3, items(functions))
	b = appendSection(b, 4, items([][]byte{concat([]byte{typeFuncref}, table0), concat([]byte{typeExternref}, table1)}))
	b = appendSection(b, 5, items([][]byte{memory}))
	b = appendSection(b, 6, items(globals))
	b = appendSection(b, 7, items(exports))
	if g.start > 0 {
		b = appendSection(b, 8, binary.AppendUvarint(nil, uint64(g.start)))
	}
	b = appendSection(b, 9, items(elements))
	b = appendSection(b, 12, []byte{byte(len(data))})
	b = appendSection(b, 10, items(bodies))
	return appendSection(b, 11, items(data))
}

func concat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func items(parts [][]byte) []byte {
	return concat(binary.AppendUvarint(nil, uint64(len(parts))), concat(parts...))
}

func list(b []byte) []byte { return concat(binary.AppendUvarint(nil, uint64(len(b))), b) }

func text(s string) []byte { return list([]byte(s)) }

func export(name string, kind byte, index int) []byte {
	return binary.AppendUvarint(append(text(name), kind), uint64(index))
}

// bounds are the limits of a memory or table; most below zero: none.
func bounds(least, most int) []byte {
	if most < 0 {
		return binary.AppendUvarint([]byte{0}, uint64(least))
	}
	return binary.AppendUvarint(binary.AppendUvarint([]byte{1}, uint64(least)), uint64(most))
}
