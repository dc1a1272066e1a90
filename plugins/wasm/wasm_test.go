package wasm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// full is a module with every section.
func full() *w.Module {
	m := w.New()
	m.Custom("name", []byte("\x00\x01x"))
	m.Import("csa_v1", "send", "iii:i")
	m.Import("csa_v1", "clock", "i:I")
	m.Memory(2, 5)
	m.Global('i', true, w.I32Const(-5))
	m.Global('I', false, w.I64Const(-1<<63))
	m.Global('F', false, w.F64Const(1.5))
	m.Global('V', false, append([]byte{0xfd, 0x0c}, make([]byte, 16)...))
	m.Global('r', false, w.RefNull())
	m.Table(10)
	m.Table(1, 1<<31)
	m.Table(1, 4)
	f := m.Func("f", "ii:i", "iIfFVrx", w.LocalGet(0))
	m.Start(m.Func("", ":", ""))
	m.Export("mem", 2, 0)
	m.Export("tab", 1, 2)
	m.Export("glob", 3, 4)
	m.Elements(0, f, 0)
	m.Data(0, "some data")
	m.Raw(12, []byte{1})
	return m
}

func TestParse(t *testing.T) {
	b := full().Bytes()
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v %v %v %v functions %d, globals %d, data %d, elements %d, start %v, %q",
		m.Imports, m.Exports, m.Memories, m.Tables, m.Functions, m.Globals, m.DataSegments, m.ElementSegments, m.Start, m.Custom)
	const want = "[{csa_v1 send function (i32, i32, i32) -> i32 unknown {0 0 false}} {csa_v1 clock function (i32) -> i64 unknown {0 0 false}}] " +
		"[{memory memory 0 ()} {f function 2 (i32, i32) -> i32} {mem memory 0 ()} {tab table 2 ()} {glob global 4 ()}] " +
		"[{2 5 true}] [{10 0 false} {1 2147483648 true} {1 4 true}] functions 2, globals 5, data 1, elements 1, start true, [\"name\"]"
	if got != want {
		t.Errorf("it has\n%s\nnot\n%s", got, want)
	}
	if m.Export("f") == nil || m.Export("g") != nil {
		t.Error("Export finds the wrong ones")
	}
}

// The sections are the module, but for the custom ones.
func TestSections(t *testing.T) {
	m, err := wasm.Parse(full().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := wasm.Parse(uncustomed(m))
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Custom) != 0 {
		t.Errorf("the sections hold the custom sections %q", again.Custom)
	}
	if fmt.Sprint(m.Imports, m.Exports, m.Memories, m.Tables, m.Functions, m.Globals) != fmt.Sprint(again.Imports, again.Exports, again.Memories, again.Tables, again.Functions, again.Globals) {
		t.Error("they are another module")
	}
	if got, want := m.Footprint(), (4106+4097+4)*8+2*40+5*88+24+2*40; got != want {
		t.Errorf("its footprint is %d, not %d", got, want)
	}
}

// uncustomed is the module without its custom sections, which the engine's decoder
// would believe.
func uncustomed(m *wasm.Module) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range m.Sections() {
		b = append(b, w.Section(s.ID, s.Content)...)
	}
	return b
}

// The modules that compilers make are accepted.
func TestRealModules(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := wasm.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		stepThrough(t, m)
	}
}

// Cut short anywhere, it is refused, and said to be cut short unless the cut is
// between two sections.
func TestTruncated(t *testing.T) {
	b := full().Bytes()
	short := 0
	for n := range b {
		_, err := wasm.Parse(b[:n])
		var bad *wasm.SyntaxError
		if errors.As(err, &bad) && bad.Truncated {
			short++
		}
	}
	if short < len(b)-20 {
		t.Errorf("of %d lengths only %d are said to be cut short", len(b), short)
	}
}

