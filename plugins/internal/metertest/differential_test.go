package metertest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"bulkhead/plugins/meter"
)

// fuelLimit ends calls that do not end by themselves. It is no multiple of a
// slice, and worlds notice it at different refills.
const fuelLimit = 300_000

// run is what one world made of a generated module.
type run struct {
	world    *world
	calls    []outcome
	memory   uint64 // a hash of it
	size     uint32 // of it
	globals  []uint64
	deep     bool // a call went too deep, which engines see differently
	unending bool // the fuel was not enough
}

// tally says what generated modules came to, so that a test can see whether they
// were worth running.
type tally struct {
	compared, deep, unending int // modules
	calls, traps, marks      int
	refills                  int   // with tiny slices
	fuel, exact              int64 // of calls without a trap in modules without bulk instructions
}

func (t *tally) add(with, tiny, counted *run, bulk bool) {
	t.compared++
	t.refills += tiny.world.refills
	for i, o := range with.calls {
		t.calls++
		t.marks += len(o.marks)
		if o.trap != nil {
			t.traps++
		} else if !bulk {
			t.fuel += o.fuel
			t.exact += counted.calls[i].exact
		}
	}
}

// differential runs one generated module in every world and compares.
func differential(t testing.TB, engines []*engine, seed []byte, sum *tally) {
	in := &entropy{seed}
	g := generate(in)
	tight, loose := g.bytes(true), g.bytes(false)
	o := meter.Options{MaxPages: uint32(g.maxPages), MaxTableGrowth: uint32(g.growth)}
	args := make([][]uint64, len(g.functions))
	for i, f := range g.functions {
		for _, p := range f.params {
			args[i] = append(args[i], in.bits(p))
			if p == typeV128 {
				args[i] = append(args[i], in.word())
			}
			if p == typeExternref {
				args[i][len(args[i])-1] = uint64(in.n(2))
			}
		}
	}
	var plain, with []*run
	for _, e := range engines {
		// Metered, the module has no bounds of its own but is given them.
		p, err := e.compile(t.Context(), tight)
		if err != nil {
			t.Fatalf("the generator made a module that is not valid for the %s: %v\n%x", e.name, err, tight)
		}
		if p.refused != nil {
			t.Fatalf("a valid module: %v\n%x", p.refused, tight)
		}
		bounded := e.compileMetered(t.Context(), loose, o)
		if bounded.refused != nil {
			t.Fatalf("a valid module, without bounds: %v\n%x", bounded.refused, loose)
		}
		defer p.close(context.Background())
		defer bounded.close(context.Background())

		many := newWorld(e, "metered", large)
		few := newWorld(e, "metered in tiny slices", tiny())
		granted := newWorld(e, "metered, with bounds from outside", func() int64 { return 1000 })
		for _, w := range []*world{many, few} {
			with = append(with, runIn(t, w, p, g, args))
		}
		with = append(with, runIn(t, granted, bounded, g, args))
		if stopped(t, with) {
			continue
		}
		w := newWorld(e, "plain", nil)
		plain = append(plain, runIn(t, w, p, g, args))
	}
	for _, r := range append(append([]*run(nil), plain...), with...) {
		if r.deep {
			sum.deep++
			return
		}
	}
	if stopped(t, with) {
		sum.unending++
		return
	}
	// The compiler and the interpreter agree, or the engine has a fault.
	if d := difference(g, plain[0], plain[1], false); d != "" {
		t.Fatalf("a fault of the engine, not of the meter: %s\n%x", d, tight)
	}
	perEngine := len(with) / len(engines)
	for i, r := range with {
		if d := difference(g, plain[i/perEngine], r, false); d != "" {
			t.Fatalf("metering changes what a module does: %s\n%x", d, tight)
		}
		if d := difference(g, with[0], r, true); d != "" {
			t.Fatalf("fuel is not the same everywhere: %s\n%x", d, tight)
		}
	}
	e, p := engines[0], new(program)
	if err := e.compileCounted(t.Context(), p, tight); err != nil {
		t.Fatalf("count what it executes: %v\n%x", err, tight)
	}
	defer p.close(context.Background())
	r := runIn(t, newCounter(e), p, g, args)
	if d := difference(g, plain[0], r, false); d != "" {
		t.Fatalf("counting changes what a module does: %s\n%x", d, tight)
	}
	for i, o := range with[0].calls {
		if d := o.unsound(r.calls[i], p.bulk); d != "" && r.counts(i) {
			t.Fatalf("call %d: %s\n%x", i, d, tight)
		}
	}
	sum.add(with[0], with[1], r, p.bulk)
}

// stopped reports whether some world used too much. One that asks for more at other
// moments may have come to the end just so; but not with less.
func stopped(t testing.TB, with []*run) bool {
	some := false
	for _, r := range with {
		if !r.unending {
			continue
		}
		some = true
		last := len(r.calls) - 1
		for _, other := range with {
			if !other.unending && other.calls[last].fuel <= fuelLimit {
				t.Fatalf("call %d was stopped %s after %d units, but needs %d %s", last, r.world.name, fuelLimit,
					other.calls[last].fuel, other.world.name)
			}
		}
	}
	return some
}

