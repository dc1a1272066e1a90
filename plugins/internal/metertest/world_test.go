package metertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// errOutOfFuel is what a refill panics with when a world has used its limit.
var errOutOfFuel = errors.New("out of fuel")

// metered is what the engine gets to compile for b.
func metered(b []byte, o meter.Options) (*meter.Metered, error) {
	m, err := wasm.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("the gate refuses it: %w", err)
	}
	out, err := meter.Rewrite(m, o)
	if err != nil {
		return nil, fmt.Errorf("the rewriter refuses it: %w", err)
	}
	return out, nil
}

// engine is one of wazero's two, with the host modules that every world needs.
type engine struct {
	name    string
	runtime wazero.Runtime
}

// newEngine makes the compiler or the interpreter, which live as long as t.
func newEngine(t testing.TB, compiler bool) *engine {
	t.Helper()
	e := &engine{name: "interpreter"}
	config := wazero.NewRuntimeConfigInterpreter()
	if compiler {
		e.name, config = "compiler", wazero.NewRuntimeConfigCompiler()
	}
	e.runtime = wazero.NewRuntimeWithConfig(t.Context(), config.WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { e.runtime.Close(context.Background()) })

	// The world that calls comes with the context, so that a host module is
	// compiled once.
	refill := func(ctx context.Context, m api.Module, _ []uint64) { worldOf(ctx).refill(m) }
	mark := func(ctx context.Context, _ api.Module, stack []uint64) { stack[0] = worldOf(ctx).mark(stack[0]) }
	i32 := []api.ValueType{api.ValueTypeI32}
	for _, h := range []struct {
		module, name    string
		f               api.GoModuleFunc
		params, results []api.ValueType
	}{
		{meter.ImportModule, meter.Refill, refill, nil, nil},
		{markModule, markName, mark, i32, i32},
	} {
		_, err := e.runtime.NewHostModuleBuilder(h.module).NewFunctionBuilder().
			WithGoModuleFunction(h.f, h.params, h.results).Export(h.name).Instantiate(t.Context())
		if err != nil {
			t.Fatalf("instantiate the host module %s: %v", h.module, err)
		}
	}
	return e
}

// engines are the compiler and the interpreter.
func engines(t testing.TB) []*engine {
	return []*engine{newEngine(t, true), newEngine(t, false)}
}

// The host function of generated modules, (i32) -> i32.
const markModule, markName = "env", "mark"

// world is one way of running modules: in one engine, plain or metered, with
// refills of one size. Its instances see each other and nothing of other
// worlds.
type world struct {
	engine  *engine
	name    string
	metered bool
	counted bool         // with the counters of [counted] instead
	slice   func() int64 // how much the next refill grants
	limit   int64        // fuel that may be used in all; zero: as much as it takes

	registered map[string]api.Module
	fuels      []api.MutableGlobal // of each instance
	counters   []counters          // of each instance
	granted    int64
	refills    int
	ofCall     int // refills of the call that runs
	marks      []marked
}

// marked is one call of the host function: what it was called with, and how
// much fuel had been used by then.
type marked struct {
	value uint64
	fuel  int64
}

// large is a slice that few tests use up.
func large() int64 { return 1 << 20 }

// tiny returns slices from 1 to 7 units, in an order of their own.
func tiny() func() int64 {
	state := uint32(1)
	return func() int64 {
		state = state*1664525 + 1013904223
		return int64(state>>16)%7 + 1
	}
}

// worlds returns the worlds of one engine: first the plain one, then one with
// large and one with tiny slices.
func worlds(e *engine) []*world {
	return []*world{
		newWorld(e, "plain", nil),
		newWorld(e, "metered", large),
		newWorld(e, "metered in tiny slices", tiny()),
	}
}

// newWorld makes a world; without slice it is a plain one.
func newWorld(e *engine, name string, slice func() int64) *world {
	return &world{
		engine: e, name: name + " in the " + e.name, metered: slice != nil, slice: slice,
		registered: make(map[string]api.Module),
	}
}

// counters are the two globals of a counted instance.
type counters struct{ exact, slack api.Global }

// newCounter makes a world whose modules count what they execute.
func newCounter(e *engine) *world {
	w := newWorld(e, "counted", nil)
	w.counted = true
	return w
}

// count is what the counters of all instances say.
func (w *world) count() (exact, slack int64) {
	for _, c := range w.counters {
		exact += int64(c.exact.Get())
		slack += int64(c.slack.Get())
	}
	return exact, slack
}

type worldKey struct{}

func worldOf(ctx context.Context) *world { return ctx.Value(worldKey{}).(*world) }

// context is what the world's modules have to be called with.
func (w *world) context(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, worldKey{}, w)
	return experimental.WithImportResolver(ctx, func(name string) api.Module {
		return w.registered[name] // else nil, and then the host modules are asked
	})
}

// manyRefills is after how many refills of one call the slices become larger. What calls itself
// until the stack is used up would have millions, all in the same two or three places.
const manyRefills = 20_000

// refill is the host's side of the meter: it is called by m when m has nothing
// left, and gives it the next slice.
func (w *world) refill(m api.Module) {
	fuel := m.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	w.refills++
	if w.limit > 0 && w.used() > w.limit {
		panic(errOutOfFuel)
	}
	// What was charged beyond the last slice is a debt, and stays one.
	slice := w.slice()
	if w.ofCall++; w.ofCall > manyRefills {
		slice *= 1009
	}
	w.granted += slice
	fuel.Set(fuel.Get() + uint64(slice))
}

// used is how much fuel all instances of the world have used.
func (w *world) used() int64 {
	used := w.granted
	for _, f := range w.fuels {
		used -= int64(f.Get())
	}
	return used
}

