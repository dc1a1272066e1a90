package wasmtest

// The window of the guests below.
const (
	WindowAt   = 4096
	WindowSize = 16384
)

// Handler starts a handler: it has one page of memory and csa_window. Imports
// are given first, each as "name signature", and are returned in order.
func Handler(imports ...[2]string) (*Module, []Func) {
	m := New()
	var fs []Func
	for _, i := range imports {
		fs = append(fs, m.Import("csa_v1", i[0], i[1]))
	}
	m.Memory(1)
	m.Func("csa_window", ":I", "", I64Const(Window(WindowAt, WindowSize)))
	return m, fs
}

// Echo is a handler that sends back what it gets: it consumes what the inbox
// takes, and all or nothing of it is left to the host.
func Echo() *Module {
	m, f := Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "i",
		LocalGet(0), I32Const(WindowAt), LocalGet(1), Call(f[0]), LocalTee(2),
		I32Const(0), I32LtS,
		IfElse('i', I32Const(0), LocalGet(2)))
	return m
}

// PassesOn is a handler of which an export is an imported function.
func PassesOn(module, name, signature, export string) *Module {
	m := New()
	f := m.Import(module, name, signature)
	m.Memory(1)
	m.Export(export, 0, int(f))
	if export != "csa_window" {
		m.Func("csa_window", ":I", "", I64Const(Window(WindowAt, WindowSize)))
	}
	if export != "csa_data" {
		m.Func("csa_data", "ii:i", "", LocalGet(1))
	}
	return m
}

// HandlerWith is a handler that consumes everything, with something done to it first, so that
// imports come in front.
func HandlerWith(also func(m *Module)) []byte {
	m := New()
	also(m)
	return consumes(m, Window(WindowAt, WindowSize))
}

// Windowed is a handler that consumes everything, and whose csa_window answers window.
func Windowed(window int64) []byte { return consumes(New(), window) }

func consumes(m *Module, window int64) []byte {
	m.Memory(1)
	m.Func("csa_window", ":I", "", I64Const(window))
	m.Func("csa_data", "ii:i", "", LocalGet(1))
	return m.Bytes()
}

// CommandWith is a command that does nothing, likewise.
func CommandWith(also func(m *Module)) []byte {
	m := New()
	also(m)
	m.Memory(1)
	m.Func("_start", ":", "")
	return m.Bytes()
}
