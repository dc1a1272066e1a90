package play

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/talk"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
)

var update = flag.Bool("update", false, "write docs/MISTAKES.md anew")

// mistake is what the author of a handler in a compiled language does wrong, in a module of its
// own. The message that tells of it has all of the parts, in order: what it is about, such as an
// export, an import or a flag, and the mend.
type mistake struct {
	name   string
	module []byte
	said   []string
	shape  admit.Shape // "": events
	// instance is the listener's; "": connection.
	instance string
	// talk is a conversation in which it shows; "": nothing happens.
	talk string
}

// where it shows: the titles of the page's parts.
const (
	inspected = "When it is built, inspected, checked or loaded"
	started   = "When it is checked or loaded, since it is started then"
	served    = "In the log, and in `bulkhead try`"
)

func importing(module, name, signature string) []byte {
	return w.HandlerWith(func(m *w.Module) { m.Import(module, name, signature) })
}

func exporting(name, signature string) []byte {
	return w.HandlerWith(func(m *w.Module) { m.Func(name, signature, "", w.Unreachable) })
}

// raw is a module with nothing but a section.
func raw(section byte, content ...byte) []byte {
	m := w.New()
	m.Raw(section, content)
	return m.Bytes()
}

// hearing is a handler whose csa_data is such code.
func hearing(body ...[]byte) []byte {
	m, _ := w.Handler()
	m.Func("csa_data", "ii:i", "", body...)
	return m.Bytes()
}

// sending is one that calls send so.
func sending(conn, ptr, length []byte) []byte {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "", conn, ptr, length, w.Call(f[0]))
	return m.Bytes()
}

// starting is a handler with a function that runs before the first connection.
func starting(name, signature string, body ...[]byte) []byte {
	m, f := w.Handler([2]string{"log", "iii:i"})
	m.Data(0, "the key port is missing")
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	if name == "csa_start" {
		body = append([][]byte{w.I32Const(3), w.I32Const(0), w.I32Const(23), w.Call(f[0]), w.Drop}, body...)
	}
	m.Func(name, signature, "", body...)
	return m.Bytes()
}

func with(change func(m *w.Module)) []byte {
	m := w.New()
	change(m)
	return m.Bytes()
}

var good = w.HandlerWith(func(*w.Module) {})

var goProgram = w.HandlerWith(func(m *w.Module) {
	m.Func("_start", ":", "")
	m.Custom("producers", []byte("\x01\x0cprocessed-by\x01\x0eGo cmd/compile\x08go1.26.8"))
})

