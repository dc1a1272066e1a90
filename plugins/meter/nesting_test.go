package meter_test

import (
	"bytes"
	"runtime"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// aSwitch is what LLVM and Go make of a switch: a block for each case inside the one
// of the next, and a br_table that leaves as many as it takes. f(i) is 3i+1 for each
// of the cases, and 7 for others.
func aSwitch(cases int) []byte {
	labels := make([]int, cases+1)
	for i := range labels {
		labels[i] = i
	}
	body := [][]byte{bytes.Repeat([]byte{2, 0x40}, cases+1), w.LocalGet(0), w.BrTable(labels...)}
	for i := range cases {
		body = append(body, w.End, w.I32Const(int32(3*i+1)), w.Return)
	}
	body = append(body, w.End, w.I32Const(7))
	m := w.New()
	m.Func("f", "i:i", "", body...)
	return m.Bytes()
}

// A switch of a thousand cases was refused as too deep, though Go's back end and
// LLVM's make many that are larger.
func TestDeepSwitch(t *testing.T) {
	const cases = 4100
	g := start(t, aSwitch(cases), meter.Options{})
	for _, i := range []uint64{0, 1, 999, 1000, 1001, 2600, cases - 1} {
		if got := g.must("f", i); got != 3*i+1 {
			t.Errorf("f(%d) is %d", i, got)
		}
	}
	if got := g.must("f", cases+5); got != 7 {
		t.Errorf("f of no case is %d", got)
	}
}

// To rewrite a function takes memory in proportion to its bytes, whatever
// they are, and as deep as they may be.
func TestRewritingDeepNesting(t *testing.T) {
	for name, level := range map[string][2][]byte{
		"blocks": {{2, 0x40}, w.Cat(w.LocalGet(0), w.BrIf(0), w.End)},
		"loops":  {{3, 0x40}, w.Cat(w.LocalGet(0), w.BrIf(0), w.LocalGet(0), w.LocalSet(1), w.End)},
		"ifs":    {w.Cat(w.LocalGet(0), []byte{4, 0x40}), w.Cat([]byte{5}, w.Nop, w.End)},
		"nested": {{2, 0x40}, w.Cat(w.LocalGet(0), w.BrIf(0), w.Call(0), w.End)},
	} {
		rewrite := func(depth int) (allocated float64, size int) {
			m := w.New()
			m.Func("", ":", "", w.Nop)
			m.Func("f", "i:", "i", bytes.Repeat(level[0], depth), bytes.Repeat(level[1], depth))
			parsed, err := wasm.Parse(m.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := meter.Rewrite(parsed, meter.Options{}); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			return float64(after.TotalAlloc - before.TotalAlloc), len(m.Bytes())
		}
		few, small := rewrite(wasm.MaxNesting / 10)
		many, large := rewrite(wasm.MaxNesting)
		if limit := 2 * few * float64(large) / float64(small); many > limit || many > 300*float64(large) {
			t.Errorf("%s: %d bytes take %.0f to rewrite, and %d take %.0f", name, small, few, large, many)
		}
	}
}

// The number of a vector instruction may have more bytes than it takes. The engine
// takes the first of them for the whole, and what follows for other instructions.
func TestLongNumbersOfVectorInstructions(t *testing.T) {
	units := int64(0)
	splat, add, lane := []byte{0xfd, 17}, []byte{0xfd, 0xae, 1}, []byte{0xfd, 27, 2}
	for name, long := range map[string][3][]byte{
		"as short as can be": {splat, add, lane},
		"longer":             {{0xfd, 0x91, 0}, {0xfd, 0xae, 0x81, 0}, {0xfd, 0x9b, 0, 2}},
		"as long as can be":  {{0xfd, 0x91, 0x80, 0x80, 0x80, 0}, {0xfd, 0xae, 0x81, 0x80, 0x80, 0}, {0xfd, 0x9b, 0x80, 0x80, 0x80, 0, 2}},
	} {
		m := w.New()
		m.Func("f", "i:i", "", w.LocalGet(0), long[0], w.LocalGet(0), long[0], long[1], long[2])
		g := start(t, m.Bytes(), meter.Options{})
		if got := g.must("f", 21); got != 42 {
			t.Errorf("%s: f(21) is %d", name, got)
		}
		if used := g.used(); units == 0 {
			units = used
		} else if used != units {
			t.Errorf("%s: it uses %d units, and another spelling %d", name, used, units)
		}
	}
}
