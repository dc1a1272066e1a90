package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"bulkhead/csa"
	"bulkhead/plugins/wasm"
	w "bulkhead/plugins/wasmtest"
)

// handler is a handler with something done to it first, so that imports come
// in front.
func handler(also func(m *w.Module)) []byte {
	m := w.New()
	also(m)
	m.Memory(1)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	return m.Bytes()
}

func command(also func(m *w.Module)) []byte {
	m := w.New()
	also(m)
	m.Memory(1)
	m.Func("_start", ":", "")
	return m.Bytes()
}

func TestRefusedModules(t *testing.T) {
	n := newTenant(t, 1<<20)
	nothing := func(*w.Module) {}
	imports := func(module, name, sig string) func(*w.Module) {
		return func(m *w.Module) { m.Import(module, name, sig) }
	}
	exports := func(name, sig string) func(*w.Module) {
		return func(m *w.Module) { m.Func(name, sig, "", w.Unreachable) }
	}
	good := handler(nothing)
	for _, c := range []struct {
		name  string
		b     []byte
		shape Shape
		want  string
	}{
		{"empty", nil, Events, "it is empty, not a WebAssembly module"},
		{"ELF", []byte("\x7fELF\x02\x01\x01\x00"), Events, "it is not a WebAssembly module: it starts with 7f 45 4c 46 instead of 00 61 73 6d"},
		{"text", []byte("(module)"), Events, "it is not a WebAssembly module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), Events, "it is a WebAssembly component, not a core module (at byte 0): build it for WASI preview 1 (Go: GOOS=wasip1; "},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), Events, "unknown WebAssembly version 2"},
		{"short header", []byte("\x00asm\x01"), Events, "the file ends inside its header (at byte 5): it is cut short, so copy or build it again"},
		{"truncated", good[:len(good)-3], Events, "the file ends inside the code section"},
		{"nothing in it", []byte("\x00asm\x01\x00\x00\x00"), Events, "has no memory; build it with one, exported as \"memory\"; it also does not export csa_window, which the host calls as csa_window() -> i64; it also does not export csa_data"},
		{"foreign import", handler(imports("mine", "f", ":")), Events, "imports function mine.f, which is not in csa_v1 or wasi_snapshot_preview1; build it without it"},
		{"import of AssemblyScript", handler(imports("env", "abort", "iiii:")), Events, "imports function env.abort, which is not in csa_v1 or wasi_snapshot_preview1; build it without it (AssemblyScript: --use abort="},
		{"import of C", handler(imports("env", "memcpy", "iii:i")), Events, "imports function env.memcpy, which is not in csa_v1 or wasi_snapshot_preview1; build it without it: link what has it, and link without --allow-undefined"},
		{"import of Go for JavaScript", handler(func(m *w.Module) {
			for _, name := range []string{"runtime.wasmExit", "runtime.wasmWrite", "syscall/js.valueGet"} {
				m.Import("gojs", name, "i:")
			}
		}), Events, "imports function gojs.runtime.wasmExit, which is not in csa_v1 or wasi_snapshot_preview1; it was built with GOOS=js, so build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"},
		{"import of wasm-bindgen", handler(imports("__wbindgen_placeholder__", "__wbindgen_describe", "i:")), Events, "it was built for JavaScript, so build it without wasm-bindgen"},
		{"Go as a program", handler(func(m *w.Module) {
			m.Func("_start", ":", "")
			m.Custom("producers", []byte("\x01\x0cprocessed-by\x01\x0eGo cmd/compile\x08go1.26.8"))
		}), Events, "is a Go program that nobody starts, since it exports _start and no _initialize; build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"},
		{"misspelt import", handler(imports("csa_v1", "sned", ":")), Events, "imports function csa_v1.sned, which does not exist; did you mean send?"},
		{"import with a longer name", handler(imports("csa_v1", "sendall", ":")), Events, "imports function csa_v1.sendall, which does not exist; did you mean send?"},
		{"unheard-of import", handler(imports("csa_v1", "teleport", ":")), Events, "imports function csa_v1.teleport, which does not exist; there are send, "},
		{"unknown WASI", handler(imports("wasi_snapshot_preview1", "fd_dance", ":")), Events, "wasi_snapshot_preview1.fd_dance, which is not in"},
		{"old WASI", handler(imports("wasi_unstable", "fd_write", ":")), Events, "older than preview 1"},
		{"wrong import", handler(imports("csa_v1", "send", "ii:i")), Events, "imports function csa_v1.send as (i32, i32) -> i32, which is (i32, i32, i32) -> i32"},
		{"odd names", handler(imports("e\nv", "a b", ":")), Events, `imports function "e\nv.a b", which`},
		{"memory import", func() []byte { m := w.New(); m.ImportRaw("env", "memory", 2, 0, 1); return m.Bytes() }(), Events, "imports the memory env.memory; only functions can be imported, so build it with a memory of its own"},
		{"table import", handler(func(m *w.Module) { m.ImportRaw("env", "t", 1, 0x70, 0, 1) }), Events, "imports the table env.t"},
		{"global import", handler(func(m *w.Module) { m.ImportRaw("env", "g", 3, 0x7f, 0) }), Events, "imports the global env.g"},
		{"many imports", handler(func(m *w.Module) {
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				m.Import("mine", name, ":")
			}
		}), Events, "; and 2 more of the kind"},
		{"wrong export", handler(exports("csa_open", "ii:i")), Events, "exports csa_open as (i32, i32) -> i32, and it has to be (i32) -> i32"},
		{"unknown export", handler(exports("csa_opne", "i:i")), Events, "exports csa_opne, which the host does not know; did you mean csa_open?"},
		{"far export", handler(exports("csa_frobnicate", ":")), Events, "exports csa_frobnicate, which the host does not know"},
		{"wrong _initialize", handler(exports("_initialize", "i:")), Events, "exports _initialize as the function (i32)"},
		{"export of another kind", handler(func(m *w.Module) { m.Export("csa_eof", 2, 0) }), Events, "exports csa_eof as a memory"},
		{"no window", command(exports("csa_data", "ii:i")), Events, "does not export csa_window, which the host calls as csa_window() -> i64"},
		{"command as handler", command(nothing), Events, `does not export csa_window but _start: it is a command, so say shape = "stdio"`},
		{"handler as command", good, Stdio, `exports csa_data and no _start: it is a handler, so say shape = "events"`},
		{"not a command", command(func(m *w.Module) {})[:0], Stdio, "it is empty"},
		{"wrong _start", func() []byte { m := w.New(); m.Memory(1); m.Func("_start", "i:", ""); return m.Bytes() }(), Stdio, "exports _start as the function (i32); it has to be"},
		{"no _start", func() []byte { m := w.New(); m.Memory(1); return m.Bytes() }(), Stdio, "does not export _start; build it as a WASI command"},
		{"command that sends", command(imports("csa_v1", "send", "iii:i")), Stdio, `imports function csa_v1.send, which is for shape = "events"`},
		{"memory is no memory", func() []byte {
			m := w.New()
			m.HiddenMemory(1)
			m.Export("memory", 0, 0)
			m.Func("_start", ":", "")
			return m.Bytes()
		}(), Stdio, `exports a function as "memory"`},
		{"hidden memory", func() []byte { m := w.New(); m.HiddenMemory(1); m.Func("_start", ":", ""); return m.Bytes() }(), Stdio, `does not export its memory as "memory"`},
		{"too much memory", func() []byte { m := w.New(); m.Memory(17); m.Func("_start", ":", ""); return m.Bytes() }(), Stdio, "declares at least 17 pages of memory = 1.1 MiB; its tenant's memory is 1 MiB"},
		{"invalid code", func() []byte { m := w.New(); m.Memory(1); m.Func("_start", ":", "", w.I32Add); return m.Bytes() }(), Stdio, "does not compile: "},
		{"unknown opcode", func() []byte {
			m := w.New()
			m.Memory(1)
			m.Func("_start", ":", "", []byte{0xfe, 0x03})
			return m.Bytes()
		}(), Stdio, "it uses the instruction 0xfe of the proposal \"threads\", which is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := n.r.Load("x.wasm", c.b, c.shape)
			if err == nil {
				m.Close()
				t.Fatal("it is loaded")
			}
			var refusal *LoadError
			if s := err.Error(); !strings.Contains(s, c.want) || !strings.HasPrefix(s, "x.wasm: ") || strings.Contains(s, "\n") || !errors.As(err, &refusal) {
				t.Errorf("it says %q, not %q", s, c.want)
			}
			rep, err := Inspect(c.b, 1<<20)
			if rep.Size != len(c.b) || len(rep.Refused) == 0 && rep.Shape == c.shape && !strings.HasPrefix(c.want, "does not compile") {
				t.Errorf("inspect says %+v, %v", rep, err)
			}
		})
	}
	if _, err := n.r.Load("x.wasm", good, "loop"); err == nil || !strings.Contains(err.Error(), `shape "loop"`) {
		t.Errorf("an unknown shape is answered with %v", err)
	}
}