// Those that show before anything runs.
var ofTheModule = []mistake{
	{name: "its text, and no module of it", module: []byte("(module)"), said: []string{"is not a WebAssembly module", "wat2wasm makes a module"}},
	{name: "an empty file", said: []string{"is empty, not a WebAssembly module"}},
	{name: "a program of the machine", module: []byte("\x7fELF\x02\x01\x01\x00"), said: []string{"is not a WebAssembly module: it starts with 7f 45 4c 46"}},
	{name: "a file that is cut short", module: good[:len(good)-3], said: []string{"ends inside the code section", "copy or build it again"}},
	{name: "a component", module: w.ComponentHeader, said: []string{"is a WebAssembly component", "build it for WASI preview 1 (Go: GOOS=wasip1; rustc: --target wasm32-wasip1"}},
	{name: "`--target wasm32-wasip2`", module: w.Component(importing("wasi:io/streams@0.2.0", "f", ":")), said: []string{"needs WASI preview 2, since its core module imports wasi:io/streams@0.2.0.f", "--target wasm32-wasip1"}},
	{name: "Go without `-buildmode=c-shared`", module: goProgram, said: []string{"is a Go program that nobody starts", "-buildmode=c-shared"}},
	{name: "`GOOS=js`", module: importing("gojs", "runtime.wasmExit", "i:"), said: []string{"imports function gojs.runtime.wasmExit", "GOOS=js, so build it with GOOS=wasip1"}},
	{name: "wasm-bindgen", module: importing("__wbindgen_placeholder__", "__wbindgen_describe", "i:"), said: []string{"imports function __wbindgen_placeholder__.__wbindgen_describe", "without wasm-bindgen, for --target wasm32-wasip1"}},
	{name: "AssemblyScript without `--use abort`", module: importing("env", "abort", "iiii:"), said: []string{"imports function env.abort", "--use abort="}},
	{name: "Emscripten's runtime", module: importing("env", "emscripten_notify_memory_growth", "i:"), said: []string{"imports function env.emscripten_notify_memory_growth", "-sSTANDALONE_WASM"}},
	{name: "`--allow-undefined` with no `memcpy`", module: importing("env", "memcpy", "iii:i"), said: []string{"imports function env.memcpy", "-mbulk-memory", "without --allow-undefined"}},
	{name: "the compiler's own library left out", module: importing("env", "__multi3", "iIIII:"), said: []string{"imports function env.__multi3", "libclang_rt.builtins-wasm32.a"}},
	{name: "`setjmp` left out", module: importing("env", "setjmp", "i:i"), said: []string{"imports function env.setjmp", "sdk/c/setjmp"}},
	{name: "C++ exceptions without their library", module: importing("env", "__cxa_throw", "iii:"), said: []string{"imports function env.__cxa_throw", "-fno-exceptions", "sdk/c/cplusplus/build.sh"}},
	{name: "`-pthread`", module: importing("env", "pthread_create", "iiii:i"), said: []string{"imports function env.pthread_create", "no threads", "-pthread", "csa_v1.timer"}},
	{name: "`wasm32-wasip1-threads`", module: importing("wasi", "thread-spawn", "i:i"), said: []string{"imports function wasi.thread-spawn", "no threads", "--target wasm32-wasip1"}},
	{name: "a shared memory", module: raw(5, 1, 3, 1, 2), said: []string{`a memory is shared: a use of the proposal "threads"`, "-mno-atomics"}},
	{name: "atomic instructions", module: hearing([]byte{0xfe, 0x03, 0}), said: []string{"function 1: it uses the instruction 0xfe", `"threads"`, "-mno-atomics"}},
	{name: "`-m64`, or `wasm64`", module: raw(5, 1, 4, 1), said: []string{`"memory64"`, "--target=wasm32"}},
	{name: "two memories", module: raw(5, 2, 0, 1, 0, 1), said: []string{`"multi-memory"`, "link it with one memory"}},
	{name: "a language that needs garbage collection", module: raw(1, 1, 0x4e, 1, 0x60, 0, 0), said: []string{`"garbage collection"`, "write it in one that has a memory of its own"}},
	{name: "typed function references", module: hearing([]byte{0x14, 0}), said: []string{"instruction call_ref", "without -all and --enable-gc"}},
	{name: "tail calls", module: hearing([]byte{0x12, 0}), said: []string{"instruction return_call", "-mno-tail-call"}},
	{name: "relaxed SIMD", module: hearing([]byte{0xfd, 0x80, 2}), said: []string{"instruction 0xfd 0x100", "-mno-relaxed-simd"}},
	{name: "sockets of WASI", module: importing("wasi_snapshot_preview1", "sock_open", "ii:i"), said: []string{"imports function wasi_snapshot_preview1.sock_open", "no sockets", "csa_v1.connect"}},
	{name: "an old WASI", module: importing("wasi_unstable", "fd_write", ":"), said: []string{"imports function wasi_unstable.fd_write", "older than preview 1; build it with a newer toolchain"}},
	{name: "a function of a host of one's own", module: importing("mine", "f", ":"), said: []string{"imports function mine.f, which is not in csa_v1 or wasi_snapshot_preview1", "build it without it"}},
	{name: "a misspelt function", module: importing("csa_v1", "sned", "iii:i"), said: []string{"imports function csa_v1.sned, which does not exist", "did you mean send?"}},
	{name: "a function of a later host", module: importing("csa_v1", "teleport", ":"), said: []string{"imports function csa_v1.teleport, which does not exist", "there are send, ", "for a newer host"}},
	{name: "a function with other parameters", module: importing("csa_v1", "send", "ii:i"), said: []string{"imports function csa_v1.send as (i32, i32) -> i32", "which is (i32, i32, i32) -> i32; declare it so"}},
	{name: "a memory from outside", module: with(func(m *w.Module) { m.ImportRaw("env", "memory", 2, 0, 1) }), said: []string{"imports the memory env.memory", "build it with a memory of its own"}},
	{name: "no memory", module: with(func(*w.Module) {}), said: []string{"has no memory", `exported as "memory"`}},
	{name: "a memory that is not exported", module: with(func(m *w.Module) { m.HiddenMemory(1) }), said: []string{`does not export its memory as "memory"`}},
	{name: "a memory larger than its tenant's", module: with(func(m *w.Module) { m.Memory(8000) }), said: []string{"declares at least 8000 pages of memory = 500 MiB", "build it with less, or give the tenant more"}},
	{name: "no `csa_data`", module: with(func(m *w.Module) { m.Memory(1); m.Func("csa_window", ":I", "", w.I64Const(0)) }), said: []string{"does not export csa_data, which the host calls as csa_data(conn, len) -> i32"}},
	{name: "no `csa_window`", module: with(func(m *w.Module) { m.Memory(1); m.Func("csa_data", "ii:i", "", w.LocalGet(1)) }), said: []string{"does not export csa_window, which the host calls as csa_window() -> i64"}},
	{name: "a callback with other parameters", module: exporting("csa_open", "ii:i"), said: []string{"exports csa_open as (i32, i32) -> i32", "it has to be (i32) -> i32"}},
	{name: "a misspelt callback", module: exporting("csa_close", "ii:"), said: []string{"exports csa_close, which the host does not know", "did you mean csa_closed?"}},
	{name: "a callback that is none", module: w.HandlerWith(func(m *w.Module) { m.Export("csa_eof", 2, 0) }), said: []string{"exports csa_eof as a memory", "it has to be the function (i32)"}},
	{name: "a callback that is imported", module: w.PassesOn("csa_v1", "receive", "ii:i", "csa_data").Bytes(), said: []string{"exports csa_data as the imported function csa_v1.receive", "export one that calls it"}},
	{name: "a program as a handler", module: w.CommandWith(func(*w.Module) {}), said: []string{"does not export csa_window but _start", `say shape = "stdio"`}},
	{name: "a handler as a program", module: good, shape: admit.Stdio, said: []string{"exports csa_data and no _start", `say shape = "events"`}},
	{name: "a program that calls `send`", module: w.CommandWith(func(m *w.Module) { m.Import("csa_v1", "send", "iii:i") }), shape: admit.Stdio, said: []string{"imports function csa_v1.send", "writes standard output instead"}},
}

