package meter_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

// shapes are what an instruction may take and give, as letters of wasmtest. Of the
// first operand the instruction's own result is the next, where the types allow it, so
// that no turn goes on before the last has ended.
var shapes = []string{
	"i:i", "ii:i", "I:I", "II:I", "f:f", "ff:f", "F:F", "FF:F",
	"V:V", "VV:V", "VVV:V", "Vi:V", "V:i",
	"I:i", "II:i", "f:i", "F:i", "ff:i", "FF:i", "i:I", "f:I", "F:I", "i:f", "I:f", "F:f", "i:F", "I:F", "f:F", "i:V", "I:V", "f:V", "F:V",
}

// BenchmarkInstructions says what a unit is in time where a loop consists of one
// instruction without an operand in the code, and of what sets a local to its result:
// the worst case of each price. All that have more than five times the mean of
// docs/METER.md are repriced, or named there.
//
//	go test -run XXX -bench Instructions -benchtime 200x ./plugins/meter
func BenchmarkInstructions(b *testing.B) {
	ctx := context.Background()
	var ops []wasm.Opcode
	for op := wasm.Opcode(0x45); op <= 0xc4; op++ {
		ops = append(ops, op)
	}
	for op := wasm.Opcode(0xfc00); op <= 0xfc07; op++ {
		ops = append(ops, op)
	}
	for op := wasm.Opcode(0xfd0e); op <= 0xfdff; op++ {
		ops = append(ops, op)
	}
	r := engine(b, wazero.NewRuntimeConfigCompiler())
	for _, op := range ops {
		for _, shape := range shapes {
			code, err := r.CompileModule(ctx, repeated(op, shape))
			if err != nil {
				continue
			}
			_ = code.Close(ctx)
			b.Run(fmt.Sprintf("%#x", uint16(op)), func(b *testing.B) {
				g := start(b, repeated(op, shape), meter.Options{})
				g.slice = 1 << 40
				g.must("f", 1)
				before := g.used()
				const turns = 100
				f, best := g.mod.ExportedFunction("f"), time.Duration(1<<62)
				for b.Loop() {
					began := time.Now()
					if _, err := f.Call(ctx, turns); err != nil {
						b.Fatal(err)
					}
					best = min(best, time.Since(began)) // the others were interrupted
				}
				units := float64(g.used()-before) / float64(b.N)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(best)/units, "ns/unit")
				b.ReportMetric(float64(best)/turns/repeats, "ns/instruction")
			})
			break
		}
	}
}

const repeats = 32

// repeated is a module with a function f(n) that has n turns of many times the same.
func repeated(op wasm.Opcode, shape string) []byte {
	code := []byte{byte(op)}
	if op >= 0x100 {
		code = binary.AppendUvarint([]byte{byte(op >> 8)}, uint64(op&0xff))
	}
	local := map[byte]int{'i': 1, 'I': 2, 'f': 3, 'F': 4, 'V': 5}
	second := map[byte]int{'i': 6, 'I': 7, 'f': 8, 'F': 9, 'V': 10}
	params, result := shape[:len(shape)-2], shape[len(shape)-1]
	var body []byte
	for range repeats {
		for i := range len(params) {
			at := local[params[i]]
			if i > 0 {
				at = second[params[i]]
			}
			body = append(body, w.LocalGet(at)...)
		}
		body = append(append(body, code...), w.LocalSet(local[result])...)
	}
	m := w.New()
	vector := []byte{0xfd, 12, 0, 0, 0xc0, 0x3f, 3, 0, 0xc0, 0x3f, 5, 0, 0xc0, 0x3f, 7, 0, 0xc0, 0x3f}
	m.Func("f", "i:", "iIfFViIfFV",
		w.I32Const(123456789), w.LocalSet(1), w.I64Const(0x123456789abcdef), w.LocalSet(2), w.F64Const(1.5), []byte{0xb6}, w.LocalSet(3), w.F64Const(1.5), w.LocalSet(4), vector, w.LocalSet(5),
		w.I32Const(37), w.LocalSet(6), w.I64Const(12345), w.LocalSet(7), w.F64Const(3.7), []byte{0xb6}, w.LocalSet(8), w.F64Const(3.7), w.LocalSet(9), vector, w.LocalSet(10),
		w.Loop(body, w.LocalGet(0), w.I32Const(1), w.I32Sub, w.LocalTee(0), w.BrIf(0)))
	return m.Bytes()
}
