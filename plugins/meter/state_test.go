package meter_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero/api"
)

// What code changes is found, and nothing that it only reads.
func TestStateOf(t *testing.T) {
	v128 := append([]byte{0xfd, 0x0c}, make([]byte, 16)...)
	global := func(letter byte, value []byte) *w.Module {
		m := w.New()
		m.Memory(1)
		i := m.Global(letter, true, value)
		m.Func("f", ":", "", value, w.GlobalSet(i))
		return m
	}
	read := w.New()
	read.Memory(1)
	read.Global('i', true, w.I32Const(1))
	second := read.Global('i', true, w.I32Const(1))
	read.Global('i', false, w.I32Const(1))
	fourth := read.Global('F', true, w.F64Const(1))
	read.Func("f", ":i", "", w.F64Const(2), w.GlobalSet(fourth), w.I32Const(3), w.GlobalSet(second), w.GlobalGet(0))
	table := w.New()
	table.Table(2)
	table.Func("f", ":", "", w.I32Const(0), w.RefNull(), []byte{0x26, 0})
	copies := w.New()
	copies.Table(2)
	copies.Func("f", ":", "", w.I32Const(0), w.I32Const(0), w.I32Const(0), w.TableCopy(0, 0))
	drops := w.New()
	drops.Memory(1)
	drops.PassiveData("x")
	drops.Func("f", ":", "", []byte{0xfc, 9, 0})
	many := w.New()
	var set []byte
	for range meter.MaxStateGlobals + 1 {
		set = append(set, w.Cat(w.I32Const(1), w.GlobalSet(many.Global('i', true, w.I32Const(0))))...)
	}
	many.Func("f", ":", "", set)
	for name, c := range map[string]struct {
		m      *w.Module
		global []uint32
		hidden []string
	}{
		"nothing":       {w.New(), nil, nil},
		"two of four":   {read, []uint32{1, 3}, nil},
		"an i64":        {global('I', w.I64Const(1)), []uint32{0}, nil},
		"a vector":      {global('V', v128), nil, []string{"writes to a global of type v128"}},
		"a reference":   {global('r', w.RefNull()), nil, []string{"writes to a global that holds a reference"}},
		"a table":       {table, nil, []string{"writes to a table"}},
		"a table's":     {copies, nil, []string{"writes to a table"}},
		"a segment":     {drops, nil, []string{"drops segments"}},
		"many globals":  {many, nil, []string{"writes to 1001 globals, and 1000 are the most"}},
		"memory itself": {stores(), nil, nil},
	} {
		m, err := wasm.Parse(c.m.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := meter.StateOf(m)
		if !slices.Equal(s.Globals, c.global) || !slices.Equal(s.Hidden, c.hidden) {
			t.Errorf("%s: it finds %+v; want %v and %q", name, s, c.global, c.hidden)
		}
	}
}

func stores() *w.Module {
	m := w.New()
	m.Memory(1)
	m.Func("f", ":", "", w.I32Const(0), w.I32Const(1), w.I32Store8(0))
	return m
}

// detached has data of every kind, and one global that it writes to.
func detached() *w.Module {
	m := w.New()
	m.Memory(2, 5)
	m.Data(70_000, "second page")
	m.PassiveData("passive")
	m.Data(0, "first")
	g := m.Global('I', true, w.I64Const(40))
	m.Func("more", ":I", "", w.GlobalGet(g), w.I64Const(1), []byte{0x7c}, w.GlobalSet(g), w.GlobalGet(g))
	m.Func("load", "i:i", "", w.LocalGet(0), w.I32Load8U(0))
	m.Func("init", "i:", "", w.I32Const(100), w.I32Const(0), w.LocalGet(0), w.MemoryInit(1))
	m.Func("active", "i:", "", w.I32Const(100), w.I32Const(0), w.LocalGet(0), w.MemoryInit(0))
	return m
}

// A detached module's instance starts with nothing in its memory, what belongs there
// is told, and what it changes can be read and written.
func TestDetach(t *testing.T) {
	b := detached().Bytes()
	o := meter.Options{MaxPages: 4, Detach: true}
	metered := rewritten(t, b, o)
	want := []meter.Segment{{Offset: 70_000, Bytes: []byte("second page")}, {Offset: 0, Bytes: []byte("first")}}
	if !slices.EqualFunc(metered.Data, want, func(a, b meter.Segment) bool {
		return a.Offset == b.Offset && string(a.Bytes) == string(b.Bytes)
	}) {
		t.Errorf("its data are %v; want %v", metered.Data, want)
	}
	if !slices.Equal(metered.State.Globals, []uint32{0}) || metered.State.Hidden != nil {
		t.Errorf("its state is %+v", metered.State)
	}
	g := start(t, b, o)
	for _, at := range []uint64{0, 70_000} {
		if v := g.must("load", at); v != 0 {
			t.Errorf("byte %d is %d", at, v)
		}
	}
	if g.must("more"); g.must("more") != 42 {
		t.Error("its global does not count")
	}
	global, ok := g.mod.ExportedGlobal(meter.GlobalExport(0)).(api.MutableGlobal)
	if !ok {
		t.Fatal("the global is not exported")
	}
	if v := global.Get(); v != 42 {
		t.Errorf("the global is %d", v)
	}
	global.Set(6)
	if v := g.must("more"); v != 7 {
		t.Errorf("put back, it counts to %d", v)
	}
	// A passive segment is as it was, and an active one is over once it is in place.
	g.must("init", 7)
	if v := g.must("load", 106); v != 'e' {
		t.Errorf("the passive segment's last byte is %d", v)
	}
	g.must("active", 0)
	if _, err := g.call("active", 1); err == nil {
		t.Error("an active segment can be read again")
	}
	// One page more than it may have is declared.
	if limits := g.mod.Memory().Definition(); !hasMax(limits, 5) {
		max, _ := limits.Max()
		t.Errorf("%d pages are declared as the most", max)
	}
}

func hasMax(d api.MemoryDefinition, want uint32) bool {
	max, ok := d.Max()
	return ok && max == want
}

// Without Detach nothing of that happens.
func TestNotDetached(t *testing.T) {
	g := start(t, detached().Bytes(), meter.Options{MaxPages: 4})
	if v := g.must("load", 0); v != 'f' {
		t.Errorf("byte 0 is %d", v)
	}
	if !hasMax(g.mod.Memory().Definition(), 4) || g.mod.ExportedGlobal(meter.GlobalExport(0)) != nil {
		t.Error("it is made ready for another's state")
	}
}

// A memory without a bound cannot be detached, as there would be no page more; nor one
// that starts above its bound.
func TestDetachNeedsABound(t *testing.T) {
	m, err := wasm.Parse(detached().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, pages := range []uint32{0, 1, wasm.MaxPages} {
		if _, err := meter.Rewrite(m, meter.Options{MaxPages: pages, Detach: true}); err == nil {
			t.Errorf("with at most %d pages it is made", pages)
		}
	}
}

// Segments that nothing refers to are left out: what belongs in the memory is told all
// the same.
func TestSegmentsThatNobodyMisses(t *testing.T) {
	m := w.New()
	m.Memory(1)
	m.Data(8, "here")
	m.Func("load", "i:i", "", w.LocalGet(0), w.I32Load8U(0))
	o := meter.Options{MaxPages: 4, Detach: true}
	with := rewritten(t, m.Bytes(), o)
	if bytes.Contains(with.Code, []byte("here")) || len(with.Data) != 1 || string(with.Data[0].Bytes) != "here" {
		t.Errorf("the data are %v, in a module of %d bytes", with.Data, len(with.Code))
	}
	if v := start(t, m.Bytes(), o).must("load", 8); v != 0 {
		t.Errorf("byte 8 is %d", v)
	}
}

// However segments lie, Compact's leave the same memory as they do.
func TestCompact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	memory := func(data []meter.Segment) (b [2000]byte) {
		for _, d := range data {
			copy(b[d.Offset:], d.Bytes)
		}
		return b
	}
	fewer := 0
	for range 2000 {
		var data []meter.Segment
		at := uint32(0)
		for range r.IntN(12) {
			if r.IntN(6) == 0 {
				at = r.Uint32N(1000)
			}
			b := make([]byte, r.IntN(90))
			for k := range b {
				b[k] = byte(r.Uint32())
			}
			data = append(data, meter.Segment{Offset: at, Bytes: b})
			at += uint32(len(b)) + r.Uint32N(100)
			if at > 1800 {
				at = 0
			}
		}
		compact := meter.Compact(data)
		fewer += len(data) - len(compact)
		if memory(data) != memory(compact) {
			t.Fatalf("%v\nbecome\n%v", data, compact)
		}
	}
	if fewer == 0 {
		t.Error("it never makes one segment of two")
	}
}
