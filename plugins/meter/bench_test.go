package meter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// kernels are small loops, as hard on a meter as code can be.
func kernels() []byte {
	m := w.New()
	m.Memory(3, 1000)
	next := w.Cat(w.LocalGet(0), w.I32Const(1), w.I32Sub, w.LocalTee(0), w.BrIf(0))
	one := w.I32Const(1)
	m.Func("fib", "i:i", "",
		w.LocalGet(0), w.I32Const(2), w.I32LtS,
		w.IfElse('i', w.LocalGet(0), w.Cat(
			w.LocalGet(0), one, w.I32Sub, w.Call(0), w.LocalGet(0), w.I32Const(2), w.I32Sub, w.Call(0), w.I32Add)))
	m.Func("tight", "i:i", "i", w.Loop(w.LocalGet(1), w.I32Const(3), w.I32Add, w.LocalSet(1), next), w.LocalGet(1))
	m.Func("sum", "i:i", "i", w.Loop(w.LocalGet(1), w.LocalGet(0), w.I32Load8U(0), w.I32Add, w.LocalSet(1), next), w.LocalGet(1))
	m.Func("xor", "i:", "", w.Loop(w.LocalGet(0), w.LocalGet(0), w.I32Load8U(0), w.I32Const(0x55), w.I32Xor, w.I32Store8(0), next))
	const arms = 32
	table := []byte{0x0e, arms - 1}
	for i := range arms {
		table = append(table, byte(i))
	}
	sw := w.Cat(w.LocalGet(0), w.I32Load8U(0), w.I32Const(arms-1), w.I32And, table)
	for i := range arms {
		sw = w.Block(sw)
		for k := range 4 {
			sw = w.Cat(sw, w.LocalGet(1), w.I32Const(int32(i*k+1)), w.I32Add, w.LocalGet(1), w.I32Xor, w.LocalSet(1))
		}
		sw = w.Cat(sw, w.Br(arms-1-i))
	}
	m.Func("switch", "i:i", "i", w.Loop(w.Block(sw), next), w.LocalGet(1))
	const divU = 0x6e
	m.Func("collatz", "i:i", "i", w.Loop(
		w.LocalGet(0), one, w.I32And, w.If(w.LocalGet(0), w.I32Const(3), w.I32Mul, one, w.I32Add, w.LocalSet(0)),
		w.LocalGet(0), w.I32Const(2), []byte{divU}, w.LocalSet(0),
		w.LocalGet(1), one, w.I32Add, w.LocalSet(1), w.LocalGet(0), one, w.I32GtU, w.BrIf(0)), w.LocalGet(1))
	leaf := m.Func("leaf", "ii:i", "", w.LocalGet(0), w.LocalGet(1), w.I32Xor, w.I32Const(7), w.I32Mul)
	m.Func("calls", "i:i", "i", w.Loop(w.LocalGet(1), w.LocalGet(0), w.Call(leaf), w.LocalSet(1), next), w.LocalGet(1))
	m.Func("fill", "i:", "", w.I32Const(0), one, w.LocalGet(0), w.MemoryFill)
	m.Func("copy", "i:", "", w.I32Const(0), one, w.LocalGet(0), w.MemoryCopy)
	for i := range 256 {
		m.Data(i*256, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ;;;")
	}
	return m.Bytes()
}

// BenchmarkUnits runs kernels and a Go guest, each plain and metered in turn, and reports
// what metering costs and what one unit of fuel is of the plain run, both from
// the quickest runs.
func BenchmarkUnits(b *testing.B) {
	group := func(code []byte, init string, calls []string, args ...uint64) {
		r := engine(b, wazero.NewRuntimeConfigCompiler())
		wasi_snapshot_preview1.MustInstantiate(b.Context(), r)
		g := startIn(b, r, code, meter.Options{})
		plain, err := r.InstantiateWithConfig(b.Context(), code, wazero.NewModuleConfig().WithStartFunctions().WithName(""))
		if err != nil {
			b.Fatal(err)
		}
		if init != "" {
			g.must(init)
			if _, err := plain.ExportedFunction(init).Call(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		for i, name := range calls {
			b.Run(name, func(b *testing.B) {
				var arg []uint64
				if i < len(args) {
					arg = args[i : i+1]
				}
				run := func(f api.Function) time.Duration {
					start := time.Now()
					if _, err := f.Call(b.Context(), arg...); err != nil {
						b.Fatal(err)
					}
					return time.Since(start)
				}
				p, q := plain.ExportedFunction(name), g.mod.ExportedFunction(name)
				run(p)
				before := g.used()
				run(q)
				units := g.used() - before
				quickest, metered := time.Hour, time.Hour
				for b.Loop() {
					quickest, metered = min(quickest, run(p)), min(metered, run(q))
				}
				b.ReportMetric(float64(metered)/float64(quickest), "metered/plain")
				b.ReportMetric(float64(quickest)/float64(units), "ns/unit")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
	group(kernels(), "", []string{"fib", "tight", "sum", "xor", "switch", "collatz", "calls", "fill", "copy"}, 20, 100_000, 100_000, 100_000, 60_000, 837_799, 100_000, 128<<10, 128<<10)
	file := filepath.Join(b.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "testdata/guest/main.go")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the guest: %v: %s", err, out)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	group(code, "_initialize", []string{"sha", "b64", "jsn", "flt", "srt", "crc", "rex", "rot"})
}
