package meter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

func TestFib(t *testing.T) {
	var used []int64
	for _, config := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
		for _, slice := range []int64{1, 7, 1000, 1 << 30} {
			g := startIn(t, engine(t, config), fib(), meter.Options{})
			g.slice = slice
			if got := g.must("fib", 15); got != 610 {
				t.Errorf("fib(15) is %d", got)
			}
			used = append(used, g.used())
		}
	}
	if slices.Min(used) != slices.Max(used) || used[0] < 1973*10 {
		t.Errorf("the same call uses %d units", used)
	}
}

// What runs for ever can be stopped, whatever it consists of.
func TestEndless(t *testing.T) {
	m := w.New()
	m.Memory(1)
	m.Table(1)
	typ := m.Type(":")
	m.Func("loop", ":", "", w.Forever())
	m.Func("recursion", ":", "", w.Call(1))
	m.Func("indirect", ":", "", w.I32Const(0), w.CallIndirect(typ))
	m.Func("params", ":", "", w.I32Const(1), []byte{3}, leb(uint64(m.Type("i:i"))), w.Br(0), w.End, w.Drop)
	m.Func("table", ":", "", w.Loop(w.I32Const(0), []byte{0x0e, 1, 0, 0}))
	m.Func("outer", ":", "", w.Loop(w.Loop(w.I32Const(1), w.BrIf(1))))
	m.Elements(0, 2)
	// Without a loop, but with 2^40 calls.
	m.Func("", ":", "", w.Nop)
	for i := range 40 {
		name := ""
		if i == 39 {
			name = "tree"
		}
		m.Func(name, ":", "", w.Call(w.Func(6+i)), w.Call(w.Func(6+i)))
	}
	b := m.Bytes()
	for _, name := range []string{"loop", "recursion", "indirect", "params", "table", "outer", "tree"} {
		g := start(t, b, meter.Options{})
		g.slice, g.stop = 1000, 100_000
		if _, err := g.call(name); !errors.Is(err, stopped{}) {
			t.Errorf("%s: %v", name, err)
		}
		if g.lowest < -100 {
			t.Errorf("%s used %d units without a check", name, -g.lowest)
		}
	}
}

// What many calls do when they return is not paid before they do, so that it cannot
// be done without a check.
func TestReturns(t *testing.T) {
	// It takes 900 units.
	work := bytes.Repeat(w.Cat(w.GlobalGet(0), w.I64Const(1), w.I64Add, w.GlobalSet(0)), 300)
	recurse := w.Cat(w.LocalGet(0), w.If(w.LocalGet(0), w.I32Const(1), w.I32Sub, w.Call(0)))
	for name, body := range map[string][]byte{
		"straight":      w.Cat(recurse, work),
		"in a block":    w.Cat(w.Block(recurse), work),
		"on condition":  w.Cat(recurse, w.LocalGet(0), w.If(work)),
		"behind a part": w.Cat(recurse, w.LocalGet(0), w.I32Eqz, w.If(w.Nop), work),
		"in parts":      w.Cat(recurse, bytes.Repeat(w.Cat(w.LocalGet(0), w.If(work[:len(work)/10])), 10)),
	} {
		m := w.New()
		m.Func("f", "i:", "", body)
		m.Global('I', true, w.I64Const(0))
		g := start(t, m.Bytes(), meter.Options{})
		g.slice = 1
		const depth = 1000
		g.must("f", depth)
		if g.refills < 2*depth-10 {
			t.Errorf("%s: in %d calls that return it checks %d times", name, depth, g.refills)
		}
		if g.lowest < -1500 {
			t.Errorf("%s: it used %d units without a check", name, -g.lowest)
		}
	}
}

