// Package wasmtest builds WebAssembly modules in Go, so that tests have guests
// that do exactly what is asked of them, and hostile ones too, with nothing
// installed but Go. It checks nothing: a wrong module is often the point.
//
//	m := wasmtest.New()
//	send := m.Import("csa_v1", "send", "iii:i")
//	m.Memory(1)
//	m.Func("csa_window", ":I", "", wasmtest.I64Const(wasmtest.Window(1024, 4096)))
//	m.Func("csa_data", "ii:i", "",
//		wasmtest.LocalGet(0), wasmtest.I32Const(1024), wasmtest.LocalGet(1), wasmtest.Call(send))
//	bytes := m.Bytes()
//
// Signatures are written as letters, parameters before the colon and results
// behind it: i for i32, I for i64, f for f32, F for f64, V for v128, r for
// funcref, x for externref.
package wasmtest

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Module is a module being built. Its methods may be called in any order, but
// imports have to come before functions.
type Module struct {
	types   []string
	imports []code
	funcs   []function
	memory  code
	tables  []code
	globals []code
	exports []code
	start   code
	elems   []code
	data    []code
	customs []code

	imported int  // functions
	passive  bool // some of data are
	raw      map[byte]code
}

type code = []byte

type function struct {
	typ  int
	body code
}

// New returns an empty module.
func New() *Module { return &Module{raw: make(map[byte]code)} }

// Func identifies a function of the module under construction.
type Func int

// valueLetters are how signatures write types, and valueBytes how the format does.
const (
	valueLetters = "iIfFVrx"
	valueBytes   = "\x7f\x7e\x7d\x7c\x7b\x70\x6f"
)

// valueType is the format's byte for a letter.
func valueType(letter byte) byte {
	i := strings.IndexByte(valueLetters, letter)
	if i < 0 {
		panic(fmt.Sprintf("wasmtest: unknown type letter %q", letter))
	}
	return valueBytes[i]
}

// Signature writes the type of a function as Import takes it, of the format's bytes for the types
// of its parameters and results.
func Signature[T ~byte](params, results []T) string {
	var b strings.Builder
	write := func(types []T) {
		for _, t := range types {
			b.WriteByte(valueLetters[strings.IndexByte(valueBytes, byte(t))])
		}
	}
	write(params)
	b.WriteByte(':')
	write(results)
	return b.String()
}

func valueTypes(letters string) code {
	b := uleb(uint64(len(letters)))
	for i := range letters {
		b = append(b, valueType(letters[i]))
	}
	return b
}

// Type returns the index of a signature, such as "ii:i".
func (m *Module) Type(signature string) int {
	for i, t := range m.types {
		if t == signature {
			return i
		}
	}
	m.types = append(m.types, signature)
	return len(m.types) - 1
}

// Import imports a function.
func (m *Module) Import(module, name, signature string) Func {
	if len(m.funcs) > 0 {
		panic("wasmtest: imports have to come before functions")
	}
	m.imports = append(m.imports, cat(str(module), str(name), code{0}, uleb(uint64(m.Type(signature)))))
	m.imported++
	return Func(m.imported - 1)
}

// ImportRaw imports something that is no function; description is its kind
// and what follows it.
func (m *Module) ImportRaw(module, name string, description ...byte) {
	m.imports = append(m.imports, cat(str(module), str(name), description))
}

// Func adds a function and exports it, unless its name is empty. locals are
// the letters of the locals behind the parameters. The end of the body is
// added.
func (m *Module) Func(name, signature, locals string, body ...[]byte) Func {
	groups := uleb(uint64(len(locals)))
	for i := range locals {
		groups = append(groups, 1, valueType(locals[i]))
	}
	return m.FuncRaw(name, signature, cat(groups, cat(body...), code{0x0b}))
}

// FuncRaw is Func with the locals and the end as bytes of the body.
func (m *Module) FuncRaw(name, signature string, body []byte) Func {
	m.funcs = append(m.funcs, function{m.Type(signature), body})
	f := Func(m.imported + len(m.funcs) - 1)
	if name != "" {
		m.Export(name, 0, int(f))
	}
	return f
}

// Export exports something by its kind (0 function, 1 table, 2 memory,
// 3 global) and index.
func (m *Module) Export(name string, kind byte, index int) {
	m.exports = append(m.exports, cat(str(name), code{kind}, uleb(uint64(index))))
}

