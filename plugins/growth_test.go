package plugins

import (
	"errors"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// grower returns from csa_data what memory.grow by len pages returned.
func grower(min int, max ...int) *w.Module {
	m := w.New()
	m.Import("csa_v1", "log", "iii:i")
	m.Memory(min, max...)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1), w.MemoryGrow)
	return m
}

func TestMemoryGrowth(t *testing.T) {
	n := newTenant(t, 10*wasm.PageSize)
	n.acc.limit.Store(6 * wasm.PageSize)
	i := n.start(grower(1), listener())
	grow := func(pages int) int32 {
		r, ok := i.call(callData, 0, uint64(pages))
		if !ok {
			t.Fatal("it trapped")
		}
		return int32(r)
	}
	if r := grow(2); r != 1 || i.Memory() != 3*wasm.PageSize || n.acc.held.Load() != 3*wasm.PageSize {
		t.Errorf("growing by 2 answers %d; it has %d", r, i.Memory())
	}
	for _, one := range []struct{ much, refused int }{{4, 1}, {7, 1}, {8, 1}, {65532, 1}, {65533, 0}, {65536, 0}, {-1, 0}} {
		before := n.acc.refused.Load()
		if r := grow(one.much); r != -1 {
			t.Errorf("growing by %d answers %d", one.much, r)
		}
		// That no memory has 65,536 pages is not the tenant's limit.
		if refused := n.acc.refused.Load() - before; refused != int64(one.refused) {
			t.Errorf("growing by %d is refused %d times, want %d", one.much, refused, one.refused)
		}
	}
	other, err := i.module.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if r := grow(3); r != -1 {
		t.Error("two instances have more than the account")
	}
	other.Close()
	if r := grow(3); r != 3 {
		t.Error("what the other had is not given back")
	}
	if _, err := i.module.Instantiate(listener()); !errors.Is(err, ErrMemory) || strings.Contains(err.Error(), "\n") {
		t.Errorf("an instance too many gives %v", err)
	}
	i.Close()
	if held := n.acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
	// The limit of one instance, below what the account has.
	n.acc.limit.Store(0)
	i = n.start(grower(1), listener())
	if grow(9) != 1 || grow(1) != -1 {
		t.Error("the limit of one instance does not hold")
	}
	i = n.start(grower(1, 2), listener())
	n.acc.limit.Store(n.acc.held.Load() + wasm.PageSize)
	before := n.acc.refused.Load()
	if grow(2) != -1 || grow(70) != -1 || grow(1) != 1 || grow(1) != -1 {
		t.Error("the module's own limit does not hold")
	}
	if refused := n.acc.refused.Load() - before; refused != 0 {
		t.Errorf("the module's own limit counts %d times as the tenant's", refused)
	}
}

// A window below the end of a memory that has grown stays good.
func TestWindowAfterGrowth(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(grower(1), listener())
	before := i.Window(nil)
	i.call(callData, 0, 5)
	after := i.Window(nil)
	if &before[0] != &after[0] || len(after) != w.WindowSize || cap(after) != w.WindowSize {
		t.Error("the window has moved")
	}
}

func TestTablesAreBounded(t *testing.T) {
	n := newTenant(t, 0)
	m := grower(1)
	m.Table(1)
	m.Func("csa_timer", "ii:", "", w.RefNull(), w.LocalGet(1), w.TableGrow(0), w.I32Const(-1), w.I32Ne, w.If(w.Unreachable))
	i := n.start(m, listener())
	for _, k := range []int32{wasm.MaxGrowth + 1, 1 << 30, -1} {
		if _, ok := i.call(callTimer, 0, uint64(uint32(k))); !ok {
			t.Fatalf("a table grew by %d", uint32(k))
		}
	}
	if _, ok := i.call(callTimer, 0, wasm.MaxGrowth); ok {
		t.Error("a table does not grow to the bound")
	}
}

// Tables that are worth it are charged like memory.
func TestTablesAreCharged(t *testing.T) {
	n := newTenant(t, 0)
	small, large := grower(1), grower(1)
	small.Table(1000, 1000)
	large.Table(100000, 100000)
	i := n.start(small, listener())
	if held := n.acc.held.Load(); held != wasm.PageSize {
		t.Errorf("a small table makes it %d bytes", held)
	}
	i.Close()
	i = n.start(large, listener())
	if held := n.acc.held.Load(); held < wasm.PageSize+800000 {
		t.Errorf("a large table makes it %d bytes", held)
	}
	n.acc.limit.Store(n.acc.held.Load() + 2*wasm.PageSize)
	if _, err := i.module.Instantiate(listener()); !errors.Is(err, ErrMemory) {
		t.Errorf("a second one gives %v", err)
	}
	i.Close()
	if held := n.acc.held.Load(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}