func TestModuleLife(t *testing.T) {
	n := newTenant(t, 0)
	m, err := n.r.Load("a.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.r.Load("b.wasm", w.Echo().Bytes(), Events) // the same bytes
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "a.wasm" || m.Shape() != Events || m.Runtime() != n.r {
		t.Errorf("the module is %q of shape %q", m.Name(), m.Shape())
	}
	m.Close()
	m.Close()
	if _, err := m.Instantiate(listener()); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed module answers %v", err)
	}
	if _, err := again.Stdio(listener()); err == nil || !strings.Contains(err.Error(), `shape "events"`) {
		t.Errorf("a handler as a command answers %v", err)
	}
	f := &fake{room: 100}
	if i.data(open(i, f), f, 7) != 7 {
		t.Error("an instance does not outlive the closing of its module")
	}
	n.r.Close()
	n.r.Close()
	if _, err := n.r.Load("c.wasm", w.Echo().Bytes(), Events); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed runtime answers %v", err)
	}
	if _, err := again.Instantiate(listener()); !errors.Is(err, ErrClosed) {
		t.Errorf("a module of a closed runtime answers %v", err)
	}
	again.Close()
	select {
	case <-n.r.Done():
		t.Error("the runtime ended under an instance")
	default:
	}
	i.Close()
	<-n.r.Done()
}

