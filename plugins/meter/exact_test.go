package meter_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

// exact rewrites a module naively: each instruction adds its price to a global
// "exact" before it is executed, and each one that may branch, loop or begin a function
// adds one to a global "turns". It is what the regions are held against.
func exact(t testing.TB, b []byte) []byte {
	t.Helper()
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	global := m.Imported(wasm.Global) + m.Globals
	add := func(out []byte, global int, n uint32) []byte {
		if n == 0 {
			return out
		}
		return w.Cat(out, w.GlobalGet(global), w.I64Const(int64(n)), w.I64Add, w.GlobalSet(global))
	}
	// more is a vector with items behind its own.
	more := func(content []byte, count int, items ...[]byte) []byte {
		n, k := uint64(0), 0
		if len(content) > 0 {
			n, k = binary.Uvarint(content)
		}
		return bytes.Join(append([][]byte{binary.AppendUvarint(nil, n+uint64(count)), content[k:]}, items...), nil)
	}
	sections := make([][]byte, 13)
	for _, s := range m.Sections() {
		sections[s.ID] = s.Content
	}
	zero := w.Cat([]byte{byte(wasm.I64), 1}, w.I64Const(0), w.End)
	sections[6] = more(sections[6], 2, zero, zero)
	export := func(name string, i int) []byte {
		return w.Cat([]byte{byte(len(name))}, []byte(name), []byte{3}, leb(uint64(i)))
	}
	sections[7] = more(sections[7], 2, export("exact", global), export("turns", global+1))
	r := bytes.NewReader(sections[10])
	n, _ := binary.ReadUvarint(r)
	code := leb(n)
	frames := meter.FrameUnits(m)
	for i := range n {
		size, _ := binary.ReadUvarint(r)
		body := make([]byte, size)
		_, _ = r.Read(body)
		groups, at := binary.Uvarint(body)
		for range groups {
			_, k := binary.Uvarint(body[at:])
			at += k + 1
		}
		out := add(add(bytes.Clone(body[:at]), global+1, 1), global, frames[i])
		for s := (wasm.Instructions{Code: body[at:]}); s.Step(); {
			cost := meter.Cost(s.Op)
			if s.Op == wasm.OpCall && int(s.X) < m.Imported(wasm.Function) {
				cost = meter.HostCall
			}
			switch s.Op {
			case wasm.OpElse:
				out = append(out, byte(s.Op))
				out = add(out, global+1, 1)
				continue
			case wasm.OpIf, wasm.OpBrIf, wasm.OpBrTable, wasm.OpBr:
				out = add(out, global+1, 1)
			}
			out = add(out, global, cost)
			out = append(out, s.Code[s.Start:s.Next]...)
			if s.Op == wasm.OpLoop {
				out = add(out, global, meter.Turn)
			}
			if s.Op == wasm.OpLoop || s.Op == wasm.OpEnd && s.Next < len(s.Code) {
				out = add(out, global+1, 1)
			}
		}
		code = append(append(code, leb(uint64(len(out)))...), out...)
	}
	sections[10] = code
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, id := range []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11} {
		if sections[id] != nil {
			out = append(out, w.Section(id, sections[id])...)
		}
	}
	return out
}

func leb(v uint64) []byte { return binary.AppendUvarint(nil, v) }

// structured writes random functions of blocks, loops, conditions and branches of all kinds.
// Turns and calls end when a global that counts down is at zero.
type structured struct {
	r      *rand.Rand
	labels []int // how many values a branch to each open block takes, the innermost last
	budget int
	calls  int
	types  map[string]int
}

// The locals of a random function, and its global.
const (
	randomLocals = 4
	gasGlobal    = 0
)

func (g *structured) value() []byte {
	switch g.r.IntN(3) {
	case 0:
		return w.I32Const(int32(g.r.IntN(5)))
	case 1:
		return w.LocalGet(g.r.IntN(randomLocals))
	default:
		return w.Cat(w.LocalGet(g.r.IntN(randomLocals)), w.I32Const(int32(g.r.IntN(7))), [][]byte{w.I32Add, w.I32Xor, w.I32And, w.I32LtS, w.I32Mul}[g.r.IntN(5)])
	}
}

func (g *structured) values(n int) []byte {
	var b []byte
	for range n {
		b = append(b, g.value()...)
	}
	return b
}

func drops(n int) []byte { return bytes.Repeat(w.Drop, n) }

// out leaves the function when the gas is used up.
func out() []byte {
	return w.Cat(w.GlobalGet(gasGlobal), w.I32Eqz, w.If(w.I32Const(9), w.Return),
		w.GlobalGet(gasGlobal), w.I32Const(1), w.I32Sub, w.GlobalSet(gasGlobal))
}

// statements are some that leave the stack as it was, and whether what follows is
// reached.
func (g *structured) statements(depth int) []byte {
	var b []byte
	for n := g.r.IntN(5); n >= 0 && g.budget > 0; n-- {
		g.budget--
		s, goesOn := g.statement(depth)
		b = append(b, s...)
		if !goesOn {
			break
		}
	}
	return b
}

func (g *structured) typed(params, results int) []byte {
	return leb(uint64(g.types[fmt.Sprint(params, results)]))
}