// Those that show when the module is started.
var ofTheStart = []mistake{
	{name: "a window that is too small", module: w.Windowed(w.Window(4096, 100)), said: []string{"csa_window says that the window has 100 bytes", "it has to have 4096 to 1048576"}},
	{name: "a window outside of the memory", module: w.Windowed(w.Window(60000, 8192)), said: []string{"csa_window", "8192 bytes at 0xea60", "memory of 65536 bytes"}},
	{name: "a start that traps", module: starting("csa_start", ":i", w.Unreachable), said: []string{"csa_start trapped: unreachable"}},
	{name: "a start that refuses", module: starting("csa_start", ":i", w.I32Const(-1)), said: []string{"csa_start refused with INVALID (-1)", "the key port is missing"}},
	{name: "one client's state in static variables, and a shared instance", instance: "loop", module: w.HandlerWith(func(m *w.Module) { m.Func("csa_one_connection", ":", "") }),
		said: []string{"by its export csa_one_connection", `instance = "loop"`, `say instance = "connection"`}},
}

// Those that show when a client is there.
var ofAConnection = []mistake{
	{name: "more consumed than there was", module: hearing(w.I32Const(99)), talk: "> x\n", said: []string{"says that it consumed 99 bytes of 3: csa_data returns 0 to what it was given"}},
	{name: "a result that is no code", module: hearing(w.I32Const(-99)), talk: "> x\n", said: []string{"closed it from csa_data with -99"}},
	{name: "an assertion, or a panic", module: hearing(w.Unreachable), talk: "> x\n", said: []string{"a handler trapped", "csa_data", "unreachable"}},
	{name: "a division by zero", module: hearing(w.I32Const(1), w.I32Const(0), []byte{0x6d}), talk: "> x\n", said: []string{"csa_data", "integer divide by zero"}},
	{name: "a pointer outside of the memory", module: hearing(w.I32Const(-4), w.I32Load(0)), talk: "> x\n", said: []string{"csa_data", "out of bounds memory access"}},
	{name: "a pointer for the host outside of it", module: sending(w.LocalGet(0), w.I32Const(0x7fffffff), w.I32Const(10)), talk: "> x\n", said: []string{"send was given the 10 bytes at 0x7fffffff, which are not all inside its memory"}},
	{name: "a negative length", module: sending(w.LocalGet(0), w.I32Const(0), w.I32Const(-1)), talk: "> x\n", said: []string{"it called send with a negative length", "on_bad_data"}},
	{name: "a handle that is gone", module: sending(w.I32Const(77), w.I32Const(0), w.I32Const(1)), talk: "> x\n", said: []string{"it called send with a handle that it does not have, as when csa_closed was called for it", "on_bad_data"}},
	{name: "`exit`", module: with(func(m *w.Module) {
		f := m.Import("wasi_snapshot_preview1", "proc_exit", "i:")
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.Func("csa_data", "ii:i", "", w.I32Const(3), w.Call(f), w.Unreachable)
	}), talk: "> x\n", said: []string{"it called proc_exit(3), which ends its instance", "a result below 0 of csa_data or csa_open ends one connection"}},
	{name: "bytes that are never consumed", module: hearing(w.I32Const(0)), talk: "> x\nwait 2m\n", said: []string{"has left 3 bytes unconsumed and wants more", "min_rate"}},
}

