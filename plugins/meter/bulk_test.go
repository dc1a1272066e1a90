package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// bulk is a module that exports each bulk operation as a function.
func bulk() *w.Module {
	m := w.New()
	m.Import("host", "f", "i:i")
	m.Memory(5, 7)
	m.Table(10, 20)
	m.Table(30)
	three := w.Cat(w.LocalGet(0), w.LocalGet(1), w.LocalGet(2))
	m.Func("fill", "iii:", "", three, w.MemoryFill)
	m.Func("copy", "iii:", "", three, w.MemoryCopy)
	m.Func("init0", "iii:", "", three, []byte{0xfc, 8, 0, 0})
	m.Func("init1", "iii:", "", three, []byte{0xfc, 8, 1, 0})
	m.Func("drop", ":", "", []byte{0xfc, 9, 0, 0xfc, 9, 1, 0xfc, 13, 0})
	m.Func("grow", "i:i", "", w.LocalGet(0), w.MemoryGrow)
	m.Func("size", ":i", "", w.MemorySize)
	m.Func("tgrow", "i:i", "", w.RefNull(), w.LocalGet(0), w.TableGrow(0))
	m.Func("tfill", "iii:", "", w.LocalGet(0), w.RefNull(), w.LocalGet(2), []byte{0xfc, 17, 1})
	m.Func("tcopy", "iii:", "", three, []byte{0xfc, 14, 1, 0})
	m.Func("tinit", "iii:", "", three, []byte{0xfc, 12, 0, 1})
	m.Func("isnull", "i:i", "", w.LocalGet(0), []byte{0x25, 1, 0xd1})
	m.Raw(9, []byte{1, 1, 0, 4, 0, 1, 2, 3}) // four functions, passive
	m.Raw(12, []byte{2})
	m.Raw(11, w.Cat([]byte{2, 1, 5}, []byte("hello"), []byte{1}, leb(200_000), pattern(200_000)))
	return m
}

// pattern is n bytes, of which no two stretches near each other are equal.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// twins are a module as it is and rewritten.
type twins struct {
	t     *testing.T
	plain api.Module
	paid  *guest
}

func newTwins(t *testing.T, b []byte) *twins {
	t.Helper()
	r := engine(t, wazero.NewRuntimeConfigCompiler())
	g := startIn(t, r, b, meter.Options{})
	plain, err := r.InstantiateWithConfig(t.Context(), b, wazero.NewModuleConfig().WithName("plain"))
	if err != nil {
		t.Fatal(err)
	}
	return &twins{t, plain, g}
}

// trap is the first line of an error, which names what trapped.
func trap(err error) string {
	s, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return s
}

// call wants the same from both, and returns what the rewritten one paid.
func (tw *twins) call(name string, args ...uint64) int64 {
	tw.t.Helper()
	before := tw.paid.used()
	want, wantErr := tw.plain.ExportedFunction(name).Call(tw.t.Context(), args...)
	got, err := tw.paid.call(name, args...)
	if fmt.Sprint(got) != fmt.Sprint(want) || trap(err) != trap(wantErr) {
		tw.t.Errorf("%s%v is %v, %s; when it does not pay %v, %s", name, args, got, trap(err), want, trap(wantErr))
	}
	if a, b := tw.plain.Memory(), tw.paid.mod.Memory(); a != nil {
		x, _ := a.Read(0, a.Size())
		y, _ := b.Read(0, b.Size())
		if !bytes.Equal(x, y) {
			tw.t.Fatalf("%s%v leaves another memory", name, args)
		}
	}
	return tw.paid.used() - before
}

