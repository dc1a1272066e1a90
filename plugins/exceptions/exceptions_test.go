package exceptions_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/wasm"
)

// function is a function of a module.
type function struct {
	signature string
	export    string
	locals    []byte // groups of them, as the format has them
	body      []byte // with its end
}

const (
	typeI32    = byte(wasm.I32)
	typeI64    = byte(wasm.I64)
	typeV128   = byte(wasm.V128)
	typeExnref = byte(wasm.ExnRef)
)

// module has tags of these types, each a list of value types, and functions.
func module(tags []string, functions ...function) []byte {
	m := w.New()
	var section []byte
	section = binary.AppendUvarint(section, uint64(len(tags)))
	for _, t := range tags {
		section = binary.AppendUvarint(append(section, 0), uint64(m.Type(t+":")))
	}
	m.Raw(13, section)
	for i, f := range functions {
		body := append([]byte{0}, f.body...)
		if f.locals != nil {
			body = append(bytes.Clone(f.locals), f.body...)
		}
		m.FuncRaw("", f.signature, body)
		if f.export != "" {
			m.Export(f.export, 0, i)
		}
	}
	return m.Bytes()
}

func lower(b []byte) (*exceptions.Lowered, error) {
	m, err := wasm.Parse(b)
	if err != nil {
		return nil, err
	}
	return exceptions.Lower(m, exceptions.Options{Origins: true})
}

// TestRefused: what is not valid, or cannot be rewritten, is refused, and says why.
func TestRefused(t *testing.T) {
	deep := bytes.Repeat([]byte{0x1f, 0x40, 0}, 30_000)
	wide := strings.Repeat("V", 4)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"number for exnref", module(nil, function{signature: ":", body: []byte{0x42, 0, 0x0a, 0x0b}}), "function 0: the instruction 0xa has an operand of type i64, and it has to be exnref"},
		{"exnref for number", module(nil, function{signature: ":I", body: []byte{0xd0, 0x69, 0x0b}}), "operand of type exnref, and it has to be i64"},
		{"arithmetic with exnref", module(nil, function{signature: ":", body: []byte{0xd0, 0x69, 0x50, 0x1a, 0x0b}}), "operand of type exnref, and it has to be i64"},
		{"select of exnref", module(nil, function{signature: ":", body: []byte{0xd0, 0x69, 0xd0, 0x69, 0x41, 0, 0x1b, 0x1a, 0x0b}}), "a select without a type is between exnref and exnref"},
		{"what a tag carries", module([]string{"iI"}, function{signature: ":", body: []byte{0x41, 0, 0x41, 0, 0x08, 0, 0x0b}}), "operand of type i32, and it has to be i64"},
		{"nothing to throw", module([]string{"i"}, function{signature: ":", body: []byte{0x08, 0, 0x0b}}), "lacks an operand"},
		{"label of a catch", module([]string{"i"}, function{signature: ":", body: []byte{0x1f, 0x40, 1, 0, 0, 0, 0x0b, 0x0b}}), "a catch hands on (i32) to a label that takes ()"},
		{"catch_all_ref to no exnref", module(nil, function{signature: ":", body: []byte{0x1f, 0x40, 1, 3, 0, 0x0b, 0x0b}}), "a catch hands on an exception to a label that takes ()"},
		{"both encodings", module(nil, function{signature: ":", body: []byte{0x1f, 0x40, 0, 0x0b, 0x06, 0x40, 0x0b, 0x0b}}), "both the legacy and the final instructions"},
		{"tag with exnref", func() []byte {
			m := w.New()
			m.Func("", ":", "")
			m.Raw(1, []byte{2, 0x60, 0, 0, 0x60, 1, typeExnref, 0})
			m.Raw(13, []byte{1, 0, 1})
			return m.Bytes()
		}(), "its tag 0 carries an exnref"},
		{"global that is no null", func() []byte {
			m := w.New()
			m.Raw(6, []byte{1, typeExnref, 0, 0x42, 0, 0x0b})
			return m.Bytes()
		}(), "a constant of the type exnref that is no global's, or a global of it that is not null"},
		{"null in a number", func() []byte {
			m := w.New()
			m.Raw(6, []byte{1, typeI64, 0, 0xd0, 0x69, 0x0b})
			m.Raw(13, []byte{0})
			return m.Bytes()
		}(), "a constant of the type exnref that is no global's"},
		{"null as an offset of data", func() []byte {
			m := w.New()
			m.Memory(1)
			m.Raw(13, []byte{0})
			m.Raw(11, []byte{1, 0, 0xd0, 0x69, 0x0b, 0})
			return m.Bytes()
		}(), "a reference to an exception where there can be none"},
		{"wide and kept", module([]string{wide}, function{signature: ":", body: []byte{0x06, 0x40, 0x19, 0x09, 0, 0x0b, 0x0b}}), "its tag 0 carries (v128, v128, v128, v128), and it keeps exceptions as references"},
		{"reference and kept", module([]string{"r"}, function{signature: ":", body: []byte{0x06, 0x40, 0x19, 0x09, 0, 0x0b, 0x0b}}), "bytes of numbers are the most"},
		{"nesting", module(nil, function{signature: ":", body: append(deep, bytes.Repeat([]byte{0x0b}, 30_001)...)}), "with its exceptions rewritten, function 0: it nests blocks 50001 deep"},
		{"exnref by reference", func() []byte {
			m := w.New()
			m.Table(1)
			m.Func("", ":", "")
			m.Raw(1, []byte{1, 0x60, 1, typeExnref, 0})
			m.Raw(9, []byte{1, 0, 0x41, 0, 0x0b, 1, 0})
			return m.Bytes()
		}(), "a reference to the function 0: those with exnref can only be called by name"},
	} {
		_, err := lower(c.b)
		var bad *wasm.SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: it says %v, not %q", c.name, err, c.want)
		}
	}
}

