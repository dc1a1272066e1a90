package component

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

func TestCore(t *testing.T) {
	core := w.Echo().Bytes()
	b := w.Component(core)
	got, at, err := Core(b)
	if err != nil || !bytes.Equal(got, core) || !bytes.Equal(b[at:at+len(core)], core) {
		t.Fatalf("the core module is %x at %d, %v", got, at, err)
	}
	if &got[0] != &b[at] || cap(got) != len(core) {
		t.Error("it is not the part of the file, or more of it can be reached")
	}
	if n := testing.AllocsPerRun(10, func() { _, _, _ = Core(b) }); n > 0 {
		t.Errorf("it allocates %v times", n)
	}
}

func TestComponentsThatWrapNothing(t *testing.T) {
	section := func(id byte, content string) []byte { return w.Section(id, []byte(content)) }
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"a core module":       {w.Echo().Bytes(), "it is not a WebAssembly component (at byte 0)"},
		"nothing":             {nil, "it is not a WebAssembly component (at byte 0)"},
		"no sections":         {w.ComponentHeader, "without a core module (at byte 0): build it for WASI preview 1"},
		"no module":           {w.Cat(w.ComponentHeader, section(7, "x")), "without a core module (at byte 0): build it for WASI preview 1"},
		"composed":            {w.Cat(w.ComponentHeader, section(4, "x"), section(1, "y")), "that consists of others (at byte 0): build it for WASI preview 1"},
		"composed only":       {w.Cat(w.ComponentHeader, section(4, "x")), "that consists of others (at byte 0)"},
		"an unknown section":  {w.Cat(w.ComponentHeader, section(1, "y"), section(13, "x")), "with a section of an unknown kind (at byte 11): build it for WASI preview 1"},
		"a length too long":   {w.Cat(w.ComponentHeader, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x10}), "is no number of 32 bits (at byte 9)"},
		"a length of 6 bytes": {w.Cat(w.ComponentHeader, []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0}), "is no number of 32 bits (at byte 9)"},
		"the longest":         {w.Cat(w.ComponentHeader, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}), "the file ends inside a section of the component (at byte 14): it is cut short"},
		"too large":           {append(w.Component(nil), make([]byte, wasm.MaxModule)...), "more bytes than a module may have"},
	} {
		core, _, err := Core(c.b)
		var bad *wasm.SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || core != nil {
			t.Errorf("%s: the error is %v, and the core module %x; not %q", name, err, core, c.want)
		}
	}
}