// However a function is made, it reaches into memory no more than twice MaxTouches times without a
// check; and after a call not at all before it returns. A watchdog that takes its fuel away relies
// on that: each may be the first touch of a page.
func TestTouchesAreChecked(t *testing.T) {
	const count = 6000
	store := w.Cat(w.LocalGet(0), w.I32Const(1), w.I32Store8(0))
	touch := w.Cat(store, w.LocalGet(0), w.I32Load8U(0), w.Drop)
	never := w.Cat(w.LocalGet(0), w.I32Eqz)
	recurse := w.Cat(w.LocalGet(0), w.If(w.LocalGet(0), w.I32Const(1), w.I32Sub, w.Call(0)))
	many := func(n int, b []byte) []byte { return bytes.Repeat(b, n) }
	for name, test := range map[string]struct {
		body []byte
		arg  uint64
		want int // checks, at least
	}{
		"straight": {many(count/2, touch), 1, count / (2 * meter.MaxTouches)},
		// Those that are not taken have every check that a simple count would make.
		"beside arms that are not taken": {many(count/30, w.Cat(many(15, touch), never, w.If(store, store, store))), 1, count / (2 * meter.MaxTouches)},
		"beside other arms":              {many(count/30, w.Cat(many(15, touch), never, w.If(many(20, touch)))), 1, count / (2 * meter.MaxTouches)},
		"in arms":                        {many(count/20, w.Cat(w.LocalGet(0), w.If(many(10, touch)))), 1, count / (2 * meter.MaxTouches)},
		"in blocks that are left":        {many(count/20, w.Block(many(10, touch), w.LocalGet(0), w.BrIf(0), many(40, touch))), 1, count / (2 * meter.MaxTouches)},
		"behind calls":                   {w.Cat(recurse, store), 1000, 2000},
		"behind calls, in an arm":        {w.Cat(recurse, w.LocalGet(0), w.If(touch)), 1000, 2000},
		"behind calls, and a return":     {w.Cat(recurse, w.Block(store, w.LocalGet(0), w.BrIf(1), store)), 1000, 2000},
		"behind calls, in a block":       {w.Cat(w.Block(recurse), never, w.If(w.Return), touch), 1000, 2000},
	} {
		m := w.New()
		m.Memory(1, 1)
		m.Func("f", "i:", "", test.body)
		g := start(t, m.Bytes(), meter.Options{})
		g.starve = true
		g.must("f", test.arg)
		if g.refills < test.want {
			t.Errorf("%s: it checks %d times; want %d", name, g.refills, test.want)
		}
	}
	// What hardly reaches into memory has no more checks than it had.
	m := w.New()
	m.Memory(1, 1)
	m.Func("f", "i:", "", many(meter.MaxTouches/2, touch))
	g := start(t, m.Bytes(), meter.Options{})
	g.starve = true
	if g.must("f", 1); g.refills != 1 {
		t.Errorf("a few touches check %d times", g.refills)
	}
}

// The frame of a function is paid when it is called.
func TestFrames(t *testing.T) {
	m := w.New()
	m.Func("small", ":", "")
	m.Func("locals", ":", strings.Repeat("I", 800))
	m.Func("vectors", ":", strings.Repeat("V", 800))
	m.Func("values", ":", "", bytes.Repeat(w.Cat(w.I32Const(1), w.Drop), 800))
	g := start(t, m.Bytes(), meter.Options{})
	use := func(name string) int64 {
		before := g.used()
		g.must(name)
		return g.used() - before
	}
	small := use("small")
	for name, want := range map[string]int64{"locals": 100, "vectors": 200, "values": 100} {
		if got := use(name) - small; got != want {
			t.Errorf("the frame of %s costs %d, not %d", name, got, want)
		}
	}
}