func (w *world) mark(value uint64) uint64 {
	value &= math.MaxUint32 // an engine may leave anything in the upper half
	w.marks = append(w.marks, marked{value, w.used()})
	return (value*2654435761 + uint64(len(w.marks))) & math.MaxUint32
}

// program is a module that an engine has compiled plain and metered.
type program struct {
	plain, metered wazero.CompiledModule
	start          bool  // the metered one has its start function exported
	refused        error // instead of metered

	counted wazero.CompiledModule // nil, unless compileCounted made it
	bulk    bool                  // it has instructions whose cost depends on operands
}

// compile compiles b as it is, and metered. The error is that of the plain module.
func (e *engine) compile(ctx context.Context, b []byte) (*program, error) {
	p := e.compileMetered(ctx, b, meter.Options{})
	var err error
	p.plain, err = e.runtime.CompileModule(ctx, b)
	return p, err
}

// compileMetered compiles b only metered.
func (e *engine) compileMetered(ctx context.Context, b []byte, o meter.Options) *program {
	m, err := metered(b, o)
	if err != nil {
		return &program{refused: err}
	}
	p := &program{start: m.Start}
	if p.metered, err = e.runtime.CompileModule(ctx, m.Code); err != nil {
		p.refused = fmt.Errorf("the engine refuses it metered: %w", err)
	}
	return p
}

// compileCounted compiles b with counters.
func (e *engine) compileCounted(ctx context.Context, p *program, b []byte) error {
	code, bulk, err := counted(b)
	if err != nil {
		return err
	}
	p.bulk = bulk
	p.counted, err = e.runtime.CompileModule(ctx, code)
	return err
}

// close gives the compiled code back.
func (p *program) close(ctx context.Context) {
	for _, c := range []wazero.CompiledModule{p.plain, p.metered, p.counted} {
		if c != nil {
			c.Close(ctx)
		}
	}
}

// instantiate makes an instance of p, start function and all.
func (w *world) instantiate(ctx context.Context, p *program) (api.Module, error) {
	code := p.plain
	switch {
	case w.metered:
		code = p.metered
	case w.counted:
		code = p.counted
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	m, err := w.engine.runtime.InstantiateModule(ctx, code, config)
	if err == nil && w.counted {
		w.counters = append(w.counters, counters{m.ExportedGlobal(exactExport), m.ExportedGlobal(slackExport)})
	}
	if err != nil || !w.metered {
		return m, err
	}
	fuel, ok := m.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	if !ok {
		return nil, fmt.Errorf("it exports no mutable global %q", meter.FuelExport)
	}
	if left := int64(fuel.Get()); left != 0 {
		return nil, fmt.Errorf("it starts with %d units of fuel, want none", left)
	}
	w.fuels = append(w.fuels, fuel)
	if p.start {
		if _, err := m.ExportedFunction(meter.StartExport).Call(ctx); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// outcome is what a call led to.
type outcome struct {
	results []uint64
	trap    error // the engine's own error value, or nil
	fuel    int64 // used by the call
	exact   int64 // in a counting world: what the call cost by instructions
	slack   int64 // and how much more may have been charged for it
	marks   []marked
}

// call runs one exported function, with what its start function used not
// counted.
func (w *world) call(ctx context.Context, m api.Module, name string, args []uint64) (outcome, error) {
	f := m.ExportedFunction(name)
	if f == nil {
		return outcome{}, fmt.Errorf("no function %q is exported", name)
	}
	w.ofCall = 0
	before, marks := w.used(), len(w.marks)
	exact, slack := w.count()
	results, err := f.Call(ctx, args...)
	o := outcome{results: results, trap: root(err), fuel: w.used() - before}
	o.exact, o.slack = w.count()
	o.exact, o.slack = o.exact-exact, o.slack-slack
	// Two worlds need not agree on what was used before.
	for _, k := range w.marks[marks:] {
		o.marks = append(o.marks, marked{k.value, k.fuel - before})
	}
	for i, at := 0, 0; err == nil && i < len(f.Definition().ResultTypes()); i++ {
		switch f.Definition().ResultTypes()[i] {
		case typeI32, typeF32:
			o.results[at] &= math.MaxUint32 // the engine may leave anything in the upper half
		case typeFuncref:
			o.results[at] = min(o.results[at], 1) // an address in this process, or null
		case typeV128:
			at++
		}
		at++
	}
	return o, nil
}

// root is the innermost error. The engine has one value for each kind of trap.
func root(err error) error {
	for err != nil {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return err
}

// overflow reports whether a call went too deep. How deep that is depends on
// the size of frames, and so on the engine and on metering.
func (o outcome) overflow() bool {
	return o.trap != nil && strings.Contains(o.trap.Error(), "stack overflow")
}

// unsound says what is wrong with the fuel o used, against what counted counted, or
// nothing. What was executed has to be paid for, and not too much above that:
// unless a trap ended it, or operands had a say.
func (o outcome) unsound(counted outcome, bulk bool) string {
	switch {
	case o.fuel < counted.exact:
		return fmt.Sprintf("%d units of fuel for instructions of %d units", o.fuel, counted.exact)
	case o.trap == nil && !bulk && o.fuel > counted.exact+counted.slack:
		return fmt.Sprintf("%d units of fuel for instructions of %d units and a slack of %d", o.fuel, counted.exact, counted.slack)
	}
	return ""
}

// String is for failures: what came out, without the fuel.
func (o outcome) String() string {
	if o.trap != nil {
		return "trap: " + o.trap.Error()
	}
	return fmt.Sprintf("%#x", o.results)
}
