package admit

import (
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

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
	if rep, err := Inspect(w.CommandWith(func(*w.Module) {}), 0); err != nil || rep.Shape != Stdio || rep.Refused != nil {
		t.Errorf("inspect says of a command %+v, %v", rep, err)
	}
	empty := w.New()
	empty.Memory(1)
	if rep, err := Inspect(empty.Bytes(), 0); err != nil || rep.Shape != "" || rep.Refused == nil {
		t.Errorf("inspect says of a library %+v, %v", rep, err)
	}
}

// What a module throws is said, and one whose exceptions cannot be rewritten is refused.
func TestInspectExceptions(t *testing.T) {
	module := func(kind byte) []byte {
		return w.HandlerWith(func(m *w.Module) {
			m.Func("f", ":", "", []byte{0x06, 0x40, 0x19, 0x09, 0, 0x0b})
			m.Raw(13, []byte{2, 0, byte(m.Type(":")), 0, byte(m.Type(string(kind) + ":"))})
		})
	}
	rep, err := Inspect(module('i'), 0)
	if err != nil || !rep.Exceptions || !rep.Legacy || rep.Tags != 2 || rep.Refused != nil || rep.Unsnapshotable != nil {
		t.Errorf("inspect says %+v, %v", rep, err)
	}
	rep, err = Inspect(module('V'), 0)
	if err != nil || len(rep.Refused) != 1 || !strings.Contains(rep.Refused[0], "its tag 1 carries (v128)") {
		t.Errorf("inspect says of a tag that carries much %+v, %v", rep, err)
	}
}

// The limit of a memory is in whole pages, and never more than the engine can be told of.
func TestPages(t *testing.T) {
	for memory, want := range map[int64]uint32{
		-1: DefaultMemory / wasm.PageSize, 0: DefaultMemory / wasm.PageSize, 1: 1, wasm.PageSize: 1,
		3*wasm.PageSize - 1: 2, 1 << 40: wasm.MaxPages - 1,
	} {
		if got := Pages(memory); got != want {
			t.Errorf("%d bytes are %d pages, want %d", memory, got, want)
		}
	}
}