// Code that is kept is used again; one that is damaged costs time and a line in
// the log, not the module.
func TestCodeIsKept(t *testing.T) {
	for name, hurt := range map[string]func(file string) error{
		"well":    func(string) error { return nil },
		"flipped": func(file string) error { return flip(file, 200) },
		"short":   func(file string) error { return os.Truncate(file, 100) },
		"empty":   func(file string) error { return os.Truncate(file, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "code")
			load := func() string {
				log := &journal{}
				r, err := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: log})
				if err != nil {
					t.Fatal(err)
				}
				m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
				if err != nil {
					t.Fatal(err)
				}
				i, err := m.Instantiate(listener())
				if err != nil {
					t.Fatal(err)
				}
				f := &fake{room: 100}
				if i.data(open(i, f), f, 7) != 7 {
					t.Error("it does not echo")
				}
				i.Close()
				m.Close()
				r.Close()
				<-r.Done()
				return log.text()
			}
			load()
			file := codeFiles(t, dir, 1)[0]
			before := time.Now().Add(-time.Hour).Truncate(time.Second)
			if err := errors.Join(hurt(file), os.Chtimes(file, before, before)); err != nil {
				t.Fatal(err)
			}
			log := load()
			after, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if damaged := name != "well"; damaged == after.ModTime().Equal(before) || damaged != strings.Contains(log, "x.wasm is compiled again, since its compiled code cannot be used: "+file) {
				t.Errorf("it was written again: %v; the log is %q", !after.ModTime().Equal(before), log)
			}
			if log := load(); log != "" {
				t.Errorf("afterwards the log is %q", log)
			}
		})
	}
}