// Every place that holds the index of a function holds the new one.
func TestRenumbered(t *testing.T) {
	m := w.New()
	host := m.Import("host", "f", "i:i")
	m.Table(10)
	m.Table(10)
	typ := m.Type("i:i")
	ref := func(f int) []byte { return w.Cat([]byte{0xd2}, leb(uint64(f))) }
	m.Global('r', false, ref(2))
	own := func(add int32) []byte { return w.Cat(w.LocalGet(0), w.I32Const(add), w.I32Add) }
	first := m.Func("first", "i:i", "", own(10))
	second := m.Func("second", "i:i", "", own(20))
	m.Func("direct", "i:i", "", w.LocalGet(0), w.Call(first), w.Call(second), w.Call(host))
	m.Func("indirect", "ii:i", "", w.LocalGet(0), w.LocalGet(1), w.CallIndirect(typ))
	m.Func("setref", "i:", "", w.LocalGet(0), ref(int(first)), []byte{0x26, 0})
	m.Func("sethost", "i:", "", w.LocalGet(0), ref(int(host)), []byte{0x26, 0})
	m.Func("setglobal", "i:", "", w.LocalGet(0), w.GlobalGet(0), []byte{0x26, 0})
	m.Func("init", ":", "", w.I32Const(6), w.I32Const(0), w.I32Const(2), []byte{0xfc, 12, 2, 0})
	m.Export("hostagain", 0, int(host))
	at := func(i int32) []byte { return w.Cat(w.I32Const(i), w.End) }
	null := w.Cat(w.RefNull(), w.End)
	m.Raw(9, w.Cat([]byte{6},
		[]byte{0}, at(0), []byte{2, 0, 1}, // the host's and first
		[]byte{2, 0}, at(2), []byte{0, 1, 2}, // second
		[]byte{5, 0x70, 2}, ref(1), w.End, ref(2), w.End, // passive: first and second
		[]byte{4}, at(3), []byte{2}, ref(2), w.End, null,
		[]byte{6, 0}, at(5), []byte{0x70, 1}, ref(0), w.End,
		[]byte{3, 0, 1, 1}, // declared
	))
	m.Start(m.Func("", ":", "", w.I32Const(9), w.Call(5)))
	g := start(t, m.Bytes(), meter.Options{})
	if got := g.must("direct", 1); got != 32 {
		t.Errorf("direct calls give %d, not 32", got)
	}
	if got := g.must("hostagain", 1); got != 2 {
		t.Errorf("the host's function gives %d", got)
	}
	g.must("init")
	for i, want := range map[uint64]uint64{0: 101, 1: 110, 2: 120, 3: 120, 5: 101, 6: 110, 7: 120, 9: 110} {
		if got := g.must("indirect", 100, i); got != want {
			t.Errorf("what is at %d of the table gives %d, not %d", i, got, want)
		}
	}
	for name, want := range map[string]uint64{"setref": 110, "sethost": 101, "setglobal": 120} {
		g.must(name, 8)
		if got := g.must("indirect", 100, 8); got != want {
			t.Errorf("after %s it gives %d, not %d", name, got, want)
		}
	}
}

// The start function is not the engine's to call.
func TestStart(t *testing.T) {
	m := w.New()
	f := m.Func("", ":", "", w.Forever())
	m.Start(f)
	r := engine(t, wazero.NewRuntimeConfigCompiler())
	got := rewritten(t, m.Bytes(), meter.Options{})
	if !got.Start {
		t.Error("it is not said that there is a start function")
	}
	c, err := r.CompileModule(t.Context(), got.Code)
	if err != nil {
		t.Fatal(err)
	}
	if c.ExportedFunctions()[meter.StartExport] == nil {
		t.Error("the start function is not exported")
	}
	if again, err := wasm.Parse(got.Code); err == nil {
		t.Errorf("what was rewritten is accepted as a tenant's: %v", again)
	}
	if without := rewritten(t, fib(), meter.Options{}); without.Start {
		t.Error("a start function is there that is not")
	}
}