// TestHostile: what is made to grow, or to take long, is bounded.
func TestHostile(t *testing.T) {
	results := strings.Repeat("V", 1000)
	var many []function
	for range 200 {
		many = append(many, function{signature: ":" + results, body: []byte{0x08, 0, 0x0b}})
	}
	var branches []byte
	for range 20_000 {
		branches = append(branches, 0x0c, 0)
	}
	stack := bytes.Repeat([]byte{0x10, 0}, 20_000)
	catches := append([]byte{0x1f, 0x40}, binary.AppendUvarint(nil, 1000)...)
	catches = append(catches, bytes.Repeat([]byte{0, 0, 0}, 1000)...)
	for _, c := range []struct {
		name string
		b    []byte
		want string // "" where it is accepted
	}{
		{"results that nobody sees", module([]string{""}, many...), "it consists of calls and catches with little between"},
		{"branches that carry much", module(nil, function{signature: ":" + results, body: append([]byte{0x00}, append(branches, 0x0b)...)}), "branches and blocks carry"},
		{"many operands", module(nil, function{signature: ":" + results, body: []byte{0x00, 0x0b}}, function{signature: ":", body: append(stack[:4000], 0x00, 0x0b)}), "operands at a time"},
		{"many catches", module([]string{""}, function{signature: ":", body: append(catches, 0x08, 0, 0x0b, 0x0b)}), ""},
		{"deep", module([]string{""}, function{signature: ":", body: append(bytes.Repeat([]byte{0x1f, 0x40, 1, 0, 0, 0}, 24_000), append([]byte{0x08, 0}, bytes.Repeat([]byte{0x0b}, 24_001)...)...)}), ""},
	} {
		l, err := lower(c.b)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if n := len(l.Code); n > exceptions.MaxGrowth*len(c.b)+exceptions.MinGrowth {
				t.Errorf("%s: %d bytes become %d", c.name, len(c.b), n)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: it says %.300v, not %q", c.name, err, c.want)
		}
	}
}

// run calls an export of a lowered module, whose start function has run.
func run(t *testing.T, l *exceptions.Lowered, export string, args ...uint64) ([]uint64, error) {
	t.Helper()
	r := wazero.NewRuntime(t.Context())
	defer r.Close(t.Context())
	m, err := r.Instantiate(t.Context(), l.Code)
	if err != nil {
		return nil, err
	}
	return m.ExportedFunction(export).Call(t.Context(), args...)
}

