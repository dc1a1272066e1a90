package metertest

import (
	"slices"
	"testing"

	"bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
)

// TestWhatIsNotExecuted calls functions that have two ways through, of which one is long.
// On the other one, not more than the slack may be charged beyond what is executed.
func TestWhatIsNotExecuted(t *testing.T) {
	e := newEngine(t, true)
	long := slices.Concat(slices.Repeat([][]byte{
		wasmtest.LocalGet(0), wasmtest.I32Const(1), wasmtest.I32Add, wasmtest.LocalSet(0),
	}, 500)...)
	condition := wasmtest.LocalGet(0)
	op := func(b ...byte) []byte { return b }
	for name, body := range map[string][]byte{
		"if":      concat(condition, op(0x04, 0x40), long, op(0x0b)),
		"else":    concat(condition, op(0x04, 0x40, 0x05), long, op(0x0b)),
		"if else": concat(condition, op(0x04, 0x40), long, op(0x05), long, op(0x0b)),
		"br_if":   concat(op(0x02, 0x40), condition, op(0x0d, 0), long, op(0x0b)),
		"br_table": concat(op(0x02, 0x40, 0x02, 0x40), condition, op(0x0e, 1, 0, 1, 0x0b),
			long, op(0x0b)),
		"return":     concat(condition, op(0x04, 0x40, 0x0f, 0x0b), long),
		"block left": concat(op(0x02, 0x40, 0x02, 0x40), condition, op(0x0d, 1, 0x0b), long, op(0x0b)),
		"block left from an if": concat(op(0x02, 0x40), condition, op(0x04, 0x40, 0x0c, 1, 0x0b),
			long, op(0x0b)),
		"loop behind a branch": concat(op(0x02, 0x40), condition, op(0x0d, 0, 0x03, 0x40), long, op(0x0b, 0x0b)),
		"behind a loop that is left": concat(op(0x02, 0x40, 0x03, 0x40), condition, op(0x0d, 1, 0x0b), long,
			op(0x0b)),
	} {
		t.Run(name, func(t *testing.T) {
			m := wasmtest.New()
			m.Func("f", "i:", "", body)
			b := m.Bytes()
			p, err := e.compile(t.Context(), b)
			if err == nil {
				err = p.refused
			}
			if err == nil {
				err = e.compileCounted(t.Context(), p, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.close(t.Context())
			for _, argument := range []uint64{0, 1, 2} {
				var o [2]outcome
				for i, w := range []*world{newWorld(e, "metered", large), newCounter(e)} {
					ctx := w.context(t.Context())
					m, err := w.instantiate(ctx, p)
					if err == nil {
						o[i], err = w.call(ctx, m, "f", []uint64{argument})
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				// The entry pays for the frame of the whole function.
				frame := int64(2000/meter.SlotsPerUnit) + 2
				if name == "if else" {
					frame *= 2
				}
				if over := o[0].fuel - o[1].exact; over < 0 || over > slackPerCharge+frame {
					t.Errorf("f(%d): %d units of fuel for instructions of %d", argument, o[0].fuel, o[1].exact)
				}
			}
		})
	}
}