// Code that cannot be kept is compiled, and that is said.
func TestCodeIsNotKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	log := &journal{}
	r, err := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		r.Close()
		<-r.Done()
	}()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if text := log.text(); !strings.Contains(text, "x.wasm: starting again will take longer: keeping compiled code: open "+dir) {
		t.Errorf("the log is %q", text)
	}
}

// Instances are made, used and closed by many goroutines at once.
func TestManyAtOnce(t *testing.T) {
	n := newTenant(t, 0)
	m := n.load(callbacks("").Bytes(), Events)
	l := listener()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				i, err := m.Instantiate(l)
				if err != nil {
					t.Error(err)
					return
				}
				f := &fake{room: 100}
				h := open(i, f)
				if i.data(h, f, 7) != 7 {
					t.Error("it does not answer")
				}
				i.ended(h, csa.Orderly)
				i.Close()
			}
		})
	}
	all.Wait()
}

func TestInspect(t *testing.T) {
	m := w.New()
	m.Custom("producers", []byte("x"))
	m.Import("csa_v1", "send", "iii:i")
	m.Import("csa_v1", "connect", "ii:i")
	m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	m.Import("env", "abort", ":")
	m.Memory(1, 16)
	m.Table(3)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Start(m.Func("", ":", ""))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	rep, err := Inspect(m.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case rep.Shape != Events, rep.Functions != 3, !rep.Start, len(rep.Exports) != 3, len(rep.Tables) != 1,
		rep.Memory == nil || *rep.Memory != wasm.Limits{Min: 1, Max: 16, HasMax: true},
		len(rep.Ignored) != 1 || rep.Ignored[0] != "producers",
		len(rep.Imports) != 4 || rep.Imports[3].Refused == "" || rep.Imports[0].Refused != "",
		len(rep.Refused) != 1 || !strings.Contains(rep.Refused[0], "env.abort"):
		t.Errorf("inspect says %+v", rep)
	}
	if rep, err := Inspect(command(func(*w.Module) {}), 0); err != nil || rep.Shape != Stdio || rep.Refused != nil {
		t.Errorf("inspect says of a command %+v, %v", rep, err)
	}
	empty := w.New()
	empty.Memory(1)
	if rep, err := Inspect(empty.Bytes(), 0); err != nil || rep.Shape != "" || rep.Refused == nil {
		t.Errorf("inspect says of a library %+v, %v", rep, err)
	}
}

// FuzzLoad gives the engine what the gate lets through, and runs it: nothing may
// panic or take more memory than the bounds allow.
func FuzzLoad(f *testing.F) {
	n := newTenant(f, 1<<20)
	f.Add(w.Echo().Bytes())
	f.Add(callbacks("").Bytes())
	f.Add(command(func(m *w.Module) { m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i") }))
	f.Add(passesOn("csa_v1", "receive", "ii:i", "csa_data").Bytes())
	f.Add(passesOn("wasi_snapshot_preview1", "sched_yield", ":i", "csa_start").Bytes())
	l := listener()
	l.EventTimeout = 5 * time.Millisecond
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []Shape{Events, Stdio} {
			m, err := n.r.Load("x.wasm", b, s)
			if err != nil {
				if s := err.Error(); strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(s, "gave up") {
					t.Errorf("%q", s)
				}
				continue
			}
			if s == Events {
				runOnce(t, m, l)
			}
			m.Close()
		}
	})
}

// runOnce has a guest hear of everything, which may end it, but not as a bug.
func runOnce(t *testing.T, m *Module, l *Listener) {
	var trap *Trap
	i, err := m.Instantiate(l)
	if err != nil {
		if errors.As(err, &trap) && trap.Bug {
			t.Error(err)
		}
		return
	}
	defer i.Close()
	for name, drive := range events {
		if c := slices.Index(callNames[:], "csa_"+name); !m.has[c] {
			continue
		}
		f := &fake{room: 10}
		drive(i, i.admit(f), f)
		for _, r := range f.ends {
			if strings.Contains(r.Why, "the host") {
				t.Errorf("%v", r)
			}
		}
		if !i.Running() {
			return
		}
	}
}