func leb(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func TestRefused(t *testing.T) {
	raw := func(section byte, content ...[]byte) []byte {
		m := full()
		m.Raw(section, bytes.Join(content, nil))
		return m.Bytes()
	}
	sections := func(s ...[]byte) []byte { return append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(s, nil)...) }
	// body is a module with one function of that body.
	body := func(b []byte) []byte {
		m := w.New()
		m.FuncRaw("", ":", b)
		return m.Bytes()
	}
	many := leb(1<<32 - 1)
	name := leb(1001)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"types", raw(1, many), "it has 4294967295 types, and 50000 are the most"},
		{"few bytes of types", raw(1, leb(40000), make([]byte, 10)), "it says that 40000 types follow, in 10 bytes"},
		{"form of a type", raw(1, []byte{1, 0x5d, 0, 0}), "the unknown form 0x5d"},
		{"parameters", raw(1, []byte{1, 0x60}, leb(1001), make([]byte, 2000)), "1001 parameters, and 1000"},
		{"type of a parameter", raw(1, []byte{1, 0x60, 1, 0x62, 0}), "the unknown type 0x62"},
		{"imports", raw(2, many), "4294967295 imports, and 1000"},
		{"type of an import", raw(2, []byte{1, 0, 0, 0, 99}), "a function has the type 99 of 4"},
		{"kind of an import", raw(2, []byte{1, 0, 0, 5, 0}), "the unknown kind 5"},
		{"name of an import", raw(2, []byte{1}, name, make([]byte, 2000)), "the module of an import has 1001 bytes, and 1000"},
		{"name that is no text", raw(2, []byte{1, 1, 0xff, 1, 'x', 0, 0}), "the module of an import is not UTF-8"},
		{"functions", raw(3, many), "4294967295 functions, and 250000"},
		{"no code", raw(10, []byte{0}), "it declares 2 functions and has the code of 0"},
		{"tables", raw(4, leb(17), make([]byte, 100)), "it has 17 tables, and 16"},
		{"large table", raw(4, []byte{1, 0x70, 0}, many), "its tables have 4294967295 elements, and 262144"},
		{"large tables", raw(4, []byte{2, 0x70, 0}, leb(200000), []byte{0x70, 0}, leb(200000)), "its tables have 400000 elements"},
		{"typed table", raw(4, []byte{1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b}), "no supported reference"},
		{"limits of a table", raw(4, []byte{1, 0x70, 1, 5, 4}), "the size 5, which is above its greatest size 4"},
		{"kind of limits", raw(4, []byte{1, 0x70, 16, 5}), "limits of the unknown kind 16"},
		{"memories", raw(5, many), "4294967295 memories, and 1000"},
		{"large memory", raw(5, []byte{1, 0}, leb(65537)), "a memory has the size 65537, and 65536 is the most"},
		{"memory that may be large", raw(5, []byte{1, 1, 0}, leb(65537)), "65537"},
		{"globals", raw(6, many), "4294967295 globals, and 100000"},
		{"value of a global", raw(6, []byte{1, 0x7f, 0, 0x20, 0, 0x0b}), "made by the instruction 0x20, which is not constant"},
		{"endless value", raw(6, []byte{1, 0x7f, 0, 0x41, 1, 0x01, 1}), "is made by more than one instruction"},
		{"mutability", raw(6, []byte{1, 0x7f, 2, 0x41, 1, 0x0b}), "the unknown mutability 2"},
		{"exports", raw(7, many), "4294967295 exports, and 100000"},
		{"export of nothing", raw(7, []byte{1, 1, 'x', 0, 4}), `the export "x" is the function 4 of 4`},
		{"export of no kind", raw(7, []byte{1, 1, 'x', 5, 0}), "the unknown kind 5"},
		{"export twice", raw(7, []byte{2, 1, 'x', 0, 0, 1, 'x', 0, 0}), `the export "x" is there twice`},
		{"element segments", raw(9, many), "4294967295 element segments"},
		{"kind of an element segment", raw(9, []byte{1, 8, 0, 0}), "the unknown kind 8"},
		{"elements", raw(9, []byte{1, 1, 0}, many), "4294967295 elements"},
		{"few bytes of elements", raw(9, []byte{1, 1, 0}, leb(1000), []byte{0}), "1000 elements follow, in 1 bytes"},
		{"expressions", raw(9, []byte{1, 5, 0x70, 2, 0xd2, 0, 0x0b}), "2 elements follow, in 3 bytes"},
		{"code", raw(10, many), "4294967295 functions"},
		{"locals", body(append(append([]byte{1}, many...), 0x7f, 0x0b)), "function 0: the code of a function has 4294967295 locals, and 50000"},
		{"more locals", body(append(append([]byte{2, 1, 0x7f}, many...), 0x7f, 0x0b)), "4294967296 locals"},
		{"locals of all", func() []byte {
			m := w.New()
			for range wasm.MaxAllLocals/wasm.MaxLocals + 1 {
				m.FuncRaw("", ":", append(append([]byte{1}, leb(wasm.MaxLocals)...), 0x7f, 0x0b))
			}
			return m.Bytes()
		}(), "function 20: its functions have 1050000 locals up to here, and 1048594 are the most"},
		{"groups of locals", body(append(leb(1<<30), 0x0b)), "1073741824 groups of locals"},
		{"type of a local", body([]byte{1, 1, 0x40, 0x0b}), "the unknown type 0x40"},
		{"no end", body([]byte{0, 0x01}), "has no end"},
		{"no body", body(nil), "function 0: the number of groups of locals does not fit"},
		{"large body", raw(10, []byte{2}, leb(1<<20+1), make([]byte, 1<<20+10)), "function 2: the code of a function has 1048577 bytes, and 1048576"},
		{"long body", raw(10, []byte{2, 100, 0}), "function 2: the code of a function does not fit into its section"},
		{"data segments", raw(11, many), "4294967295 data segments"},
		{"kind of a data segment", raw(11, []byte{1, 3, 0}), "the unknown kind 3"},
		{"data", raw(11, []byte{1, 1}, many), "a data segment does not fit into its section"},
		{"data count", raw(12, []byte{7}), "it declares 7 data segments and has 1"},
		{"more than a section", raw(8, []byte{3, 0}), "the start section has 1 bytes more than it needs"},
		{"long number", raw(8, []byte{0x80, 0x80, 0x80, 0x80, 0x10}), "more than 32 bits"},
		{"longer number", raw(8, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}), "more than 32 bits"},
		{"unknown section", sections([]byte{14, 0}), "a section of the unknown kind 14"},
		{"section twice", sections(w.Section(1, []byte{0}), w.Section(1, []byte{0})), "the type section is in the wrong place"},
		{"sections in another order", sections(w.Section(3, []byte{0}), w.Section(1, []byte{0})), "the type section is in the wrong place"},
		{"data count late", sections(w.Section(10, []byte{0}), w.Section(12, []byte{0})), "the data count section is in the wrong place"},
		{"large section", sections([]byte{1}, many), "the file ends inside the type section"},
		{"custom section", sections([]byte{0, 2, 5, 'x'}), "the name of a custom section does not fit into its section"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := wasm.Parse(c.b)
			var bad *wasm.SyntaxError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, not %q", err, c.want)
			}
		})
	}
}