func (g *structured) statement(depth int) (b []byte, goesOn bool) {
	kind := g.r.IntN(16)
	if depth > 6 && kind >= 6 && kind <= 11 {
		kind = 0
	}
	inside := func(values int, f func() []byte) []byte {
		g.labels = append(g.labels, values)
		b := f()
		g.labels = g.labels[:len(g.labels)-1]
		return b
	}
	switch kind {
	case 0, 1, 2:
		return w.Cat(g.value(), w.LocalSet(g.r.IntN(randomLocals))), true
	case 3, 4: // br_if
		l := g.r.IntN(len(g.labels))
		n := g.labels[len(g.labels)-1-l]
		return w.Cat(g.values(n), g.value(), w.BrIf(l), drops(n)), true
	case 5:
		if g.calls == 0 {
			return w.Nop, true
		}
		return w.Cat(g.value(), w.Call(w.Func(g.r.IntN(g.calls))), w.LocalSet(0)), true
	case 6, 7: // a block
		params, results := g.r.IntN(2), g.r.IntN(3)
		return w.Cat(g.values(params), []byte{2}, g.typed(params, results), inside(results, func() []byte {
			return w.Cat(drops(params), g.statements(depth+1), g.values(results), w.End)
		}), drops(results)), true
	case 8: // a loop
		params, results := g.r.IntN(2), g.r.IntN(3)
		return w.Cat(g.values(params), []byte{3}, g.typed(params, results), inside(params, func() []byte {
			return w.Cat(drops(params), out(), g.statements(depth+1), g.values(results), w.End)
		}), drops(results)), true
	case 9, 10: // an if
		params, results := g.r.IntN(2), g.r.IntN(2)
		b := w.Cat(g.values(params), g.value(), []byte{4}, g.typed(params, results))
		otherwise := results != params || g.r.IntN(2) == 0
		return w.Cat(b, inside(results, func() []byte {
			b := w.Cat(drops(params), g.statements(depth+1), g.values(results))
			if otherwise {
				b = w.Cat(b, []byte{5}, drops(params), g.statements(depth+1), g.values(results))
			}
			return w.Cat(b, w.End)
		}), drops(results)), true
	case 11: // a switch
		arms := 1 + g.r.IntN(5)
		for range arms + 1 {
			g.labels = append(g.labels, 0)
		}
		b := w.Cat(bytes.Repeat([]byte{2, 0x40}, arms+1), g.value(), []byte{0x0e}, leb(uint64(arms)))
		for i := range arms + 1 {
			b = append(b, byte((i*7+3)%(arms+1)))
		}
		b = append(b, w.End...)
		for i := range arms + 1 {
			g.labels = g.labels[:len(g.labels)-1]
			b = w.Cat(b, g.statements(depth+1))
			if i < arms {
				b = w.Cat(b, [][]byte{w.Br(arms - 1 - i), nil}[g.r.IntN(2)], w.End)
			}
		}
		return b, true
	case 12: // br
		l := g.r.IntN(len(g.labels))
		return w.Cat(g.values(g.labels[len(g.labels)-1-l]), w.Br(l)), g.r.IntN(4) == 0
	case 13:
		if g.r.IntN(3) > 0 {
			return w.Cat(g.value(), w.LocalSet(1)), true
		}
		return w.Cat(g.value(), w.Return), g.r.IntN(4) == 0
	default:
		return w.Cat(g.value(), g.value(), w.I32Xor, w.LocalSet(g.r.IntN(randomLocals))), true
	}
}

// randomModule exports its last function as "f" and its count as "gas".
func randomModule(seed uint64) []byte {
	g := &structured{r: rand.New(rand.NewPCG(seed, 1)), types: map[string]int{}}
	m := w.New()
	for params := range 3 {
		for results := range 4 {
			g.types[fmt.Sprint(params, results)] = m.Type("iii"[:params] + ":" + "iii"[:results])
		}
	}
	m.Global('i', true, w.I32Const(0))
	m.Export("gas", 3, gasGlobal)
	for i := range 3 {
		g.budget, g.labels, g.calls = 40, []int{1}, i+1
		name := ""
		if i == 2 {
			name = "f"
		}
		m.Func(name, "i:i", "iiii"[:randomLocals-1], out(), g.statements(0), g.value())
	}
	return m.Bytes()
}

// On no way is less paid than is executed, and for each turn at most MaxAhead more.
func TestRandomModulesPay(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		checkPayment(t, randomModule(seed), fmt.Sprintf("seed %d", seed))
	}
}

func checkPayment(t *testing.T, b []byte, name string) {
	t.Helper()
	r := engine(t, wazero.NewRuntimeConfigInterpreter())
	g := startIn(t, r, b, meter.Options{})
	naive, err := r.InstantiateWithConfig(t.Context(), exact(t, b), wazero.NewModuleConfig().WithName("naive"))
	if err != nil {
		t.Fatalf("%s: the naive one: %v", name, err)
	}
	for arg := range uint64(6) {
		for _, gas := range []uint64{0, 3, 100} {
			var got [2][]uint64
			before := g.used()
			exactBefore, turnsBefore := naive.ExportedGlobal("exact").Get(), naive.ExportedGlobal("turns").Get()
			setGlobal(g.mod, "gas", gas)
			setGlobal(naive, "gas", gas)
			if got[0], err = g.call("f", arg); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got[1], err = naive.ExportedFunction("f").Call(t.Context(), arg); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			used := g.used() - before
			least := int64(naive.ExportedGlobal("exact").Get() - exactBefore)
			turns := int64(naive.ExportedGlobal("turns").Get() - turnsBefore)
			if got[0][0] != got[1][0] {
				t.Fatalf("%s: f(%d) is %d, and %d when it does not pay", name, arg, got[0][0], got[1][0])
			}
			if used < least || used > least+turns*meter.MaxAhead {
				t.Fatalf("%s: f(%d) with %d turns pays %d, and executes %d with %d branches", name, arg, gas, used, least, turns)
			}
		}
	}
}