// Bulk operations on memory do what they did, at every border of a chunk and of the
// memory, and trap without having written.
func TestBulkMemory(t *testing.T) {
	tw := newTwins(t, bulk().Bytes())
	const size, chunk = 5 * wasm.PageSize, meter.Chunk
	for _, m := range []api.Module{tw.plain, tw.paid.mod} {
		m.Memory().Write(0, pattern(size))
	}
	lengths := []uint64{0, 1, 100, chunk - 1, chunk, chunk + 1, 2 * chunk, 2*chunk + 7, 3*chunk - 1, 200_000, 200_001, size - 1, size, size + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	places := []uint64{0, 1, 5, 100, chunk - 1, chunk, chunk + 3, 2 * chunk, size - 200_000, size - chunk, size - 1, size, size + 1, 1<<32 - 1}
	for _, n := range lengths {
		for _, to := range places {
			tw.call("fill", to, n&0xff, n)
			for _, from := range places {
				tw.call("copy", to, from, n)
			}
			tw.call("init0", to, 0, n)
			tw.call("init1", to, 0, n)
			tw.call("init1", to, 3, n)
		}
		for _, from := range []uint64{1, 5, 6, chunk, 200_000 - chunk, 200_000, 200_001, 1<<32 - 1} {
			tw.call("init0", 7, from, n)
			tw.call("init1", 7, from, n)
		}
	}
	tw.call("drop")
	for _, n := range lengths {
		for _, from := range []uint64{0, 1, 200_000} {
			tw.call("init0", 7, from, n)
			tw.call("init1", 7, from, n)
		}
	}
}

// Tables and growth do what they did too.
func TestBulkTables(t *testing.T) {
	tw := newTwins(t, bulk().Bytes())
	numbers := []uint64{0, 1, 3, 4, 5, 9, 10, 11, 20, 30, 31, 1 << 31, 1<<32 - 1}
	for _, n := range numbers {
		for _, a := range numbers {
			tw.call("tinit", a, 0, n)
			tw.call("tinit", 2, a, n)
			tw.call("tcopy", a, 2, n)
			tw.call("tcopy", 2, a, n)
			tw.call("tfill", a, 0, n)
		}
		tw.call("tgrow", n)
		for i := range uint64(30) {
			tw.call("isnull", i)
		}
	}
	tw.call("drop")
	tw.call("tinit", 0, 0, 0)
	tw.call("tinit", 0, 0, 1)
	for _, n := range []uint64{0, 1, 5, 1 << 16, 1<<32 - 1, 1} {
		tw.call("grow", n)
		tw.call("size")
	}
}

// What is paid grows with the length, and not with a length that cannot be.
func TestBulkPays(t *testing.T) {
	tw := newTwins(t, bulk().Bytes())
	base := tw.call("fill", 0, 0, 0)
	for _, n := range []uint64{16, 6400, meter.Chunk, 3 * meter.Chunk, 5 * meter.Chunk} {
		if got, want := tw.call("fill", 0, 1, n)-base, int64(n/meter.BytesPerUnit); got != want {
			t.Errorf("filling %d bytes costs %d more than none, not %d", n, got, want)
		}
		if got := tw.call("copy", 0, 0, n) - base; got != int64(n/meter.BytesPerUnit) {
			t.Errorf("copying %d bytes costs %d more than none", n, got)
		}
	}
	if got := tw.call("fill", 1, 1, 1<<32-1); got != base {
		t.Errorf("filling that traps costs %d", got)
	}
	none := tw.call("grow", 0)
	if got := tw.call("grow", 1) - none; got != meter.PageUnits {
		t.Errorf("a page costs %d", got)
	}
	for _, n := range []uint64{1<<32 - 1, 65536, 2} {
		if got := tw.call("grow", n) - none; got != 0 {
			t.Errorf("%d pages that there cannot be cost %d", n, got)
		}
	}
	none = tw.call("tgrow", 0)
	if got := tw.call("tgrow", 1<<31) - none; got != 0 {
		t.Errorf("elements that there cannot be cost %d", got)
	}
	if got := tw.call("tgrow", 7) - none; got != 7*meter.ElementUnits {
		t.Errorf("7 elements cost %d", got)
	}
	none = tw.call("tinit", 0, 0, 0)
	if got := tw.call("tinit", 0, 0, 4) - none; got != 4*meter.ElementUnits {
		t.Errorf("4 elements of a segment cost %d", got)
	}
}

// Between two checks no more than a chunk is worked on: with a slice of
// less, each chunk asks for more.
func TestBulkChecks(t *testing.T) {
	g := start(t, bulk().Bytes(), meter.Options{})
	g.slice = 1
	g.must("fill", 0, 1, 5*meter.Chunk)
	if g.refills < 5 || g.lowest < -(meter.Chunk/meter.BytesPerUnit+100) {
		t.Errorf("filling 5 chunks checks %d times, and the debt was up to %d", g.refills, -g.lowest)
	}
	g.stop = 1
	if _, err := g.call("copy", 0, 1, 4*meter.Chunk); !errors.Is(err, stopped{}) {
		t.Errorf("a copy that is to stop says %v", err)
	}
}

// Traces name the helpers.
func TestHelpersAreNamed(t *testing.T) {
	g := start(t, bulk().Bytes(), meter.Options{})
	for name, want := range map[string]string{"fill": "memory.fill", "copy": "memory.copy", "init1": "memory.init 1", "tinit": "table.init 1 0", "tcopy": "table.copy 1 0", "tfill": "table.fill 1"} {
		_, err := g.call(name, 1, 1<<32-1, 1<<32-1)
		if err == nil || !strings.Contains(err.Error(), "."+want+"(") {
			t.Errorf("the trace of %s does not say %q: %v", name, want, err)
		}
	}
}