// code is a module with one function of those instructions, which has two
// parameters, two locals, and one of everything to name.
func code(b ...[]byte) []byte {
	m := w.New()
	m.Import("host", "f", ":")
	m.Memory(1)
	m.Table(1)
	m.Global('i', true, w.I32Const(0))
	m.Raw(9, []byte{1, 1, 0, 1, 0})
	m.Raw(12, []byte{1})
	m.Raw(11, []byte{1, 1, 0})
	m.Func("f", "ii:", "iI", b...)
	return m.Bytes()
}

// bare is code without anything to name.
func bare(b ...[]byte) []byte {
	m := w.New()
	m.Func("f", ":", "", b...)
	return m.Bytes()
}

// Every instruction that WebAssembly 2.0 has is known, with what follows it, and no other.
func TestInstructions(t *testing.T) {
	for b := range 256 {
		op := byte(b)
		if op == 0xfc || op == 0xfd {
			continue
		}
		known := op <= 0x11 || op >= 0x18 && op <= 0x1c || op == 0x1f || op >= 0x20 && op <= 0x26 || op >= 0x28 && op <= 0xc4 || op >= 0xd0 && op <= 0xd2
		_, err := wasm.Parse(code([]byte{op}))
		if unknown := err != nil && (strings.Contains(err.Error(), "unknown instruction") || strings.Contains(err.Error(), "it uses the instruction")); unknown == known {
			t.Errorf("of the instruction %#x it says %v", op, err)
		}
	}
	vectors := 0
	for n := range uint64(400) {
		for _, tail := range [][]byte{nil, {0}, {0, 0}, {0, 0, 0}, make([]byte, 16)} {
			if _, err := wasm.Parse(code([]byte{0xfd}, leb(n), tail)); err == nil {
				vectors++
				break
			}
		}
	}
	if vectors != 236 {
		t.Errorf("it knows %d vector instructions, and there are 236", vectors)
	}
}

