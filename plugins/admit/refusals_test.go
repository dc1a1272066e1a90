package admit

import (
	"slices"
	"strings"
	"testing"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// why is everything that is said of a module.
func why(b []byte, shape Shape, limit uint32) []string {
	m, _, err := Open(b)
	if err != nil {
		return []string{err.Error()}
	}
	return Refusals(m, shape, limit)
}

func TestRefusals(t *testing.T) {
	nothing := func(*w.Module) {}
	imports := func(module, name, sig string) func(*w.Module) {
		return func(m *w.Module) { m.Import(module, name, sig) }
	}
	exports := func(name, sig string) func(*w.Module) {
		return func(m *w.Module) { m.Func(name, sig, "", w.Unreachable) }
	}
	good := w.HandlerWith(nothing)
	for _, c := range []struct {
		name  string
		b     []byte
		shape Shape
		want  string
	}{
		{"empty", nil, Events, "it is empty, not a WebAssembly module"},
		{"ELF", []byte("\x7fELF\x02\x01\x01\x00"), Events, "it is not a WebAssembly module: it starts with 7f 45 4c 46 instead of 00 61 73 6d"},
		{"text", []byte("(module)"), Events, "it is not a WebAssembly module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), Events, "it is a WebAssembly component without a core module (at byte 0): build it for WASI preview 1 (Go: GOOS=wasip1; "},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), Events, "unknown WebAssembly version 2"},
		{"short header", []byte("\x00asm\x01"), Events, "the file ends inside its header (at byte 5): it is cut short, so copy or build it again"},
		{"truncated", good[:len(good)-3], Events, "the file ends inside the code section"},
		{"nothing in it", []byte("\x00asm\x01\x00\x00\x00"), Events, "has no memory; build it with one, exported as \"memory\"; it also does not export csa_window, which the host calls as csa_window() -> i64; it also does not export csa_data"},
		{"foreign import", w.HandlerWith(imports("mine", "f", ":")), Events, "imports function mine.f, which is not in csa_v1 or wasi_snapshot_preview1; build it without it"},
		{"import of AssemblyScript", w.HandlerWith(imports("env", "abort", "iiii:")), Events, "imports function env.abort, which is not in csa_v1 or wasi_snapshot_preview1; build it without it (AssemblyScript: --use abort="},
		{"import of C", w.HandlerWith(imports("env", "memcpy", "iii:i")), Events, "imports function env.memcpy, which is not in csa_v1 or wasi_snapshot_preview1; build it with -mbulk-memory, which has an instruction for it, or link a C library, and link without --allow-undefined, which let it pass"},
		{"import of Go for JavaScript", w.HandlerWith(func(m *w.Module) {
			for _, name := range []string{"runtime.wasmExit", "runtime.wasmWrite", "syscall/js.valueGet"} {
				m.Import("gojs", name, "i:")
			}
		}), Events, "imports function gojs.runtime.wasmExit, which is not in csa_v1 or wasi_snapshot_preview1; it was built with GOOS=js, so build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"},
		{"import of wasm-bindgen", w.HandlerWith(imports("__wbindgen_placeholder__", "__wbindgen_describe", "i:")), Events, "it was built for JavaScript, so build it without wasm-bindgen"},
		{"Go as a program", w.HandlerWith(func(m *w.Module) {
			m.Func("_start", ":", "")
			m.Custom("producers", []byte("\x01\x0cprocessed-by\x01\x0eGo cmd/compile\x08go1.26.8"))
		}), Events, "is a Go program that nobody starts, since it exports _start and no _initialize; build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"},
		{"misspelt import", w.HandlerWith(imports("csa_v1", "sned", ":")), Events, "imports function csa_v1.sned, which does not exist; did you mean send?"},
		{"import with a longer name", w.HandlerWith(imports("csa_v1", "sendall", ":")), Events, "imports function csa_v1.sendall, which does not exist; did you mean send?"},
		{"unheard-of import", w.HandlerWith(imports("csa_v1", "teleport", ":")), Events, "imports function csa_v1.teleport, which does not exist; there are send, "},
		{"unknown WASI", w.HandlerWith(imports("wasi_snapshot_preview1", "fd_dance", ":")), Events, "wasi_snapshot_preview1.fd_dance, which is not in"},
		{"old WASI", w.HandlerWith(imports("wasi_unstable", "fd_write", ":")), Events, "older than preview 1"},
		{"wrong import", w.HandlerWith(imports("csa_v1", "send", "ii:i")), Events, "imports function csa_v1.send as (i32, i32) -> i32, which is (i32, i32, i32) -> i32"},
		{"odd names", w.HandlerWith(imports("e\nv", "a b", ":")), Events, `imports function "e\nv.a b", which`},
		{"memory import", func() []byte { m := w.New(); m.ImportRaw("env", "memory", 2, 0, 1); return m.Bytes() }(), Events, "imports the memory env.memory; only functions can be imported, so build it with a memory of its own"},
		{"table import", w.HandlerWith(func(m *w.Module) { m.ImportRaw("env", "t", 1, 0x70, 0, 1) }), Events, "imports the table env.t"},
		{"global import", w.HandlerWith(func(m *w.Module) { m.ImportRaw("env", "g", 3, 0x7f, 0) }), Events, "imports the global env.g"},
		{"wrong export", w.HandlerWith(exports("csa_open", "ii:i")), Events, "exports csa_open as (i32, i32) -> i32, and it has to be (i32) -> i32"},
		{"unknown export", w.HandlerWith(exports("csa_opne", "i:i")), Events, "exports csa_opne, which the host does not know; did you mean csa_open?"},
		{"wrong declaration", w.HandlerWith(exports("csa_one_connection", ":i")), Events, "exports csa_one_connection as the function () -> i32, and it has to be the function ()"},
		{"misspelt declaration", w.HandlerWith(exports("csa_one_conection", ":")), Events, "exports csa_one_conection, which the host does not know; did you mean csa_one_connection?"},
		{"far export", w.HandlerWith(exports("csa_frobnicate", ":")), Events, "exports csa_frobnicate, which the host does not know"},
		{"wrong _initialize", w.HandlerWith(exports("_initialize", "i:")), Events, "exports _initialize as the function (i32)"},
		{"export of another kind", w.HandlerWith(func(m *w.Module) { m.Export("csa_eof", 2, 0) }), Events, "exports csa_eof as a memory"},
		{"no window", w.CommandWith(exports("csa_data", "ii:i")), Events, "does not export csa_window, which the host calls as csa_window() -> i64"},
		{"command as handler", w.CommandWith(nothing), Events, `does not export csa_window but _start: it is a command, so say shape = "stdio"`},
		{"handler as command", good, Stdio, `exports csa_data and no _start: it is a handler, so say shape = "events"`},
		{"not a command", w.CommandWith(func(m *w.Module) {})[:0], Stdio, "it is empty"},
		{"wrong _start", func() []byte { m := w.New(); m.Memory(1); m.Func("_start", "i:", ""); return m.Bytes() }(), Stdio, "exports _start as the function (i32); it has to be"},
		{"no _start", func() []byte { m := w.New(); m.Memory(1); return m.Bytes() }(), Stdio, "does not export _start; build it as a WASI command"},
		{"command that sends", w.CommandWith(imports("csa_v1", "send", "iii:i")), Stdio, `imports function csa_v1.send, which is for shape = "events"`},
		{"memory is no memory", func() []byte {
			m := w.New()
			m.HiddenMemory(1)
			m.Export("memory", 0, 0)
			m.Func("_start", ":", "")
			return m.Bytes()
		}(), Stdio, `exports a function as "memory"`},
		{"hidden memory", func() []byte { m := w.New(); m.HiddenMemory(1); m.Func("_start", ":", ""); return m.Bytes() }(), Stdio, `does not export its memory as "memory"`},
		{"too much memory", func() []byte { m := w.New(); m.Memory(17); m.Func("_start", ":", ""); return m.Bytes() }(), Stdio, "declares at least 17 pages of memory = 1.1 MiB; its tenant's memory is 1 MiB"},
		{"unknown opcode", func() []byte {
			m := w.New()
			m.Memory(1)
			m.Func("_start", ":", "", []byte{0xfe, 0x03})
			return m.Bytes()
		}(), Stdio, "it uses the instruction 0xfe of the proposal \"threads\", which is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := why(c.b, c.shape, 16)
			if s := strings.Join(said, "; it also "); !strings.Contains(s, c.want) || strings.Contains(s, "\n") {
				t.Errorf("it says %q, not %q", s, c.want)
			}
			rep, err := Inspect(c.b, 1<<20)
			if rep.Size != len(c.b) || rep.Shape == c.shape && !slices.Equal(rep.Refused, said) {
				t.Errorf("inspect says %+v, %v", rep, err)
			}
		})
	}
	for _, c := range []struct {
		b     []byte
		shape Shape
	}{{good, Events}, {w.CommandWith(nothing), Stdio}} {
		if said := why(c.b, c.shape, 1); len(said) != 0 {
			t.Errorf("of a good one of shape %s it says %q", c.shape, said)
		}
	}
	many := why(w.HandlerWith(func(m *w.Module) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			m.Import("mine", name, ":")
		}
	}), Events, 1)
	if len(many) != 5 {
		t.Errorf("of five wrong imports it says %q", many)
	}
}