// TestCarried: what a tag carries arrives as it was, of whatever types, by catches with and without
// a reference, and thrown again.
func TestCarried(t *testing.T) {
	// The function f throws its parameters; g calls it and catches.
	for _, types := range []string{"", "i", "I", "f", "F", "iii", "Ii", "fF", "ff", "V", "VI", "iIfFV", "VVVVVVVVVVVVVVVV"} {
		n := len(types)
		var get []byte
		for i := range n {
			get = append(get, 0x20, byte(i))
		}
		throw := join([]byte{0}, get, []byte{0x08, 0, 0x0b})
		for _, kept := range []bool{false, true} {
			if kept && words(types) > 3 {
				continue
			}
			// Kept, what was caught is thrown again in another try_table, which hands on what it
			// carries.
			handed, kind := letters(types), byte(0)
			if kept {
				handed, kind = append(handed, typeExnref), 1
			}
			m := w.New()
			m.Raw(1, join([]byte{4},
				[]byte{0x60}, vec(letters(types)), []byte{0}, // of the tag
				[]byte{0x60, 0}, vec(letters(types)), // of the block that the last catch goes to
				[]byte{0x60}, vec(letters(types)), vec(letters(types)), // of the functions
				[]byte{0x60, 0}, vec(handed))) // of the block that the first catch goes to
			m.Raw(13, []byte{1, 0, 0})
			m.Raw(3, []byte{2, 2, 2})
			body := join([]byte{0x02, 3, 0x1f, 0x40, 1, kind, 0, 0}, get, []byte{0x10, 0}, bytes.Repeat([]byte{0x1a}, n), []byte{0x0b, 0x00, 0x0b})
			if kept {
				local := byte(n)
				body = join([]byte{0x02, 1}, // what the second hands on
					body, []byte{0x21, local}, bytes.Repeat([]byte{0x1a}, n),
					[]byte{0x1f, 0x40, 1, 0, 0, 0, 0x20, local, 0x0a, 0x0b, 0x00, 0x0b})
			}
			m.FuncRaw("f", types+":"+types, throw)
			locals := []byte{0}
			if kept {
				locals = []byte{1, 1, typeExnref}
			}
			m.FuncRaw("g", types+":"+types, join(locals, body, []byte{0x0b}))
			b := m.Bytes()
			l, err := lower(b)
			if err != nil {
				t.Errorf("%q, kept %v: %v\n%x", types, kept, err, b)
				continue
			}
			var args []uint64
			for i, v := range types {
				x := 0x8123456789abcdef*uint64(i+1) | 1<<51 | 1<<22
				switch v {
				case 'i', 'f':
					x &= 1<<32 - 1
				case 'V':
					args = append(args, x^0x5555)
				}
				args = append(args, x)
			}
			got, err := run(t, l, "g", args...)
			if err != nil {
				t.Errorf("%q, kept %v: %v", types, kept, err)
				continue
			}
			at := 0
			for i, v := range types {
				if v == 'i' || v == 'f' {
					got[at] &= 1<<32 - 1
				}
				if v == 'V' {
					if got[at] != args[at] {
						t.Errorf("%q, kept %v: value %d is %#x, want %#x", types, kept, i, got[at], args[at])
					}
					at++
				}
				if got[at] != args[at] {
					t.Errorf("%q, kept %v: value %d is %#x, want %#x", types, kept, i, got[at], args[at])
				}
				at++
			}
			if _, err := run(t, l, "f", args...); err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Errorf("%q: uncaught, it is %v", types, err)
			}
		}
	}
}

func words(types string) (n int) {
	for _, t := range types {
		n += map[rune]int{'i': 1, 'f': 1, 'I': 2, 'F': 2, 'V': 4}[t]
	}
	return n
}

func letters(types string) (b []byte) {
	for _, t := range types {
		b = append(b, map[rune]byte{'i': 0x7f, 'I': 0x7e, 'f': 0x7d, 'F': 0x7c, 'V': 0x7b}[t])
	}
	return b
}

func vec(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestWhatTheHostCalls: a function traps for an exception that leaves it where the host alone calls
// it. Where the module calls it too, the exception goes on to who has called, and another traps for
// it. What the host calls is by the fields of the module, which may have been changed since it was
// read.
func TestWhatTheHostCalls(t *testing.T) {
	// It calls 0, whose exceptions come here.
	caught := []byte{0x1f, 0x40, 1, 2, 0, 0x10, 0, 0x0b, 0x41, 1, 0x0f, 0x0b}
	functions := []function{
		{signature: ":", export: "throws", body: []byte{0x08, 0, 0x0b}},
		{signature: ":i", export: "catches", body: join([]byte{0x02, 0x40}, caught, []byte{0x41, 2, 0x0b})},
		{signature: ":", export: "alone", body: []byte{0x08, 0, 0x0b}},
		{signature: ":r", export: "refers", body: []byte{0xd2, 0, 0x0b}},
	}
	l, err := lower(module([]string{""}, functions...))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := run(t, l, "catches"); err != nil || got[0] != 2 {
		t.Errorf("what catches returns %v, %v", got, err)
	}
	for _, export := range []string{"throws", "alone"} {
		if _, err := run(t, l, export); err == nil || !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("%s: %v", export, err)
		}
	}
	if got, want := l.Module.Functions, 5; got != want {
		t.Errorf("there are %d functions, want %d: one more, for the one that is called from both sides", got, want)
	}
	if got, err := run(t, l, "refers"); err != nil || got[0] == 0 {
		t.Errorf("a reference is %v, %v", got, err)
	}

	m, err := wasm.Parse(module([]string{""}, functions[:3]...))
	if err != nil {
		t.Fatal(err)
	}
	m.Exports = []wasm.Export{{Name: "other", Kind: wasm.Function, Index: 1}}
	m.Start, m.StartFunction = true, 2
	l, err = exceptions.Lower(m, exceptions.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e := l.Module.Export("other"); e == nil || len(l.Module.Exports) != 1 || !l.Module.Start {
		t.Errorf("it exports %v and starts: %v", l.Module.Exports, l.Module.Start)
	}
	if _, err := run(t, l, "other"); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("its start function throws, and it says %v", err)
	}
}

