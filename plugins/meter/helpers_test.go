package meter_test

import (
	"context"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// rewritten is a module made to pay.
func rewritten(t testing.TB, b []byte, o meter.Options) *meter.Metered {
	t.Helper()
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := meter.Rewrite(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return metered
}

// guest is an instance of a rewritten module, and what it used.
type guest struct {
	t       testing.TB
	mod     api.Module
	fuel    api.MutableGlobal
	granted int64
	refills int
	slice   int64 // what a refill gives
	stop    int64 // what may be granted before the call is stopped; none if zero
	lowest  int64
	starve  bool // a refill leaves it with less than nothing, so that each check calls
}

type stopped struct{}

func (stopped) Error() string { return "stopped" }

func (g *guest) refill(_ context.Context, _ api.Module, _ []uint64) {
	g.refills++
	left := int64(g.fuel.Get())
	if left >= 0 {
		g.t.Errorf("the refill is called with %d units left", left)
	}
	g.lowest = min(g.lowest, left)
	if g.stop > 0 && g.granted > g.stop {
		panic(stopped{})
	}
	give := max(g.slice, g.slice-left)
	if g.starve {
		give = -1 - left
	}
	g.granted += give
	g.fuel.Set(uint64(left + give))
}

// used are the units used so far.
func (g *guest) used() int64 { return g.granted - int64(g.fuel.Get()) }

func (g *guest) call(name string, args ...uint64) ([]uint64, error) {
	g.t.Helper()
	f := g.mod.ExportedFunction(name)
	if f == nil {
		g.t.Fatalf("there is no function %q", name)
	}
	return f.Call(context.Background(), args...)
}

func (g *guest) must(name string, args ...uint64) uint64 {
	g.t.Helper()
	r, err := g.call(name, args...)
	if err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
	if len(r) == 0 {
		return 0
	}
	return r[0]
}

func engine(t testing.TB, config wazero.RuntimeConfig) wazero.Runtime {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config.WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { _ = r.Close(ctx) })
	return r
}

// start runs a rewritten module in the compiler.
func start(t testing.TB, b []byte, o meter.Options) *guest {
	t.Helper()
	return startIn(t, engine(t, wazero.NewRuntimeConfigCompiler()), b, o)
}

func startIn(t testing.TB, r wazero.Runtime, b []byte, o meter.Options) *guest {
	t.Helper()
	ctx := context.Background()
	g := &guest{t: t, slice: 1 << 20}
	metered := rewritten(t, b, o)
	if _, err := r.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(g.refill), nil, nil).Export(meter.Refill).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewHostModuleBuilder("host").NewFunctionBuilder().
		WithFunc(func(i int32) int32 { return i + 1 }).Export("f").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	mod, err := r.InstantiateWithConfig(ctx, metered.Code, wazero.NewModuleConfig().WithStartFunctions().WithName(""))
	if err != nil {
		t.Fatalf("the engine says of what was rewritten: %v", err)
	}
	g.mod = mod
	g.fuel = mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	if metered.Start {
		g.must(meter.StartExport)
	}
	return g
}

// fib is a module with a function fib.
func fib() []byte {
	m := w.New()
	m.Func("fib", "i:i", "",
		w.LocalGet(0), w.I32Const(2), w.I32LtS,
		w.IfElse('i', w.LocalGet(0), w.Cat(
			w.LocalGet(0), w.I32Const(1), w.I32Sub, w.Call(0),
			w.LocalGet(0), w.I32Const(2), w.I32Sub, w.Call(0), w.I32Add)))
	return m.Bytes()
}

func setGlobal(m api.Module, name string, v uint64) {
	m.ExportedGlobal(name).(api.MutableGlobal).Set(v)
}