// runIn instantiates p in w and calls each function once. Traps do not end it.
func runIn(t testing.TB, w *world, p *program, g *generated, args [][]uint64) *run {
	r := &run{world: w}
	w.limit = fuelLimit
	ctx := w.context(t.Context())
	m, err := w.instantiate(ctx, p)
	if err != nil {
		// Its start function trapped. There is no instance to look at.
		trap := outcome{trap: root(err), fuel: w.used(), marks: w.marks}
		if trapOf(err) == "" && trap.trap != errOutOfFuel {
			t.Fatalf("instantiate it %s: %v\n%x", w.name, err, g.bytes(true))
		}
		r.add(trap)
		return r
	}
	defer m.Close(context.Background())
	if g.start > 0 {
		r.add(outcome{fuel: w.used(), marks: w.marks})
	}
	for i := 1; i < len(g.functions) && !r.unending; i++ {
		m.ExportedGlobal(recursionExport).(api.MutableGlobal).Set(recursionCalls)
		w.limit = w.used() + fuelLimit
		o, err := w.call(ctx, m, name(i), args[i])
		if err != nil {
			t.Fatal(err)
		}
		if o.trap != nil && o.trap != errOutOfFuel && strings.Contains(o.trap.Error(), "\n") {
			t.Fatalf("%s %s: %v", name(i), w.name, o.trap)
		}
		canonicalResults(g.functions[i].results, o.results)
		r.add(o)
	}
	r.memory, r.size = memoryHash(m.Memory()), m.Memory().Size()
	inside := m.(experimental.InternalModule)
	for i, t := range g.globals {
		switch t.t {
		case typeV128:
		case typeFuncref:
			r.globals = append(r.globals, min(inside.Global(i).Get(), 1))
		default:
			r.globals = append(r.globals, canonicalBits(t.t, inside.Global(i).Get()))
		}
	}
	return r
}

// counts reports whether a call was counted: not so the start function, which runs
// before the counters can be found.
func (r *run) counts(call int) bool { return r.calls[call].slack > 0 }

func (r *run) add(o outcome) {
	r.calls = append(r.calls, o)
	r.deep = r.deep || o.overflow()
	r.unending = r.unending || o.trap == errOutOfFuel
}

// canonicalBits makes all NaNs of a type equal: which one an operator makes is
// the engine's free choice.
func canonicalBits(t byte, bits uint64) uint64 {
	if t == typeI32 || t == typeF32 {
		bits &= math.MaxUint32
	}
	switch {
	case t == typeF32 && bits&0x7fffffff > 0x7f800000:
		return 0x7fc00000
	case t == typeF64 && math.IsNaN(math.Float64frombits(bits)):
		return 0x7ff8000000000000
	}
	return bits
}

func canonicalResults(types []byte, results []uint64) {
	if results == nil {
		return
	}
	at := 0
	for _, t := range types {
		if t == typeV128 {
			at++
		} else {
			results[at] = canonicalBits(t, results[at])
		}
		at++
	}
}

// difference says what is not the same in two runs, or nothing.
func difference(g *generated, a, b *run, fuel bool) string {
	say := func(format string, args ...any) string {
		return fmt.Sprintf("%s against %s: ", a.world.name, b.world.name) + fmt.Sprintf(format, args...)
	}
	if len(a.calls) != len(b.calls) {
		return say("%d calls, %d calls", len(a.calls), len(b.calls))
	}
	for i, x := range a.calls {
		y := b.calls[i]
		switch {
		case x.trap != y.trap || fmt.Sprint(x.results) != fmt.Sprint(y.results):
			return say("call %d: %s, %s", i, x, y)
		case len(x.marks) != len(y.marks):
			return say("call %d: the host was called %d times, %d times", i, len(x.marks), len(y.marks))
		case fuel && x.fuel != y.fuel:
			return say("call %d: %d units of fuel, %d units", i, x.fuel, y.fuel)
		}
		for k := range x.marks {
			if x.marks[k].value != y.marks[k].value {
				return say("call %d: call %d of the host: %d, %d", i, k, x.marks[k].value, y.marks[k].value)
			}
			if fuel && x.marks[k].fuel != y.marks[k].fuel {
				return say("call %d: call %d of the host: %d units of fuel by then, %d units", i, k, x.marks[k].fuel, y.marks[k].fuel)
			}
		}
	}
	switch {
	case a.size != b.size:
		return say("%d bytes of memory, %d bytes", a.size, b.size)
	case a.memory != b.memory:
		return say("memory is not the same")
	case fmt.Sprint(a.globals) != fmt.Sprint(b.globals):
		return say("the globals are %#x, %#x", a.globals, b.globals)
	}
	return ""
}

// seedBytes makes a seed for generate from a number.
func seedBytes(n uint64) []byte {
	r := rand.New(rand.NewPCG(n, 20))
	b := make([]byte, 100+r.IntN(1900))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var (
	seeds = flag.Uint64("seeds", 60, "how many generated modules TestDifferential runs; a third with the race detector")
	first = flag.Uint64("first-seed", 0, "the number of the first of them")
)

// TestDifferential runs some generated modules; with -seeds, as many as one has time for. CI does a
// thousand.
func TestDifferential(t *testing.T) {
	n := *seeds
	if raceDetector {
		n /= 3 // as with the suite: which instructions run makes no difference to it
	}
	both := engines(t)
	var sum tally
	for i := *first; i < *first+n; i++ {
		t.Run(fmt.Sprint(i), func(t *testing.T) { differential(t, both, seedBytes(i), &sum) })
	}
	t.Logf("%+v", sum)
	if sum.compared < int(n)*3/4 || sum.traps > sum.calls/2 || sum.marks < int(n) || sum.refills < int(n) {
		t.Errorf("generated modules do not do much: %+v", sum)
	}
}

// FuzzDifferential looks for modules that metering changes.
func FuzzDifferential(f *testing.F) {
	for i := range uint64(4) { // more are in testdata
		f.Add(seedBytes(1000 + i))
	}
	both := engines(f)
	f.Fuzz(func(t *testing.T, seed []byte) {
		if len(seed) > 4096 {
			t.Skip("longer seeds only make larger modules")
		}
		differential(t, both, bytes.Clone(seed), new(tally))
	})
}
