package wasm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bulkhead/plugins/wasm"
	w "bulkhead/plugins/wasmtest"

	"github.com/tetratelabs/wazero"
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
	const want = "[{csa_v1 send function (i32, i32, i32) -> i32} {csa_v1 clock function (i32) -> i64}] " +
		"[{memory memory 0 ()} {f function 2 (i32, i32) -> i32} {mem memory 0 ()} {tab table 2 ()} {glob global 4 ()}] " +
		"[{2 5 true}] [{10 0 false} {1 2147483648 true} {1 4 true}] functions 2, globals 5, data 1, elements 1, start true, [\"name\"]"
	if got != want {
		t.Errorf("it has\n%s\nnot\n%s", got, want)
	}
	if m.Export("f") == nil || m.Export("g") != nil {
		t.Error("Export finds the wrong ones")
	}
}

// What is stripped is the same module to us and to the engine, but for the
// custom sections and the bounds of the tables.
func TestStripped(t *testing.T) {
	m, err := wasm.Parse(full().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := wasm.Parse(m.Stripped())
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Custom) != 0 || fmt.Sprint(again.Tables) != "[{10 4106 true} {1 4097 true} {1 4 true}]" {
		t.Errorf("stripped, it has the custom sections %q and the tables %v", again.Custom, again.Tables)
	}
	if fmt.Sprint(m.Imports, m.Exports, m.Memories, m.Functions, m.Globals) != fmt.Sprint(again.Imports, again.Exports, again.Memories, again.Functions, again.Globals) {
		t.Error("stripping changed something else")
	}
	if !bytes.Equal(again.Stripped(), m.Stripped()) {
		t.Error("stripping twice is not stripping once")
	}
	if got, want := m.Footprint(), (4106+4097+4)*8+2*40+5*88+24+2*40; got != want {
		t.Errorf("its footprint is %d, not %d", got, want)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, m.Stripped()); err != nil {
		t.Errorf("the engine says of it: %v", err)
	}
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
		if _, err := wasm.Parse(b); err != nil {
			t.Errorf("%s: %v", f, err)
		}
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
		{"form of a type", raw(1, []byte{1, 0x5f, 0, 0}), "the unknown form 0x5f"},
		{"parameters", raw(1, []byte{1, 0x60}, leb(1001), make([]byte, 2000)), "1001 parameters, and 1000"},
		{"type of a parameter", raw(1, []byte{1, 0x60, 1, 0x69, 0}), "the unknown type 0x69"},
		{"imports", raw(2, many), "4294967295 imports, and 1000"},
		{"type of an import", raw(2, []byte{1, 0, 0, 0, 99}), "a function has the type 99 of 4"},
		{"kind of an import", raw(2, []byte{1, 0, 0, 4, 0}), "the unknown kind 4"},
		{"shared memory", raw(2, []byte{1, 0, 0, 2, 3, 1, 1}), "a memory is shared between threads"},
		{"name of an import", raw(2, []byte{1}, name, make([]byte, 2000)), "the module of an import has 1001 bytes, and 1000"},
		{"name that is no text", raw(2, []byte{1, 1, 0xff, 1, 'x', 0, 0}), "the module of an import is not UTF-8"},
		{"functions", raw(3, many), "4294967295 functions, and 250000"},
		{"no code", raw(10, []byte{0}), "it declares 2 functions and has the code of 0"},
		{"tables", raw(4, leb(17), make([]byte, 100)), "it has 17 tables, and 16"},
		{"large table", raw(4, []byte{1, 0x70, 0}, many), "its tables have 4294967295 elements, and 262144"},
		{"large tables", raw(4, []byte{2, 0x70, 0}, leb(200000), []byte{0x70, 0}, leb(200000)), "its tables have 400000 elements"},
		{"typed table", raw(4, []byte{1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b}), "no supported reference"},
		{"limits of a table", raw(4, []byte{1, 0x70, 1, 5, 4}), "the size 5, which is above its greatest size 4"},
		{"kind of limits", raw(4, []byte{1, 0x70, 4, 5}), "limits of the unknown kind 4"},
		{"memories", raw(5, []byte{2, 0, 1, 0, 1}), "it has 2 memories, and 1"},
		{"large memory", raw(5, []byte{1, 0}, leb(65537)), "a memory has the size 65537, and 65536 is the most"},
		{"memory that may be large", raw(5, []byte{1, 1, 0}, leb(65537)), "65537"},
		{"globals", raw(6, many), "4294967295 globals, and 10000"},
		{"value of a global", raw(6, []byte{1, 0x7f, 0, 0x20, 0, 0x0b}), "made by the instruction 0x20, which is not constant"},
		{"endless value", raw(6, []byte{1, 0x7f, 0, 0x41, 1, 0x41, 1}), "does not fit into its section"},
		{"mutability", raw(6, []byte{1, 0x7f, 2, 0x41, 1, 0x0b}), "the unknown mutability 2"},
		{"exports", raw(7, many), "4294967295 exports, and 10000"},
		{"export of nothing", raw(7, []byte{1, 1, 'x', 0, 4}), `the export "x" is the function 4 of 4`},
		{"export of no kind", raw(7, []byte{1, 1, 'x', 4, 0}), "the unknown kind 4"},
		{"export twice", raw(7, []byte{2, 1, 'x', 0, 0, 1, 'x', 0, 0}), `the export "x" is there twice`},
		{"element segments", raw(9, many), "4294967295 element segments"},
		{"kind of an element segment", raw(9, []byte{1, 8, 0, 0}), "the unknown kind 8"},
		{"elements", raw(9, []byte{1, 1, 0}, many), "4294967295 elements"},
		{"few bytes of elements", raw(9, []byte{1, 1, 0}, leb(1000), []byte{0}), "1000 elements follow, in 1 bytes"},
		{"expressions", raw(9, []byte{1, 5, 0x70, 2, 0xd2, 0, 0x0b}), "2 elements follow, in 3 bytes"},
		{"code", raw(10, many), "4294967295 functions"},
		{"locals", body(append(append([]byte{1}, many...), 0x7f, 0x0b)), "function 0: the code of a function has 4294967295 locals, and 50000"},
		{"more locals", body(append(append([]byte{2, 1, 0x7f}, many...), 0x7f, 0x0b)), "4294967296 locals"},
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
		{"unknown section", sections([]byte{13, 0}), "a section of the unknown kind 13"},
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
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wasm.Parse(b)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		again, err := wasm.Parse(m.Stripped())
		if err != nil {
			t.Fatalf("stripped, it is refused: %v", err)
		}
		if again.Functions != m.Functions || len(again.Imports) != len(m.Imports) || len(again.Exports) != len(m.Exports) {
			t.Error("stripping changed it")
		}
	})
}
