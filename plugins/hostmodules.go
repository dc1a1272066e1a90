package plugins

import (
	"context"
	"sync"

	"bulkhead/abi"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero/api"
)

// hostModule is a module that guests import from. Nothing in it is a tenant's.
type hostModule struct {
	name      string
	functions []hostFunction
}

type hostFunction struct {
	name            string
	call            api.GoModuleFunc
	params, results []api.ValueType
}

// hostModules are made once, from the tables, for all engines.
var hostModules = sync.OnceValue(func() []hostModule {
	boxes := hostModule{name: abi.Module}
	for i := range abi.HostFunctions {
		f := &abi.HostFunctions[i]
		typ, _ := admit.ImportType(abi.Module, f.Name)
		do := hostCalls[f.Name]
		if do == nil {
			do = unsupported(f)
		}
		boxes.functions = append(boxes.functions, hostFunction{f.Name, func(ctx context.Context, _ api.Module, stack []uint64) {
			i := instanceOf(ctx)
			if i.process != nil {
				i.process.enter()
			}
			if s := i.exec.use.seen; s != nil {
				s.hostCall(f.Name)
			}
			if !f.OffLoop && i.exec.use.place == background {
				i.onItsLoop(do, stack)
			} else {
				do(i, stack)
			}
			if f.TakesLong {
				i.yieldIfDue()
			}
		}, engineTypes(typ.Params), engineTypes(typ.Results)})
	}
	system := hostModule{name: wasi.Module}
	for _, f := range wasi.Functions() {
		typ, _ := admit.ImportType(wasi.Module, f.Name)
		system.functions = append(system.functions, hostFunction{f.Name, func(ctx context.Context, _ api.Module, stack []uint64) {
			i := instanceOf(ctx)
			if s := i.exec.use.seen; s != nil {
				s.hostCall(f.Name)
			}
			f.Call(&i.wasi, stack)
			if f.TakesLong {
				i.yieldIfDue()
			}
		}, engineTypes(typ.Params), engineTypes(typ.Results)})
	}
	refill := hostFunction{meter.Refill, func(ctx context.Context, _ api.Module, _ []uint64) { instanceOf(ctx).refill() }, nil, nil}
	return []hostModule{boxes, system, {meter.ImportModule, []hostFunction{refill}}}
})

// unsupported is what a host function does that is not built.
func unsupported(f *abi.HostFunction) func(*Instance, []uint64) {
	code := abi.Unsupported
	answer := uint64(uint32(code))
	if f.Results[0] == abi.I64 {
		answer = uint64(int64(code))
	}
	return func(_ *Instance, s []uint64) { s[0] = answer }
}

// registerHostFunctions makes the import modules. Their functions find the instance that calls
// them, and its tenant with it, by the context of the call: nothing in an engine tells it.
func (e *engine) registerHostFunctions(ctx context.Context) error {
	for _, m := range hostModules() {
		b := e.runtime.NewHostModuleBuilder(m.name)
		for _, f := range m.functions {
			b.NewFunctionBuilder().WithGoModuleFunction(f.call, f.params, f.results).Export(f.name)
		}
		code, err := b.Compile(ctx)
		if err != nil {
			return err
		}
		// Not the builder's Instantiate, which makes a random source that nobody uses.
		if _, err := e.runtime.InstantiateModule(ctx, code, e.config.WithName(m.name)); err != nil {
			return err
		}
	}
	return nil
}

func engineTypes(ts []wasm.ValueType) []api.ValueType {
	out := make([]api.ValueType, len(ts))
	for i, t := range ts {
		out[i] = api.ValueType(t)
	}
	return out
}