// A component that is cut short is one or an error, wherever the cut is.
func TestComponentCutShort(t *testing.T) {
	core := w.Echo().Bytes()
	b := w.Component(core)
	_, at, err := Core(b)
	if err != nil {
		t.Fatal(err)
	}
	whole := 0 // cuts between sections
	for n := len(Header); n < len(b); n++ {
		got, _, err := Core(b[:n])
		var bad *wasm.SyntaxError
		switch {
		case err == nil && n >= at+len(core) && bytes.Equal(got, core):
			whole++
		case !errors.As(err, &bad) || !bad.Truncated && bad.Offset != 0:
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if whole != 5 { // before each of the sections behind it
		t.Errorf("%d cuts left the core module whole", whole)
	}
}

// Imports that the wrapping has renamed get their names back, and nothing else changes.
func TestImportsAreCalledAsBefore(t *testing.T) {
	build := func(names ...string) []byte {
		m := w.New()
		for _, name := range names {
			m.Import("wasi_snapshot_preview1", name, "iiii:i")
		}
		m.Memory(1)
		m.Func("_start", ":", "", w.I32Const(0), w.I32Const(0), w.I32Const(0), w.I32Const(0), w.Call(0), w.Drop)
		m.Custom("name", []byte("x"))
		return m.Bytes()
	}
	restored := func(b []byte) []byte {
		m, err := wasm.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return Imports(b, m)
	}
	long := strings.Repeat("x", 130)
	for _, c := range []struct{ wrapped, before []string }{
		{[]string{"fd_write", "fd_write [v2]", "fd_write [v13]", long + " [v2]"}, []string{"fd_write", "fd_write", "fd_write", long}},
		{[]string{" [v2]"}, []string{""}},
	} {
		if got, want := restored(build(c.wrapped...)), build(c.before...); !bytes.Equal(got, want) {
			t.Errorf("%q becomes\n%x, not\n%x", c.wrapped, got, want)
		}
	}
	for _, name := range []string{"fd_write", "[v2]", "x [v]", "x [v2", "x [v-2]", "x [vv2]", "x[v2]", "x [v2] y", "x [v2]]", "x [v 2]"} {
		b := build(name)
		if got := restored(b); &got[0] != &b[0] || len(got) != len(b) {
			t.Errorf("%q becomes %x", name, got)
		}
	}
	// A module whose sections have lengths of more bytes than they need.
	m := w.New()
	m.Import("m", "x [v2]", ":")
	padded := m.Bytes()
	padded = append(padded[:8:8], append([]byte{0x01, 0x84, 0x80, 0x00}, padded[10:]...)...)
	if got, err := wasm.Parse(restored(padded)); err != nil || got.Imports[0].Name != "x" {
		t.Errorf("padded, it is %+v, %v", got, err)
	}
	tables := w.New()
	tables.ImportRaw("m", "x [v2]", 1, 0x70, 0, 0)
	if b := tables.Bytes(); !bytes.Equal(restored(b), b) {
		t.Error("a module that imports a table is changed")
	}
}

func FuzzImports(f *testing.F) {
	m := w.New()
	m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	m.Import("wasi_snapshot_preview1", "fd_write [v2]", "iiii:i")
	m.Memory(1)
	m.Func("_start", ":", "")
	f.Add(m.Bytes())
	f.Add(w.Echo().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wasm.Parse(b)
		if err != nil {
			return
		}
		got := Imports(b, m)
		after, err := wasm.Parse(got)
		if err != nil || len(after.Imports) != len(m.Imports) || len(got) > len(b) {
			t.Fatalf("%v: of %d bytes %d are left", err, len(b), len(got))
		}
		for i := range m.Imports {
			was, is := &m.Imports[i], &after.Imports[i]
			if is.Kind != was.Kind || is.Module != was.Module || !is.Type.Equal(was.Type) || is.Kind == wasm.Function && len(got) < len(b) && is.Name != original(was.Name) {
				t.Errorf("the import %+v becomes %+v", was, is)
			}
		}
		if after.Functions != m.Functions || len(after.Exports) != len(m.Exports) || len(after.Custom) != len(m.Custom) {
			t.Error("other sections are not what they were")
		}
	})
}

func FuzzCore(f *testing.F) {
	f.Add(w.Component(w.Echo().Bytes()))
	f.Add(w.ComponentHeader)
	f.Add(w.Cat(w.ComponentHeader, w.Section(4, w.ComponentHeader), w.Section(1, nil)))
	f.Add(w.Cat(w.ComponentHeader, []byte{1, 0x80, 0x80, 0x80, 0x80, 0x00, 12, 0x80}))
	f.Fuzz(func(t *testing.T, b []byte) {
		core, at, err := Core(b)
		if err != nil {
			var bad *wasm.SyntaxError
			if core != nil || strings.ContainsAny(err.Error(), "\r\n") || !errors.As(err, &bad) || bad.Offset > len(b) {
				t.Errorf("%v, and %x", err, core)
			}
			return
		}
		if !bytes.Equal(core, b[at:at+len(core)]) {
			t.Error("the core module is not at its place")
		}
		// It is the first module, whatever stands behind.
		if again, _, err := Core(append(b[:len(b):len(b)], w.Section(1, b)...)); len(b) < 1<<20 && (err != nil || !bytes.Equal(again, core)) {
			t.Errorf("with another module behind it is %x, %v", again, err)
		}
	})
}
