package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	w "bulkhead/internal/wasmtest"
)

// written is a handler whose plugin is the module.
func written(t *testing.T, m *w.Module) play.Handler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.wasm")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return play.Handler{Plugin: path}
}

// refused wants that a module does not serve, and that the reason has all these texts.
func refused(t *testing.T, m *w.Module, reasons ...string) {
	t.Helper()
	notServed(t, written(t, m), reasons...)
}

// notServed is refused for a module that is written.
func notServed(t *testing.T, h play.Handler, reasons ...string) {
	t.Helper()
	f, err := talk.Parse("it", []byte("== nothing\n"))
	if err != nil {
		t.Fatal(err)
	}
	h.State = "" // nothing of it is worth keeping
	_, err = play.Play(t.Context(), h, f.Cases[0], play.Written)
	if err == nil {
		t.Error("it serves")
		return
	}
	if failure := (*play.Failure)(nil); errors.As(err, &failure) {
		t.Fatal(err)
	}
	for _, reason := range reasons {
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("it is refused since %v, which does not say %q", err, reason)
		}
	}
}

// least is a handler that has what is required, but for the exports that are named.
func least(without ...string) *w.Module {
	m := w.New()
	has := func(name string) string {
		for _, other := range without {
			if other == name {
				return "not_" + name
			}
		}
		return name
	}
	m.HiddenMemory(1)
	m.Export(has("memory"), 2, 0)
	m.Func(has("csa_window"), ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func(has("csa_data"), "ii:i", "", w.LocalGet(1))
	return m
}

func TestRequiredExports(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"memory", "csa_window", "csa_data"} {
		refused(t, least(name), name)
	}
	// The others may be absent, each and all: connections are accepted, nobody hears of timers and
	// room, and the end of the peer ends the connection.
	says(t, written(t, least()), "> anything\n\n> and more\n>EOF\n<EOF\nclosed OK\n")
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"timer", "iii:i"})
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(0), w.I32Const(1), w.I32Const(1), w.Call(f[1]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]))
	says(t, written(t, m), "> one\n< one\nwait 1s\n> two\n< two\n>EOF\n<EOF\nclosed OK\n")
}

func TestRefusedModules(t *testing.T) {
	t.Parallel()
	with := func(also func(m *w.Module)) *w.Module {
		m := w.New()
		also(m)
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		return m
	}
	behind := func(also func(m *w.Module)) *w.Module {
		m := least()
		also(m)
		return m
	}
	wrong := least("csa_data")
	wrong.Func("csa_data", "i:i", "", w.LocalGet(0))
	refused(t, wrong, "csa_data")
	refused(t, behind(func(m *w.Module) { m.Func("csa_open", "i:", "") }), "csa_open")
	refused(t, behind(func(m *w.Module) { m.Func("csa_closed", "i:", "") }), "csa_closed")
	refused(t, w.PassesOn("csa_v1", "receive", "ii:i", "csa_data"), "csa_data")
	refused(t, with(func(m *w.Module) { m.Import("csa_v1", "recieve", "ii:i") }), "recieve")
	refused(t, with(func(m *w.Module) { m.Import("csa_v1", "send", "ii:i") }), "send")
	refused(t, with(func(m *w.Module) { m.Import("env", "abort", "iiii:") }), "abort")
	refused(t, with(func(m *w.Module) { m.Import("wasi_snapshot_preview1", "sock_listen", "ii:i") }), "sock_listen")
	says(t, written(t, with(func(m *w.Module) { m.Import("wasi_snapshot_preview1", "fd_close", "i:i") })), "> anything\n")
}

func TestWindows(t *testing.T) {
	t.Parallel()
	const page = 64 << 10
	windowed := func(pages int, at, length int64) *w.Module {
		m := w.New()
		m.Memory(pages)
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(at, length)))
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		return m
	}
	for _, c := range []struct {
		pages      int
		at, length int64
	}{
		{1, 0, 0}, {1, 0, 4095}, {1, page - 4095, 4096}, {1, page, 4096}, {1, 1<<32 - 4096, 4096},
		{32, 0, 1<<20 + 1}, {1, 4096, 1 << 20}, {1, 0, 1<<32 - 1},
	} {
		refused(t, windowed(c.pages, c.at, c.length), "csa_window")
	}
	for _, c := range []struct {
		pages      int
		at, length int64
	}{{1, 0, 4096}, {1, page - 4096, 4096}, {32, 100, 1 << 20}} {
		says(t, written(t, windowed(c.pages, c.at, c.length)), "> anything\n")
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for code, name := range map[int32]string{-5: "-5", -1: "-1", -1000: "-1000"} {
		m := least()
		m.Func("csa_start", ":i", "", w.I32Const(code))
		refused(t, m, "csa_start", name)
	}
	m := least()
	m.Func("csa_start", ":i", "", w.I32Const(7))
	says(t, written(t, m), "> anything\n")
}

// The places in which an instance starts, in their order.
func TestStartOrder(t *testing.T) {
	t.Parallel()
	m := w.New()
	log := m.Import("csa_v1", "log", "iii:i")
	m.Memory(1)
	m.Data(0, "abcd")
	step := func(at int32) []byte { return w.Cat(w.I32Const(1), w.I32Const(at), w.I32Const(1), w.Call(log), w.Drop) }
	m.Start(m.Func("", ":", "", step(0)))
	m.Func("_initialize", ":", "", step(1))
	m.Func("csa_start", ":i", "", step(2), w.I32Const(0))
	m.Func("csa_window", ":I", "", step(3), w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	says(t, written(t, m), "> anything\nlog a\nlog b\nlog c\nlog d\n")
}

// A guest that does not export csa_open hears of a connection by what comes, and of none that has
// ended before.
func TestWithoutOpen(t *testing.T) {
	t.Parallel()
	m, f := w.Handler([2]string{"count", "iiI:i"})
	m.Data(0, "datastopquit")
	counts := func(at int32) []byte {
		return w.Cat(w.I32Const(at), w.I32Const(4), w.I64Const(1), w.Call(f[0]), w.Drop)
	}
	m.Func("csa_data", "ii:i", "", counts(0), w.LocalGet(1))
	m.Func("csa_eof", "i:", "", counts(4))
	m.Func("csa_closed", "ii:", "", counts(8))
	h := written(t, m)
	says(t, h, ">RST\nb> \"x\"\nb>RST\nc>EOF\nc>RST\ncount data 1\ncount stop 1\ncount quit 2\n")
}

// A module that says that it keeps one connection's state serves where each has an instance, is not
// called for that, and is refused elsewhere.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	m := least()
	m.Func("csa_one_connection", ":", "", w.Unreachable)
	h := written(t, m)
	says(t, h, "> anything\nb> anything\n>EOF\n<EOF\nclosed OK\n")
	for _, h.Instance = range []string{"loop", "listener"} {
		notServed(t, h, "csa_one_connection")
	}
}
