package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	w "bulkhead/internal/wasmtest"

	"github.com/rogpeppe/go-internal/testscript"
)

// modules are what the script command wasm can write.
var modules = map[string]func() []byte{
	"good":      func() []byte { return w.Echo().Bytes() },
	"text":      func() []byte { return []byte("#!/bin/sh\necho hello\n") },
	"empty":     func() []byte { return nil },
	"truncated": func() []byte { b := w.Echo().Bytes(); return b[:len(b)-7] },
	// Well formed, and made for something else.
	"wrong-import": func() []byte {
		m := w.New()
		m.Import("env", "emscripten_notify", "i:")
		m.Memory(1)
		return finishHandler(m)
	},
	"misspelt-import": func() []byte {
		m := w.New()
		m.Import("csa_v1", "sned", "iii:i")
		m.Memory(1)
		return finishHandler(m)
	},
	"wrong-signature": func() []byte {
		m := w.New()
		m.Import("csa_v1", "send", "ii:i")
		m.Memory(1)
		return finishHandler(m)
	},
	"no-data": func() []byte {
		m := w.New()
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		return m.Bytes()
	},
	"no-window": func() []byte {
		m := w.New()
		m.Memory(1)
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		return m.Bytes()
	},
	"no-memory": func() []byte {
		m := w.New()
		return finishHandler(m)
	},
	"much-memory": func() []byte { return handlerWithMemory(2000) }, // 125 MiB
	"table-writer": func() []byte {
		m, _ := w.Handler()
		m.Table(1)
		m.Func("csa_data", "ii:i", "", w.I32Const(0), w.RefNull(), w.I32Const(1), w.TableFill(0), w.LocalGet(1))
		return m.Bytes()
	},
	"trap-in-data": func() []byte {
		m, _ := w.Handler()
		m.Func("csa_data", "ii:i", "", w.Unreachable)
		return m.Bytes()
	},
	"spin-on-s": func() []byte { // echoes, and computes without an end at an "s"
		m, f := w.Handler([2]string{"send", "iii:i"})
		m.Func("csa_data", "ii:i", "",
			w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('s'), w.I32Eq, w.If(w.Loop(w.Br(0))),
			w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]))
		return m.Bytes()
	},
	"say-and-trap": func() []byte {
		m, f := w.Handler([2]string{"log", "iii:i"})
		m.Data(0, "two words \x1b[2J")
		m.Func("csa_data", "ii:i", "", w.I32Const(1), w.I32Const(0), w.I32Const(14), w.Call(f[0]), w.Drop, w.Unreachable)
		return m.Bytes()
	},
	"trap-in-start":   func() []byte { return starting(w.Unreachable, w.I32Const(0)) },
	"refuse-to-start": func() []byte { return starting(w.I32Const(-5)) },
	"say-why": func() []byte { // logs, and refuses to start
		m, f := w.Handler([2]string{"log", "iii:i"})
		m.Data(0, "the key is missing\nin my config")
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		m.Func("csa_start", ":i", "", w.I32Const(3), w.I32Const(0), w.I32Const(32), w.Call(f[0]), w.Drop, w.I32Const(-1))
		return m.Bytes()
	},
	"window-null":    func() []byte { return w.Windowed(0) },
	"window-small":   func() []byte { return w.Windowed(w.Window(4096, 4095)) },
	"window-large":   func() []byte { return w.Windowed(w.Window(0, 1<<20+1)) },
	"window-outside": func() []byte { return w.Windowed(w.Window(60000, 8192)) },
	"one-connection": func() []byte {
		return w.HandlerWith(func(m *w.Module) { m.Func("csa_one_connection", ":", "", w.Unreachable) })
	},
	"stdio": func() []byte {
		m := w.New()
		m.Memory(1)
		m.Func("_start", ":", "", w.Nop)
		return m.Bytes()
	},
	// Hostile ones.
	"data-imported": func() []byte {
		m, f := w.Handler([2]string{"receive", "ii:i"})
		m.Export("csa_data", 0, int(f[0]))
		return m.Bytes()
	},
	"start-imported": func() []byte {
		m := w.New()
		f := m.Import("wasi_snapshot_preview1", "sched_yield", ":i")
		m.Memory(1)
		m.Export("csa_start", 0, int(f))
		return finishHandler(m)
	},
	"locals-bomb": func() []byte {
		m := w.New()
		m.Import("csa_v1", "send", "iii:i")
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.FuncRaw("", ":", []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7e, 0x0b}) // i64s
		return m.Bytes()
	},
	"count-bomb":     func() []byte { return append(w.New().Bytes(), w.Section(1, []byte{0xf0, 0xff, 0xff, 0xff, 0x0f})...) },
	"table-bomb":     func() []byte { m := w.Echo(); m.Table(1<<31 - 1); return m.Bytes() },
	"deep-nesting":   func() []byte { return doing(slices.Repeat([]byte{0x02, 0x40}, 60_000), slices.Repeat(w.End, 60_000)) },
	"giant-function": func() []byte { return doing(slices.Repeat(w.Nop, 1<<20)) },
	"giant-br-table": func() []byte { return doing(w.I32Const(0), w.BrTable(make([]int, 100_000)...)) },
	"shared-memory":  func() []byte { m := w.Echo(); m.Raw(5, []byte{1, 3, 1, 2}); return m.Bytes() },
	// Names that a terminal would act on, and that would forge a line of a report.
	"names": func() []byte {
		m := w.Echo()
		f := m.Func("x\x1b[2J\x1b[1;31mOWNED\a", ":", "")
		m.Export("line1\nshape     events", 0, int(f))
		m.Export("\u202eevil", 0, int(f))
		m.Custom("a\nrefused   nothing", nil)
		return m.Bytes()
	},
	"names-imported": func() []byte {
		m := w.New()
		m.Import("a\x1b[2J", "b\nexport    c ()", ":")
		m.Memory(1)
		return finishHandler(m)
	},
	"go-without-c-shared": func() []byte {
		m := w.Echo()
		m.Func("_start", ":", "")
		m.Custom("producers", []byte("\x02\x08language\x01\x02Go\x00\x0cprocessed-by\x01\x0eGo cmd/compile\x08go1.26.8"))
		return m.Bytes()
	},
	"go-js": func() []byte {
		m := w.New()
		for _, name := range []string{"runtime.wasmExit", "runtime.wasmWrite", "syscall/js.valueGet"} {
			m.Import("gojs", name, "i:")
		}
		m.Memory(1)
		return finishHandler(m)
	},
	// What wasm-ld makes of statics that nobody constructs.
	"constructors": func() []byte {
		m := w.New()
		m.Memory(1)
		ctors := m.Func("", ":", "")
		window := m.Func("", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		data := m.Func("", "ii:i", "", w.LocalGet(1))
		m.Func("csa_window", ":I", "", w.Call(ctors), w.Call(window))
		m.Func("csa_data", "ii:i", "", w.Call(ctors), w.LocalGet(0), w.LocalGet(1), w.Call(data))
		return m.Bytes()
	},
	// What wasm-opt makes of that.
	"constructors-inlined": func() []byte {
		m := w.New()
		m.Memory(1)
		ctors := m.Func("", ":", "", w.Nop)
		m.Func("csa_window", ":I", "", w.Call(ctors), w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.Func("csa_data", "ii:i", "", w.Call(ctors), w.LocalGet(1))
		return m.Bytes()
	},
	"component":          func() []byte { return w.Component(command("wasi_snapshot_preview1", "fd_write", "iiii:i")) },
	"component-preview2": func() []byte { return w.Component(command("wasi:cli/run@0.2.0", "run", ":i")) },
	"fuel-name": func() []byte {
		m := w.Echo()
		m.Export("bulkhead.fuel", 3, m.Global('I', true, w.I64Const(0)))
		return m.Bytes()
	},
	"fuel-index": func() []byte { return doing(w.I64Const(1<<62), w.GlobalSet(0)) },
	"busy-data": func() []byte {
		m, _ := w.Handler()
		m.Func("csa_data", "ii:i", "", w.Forever(), w.I32Const(0))
		return m.Bytes()
	},
	"busy-start":     func() []byte { m := w.Echo(); m.Start(m.Func("", ":", "", w.Forever())); return m.Bytes() },
	"busy-csa-start": func() []byte { return starting(w.Forever(), w.I32Const(0)) },
	// Several things are wrong with it at once.
	"all-wrong": func() []byte {
		m := w.New()
		m.Import("env", "first", "i:")
		m.Import("csa_v1", "sned", "iii:i")
		m.Memory(8000)
		return m.Bytes()
	},
}

// command is a command that imports a function.
func command(module, name, signature string) []byte {
	m := w.New()
	m.Import(module, name, signature)
	m.Memory(1)
	m.Func("_start", ":", "")
	return m.Bytes()
}

func finishHandler(m *w.Module) []byte {
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	return m.Bytes()
}

func handlerWithMemory(pages int) []byte {
	m := w.New()
	m.Memory(pages)
	return finishHandler(m)
}

// doing is an echo with one more function.
func doing(body ...[]byte) []byte {
	m := w.Echo()
	m.Func("", ":", "", body...)
	return m.Bytes()
}

func starting(body ...[]byte) []byte {
	m := w.Echo()
	m.Func("csa_start", ":i", "", body...)
	return m.Bytes()
}

func writeModule(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wasm KIND FILE")
	}
	build := modules[args[0]]
	if build == nil {
		ts.Fatalf("there is no module %q; there are %s", args[0], strings.Join(slices.Sorted(maps.Keys(modules)), ", "))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), build(), 0o600))
}