func limits(min int, max []int) code {
	if len(max) > 0 {
		return cat(code{1}, uleb(uint64(min)), uleb(uint64(max[0])))
	}
	return cat(code{0}, uleb(uint64(min)))
}

// Memory adds the memory, of min pages and at most max, and exports it as
// "memory".
func (m *Module) Memory(min int, max ...int) {
	m.HiddenMemory(min, max...)
	m.Export("memory", 2, 0)
}

// HiddenMemory is Memory without the export.
func (m *Module) HiddenMemory(min int, max ...int) { m.memory = limits(min, max) }

// Global adds a global of one type and returns its index. value is a constant
// instruction.
func (m *Module) Global(letter byte, mutable bool, value []byte) int {
	mut := byte(0)
	if mutable {
		mut = 1
	}
	m.globals = append(m.globals, cat(code{valueType(letter), mut}, value, code{0x0b}))
	return len(m.globals) - 1
}

// Table adds a table of funcrefs and returns its index.
func (m *Module) Table(min int, max ...int) int {
	m.tables = append(m.tables, cat(code{0x70}, limits(min, max)))
	return len(m.tables) - 1
}

// Elements puts functions into table 0, from offset on.
func (m *Module) Elements(offset int, funcs ...Func) {
	b := cat(code{0}, I32Const(int32(offset)), code{0x0b}, uleb(uint64(len(funcs))))
	for _, f := range funcs {
		b = append(b, uleb(uint64(f))...)
	}
	m.elems = append(m.elems, b)
}

// Data puts bytes into the memory, from offset on.
func (m *Module) Data(offset int, p string) {
	m.data = append(m.data, cat(code{0}, I32Const(int32(offset)), code{0x0b}, str(p)))
}

// PassiveData adds bytes for MemoryInit and returns the number of their segment.
func (m *Module) PassiveData(p string) int {
	m.data = append(m.data, cat(code{1}, str(p)))
	m.passive = true
	return len(m.data) - 1
}

// Start has f run at instantiation.
func (m *Module) Start(f Func) { m.start = uleb(uint64(f)) }

// Custom adds a custom section, in front of all others.
func (m *Module) Custom(name string, payload []byte) {
	m.customs = append(m.customs, cat(str(name), payload))
}

// Raw replaces the content of the section with that number.
func (m *Module) Raw(section byte, content []byte) { m.raw[section] = content }

// Bytes writes the module.
func (m *Module) Bytes() []byte {
	var types, funcs, bodies []code
	for _, t := range m.types {
		params, results, _ := strings.Cut(t, ":")
		types = append(types, cat(code{0x60}, valueTypes(params), valueTypes(results)))
	}
	for _, f := range m.funcs {
		funcs = append(funcs, uleb(uint64(f.typ)))
		bodies = append(bodies, cat(uleb(uint64(len(f.body))), f.body))
	}
	var memory []code
	if m.memory != nil {
		memory = []code{m.memory}
	}
	var count code
	if m.passive {
		count = uleb(uint64(len(m.data)))
	}
	b := code("\x00asm\x01\x00\x00\x00")
	for _, c := range m.customs {
		b = append(b, Section(0, c)...)
	}
	for _, s := range []struct {
		id      byte
		content code
	}{
		{1, vector(types)},
		{2, vector(m.imports)},
		{3, vector(funcs)},
		{4, vector(m.tables)},
		{5, vector(memory)},
		{13, nil}, // tags: Raw alone
		{6, vector(m.globals)},
		{7, vector(m.exports)},
		{8, m.start},
		{9, vector(m.elems)},
		{12, count},
		{10, vector(bodies)},
		{11, vector(m.data)},
	} {
		if raw, ok := m.raw[s.id]; ok {
			s.content = raw
		}
		if s.content != nil {
			b = append(b, Section(s.id, s.content)...)
		}
	}
	return b
}

// Section writes one section.
func Section(id byte, content []byte) []byte {
	return cat(code{id}, uleb(uint64(len(content))), content)
}

func vector(items []code) code {
	if len(items) == 0 {
		return nil
	}
	return cat(uleb(uint64(len(items))), cat(items...))
}

func str(s string) code { return cat(uleb(uint64(len(s))), code(s)) }

// Bodies are long lists of calls. With these three inlined into each, and with what calls them, the
// compiler took twice as long for the tests that have many.

//go:noinline
func uleb(v uint64) code { return binary.AppendUvarint(nil, v) }

//go:noinline
func sleb(v int64) code {
	var b code
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

//go:noinline
func cat(parts ...[]byte) code {
	var b code
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