// Code that names what there is is accepted, in whatever encoding the format
// allows.
func TestAccepted(t *testing.T) {
	for name, b := range map[string][]byte{
		"long numbers":      code(w.Cat([]byte{0x20, 0x83, 0x80, 0x80, 0x80, 0}, w.Drop, []byte{0x41, 0xff, 0xff, 0xff, 0xff, 0x7f}, w.Drop, []byte{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, w.Drop)),
		"long instruction":  code(w.F64Const(1), []byte{0xfc, 0x83, 0}, w.Drop),
		"type of a block":   code([]byte{2, 0x81, 0}, w.End),
		"select of a type":  code(w.I32Const(1), w.I32Const(1), w.I32Const(1), []byte{0x1c, 1, 0x7f}, w.Drop),
		"reference":         code([]byte{0xd2, 0}, w.Drop),
		"behind a return":   code(w.Return, []byte{0x0c, 0}),
		"branches outwards": code(w.Block(w.Loop(w.Br(2)))),
		"largest alignment": code(w.I32Const(0), []byte{0x29, 3, 0xff, 0xff, 0xff, 0xff, 0x0f}, w.Drop),
		"long vector":       code([]byte{0xfd, 0x8c, 0x80, 0}, make([]byte, 16), []byte{0xfd, 0xe0, 0x81, 0x80, 0}, w.Drop),
		"many locals":       localsAndCode(wasm.MaxAllLocals/wasm.MaxLocals+1, 600),
		"deep":              code(bytes.Repeat([]byte{2, 0x40}, 50_000), bytes.Repeat(w.End, 50_000)),
		"vector":            code(w.I32Const(0), []byte{0xfd, 0x5b, 3, 0}, []byte{0}),
	} {
		if _, err := wasm.Parse(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// localsAndCode is a module of functions with the most locals that one may have and
// so many bytes of code each.
func localsAndCode(functions, size int) []byte {
	m := w.New()
	body := append(append([]byte{1}, leb(wasm.MaxLocals)...), 0x7f)
	body = append(append(body, bytes.Repeat(w.Nop, size)...), w.End...)
	for range functions {
		m.FuncRaw("", ":", body)
	}
	return m.Bytes()
}

// Code that is refused, with the place of the instruction, counted from the first one.
func TestRefusedCode(t *testing.T) {
	nop := w.Nop
	for _, c := range []struct {
		name string
		b    []byte
		at   int
		want string
	}{
		{"function", code(nop, w.Call(2)), 1, "function 1: it uses the function 2, and there are 2"},
		{"reference", code(nop, []byte{0xd2, 2}), 1, "it uses the function 2, and there are 2"},
		{"type", code(nop, []byte{0x11, 2, 0}), 1, "it uses the type 2, and there are 2"},
		{"table of a call", code([]byte{0x11, 0, 1}), 0, "it uses the table 1, and there are 1"},
		{"table", code([]byte{0x25, 1}), 0, "it uses the table 1, and there are 1"},
		{"local", code(nop, w.LocalGet(4)), 1, "it uses the local 4, and there are 4"},
		{"global", code(w.GlobalSet(1)), 0, "it uses the global 1, and there are 1"},
		{"label", code(nop, w.Block(nop, w.Br(2))), 4, "it uses the label 2, and there are 2"},
		{"label of a br_if", code(w.BrIf(1)), 0, "it uses the label 1, and there are 1"},
		{"label of a br_table", code([]byte{0x0e, 2, 0, 1, 0}), 0, "it uses the label 1, and there are 1"},
		{"last label of a br_table", code([]byte{0x0e, 0, 1}), 0, "it uses the label 1, and there are 1"},
		{"element segment", code([]byte{0xfc, 13, 1}), 0, "it uses the element segment 1, and there are 1"},
		{"element segment of a table", code([]byte{0xfc, 12, 1, 0}), 0, "it uses the element segment 1, and there are 1"},
		{"table of elements", code([]byte{0xfc, 12, 0, 1}), 0, "it uses the table 1"},
		{"tables", code([]byte{0xfc, 14, 0, 1}), 0, "it uses the table 1"},
		{"data segment", code([]byte{0xfc, 8, 1, 0}), 0, "it uses the data segment 1, and there are 1"},
		{"data segment without a count", bare([]byte{0xfc, 9, 0}), 0, "no data count section"},
		{"load without a memory", bare(nop, w.I32Load(0)), 1, "function 0: it uses the memory 0, and there are 0"},
		{"size without a memory", bare(w.MemorySize), 0, "it uses the memory 0"},
		{"fill without a memory", bare(w.MemoryFill), 0, "it uses the memory 0"},
		{"vector without a memory", bare([]byte{0xfd, 0, 0, 0}), 0, "it uses the memory 0"},
		{"another memory", code([]byte{0x3f, 1}), 0, `another index than 0: a use of the proposal "multi-memory"`},
		{"another memory in a load", code([]byte{0x28, 0x42, 1, 0}), 0, `by its index: a use of the proposal "multi-memory"`},
		{"alignment", code(nop, []byte{0x28, 3, 0}), 1, "the alignment 2^3, and 2^2 is the most"},
		{"alignment of a byte", code([]byte{0x3a, 1, 0}), 0, "the alignment 2^1, and 2^0 is the most"},
		{"alignment of a vector", code([]byte{0xfd, 0, 5, 0}), 0, "the alignment 2^5, and 2^4 is the most"},
		{"alignment of a lane", code([]byte{0xfd, 0x55, 2, 0, 0}), 0, "the alignment 2^2, and 2^1 is the most"},
		{"lane", code([]byte{0xfd, 29, 2}), 0, "it uses the lane 2, and there are 2"},
		{"lane of a load", code([]byte{0xfd, 0x54, 0, 0, 16}), 0, "it uses the lane 16, and there are 16"},
		{"lanes of a shuffle", code([]byte{0xfd, 13}, make([]byte, 15), []byte{32}), 0, "it uses the lane 32, and there are 32"},
		{"relaxed SIMD", code([]byte{0xfd, 0x80, 2}), 0, `the instruction 0xfd 0x100 of the proposal "relaxed SIMD"`},
		{"unknown vector", code([]byte{0xfd, 0x9a, 1}), 0, "the unknown instruction 0xfd 0x9a"},
		{"unknown", code(nop, []byte{0xfc, 18}), 1, "the unknown instruction 0xfc 18"},
		{"tail call", code(nop, []byte{0x12, 0}), 1, `it uses the instruction return_call of the proposal "tail calls", which is not supported`},
		{"throw", code([]byte{0x08, 0}), 0, "it uses the tag 0, and there are 0"},
		{"catch outside", code(nop, []byte{0x19}), 1, "a catch outside of a try"},
		{"catch behind catch_all", code([]byte{0x06, 0x40, 0x19, 0x19, 0x0b}), 3, "a catch outside of a try"},
		{"delegate outside", code(nop, []byte{0x18, 0}), 1, "a delegate outside of a try"},
		{"delegate behind a catch", code([]byte{0x06, 0x40, 0x19, 0x18, 0}), 3, "a delegate outside of a try"},
		{"delegate to nothing", code([]byte{0x06, 0x40, 0x18, 1}), 2, "it uses the label 1, and there are 1"},
		{"rethrow outside", code([]byte{0x06, 0x40, 0x09, 0}), 2, "a rethrow outside of the catch that it names"},
		{"rethrow of a block", code([]byte{0x06, 0x40, 0x19, 2, 0x40, 0x09, 0}), 5, "a rethrow outside of the catch that it names"},
		{"try_table of no tag", code([]byte{0x1f, 0x40, 1, 0, 0, 0, 0x0b}), 0, "it uses the tag 0, and there are 0"},
		{"try_table to nothing", code([]byte{0x1f, 0x40, 1, 2, 1, 0x0b}), 0, "it uses the label 1, and there are 1"},
		{"unknown catch", code([]byte{0x1f, 0x40, 1, 4, 0, 0x0b}), 0, "a catch of the unknown kind 4"},
		{"many catches", code([]byte{0x1f, 0x40}, leb(1001), make([]byte, 3003)), 2, "1001 catches of a try_table, and 1000 are the most"},
		{"thread", code([]byte{0xfe, 0}), 0, `the proposal "threads"`},
		{"garbage collection", code([]byte{0xfb, 0}), 0, `the proposal "garbage collection"`},
		{"typed reference", code([]byte{0x14, 0}), 0, `call_ref of the proposal "typed function references"`},
		{"unknown byte", code([]byte{0x27}), 0, "the unknown instruction 0x27"},
		{"select of two", code([]byte{0x1c, 2, 0x7f, 0x7f}), 0, "a select of 2 types"},
		{"select of no type", code([]byte{0x1c, 1, 0x40}), 2, "the unknown type 0x40"},
		{"block of no type", code([]byte{2, 0x41, 0x0b}), 1, "the unknown type 0x41"},
		{"block of a type", code([]byte{2, 2, 0x0b}), 0, "it uses the type 2, and there are 2"},
		{"block of a long type", code([]byte{2, 0xc0, 0x7f, 0x0b}), 0, "a block of the unknown type -64"},
		{"else", code(nop, []byte{5}), 1, "an else outside of an if"},
		{"two elses", code([]byte{4, 0x40, 5, 5, 0x0b}), 3, "an else outside of an if"},
		{"end", code(nop, w.End, nop), 2, "goes on for 2 bytes behind its end"},
		{"no end", code(w.Block(), []byte{2, 0x40}), 6, "has no end"},
		{"i32 of many bits", code([]byte{0x41, 0xff, 0xff, 0xff, 0xff, 0x0f}), 5, "a number of more than 32 bits"},
		{"i32 of many bytes", code([]byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0}), 5, "a number of more than 32 bits"},
		{"i64 of many bits", code([]byte{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}), 10, "a number of more than 64 bits"},
		{"nesting", code(bytes.Repeat([]byte{2, 0x40}, 50_001), bytes.Repeat(w.End, 50_001)), 100_000, "50001 deep, and 50000 are the most"},
		{"branches", code([]byte{0x0e}, leb(65537), make([]byte, 65538)), 1, "65537 labels of a br_table, and 65536 are the most"},
		{"few branches", code([]byte{0x0e}, leb(60000)), 1, "60000 labels of a br_table follow, in 1 bytes"},
		{"short constant", code([]byte{0x44, 0}), 1, "does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := bytes.Index(c.b, []byte{2, 1, 0x7f, 1, 0x7e}) + 5
			if first < 5 {
				first = bodyStart(c.b)
			}
			_, err := wasm.Parse(c.b)
			var bad *wasm.SyntaxError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || bad.Offset != first+c.at {
				t.Errorf("it says %v, not %q at byte %d", err, c.want, first+c.at)
			}
		})
	}
}

// bodyStart is where the instructions of the only function of bare begin: behind
// the section's number and length, the count, the body's length and the locals.
func bodyStart(b []byte) int {
	at := 8
	for b[at] != 10 {
		at += 2 + int(b[at+1])
	}
	return at + 5
}

// What is of a proposal is refused by its name, with what has it built otherwise, as
// one line.
func TestProposals(t *testing.T) {
	raw := func(section byte, content ...byte) []byte {
		m := full()
		m.Raw(section, content)
		return m.Bytes()
	}
	for _, c := range []struct {
		b          []byte
		want, mend string
	}{
		{code([]byte{0x12, 0}), `it uses the instruction return_call of the proposal "tail calls"`, "-mno-tail-call"},
		{code([]byte{0xfe, 3, 0}), `it uses the instruction 0xfe of the proposal "threads"`, "without -pthread and with -mno-atomics"},
		{raw(5, 1, 3, 1, 2), `a memory is shared: a use of the proposal "threads"`, "-mno-atomics"},
		{raw(2, 1, 0, 0, 2, 3, 1, 1), `a memory is shared: a use of the proposal "threads"`, "-mno-atomics"},
		{raw(1, 1, 0x5f, 0, 0), `a type has the form 0x5f of the proposal "garbage collection"`, "Kotlin"},
		{raw(1, 1, 0x4e, 1, 0x60, 0, 0), `a type has the form 0x4e of the proposal "garbage collection"`, "Kotlin"},
		{raw(1, 1, 0x60, 1, 0x6d, 0), `a parameter is of the type eqref of the proposal "garbage collection"`, "Kotlin"},
		{raw(4, 1, 0x6e, 0, 1), `a table is of the type anyref of the proposal "garbage collection"`, "Kotlin"},
		{code([]byte{0xfb, 0, 0}), `it uses the instruction 0xfb of the proposal "garbage collection"`, "Kotlin"},
		{raw(6, 1, 0x7f, 0, 0xfb, 0x1c, 0x0b), `the value of a global is made by the instruction 0xfb of the proposal "garbage collection"`, "Kotlin"},
		{raw(1, 1, 0x60, 1, 0x64, 0, 0), `a parameter is of the type reference of the proposal "typed function references"`, "--enable-gc"},
		{code([]byte{0x14, 0}), `it uses the instruction call_ref of the proposal "typed function references"`, "--enable-gc"},
		{raw(5, 1, 4, 1), `a memory has sizes of 64 bits: a use of the proposal "memory64"`, "--target=wasm32"},
		{raw(4, 1, 0x70, 4, 1), `a table has sizes of 64 bits: a use of the proposal "memory64"`, "--target=wasm32"},
		{raw(5, 2, 0, 1, 0, 1), `it has a second memory: a use of the proposal "multi-memory"`, "--multi-memory-lowering"},
		{raw(2, 2, 0, 0, 2, 0, 1, 0, 0, 2, 0, 1), `it imports a second memory: a use of the proposal "multi-memory"`, "--multi-memory-lowering"},
		{code([]byte{0x3f, 1}), `a use of the proposal "multi-memory"`, "--multi-memory-lowering"},
		{raw(5, 1, 8, 1, 0), `a memory has pages of another size: a use of the proposal "custom page sizes"`, "--page-size"},
		{code([]byte{0xfd, 0x85, 2}), `it uses the instruction 0xfd 0x105 of the proposal "relaxed SIMD"`, "-mno-relaxed-simd"},
		{code([]byte{0xfd, 0xa0, 2}), `it uses the instruction 0xfd 0x120 of the proposal "half precision"`, "-mno-fp16"},
		{code([]byte{0xfc, 19}), `it uses the instruction 0xfc 19 of the proposal "wide arithmetic"`, "-mno-wide-arithmetic"},
		{raw(6, 1, 0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b), `the value of a global is made by several instructions: a use of the proposal "extended constant expressions"`, "-mno-extended-const"},
		{[]byte("\x00asm\x0d\x00\x01\x00"), "it is a WebAssembly component, not a core module (at byte 0)", "WASI preview 1 (Go: GOOS=wasip1"},
	} {
		_, err := wasm.Parse(c.b)
		var bad *wasm.SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(bad.Error(), c.want) || !strings.Contains(bad.Mend, c.mend) || !strings.HasSuffix(bad.Error(), ": "+bad.Mend) || strings.Contains(bad.Error(), "\n") {
			t.Errorf("it says %v, not %q and %q", err, c.want, c.mend)
		}
	}
}

// What a module says of exceptions is read, and wrong tags are refused.
func TestExceptions(t *testing.T) {
	module := func(tags []byte, body ...[]byte) []byte {
		m := w.New()
		m.Func("f", "i:", "", body...)
		if tags != nil {
			m.Raw(13, tags)
		}
		m.Custom("name", []byte{1, 4, 1, 0, 1, 'f', 11, 4, 1, 0, 1, 'e'})
		return m.Bytes()
	}
	plain := []byte{1, 0, 0}
	for _, c := range []struct {
		name         string
		b            []byte
		used, legacy bool
		err          string
	}{
		{"none", module(nil), false, false, ""},
		{"a tag", module(plain), true, false, ""},
		{"a throw", module(plain, []byte{0x20, 0, 0x08, 0}), true, false, ""},
		{"try_table", module(nil, []byte{0x1f, 0x40, 0, 0x0b}), true, false, ""},
		{"throw_ref", module(nil, []byte{0xd0, 0x69, 0x0a}), true, false, ""},
		{"exnref", module(nil, []byte{0xd0, 0x69, 0x1a}), true, false, ""},
		{"try", module(nil, []byte{0x06, 0x40, 0x0b}), true, true, ""},
		{"catch", module(plain, []byte{0x06, 0x40, 0x07, 0, 0x1a, 0x09, 0, 0x19, 0x0b}), true, true, ""},
		{"delegate", module(nil, []byte{0x06, 0x40, 0x18, 0}), true, true, ""},
		{"kind of a tag", module([]byte{1, 1, 0}), false, false, "a tag is of the unknown kind 1 (at byte"},
		{"type of a tag", module([]byte{1, 0, 9}), false, false, "a tag has the type 9 of 1"},
		{"many tags", module(append(leb(1001), make([]byte, 2002)...)), false, false, "1001 tags, and 1000 are the most"},
		{"fewer tags than it says", module([]byte{2, 0, 0}), false, false, "it says that 2 tags follow, in 2 bytes"},
	} {
		m, err := wasm.Parse(c.b)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: it says %v, not %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if used, legacy := m.Exceptions(); used != c.used || legacy != c.legacy {
			t.Errorf("%s: it uses exceptions: %v, legacy ones: %v", c.name, used, legacy)
		}
		names := ""
		m.TagNames(func(i uint32, name []byte) bool {
			names += fmt.Sprint(i, string(name))
			return true
		})
		if want := strings.Repeat("0e", m.Tags()); names != want {
			t.Errorf("%s: the tags have the names %q, want %q", c.name, names, want)
		}
	}
	results := w.New()
	results.Func("f", ":i", "", []byte{0x00})
	results.Raw(13, plain)
	if _, err := wasm.Parse(results.Bytes()); err == nil || !strings.Contains(err.Error(), "it can only have parameters") {
		t.Errorf("of a tag with results it says %v", err)
	}
	imported := full()
	imported.Raw(2, []byte{1, 0, 0, 4, 0, 0})
	if _, err := wasm.Parse(imported.Bytes()); err == nil || !strings.Contains(err.Error(), "is a tag, and the host has none to give: link what defines it") {
		t.Errorf("of an imported tag it says %v", err)
	}
}

// The catches of a try_table are read as they stand there.
func TestCatches(t *testing.T) {
	s := wasm.Instructions{Code: []byte{0x1f, 0x40, 4, 0, 0x81, 1, 2, 1, 3, 0x83, 0, 2, 4, 3, 0x85, 0x80, 0, 0x0b}}
	if !s.Step() || s.Op != wasm.OpTryTable || s.Next != len(s.Code)-1 {
		t.Fatalf("it is %#x up to %d", s.Op, s.Next)
	}
	var got []wasm.Catch
	s.Catches(func(c wasm.Catch) { got = append(got, c) })
	want := []wasm.Catch{{Tag: 129, Label: 2}, {Ref: true, Tag: 3, Label: 3}, {Any: true, Label: 4}, {Any: true, Ref: true, Label: 5}}
	if !slices.Equal(got, want) {
		t.Errorf("the catches are %+v, want %+v", got, want)
	}
}

// To read a function takes no more than its bytes, however deep its blocks are.
func TestDeepNestingIsCheap(t *testing.T) {
	deep := func(n int) []byte {
		return code(bytes.Repeat([]byte{3, 0x40}, n), bytes.Repeat(w.Cat(w.LocalGet(0), w.BrIf(0), w.End), n))
	}
	for _, n := range []int{1000, wasm.MaxNesting} {
		b := deep(n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := wasm.Parse(b); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(b))+16<<10 {
			t.Errorf("%d loops inside one another, of %d bytes, cost %d bytes", n, len(b), used)
		}
	}
}

// What the host adds has names that no module may use, and constants name what there is.
func TestRefusedNames(t *testing.T) {
	imports := func(module string) []byte {
		m := w.New()
		m.Import(module, "refill", ":")
		return m.Bytes()
	}
	exports := func(name string) []byte {
		m := w.New()
		m.Func(name, ":", "")
		return m.Bytes()
	}
	with := func(section byte, content ...byte) []byte {
		m := full()
		m.Raw(section, content)
		return m.Bytes()
	}
	data := w.New()
	data.Data(0, "x")
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{imports("bulkhead"), "it imports \"refill\" of the module \"bulkhead\", which is the host's own"},
		{exports("bulkhead.fuel"), "the export \"bulkhead.fuel\" has a name that is the host's own"},
		{exports("bulkhead."), "is the host's own"},
		{with(8, 4), "the start function is the function 4 of 4"},
		{with(8, 2), "the start function 2 has the type (i32, i32) -> i32, and it can only be ()"},
		{with(6, 1, 0x7f, 0, 0x0b, 0x0b), "made by no instruction"},
		{with(6, 1, 0x7f, 0, 0x23, 0, 0x0b), "is the global 0, and only the 0 that are imported"},
		{with(6, 1, 0x70, 0, 0xd2, 4, 0x0b), "is the function 4 of 4"},
		{with(9, 1, 0, 0x41, 0, 0x0b, 1, 4), "an element is the function 4 of 4"},
		{with(9, 1, 2, 3, 0x41, 0, 0x0b, 0, 0), "is for the table 3 of 3"},
		{with(11, 1, 2, 1, 0x41, 0, 0x0b, 0), "is for the memory 1"},
		{data.Bytes(), "is for the memory 0 of 0"},
		{with(2, 1, 0, 0, 2, 0, 1), "it has a second memory"},
	} {
		if _, err := wasm.Parse(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("it says %v, not %q", err, c.want)
		}
	}
	for _, name := range []string{"bulkhead", "Bulkhead.fuel", "my.bulkhead.fuel"} {
		if _, err := wasm.Parse(exports(name)); err != nil {
			t.Errorf("the export %q: %v", name, err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	files, _ := filepath.Glob("../../examples/*/*.wasm")
	for _, f := range files {
		code, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		if len(code) < 10_000 {
			continue
		}
		b.Run(filepath.Base(f), func(b *testing.B) {
			b.SetBytes(int64(len(code)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wasm.Parse(code); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A count costs nothing before its bytes are there.
func TestCountsAreNotBelieved(t *testing.T) {
	var before, after runtime.MemStats
	for section := byte(1); section <= 12; section++ {
		for _, n := range []uint64{1000, 10_000, 100_000, 1<<32 - 1} {
			m := full()
			m.Raw(section, append(leb(n), 0x60))
			b := m.Bytes()
			runtime.ReadMemStats(&before)
			_, _ = wasm.Parse(b)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 {
				t.Errorf("section %d with the count %d costs %d bytes", section, n, used)
			}
		}
	}
}

// stepThrough wants every function to step from instruction to instruction to its
// very end.
func stepThrough(t *testing.T, m *wasm.Module) {
	t.Helper()
	for _, s := range m.Sections() {
		if s.ID != 10 {
			continue
		}
		b := s.Content
		number := func() uint64 {
			n, k := binary.Uvarint(b)
			b = b[k:]
			return n
		}
		for n := number(); n > 0; n-- {
			size := number()
			rest := b[size:]
			b = b[:size]
			for groups := number(); groups > 0; groups-- {
				number()
				b = b[1:]
			}
			depth := 1
			s := wasm.Instructions{Code: b}
			for s.Step() {
				switch s.Op {
				case wasm.OpBlock, wasm.OpLoop, wasm.OpIf, wasm.OpTry, wasm.OpTryTable:
					depth++
				case wasm.OpDelegate:
					depth--
				case wasm.OpEnd:
					depth--
				case wasm.OpBrTable:
					s.Labels(func(l uint32) {
						if int(l) >= depth {
							t.Errorf("a br_table in %d blocks has the label %d", depth, l)
						}
					})
				}
			}
			if s.Next != len(b) || depth != 0 {
				t.Errorf("the steps end at %d of %d bytes, in %d blocks", s.Next, len(b), depth)
			}
			b = rest
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full().Bytes())
	f.Add(w.Echo().Bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	passive := w.New()
	passive.Memory(1)
	passive.Raw(9, []byte{2, 1, 0, 1, 0, 5, 0x70, 1, 0xd0, 0x70, 0x0b})
	passive.Raw(11, []byte{2, 1, 1, 'x', 2, 0, 0x41, 0, 0x0b, 0})
	passive.Func("f", ":", "")
	f.Add(passive.Bytes())
	f.Add(code(w.Block(w.Loop(w.I32Const(1), w.BrIf(1), []byte{0x0e, 1, 0, 1})), []byte{0xd2, 0}, w.Drop))
	f.Add(code(w.I32Const(0), []byte{0xfd, 0, 4, 0}, []byte{0xfd, 12}, make([]byte, 16), []byte{0xfd, 13}, make([]byte, 16), w.Drop))
	f.Add(code(w.I32Const(1), []byte{0xfd, 0x91, 0x80, 0}, w.Drop, bytes.Repeat([]byte{2, 0x40}, 2000), bytes.Repeat(w.End, 2000)))
	f.Add(code([]byte{0xfc, 8, 0, 0, 0xfc, 9, 0, 0xfc, 12, 0, 0, 0x1c, 1, 0x7f}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wasm.Parse(b)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		stepThrough(t, m)
		m.FunctionNames(func(i uint32, name []byte) bool { return true })
		again, err := wasm.Parse(uncustomed(m))
		if err != nil {
			t.Fatalf("without custom sections, it is refused: %v", err)
		}
		if again.Functions != m.Functions || len(again.Imports) != len(m.Imports) || len(again.Exports) != len(m.Exports) {
			t.Error("without custom sections it is another module")
		}
	})
}