// What the host calls as csa_data was csa_v1.receive in a module of 100 bytes: the
// engine has no stack for such a function to be bounded, and a panic of it, which is
// how host functions trap, ended the process.
func TestTheHostCallsNothingThatIsImported(t *testing.T) {
	types := map[string]wasm.FuncType{initialize: {}}
	for i := range abi.GuestExports {
		f := &abi.GuestExports[i]
		types[f.Name] = typeOf(&f.Function)
	}
	tried := 0
	for export, want := range types {
		for name, f := range importables {
			typ := f.signature
			if !typ.Equal(want) {
				continue
			}
			tried++
			module, function, _ := strings.Cut(name, ".")
			b := w.PassesOn(module, function, w.Signature(typ.Params, typ.Results), export).Bytes()
			want := "exports " + export + " as the imported function " + name + ", and the host calls only functions of the module's own; export one that calls it"
			if said := why(b, Events, 16); len(said) != 1 || said[0] != want {
				t.Errorf("of %s as %s it says %q, not %q", name, export, said, want)
			}
			if rep, err := Inspect(b, 0); err != nil || len(rep.Refused) != 1 {
				t.Errorf("inspect says %v of %s as %s", rep.Refused, name, export)
			}
		}
	}
	if tried < 20 {
		t.Errorf("%d were tried", tried)
	}

	// No host function has the type of these today.
	for _, c := range []struct {
		shape Shape
		build func(m *w.Module, f w.Func)
		want  string
	}{
		{Events, func(m *w.Module, f w.Func) { m.Export("_initialize", 0, int(f)) }, "exports _initialize as the imported function env.f"},
		{Stdio, func(m *w.Module, f w.Func) { m.Export("_start", 0, int(f)) }, "exports _start as the imported function env.f"},
		{Events, func(m *w.Module, f w.Func) { m.Start(f) }, "starts with the imported function env.f, and the host calls only functions of the module's own; start with one that calls it"},
		{Stdio, func(m *w.Module, f w.Func) { m.Start(f) }, "starts with the imported function env.f"},
	} {
		m := w.New()
		c.build(m, m.Import("env", "f", ":"))
		m.Memory(1)
		parsed, err := wasm.Parse(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if why := refuseForeign(parsed, c.shape); len(why) != 1 || !strings.HasPrefix(why[0], c.want) {
			t.Errorf("it says %q, not %q", why, c.want)
		}
	}

	// What the host does not call may be what it likes.
	m := w.PassesOn("csa_v1", "receive", "ii:i", "mine")
	if said := why(m.Bytes(), Events, 16); len(said) != 0 {
		t.Errorf("of a function that the host does not call it says %q", said)
	}
}
