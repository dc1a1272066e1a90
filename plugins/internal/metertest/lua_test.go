package metertest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// dearestExceptions is how much more fuel Lua may use, in percent, for its errors being
// exceptions: all programs together.
const dearestExceptions = 5

// yielding is the program whose coroutines yield, which Lua does by a jump: it is left out, since
// it does not run without any.
const yielding = 7

// TestFuelOfExceptions runs programs in Lua whose errors are exceptions, rewritten, and in the same
// Lua without any, where an error ends the run. testdata/lua/build.sh makes both. No program has an
// error. Fuel is the same on every machine, so it is compared to the unit.
func TestFuelOfExceptions(t *testing.T) {
	e := newEngine(t, true)
	wasi_snapshot_preview1.MustInstantiate(t.Context(), e.runtime)
	type run struct {
		result uint64
		fuel   int64
	}
	runs := make(map[string][]run)
	for _, name := range []string{"plain", "jumps"} {
		b, err := os.ReadFile(filepath.Join("testdata", "lua", name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		if used, _ := exceptionsOf(t, b); used != (name == "jumps") {
			t.Fatalf("%s.wasm uses exceptions: %v", name, used)
		}
		out, _, err := lowered(b)
		if err != nil {
			t.Fatal(err)
		}
		code, err := e.runtime.CompileModule(t.Context(), out.Code)
		if err != nil {
			t.Fatal(err)
		}
		defer code.Close(context.Background())
		w := newWorld(e, name, large)
		ctx := w.context(t.Context())
		m, err := w.instantiate(ctx, &program{metered: code})
		if err != nil {
			t.Fatal(err)
		}
		call := func(function string, args ...uint64) run {
			o, err := w.call(ctx, m, function, args)
			if err != nil || o.trap != nil {
				t.Fatalf("%s.wasm: %s(%v): %v, %v", name, function, args, o.trap, err)
			}
			if len(o.results) == 0 {
				return run{}
			}
			return run{o.results[0], o.fuel}
		}
		call("_initialize")
		for i := range call("programs").result {
			if i == yielding {
				runs[name] = append(runs[name], run{})
				continue
			}
			r := call("run", i)
			if int32(r.result) < 0 {
				t.Fatalf("%s.wasm: program %d says %d", name, i, int32(r.result))
			}
			runs[name] = append(runs[name], r)
		}
		t.Logf("%s.wasm has %d bytes, and %d as it runs", name, len(b), len(out.Code))
	}
	var plain, jumps int64
	for i, p := range runs["plain"] {
		if i == yielding {
			continue
		}
		j := runs["jumps"][i]
		if j.result != p.result {
			t.Errorf("program %d: %d, and %d without exceptions", i, j.result, p.result)
		}
		plain, jumps = plain+p.fuel, jumps+j.fuel
		t.Logf("program %d: %9d units without exceptions, %+.2f %% with them", i, p.fuel, percent(j.fuel, p.fuel))
	}
	t.Logf("all of them: %d units without exceptions, %+.2f %% with them", plain, percent(jumps, plain))
	if len(runs["plain"]) < 10 || percent(jumps, plain) > dearestExceptions {
		t.Errorf("%d programs use %.2f %% more fuel, and %d %% are the most", len(runs["plain"]), percent(jumps, plain), dearestExceptions)
	}
}

// percent is how much more a is than b.
func percent(a, b int64) float64 { return 100 * (float64(a)/float64(b) - 1) }
