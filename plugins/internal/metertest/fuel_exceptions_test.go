package metertest

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// dearestExceptions is how much more fuel an interpreter may use, in percent, since its exceptions
// are rewritten: all programs together.
const dearestExceptions = 5

// TestFuelOfExceptions runs programs in an interpreter whose errors are exceptions, which are
// rewritten; in the same without what the rewriting adds behind calls; and in one that is built
// without exceptions, where an error ends the run. The first against the second is what rewriting
// takes; the second against the third is what the compiler makes of setjmp. build.sh in the folder
// of testdata makes the modules. No program has an error. Fuel is the same on every machine, so it
// is compared to the unit.
func TestFuelOfExceptions(t *testing.T) {
	for _, one := range []struct {
		name, folder string
		without      []uint64 // programs that do not run without exceptions
		least        int      // programs, else some are missing
	}{
		{"Lua", "lua", []uint64{7}, 10},                     // its coroutines yield by a jump
		{"MicroPython", "micropython", []uint64{4, 11}, 16}, // hexiom and yield_from have errors inside
	} {
		t.Run(one.name, func(t *testing.T) {
			e := newEngine(t, true)
			wasi_snapshot_preview1.MustInstantiate(t.Context(), e.runtime)
			f := fuelOfPrograms{t: t, e: e, without: one.without}
			read := func(name string) (*exceptions.Lowered, *wasm.Module) {
				b, err := os.ReadFile(filepath.Join("testdata", one.folder, name+".wasm"))
				if err != nil {
					t.Fatal(err)
				}
				m, err := wasm.Parse(b)
				if err != nil {
					t.Fatal(err)
				}
				l, err := exceptions.Lower(m, exceptions.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if l.Used != (name == "jumps") {
					t.Fatalf("%s.wasm uses exceptions: %v", name, l.Used)
				}
				return l, l.Module
			}
			_, m := read("plain")
			plain := f.of("plain", m)
			jumps, m := read("jumps")
			checked := f.of("jumps", m)
			bare := f.of("jumps without checks", withoutChecks(t, jumps))
			var sum [3]int64
			for i, p := range plain {
				c, b := checked[i], bare[i]
				if c.result != p.result || b.result != p.result {
					t.Errorf("program %d: %d, %d without checks, and %d without exceptions", i, c.result, b.result, p.result)
				}
				if p.fuel == 0 {
					continue
				}
				t.Logf("program %2d: %9d units without exceptions, %+.2f %% with setjmp, and %+.2f %% for checks", i, p.fuel,
					percent(b.fuel, p.fuel), percent(c.fuel, b.fuel))
				sum[0], sum[1], sum[2] = sum[0]+p.fuel, sum[1]+b.fuel, sum[2]+c.fuel
			}
			all := percent(sum[2], sum[1])
			t.Logf("all of them: %d units without exceptions, %+.2f %% with setjmp, and %+.2f %% for checks: %+.2f %%", sum[0],
				percent(sum[1], sum[0]), all, percent(sum[2], sum[0]))
			if len(plain) < one.least || all > dearestExceptions || all < 0.1 {
				t.Errorf("%d programs use %.2f %% more fuel, and %d %% are the most", len(plain), all, dearestExceptions)
			}
		})
	}
}

// fuelOfPrograms runs the programs that a module of testdata has.
type fuelOfPrograms struct {
	t       *testing.T
	e       *engine
	without []uint64
}

type fuelOfProgram struct {
	result uint64
	fuel   int64
}

// of is what each of the programs answers, and the fuel it takes; both are 0 for those left out.
func (f *fuelOfPrograms) of(name string, m *wasm.Module) (all []fuelOfProgram) {
	t := f.t
	t.Helper()
	out, err := meter.Rewrite(m, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	code, err := f.e.runtime.CompileModule(t.Context(), out.Code)
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close(context.Background())
	w := newWorld(f.e, name, large)
	ctx := w.context(t.Context())
	instance, err := w.instantiate(ctx, &program{metered: code})
	if err != nil {
		t.Fatal(err)
	}
	call := func(function string, args ...uint64) fuelOfProgram {
		o, err := w.call(ctx, instance, function, args)
		if err != nil || o.trap != nil {
			t.Fatalf("%s: %s(%v): %v, %v", name, function, args, o.trap, err)
		}
		if len(o.results) == 0 {
			return fuelOfProgram{}
		}
		return fuelOfProgram{o.results[0], o.fuel}
	}
	call("_initialize")
	for i := range call("programs").result {
		if slices.Contains(f.without, i) {
			all = append(all, fuelOfProgram{})
			continue
		}
		r := call("run", i)
		if int32(r.result) < 0 {
			t.Fatalf("%s: program %d says %d", name, i, int32(r.result))
		}
		all = append(all, r)
	}
	t.Logf("%s has %d bytes as it runs", name, len(out.Code))
	return all
}

// withoutChecks is a rewritten module without the instructions that look behind each call whether
// an exception is under way. Nothing may be thrown in it.
func withoutChecks(t *testing.T, l *exceptions.Lowered) *wasm.Module {
	t.Helper()
	out := []byte(wasm.Header)
	for _, section := range l.Module.Sections() {
		content := section.Content
		if section.ID == wasm.CodeSection {
			r := wasm.Source{Bytes: section.Content}
			n := r.U32()
			content = binary.AppendUvarint(nil, uint64(n))
			for ; n > 0; n-- {
				body := wasm.Source{Bytes: r.Take(int(r.U32()))}
				for groups := body.U32(); groups > 0; groups-- {
					body.U32()
					body.Take(1)
				}
				code := append([]byte(nil), body.Bytes[:body.Next]...)
				s := wasm.Instructions{Code: body.Bytes[body.Next:]}
				behindCall, at := false, -1 // at: where a check begins
				for s.Step() {
					if at >= 0 && s.Op == wasm.OpBrIf {
						code, behindCall, at = code[:at], false, -1
						continue
					}
					if at = -1; behindCall && s.Op == wasm.OpGlobalGet && s.X == l.Flight {
						at = len(code)
					}
					behindCall = s.Op == wasm.OpCall || s.Op == wasm.OpCallIndirect
					code = append(code, s.Code[s.Start:s.Next]...)
				}
				content = append(binary.AppendUvarint(content, uint64(len(code))), code...)
			}
		}
		out = append(binary.AppendUvarint(append(out, section.ID), uint64(len(content))), content...)
	}
	m, err := wasm.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	m.Exports, m.Start, m.StartFunction = l.Module.Exports, l.Module.Start, l.Module.StartFunction
	return m
}

// percent is how much more a is than b.
func percent(a, b int64) float64 { return 100 * (float64(a)/float64(b) - 1) }