// TestOrigins: each instruction that is copied comes from where it stood, and what was put in from
// the one it is for.
func TestOrigins(t *testing.T) {
	b := module([]string{"i"},
		function{signature: ":", body: []byte{0x41, 7, 0x08, 0, 0x0b}},
		function{signature: ":i", export: "f", locals: []byte{1, 1, typeI64}, body: []byte{0x02, 0x7f, 0x1f, 0x40, 1, 0, 0, 0, 0x10, 0, 0x0b, 0x41, 99, 0x0b, 0x0b}})
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	l, err := exceptions.Lower(m, exceptions.Options{Origins: true})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := exceptions.Lower(m, exceptions.Options{})
	if err != nil || !bytes.Equal(plain.Code, l.Code) || plain.Origins != nil {
		t.Fatalf("without origins the code is another: %v", err)
	}
	code := func(m *wasm.Module) []byte {
		for _, s := range m.Sections() {
			if s.ID == 10 {
				return s.Content
			}
		}
		return nil
	}
	old, now := code(m), code(l.Module)
	for what, instruction := range map[string][]byte{"a constant": {0x41, 7}, "a call": {0x10, 0}, "another constant": {0x41, 99}} {
		from, to := bytes.LastIndex(old, instruction), bytes.LastIndex(now, instruction)
		for i := range instruction {
			if at, ok := l.Origins.At(uint32(to + i)); !ok || int(at) != from+i {
				t.Errorf("byte %d of %s comes from %d, %v, want %d", i, what, at, ok, from+i)
			}
		}
	}
	check := bytes.LastIndex(now, []byte{0x10, 0}) + 2
	if at, ok := l.Origins.At(uint32(check)); !ok || int(at) != bytes.LastIndex(old, []byte{0x10, 0}) {
		t.Errorf("what stands behind the call is from %d, %v", at, ok)
	}
	if at, ok := l.Origins.At(0); ok {
		t.Errorf("the number of functions is from %d", at)
	}
}

// FuzzLower: whatever is given, nothing panics, and what comes out is bounded, and is what the
// engine accepts wherever nothing but functions was wrong.
func FuzzLower(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "internal", "metertest", "testdata", "setjmp", "*.wasm"))
	if err != nil || len(files) == 0 {
		f.Fatalf("find modules: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(module([]string{"i", "Ii", "V"},
		function{signature: "i:i", export: "x", locals: []byte{1, 1, typeI64}, body: []byte{0x02, 0x7f, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 0, 0x08, 0, 0x0b, 0x41, 1, 0x0b, 0x0b}},
		function{signature: ":", body: []byte{0x06, 0x40, 0x41, 1, 0x10, 0, 0x1a, 0x07, 0, 0x1a, 0x09, 0, 0x19, 0x09, 0, 0x0b, 0x06, 0x40, 0x18, 0, 0x0b}}))
	engine := wazero.NewRuntimeWithConfig(f.Context(), wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		l, err := lower(b)
		if err != nil {
			var bad *wasm.SyntaxError
			if !errors.As(err, &bad) {
				t.Fatalf("the error is %T: %v", err, err)
			}
			return
		}
		if !l.Used {
			return
		}
		out := l.Code
		if len(out) > exceptions.MaxGrowth*len(b)+exceptions.MinGrowth {
			t.Fatalf("%d bytes become %d", len(b), len(out))
		}
		code, err := engine.CompileModule(t.Context(), out)
		if err != nil {
			if strings.Contains(err.Error(), "invalid function") && !strings.Contains(err.Error(), "element") && !strings.Contains(err.Error(), "table.copy") {
				t.Fatalf("a function of what comes out is not valid: %v\n%x\n%x", err, b, out)
			}
			return
		}
		code.Close(t.Context())
	})
}