func TestNames(t *testing.T) {
	name := func(i byte, s string) []byte { return w.Cat([]byte{i}, leb(uint64(len(s))), []byte(s)) }
	section := func(id byte, b ...[]byte) []byte { c := w.Cat(b...); return w.Cat([]byte{id}, leb(uint64(len(c))), c) }
	module := func(payload ...[]byte) []byte {
		m := w.New()
		m.Custom("name", w.Cat(payload...))
		m.Import("host", "f", "i:i")
		m.Func("a", ":", "", w.Unreachable)
		m.Func("b", ":", "", w.Call(1))
		return m.Bytes()
	}
	long := strings.Repeat("é", 300)
	for _, c := range []struct {
		name, want, wantB string
		b                 []byte
	}{
		{"names", ".first(", ".second(", module(section(0, name(3, "mod")), section(1, []byte{3}, name(0, "imported"), name(1, "first"), name(2, "second")))},
		{"one", ".$2(", ".second(", module(section(1, []byte{1}, name(2, "second")))},
		{"none", ".$2(", ".$3(", module()},
		{"long", "." + long[:64] + "(", ".$3(", module(section(1, []byte{1}, name(1, long)))},
		{"too few", ".first(", ".$3(", module(section(1, []byte{9}, name(1, "first")))},
		{"no text", ".$2(", ".$3(", module(section(1, []byte{2}, name(1, "\xff"), name(2, "x")))},
		{"not in order", ".$2(", ".second(", module(section(1, []byte{2}, name(2, "second"), name(1, "first")))},
		{"of no function", ".first(", ".$3(", module(section(1, []byte{2}, name(1, "first"), name(77, "x")))},
		{"bad section", ".$2(", ".$3(", module([]byte{1, 0xff, 0xff, 0xff})},
		{"bad number", ".$2(", ".$3(", module(section(1, []byte{0xff}))},
	} {
		g := start(t, c.b, meter.Options{})
		_, err := g.call("b")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.wantB) {
			t.Errorf("%s: the trace is %v", c.name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		memory  []int
		table   []int
		o       meter.Options
		pages   string
		members string
	}{
		{[]int{1}, []int{5}, meter.Options{}, "{1 0 false}", "{5 0 false}"},
		{[]int{1, 9}, []int{5, 50}, meter.Options{}, "{1 9 true}", "{5 50 true}"},
		{[]int{1, 9}, []int{5, 50}, meter.Options{MaxPages: 3, MaxTableGrowth: 10}, "{1 3 true}", "{5 15 true}"},
		{[]int{1, 2}, []int{5, 6}, meter.Options{MaxPages: 3, MaxTableGrowth: 10}, "{1 2 true}", "{5 6 true}"},
		{[]int{1}, []int{5}, meter.Options{MaxPages: 3, MaxTableGrowth: 1<<32 - 1}, "{1 3 true}", "{5 4294967295 true}"},
		{[]int{4}, []int{5}, meter.Options{MaxPages: 3}, "{4 4 true}", "{5 0 false}"},
	} {
		m := w.New()
		m.Memory(c.memory[0], c.memory[1:]...)
		m.Table(c.table[0], c.table[1:]...)
		got := rewritten(t, m.Bytes(), c.o)
		p := bytes.Replace(got.Code, []byte("\x08bulkhead\x06refill"), []byte("\x08hostmods\x06refill"), 1)
		p = bytes.Replace(p, []byte("bulkhead.fuel"), []byte("bulkhead-fuel"), 1)
		again, err := wasm.Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprint(again.Memories[0]), fmt.Sprint(again.Tables[0]); a != c.pages || b != c.members {
			t.Errorf("%+v makes of %v and %v %s and %s, not %s and %s", c.o, c.memory, c.table, a, b, c.pages, c.members)
		}
	}
}

// What would become too large is refused.
func TestRefused(t *testing.T) {
	loops := bytes.Repeat(w.Cat([]byte{3, 0x40}, w.End), 300_000)
	m := w.New()
	m.Func("", ":", "", loops)
	big := m.Bytes()
	m = w.New()
	for range 20 {
		m.Func("", ":", "", loops[:450_000])
	}
	all := m.Bytes()
	m = w.New()
	m.Memory(1)
	const segments = meter.MaxHelpers + 1
	m.Raw(12, leb(segments))
	m.Raw(11, w.Cat(leb(segments), bytes.Repeat([]byte{1, 0}, segments)))
	var many []byte
	for i := range segments {
		many = w.Cat(many, w.I32Const(0), w.I32Const(0), w.I32Const(0), []byte{0xfc, 8}, leb(uint64(i)), []byte{0})
	}
	m.Func("", ":", "", w.Nop)
	m.Func("", ":", "", many)
	helpers := m.Bytes()
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{big, "function 0: metered, it has more than 4194304 bytes"},
		{all, "are the most: it consists of loops and branches with little between"},
		{helpers, "function 1: it uses bulk operations on more than 4096 different tables and segments"},
	} {
		parsed, err := wasm.Parse(c.b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = meter.Rewrite(parsed, meter.Options{})
		var bad *wasm.SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || bad.Offset == 0 {
			t.Errorf("it says %v, not %q", err, c.want)
		}
	}
}

// What compilers make is accepted by the engine afterwards, and is not much larger.
func TestRealModules(t *testing.T) {
	for name, b := range realModules(t) {
		m := rewritten(t, b, meter.Options{MaxPages: 100, MaxTableGrowth: 10})
		if len(b) > 10_000 && len(m.Code) > len(b)*5/4 {
			t.Errorf("%s has %d bytes, and then %d", name, len(b), len(m.Code))
		}
		r := engine(t, wazero.NewRuntimeConfigInterpreter())
		if _, err := r.CompileModule(t.Context(), m.Code); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func realModules(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../examples/*/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := wasm.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		// Those with exceptions are metered when these are rewritten: see
		// plugins/internal/metertest.
		if used, _ := m.Exceptions(); !used {
			all[f] = b
		}
	}
	return all
}

// Rewriting takes no more memory than a small multiple of the module.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	for name, b := range realModules(t) {
		m, err := wasm.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&before)
		if _, err := meter.Rewrite(m, meter.Options{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(5*len(b)+1<<20) {
			t.Errorf("%s has %d bytes, and rewriting it takes %d", name, len(b), used)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	for name, code := range realModules(b) {
		if len(code) < 10_000 {
			continue
		}
		b.Run(filepath.Base(name), func(b *testing.B) {
			m, err := wasm.Parse(code)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(code)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := meter.Rewrite(m, meter.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bare is the module without its custom sections, which the engine's decoder
// would believe.
func bare(m *wasm.Module) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range m.Sections() {
		b = append(b, w.Section(s.ID, s.Content)...)
	}
	return b
}

// FuzzRewrite holds the gate and the rewriter against the engine: what the engine
// accepts and the gate passes is accepted rewritten, and nothing else.
func FuzzRewrite(f *testing.F) {
	f.Add(fib())
	f.Add(bulk().Bytes())
	f.Add(w.Echo().Bytes())
	for seed := range uint64(4) {
		f.Add(randomModule(seed))
	}
	r := engine(f, wazero.NewRuntimeConfigInterpreter())
	compile := func(t *testing.T, b []byte) error {
		c, err := r.CompileModule(t.Context(), b)
		if err == nil {
			_ = c.Close(t.Context())
		}
		return err
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wasm.Parse(b)
		if err != nil {
			return
		}
		plain := compile(t, bare(m))
		for _, o := range []meter.Options{{}, {Detach: true, MaxPages: wasm.MaxPages - 1}} {
			o.MaxTableGrowth = wasm.MaxGrowth
			metered, err := meter.Rewrite(m, o)
			if err != nil {
				continue
			}
			if err := compile(t, metered.Code); (err == nil) != (plain == nil) {
				t.Errorf("plain, the engine says %v, and rewritten %v (detached: %v)", plain, err, o.Detach)
			}
		}
	})
}

// What calls and branches carry is paid when it is more than compilers have.
func TestValuesThatAreCarriedArePaid(t *testing.T) {
	const many = 500
	wide := ":" + strings.Repeat("i", many)
	all := slices.Concat(slices.Repeat([][]byte{w.I32Const(1)}, many)...)
	drop := bytes.Repeat(w.Drop, many)
	for name, body := range map[string]func(m *w.Module) []byte{
		"br": func(m *w.Module) []byte {
			return slices.Concat([]byte{2}, binary.AppendUvarint(nil, uint64(m.Type(wide))), all, w.Br(0), w.End, drop)
		},
		"call": func(m *w.Module) []byte { return slices.Concat(w.Call(m.Func("", wide, "", all)), drop) },
	} {
		m := w.New()
		code := body(m)
		m.Func("run", ":", "", code)
		g := start(t, m.Bytes(), meter.Options{})
		g.must("run")
		if used := g.used(); used < (many-meter.FreeMoves)*meter.MoveUnits {
			t.Errorf("%s: %d units for %d values", name, used, many)
		}
	}
}
