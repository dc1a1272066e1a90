package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"bulkhead/abi"
	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// slice is how much fuel a refill gives.
const slice = 100_000

// mode is a way to run a module.
type mode int

// The three ways.
const (
	plain   mode = iota // as it is, on stock wazero
	metered             // rewritten
	done                // as it is, under WithCloseOnContextDone and a context that can be cancelled
	modes
)

func (m mode) String() string {
	return [...]string{"plain", "metered", "ContextDone"}[m]
}

// engine makes a runtime for a mode. cache may be nil.
func (m mode) engine(ctx context.Context, cache wazero.CompilationCache) wazero.Runtime {
	c := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithDebugInfoEnabled(false).
		WithCloseOnContextDone(m == done)
	if cache != nil {
		c = c.WithCompilationCache(cache)
	}
	return wazero.NewRuntimeWithConfig(ctx, c)
}

// code is what the engine of a mode is given for a module.
func (m mode) code(module []byte) ([]byte, error) {
	parsed, err := wasm.Parse(module)
	if err != nil {
		return nil, err
	}
	lowered, err := exceptions.Lower(parsed, exceptions.Options{})
	if err != nil {
		return nil, err
	}
	if m != metered {
		if lowered.Used {
			module = lowered.Code
		}
		return module, nil
	}
	out, err := meter.Rewrite(lowered.Module, meter.Options{})
	if err != nil {
		return nil, err
	}
	return out.Code, nil
}

// guest is a compiled module, an instance of it, and the host functions that it has, which do
// as little as can be done. One goroutine at a time uses it.
type guest struct {
	ctx      context.Context
	cancel   context.CancelFunc
	runtime  wazero.Runtime
	compiled wazero.CompiledModule

	// These are the instance's.
	module  api.Module
	found   map[string]api.Function
	stack   [8]uint64
	fuel    api.MutableGlobal // nil when not metered
	granted int64             // fuel, so far
	sent    uint64            // bytes
	process wasi.Process
}

// newGuest compiles a module, with an engine to itself, and makes an instance.
func newGuest(m mode, module []byte) (*guest, error) {
	g := &guest{ctx: context.Background(), cancel: func() {}}
	if m == done {
		g.ctx, g.cancel = context.WithCancel(g.ctx)
	}
	code, err := m.code(module)
	if err != nil {
		return nil, err
	}
	g.runtime = m.engine(g.ctx, nil)
	if err = g.hostFunctions(); err == nil {
		if g.compiled, err = g.runtime.CompileModule(g.ctx, code); err == nil {
			err = g.renew()
		}
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// renew closes the instance, if there is one, and makes another.
func (g *guest) renew() (err error) {
	if g.module != nil {
		_ = g.module.Close(context.Background())
	}
	g.found = make(map[string]api.Function)
	g.fuel, g.granted, g.sent, g.process = nil, 0, 0, wasi.Process{System: (*system)(g)}
	g.module, err = g.runtime.InstantiateModule(g.ctx, g.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return err
	}
	if fuel := g.module.ExportedGlobal(meter.FuelExport); fuel != nil {
		g.fuel = fuel.(api.MutableGlobal)
	}
	if g.exports(meter.StartExport) {
		_, err = g.call(meter.StartExport)
	}
	return err
}

func (g *guest) close() {
	g.cancel()
	_ = g.runtime.Close(context.Background())
}

// units is how much fuel the guest has used up.
func (g *guest) units() int64 {
	if g.fuel == nil {
		return 0
	}
	return g.granted - int64(g.fuel.Get())
}

func (g *guest) exports(name string) bool { return g.module.ExportedFunction(name) != nil }

// call returns the only result of a function, or 0 of one that has none.
func (g *guest) call(name string, args ...uint64) (uint64, error) {
	f := g.found[name]
	if f == nil {
		if f = g.module.ExportedFunction(name); f == nil {
			return 0, fmt.Errorf("the guest has no export %q", name)
		}
		g.found[name] = f
	}
	g.stack[0] = 0
	copy(g.stack[:], args)
	if err := f.CallWithStack(g.ctx, g.stack[:]); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if len(f.Definition().ResultTypes()) == 0 {
		return 0, nil
	}
	return g.stack[0], nil
}

// hostFunctions makes what a guest may import.
func (g *guest) hostFunctions() error {
	b := g.runtime.NewHostModuleBuilder(abi.Module)
	for i := range abi.HostFunctions {
		f := &abi.HostFunctions[i]
		do := func(stack []uint64) { stack[0] = 0 }
		if f.Name == "send" {
			do = func(stack []uint64) {
				stack[0] = uint64(uint32(stack[2])) // all of it
				g.sent += stack[0]
			}
		}
		params := make([]abi.ValueType, len(f.Params))
		for k, p := range f.Params {
			params[k] = p.Type
		}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
			do(stack)
		}), types(params, abi.I64), types(f.Results, abi.I64)).Export(f.Name)
	}
	if _, err := b.Instantiate(g.ctx); err != nil {
		return err
	}
	b = g.runtime.NewHostModuleBuilder(wasi.Module)
	for _, f := range wasi.Functions() {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
			f.Call(&g.process, stack)
		}), types(f.Params, wasi.I64), types(f.Results, wasi.I64)).Export(f.Name)
	}
	if _, err := b.Instantiate(g.ctx); err != nil {
		return err
	}
	b = g.runtime.NewHostModuleBuilder(meter.ImportModule)
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {
		g.granted += slice
		g.fuel.Set(uint64(int64(g.fuel.Get()) + slice))
	}), nil, nil).Export(meter.Refill)
	_, err := b.Instantiate(g.ctx)
	return err
}

// types are the engine's names for types of which one is i64 and all others i32.
func types[T comparable](of []T, i64 T) []api.ValueType {
	out := make([]api.ValueType, len(of))
	for i, t := range of {
		out[i] = api.ValueTypeI32
		if t == i64 {
			out[i] = api.ValueTypeI64
		}
	}
	return out
}

// system is what WASI acts on: nothing can be read, and what is written is dropped.
type system guest

func (s *system) Memory() []byte {
	b, _ := s.module.Memory().Read(0, s.module.Memory().Size())
	return b
}
func (s *system) Enter()                                                   {}
func (s *system) YieldIfDue()                                              {}
func (s *system) Read([]byte) (int, wasi.Errno)                            { return 0, wasi.Success }
func (s *system) Close(int)                                                {}
func (s *system) Poll(want wasi.Ready, _ time.Duration) (wasi.Ready, bool) { return want, true }
func (s *system) Sleep(time.Duration)                                      {}
func (s *system) Wall() int64                                              { return time.Now().UnixNano() }
func (s *system) Monotonic() int64                                         { return time.Now().UnixNano() }
func (s *system) Random(p []byte)                                          { _, _ = rand.Read(p) }
func (s *system) Yield()                                                   {}
func (s *system) Write(_ int, p [][]byte, _ bool) (n int, e wasi.Errno) {
	for _, b := range p {
		n += len(b)
	}
	return n, wasi.Success
}
