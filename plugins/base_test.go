package plugins

import (
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// Where the module of preparingModule counts, and what its csa_data is asked for its global.
const (
	initialized = 520 + 4*iota
	prepared
	scriptNow  // csa_start writes down the script here
	askGlobal  = -1
	askSize    = -2
	inTheGrown = wasm.PageSize + 8
)

// preparingModule is an interpreter that prepares itself: it counts that, sets a global, grows, and
// writes to what it has grown by. csa_data answers with the word at an address.
func preparingModule() []byte {
	m := w.New()
	m.Memory(1)
	m.Data(512, "seen")
	global := m.Global('i', true, w.I32Const(0))
	more := func(at int32) []byte {
		return w.Cat(w.I32Const(at), w.I32Const(at), w.I32Load(0), w.I32Const(1), w.I32Add, w.I32Store(0))
	}
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("_initialize", ":", "", more(initialized))
	m.Func("bulkhead_prepare", ":", "", more(prepared), w.I32Const(5), w.GlobalSet(global),
		w.I32Const(1), w.MemoryGrow, w.Drop, w.I32Const(inTheGrown), w.I32Const(9), w.I32Store(0))
	m.Func("csa_start", ":i", "", w.I32Const(scriptNow), w.I32Const(scriptAt), w.I32Load(0), w.I32Store(0), w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(1), w.I32Const(askGlobal), w.I32Eq, w.If(w.GlobalGet(global), w.Return),
		w.LocalGet(1), w.I32Const(askSize), w.I32Eq, w.If(w.MemorySize, w.Return),
		w.LocalGet(1), w.I32Load(0))
	return m.Bytes()
}

// An interpreter starts and prepares itself once, and the instances of all tenants go on from
// there. Those that may have less memory than that has start by themselves.
func TestInterpretersPrepareOnce(t *testing.T) {
	p, _ := interpreterOf(t, preparingModule())
	for n, pages := range []int64{16, 2, 1, 3} {
		tenant := newTenant(t, 0)
		m := tenant.loadScript(p, pages, n)
		if m.base == nil {
			t.Skip("this system has no images")
		}
		i, err := m.Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		want := map[int32]uint32{initialized: 1, prepared: 1, scriptNow: secret(n), 512: 0x6e656573, askGlobal: 5, askSize: 2, inTheGrown: 9}
		if pages == 1 {
			want = map[int32]uint32{initialized: 1, prepared: 0, scriptNow: secret(n), 512: 0x6e656573, askGlobal: 0, askSize: 1}
		}
		for ask, answer := range want {
			if got := do(t, i, uint64(uint32(ask))); got != answer {
				t.Errorf("with %d pages: asked for %d it answers %#x, want %#x", pages, ask, got, answer)
			}
		}
		if held := int64(want[askSize]) * wasm.PageSize; tenant.acc.held.Load() != held {
			t.Errorf("with %d pages: %d bytes are charged, want %d", pages, tenant.acc.held.Load(), held)
		}
		s, err := m.Snapshot(listener())
		if err != nil {
			t.Fatal(err)
		}
		if n := s.image.size; n != int(want[askSize])*wasm.PageSize {
			t.Errorf("with %d pages: a snapshot has %d bytes", pages, n)
		}
		s.Close()
	}
}

// A module of a tenant's own that exports what interpreters do is never asked to prepare itself.
func TestOnlyInterpretersPrepare(t *testing.T) {
	m := newTenant(t, 0).load(preparingModule(), Events)
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if r := do(t, i, prepared); r != 0 {
		t.Errorf("it was prepared %d times", r)
	}
}

// An interpreter that cannot prepare itself serves as any module would.
func TestInterpreterThatCannotPrepare(t *testing.T) {
	m := w.New()
	m.Memory(1)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("bulkhead_prepare", ":", "", w.Unreachable)
	m.Func("csa_data", "ii:i", "", w.I32Const(scriptAt), w.I32Load(0))
	p, _ := interpreterOf(t, m.Bytes())
	of := newTenant(t, 0).loadScript(p, 4, 3)
	i, err := of.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if r := do(t, i, 0); of.base != nil || r != secret(3) {
		t.Errorf("it has the script %#x, and the base %v", r, of.base)
	}
}