// Each mistake has a message that says what it is about, and what to do.
func TestMistakes(t *testing.T) {
	for _, m := range ofTheModule {
		t.Run(m.name, func(t *testing.T) {
			parsed, _, err := admit.Open(m.module)
			var said []string
			if err != nil {
				said = []string{err.Error()}
			} else {
				shape := m.shape
				if shape == "" {
					shape = admit.Events
				}
				said = admit.Refusals(parsed, shape, admit.Pages(0))
			}
			m.isSaid(t, said)
		})
	}
	for _, m := range append(ofTheStart, ofAConnection...) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			plugin := filepath.Join(t.TempDir(), "bad.wasm")
			if err := os.WriteFile(plugin, m.module, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := talk.Parse("bad.talk", []byte("== a mistake\n"+m.talk))
			if err != nil {
				t.Fatal(err)
			}
			h := Handler{Plugin: plugin, Instance: m.instance, State: hosttest.State(), Engines: hosttest.Engines}
			r, err := Play(t.Context(), h, f.Cases[0], Written)
			if err != nil {
				m.isSaid(t, []string{err.Error()})
				return
			}
			m.isSaid(t, r.Log)
		})
	}
}

// isSaid wants one line that has all parts of the message.
func (m *mistake) isSaid(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		rest, all := line, true
		for _, part := range m.said {
			_, behind, found := strings.Cut(rest, part)
			rest, all = behind, all && found
		}
		if all {
			return
		}
	}
	t.Errorf("it is said\n%s\nand not\n%s", strings.Join(lines, "\n"), strings.Join(m.said, " ... "))
}

const mistakesPage = "../../docs/MISTAKES.md"

// docs/MISTAKES.md has all of them, and says how many they are.
func TestMistakesPage(t *testing.T) {
	parts := []struct {
		title    string
		mistakes []mistake
	}{{inspected, ofTheModule}, {started, ofTheStart}, {served, ofAConnection}}
	count := 0
	var tables bytes.Buffer
	for _, p := range parts {
		count += len(p.mistakes)
		fmt.Fprintf(&tables, "\n## %s\n\n| mistake | what is said |\n|---|---|\n", p.title)
		for _, m := range p.mistakes {
			fmt.Fprintf(&tables, "| %s | %s |\n", m.name, strings.Join(m.said, " ... "))
		}
	}
	if count < 40 {
		t.Errorf("there are %d mistakes, and 40 were promised", count)
	}
	want := fmt.Sprintf(`# Mistakes

%d mistakes of authors of handlers in compiled languages, and what they are told: the part that
names the export, the import, the flag or the key, and the mend. A test makes each of them:
`+"`internal/play/mistakes_test.go`"+`, which writes this page with `+"`-update`"+`. Mistakes in scripts are
on the pages of their languages. What a compiler says comes as it is, with the mend behind it where
there is one; a compiler that is missing is named with how to install it.

Four more show in `+"`bulkhead try`"+`, which says them: [TALK.md](TALK.md). A handler takes an event
for a message, ignores that a send was short, loses bytes at the half-close, or keeps one
connection's state for all.
%s`, count, &tables)
	if *update {
		if err := os.WriteFile(mistakesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(mistakesPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/MISTAKES.md is stale (%v); run: go test ./internal/play -run MistakesPage -update", err)
	}
}
