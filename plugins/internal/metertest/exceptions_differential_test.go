package metertest

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"bulkhead/plugins/exceptions"
)

var (
	throwingModules = flag.Int("throwing", 40, "how many modules with exceptions are generated")
	firstThrowing   = flag.Uint64("throwing.first", 0, "the seed of the first of them")
)

// throwingReport is after how many modules TestThrowing says how far it is.
const throwingReport = 5000

// thrown is what the calls of one module came to: the results and traps, and the hashes.
type thrown struct {
	text               string
	uncaught, returned int
	traps              int
}

// runThrowing calls each function of an instance twice.
func runThrowing(ctx context.Context, m api.Module, functions int) (out thrown) {
	hash := m.ExportedGlobal("h").(api.MutableGlobal)
	left := m.ExportedGlobal("l").(api.MutableGlobal)
	flight, rewritten := m.ExportedGlobal(exceptions.FlightExport).(api.MutableGlobal)
	for i := range functions {
		for _, arg := range []uint64{uint64(i), 0x9e3779b9 + uint64(i)} {
			hash.Set(1)
			left.Set(150)
			results, err := m.ExportedFunction(fmt.Sprintf("f%d", i)).Call(ctx, arg)
			var what string
			switch {
			case err == nil:
				out.returned++
				what = fmt.Sprint(uint32(results[0]))
				if rewritten && flight.Get() != 0 {
					what = "it returned while an exception is under way"
				}
			case rewritten && flight.Get() != 0:
				what = root(err).Error()
				if what == "unreachable" {
					what = "uncaught"
				}
				flight.Set(0)
			case !rewritten && strings.Contains(err.Error(), "uncaught exception"):
				what = "uncaught"
			case root(err).Error() == "null reference" || rewritten && root(err).Error() == "unreachable":
				out.traps++
				what = "null"
			default:
				out.traps++
				what = root(err).Error()
			}
			if what == "uncaught" {
				out.uncaught++
			}
			out.text += fmt.Sprintf("f%d(%d): %s, %#x\n", i, arg, what, uint32(hash.Get()))
		}
	}
	return out
}

// TestThrowing generates modules that throw and catch, and wants the same of the engine's own
// exceptions, of which it says that they are experimental, and of both encodings when they are
// rewritten and metered.
func TestThrowing(t *testing.T) {
	native := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExceptionHandling))
	defer native.Close(context.Background())
	e := newEngine(t, true)
	var uncaught, returned, traps, legacy int
	for i := range *throwingModules {
		seed := *firstThrowing + uint64(i)
		if i > 0 && i%throwingReport == 0 {
			t.Logf("%d modules so far, up to seed %d", i, seed-1)
		}
		g := generateThrowing(seed)
		b := g.bytes(false)
		code, err := native.CompileModule(t.Context(), b)
		if err != nil {
			t.Fatalf("module %d: %v\n%x", seed, err, b)
		}
		m, err := native.InstantiateModule(t.Context(), code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err != nil {
			t.Fatalf("module %d: %v", seed, err)
		}
		want := runThrowing(t.Context(), m, len(g.functions))
		m.Close(context.Background())
		code.Close(context.Background())
		uncaught, returned, traps = uncaught+want.uncaught, returned+want.returned, traps+want.traps
		for _, old := range []bool{false, true} {
			if old && g.onlyFinal {
				continue
			}
			b := g.bytes(old)
			out, _, err := lowered(b)
			if err != nil {
				t.Fatalf("module %d, legacy %v: %v\n%x", seed, old, err, b)
			}
			code, err := e.runtime.CompileModule(t.Context(), out.Code)
			if err != nil {
				t.Fatalf("module %d, legacy %v: %v\n%x", seed, old, err, b)
			}
			w := newWorld(e, "rewritten", large)
			ctx := w.context(t.Context())
			m, err := w.instantiate(ctx, &program{metered: code})
			if err != nil {
				t.Fatal(err)
			}
			if got := runThrowing(ctx, m, len(g.functions)); got.text != want.text {
				t.Fatalf("module %d, legacy %v:\n%s\nthe engine says:\n%s\n%x", seed, old, got.text, want.text, b)
			}
			m.Close(context.Background())
			code.Close(context.Background())
			if old {
				legacy++
			}
		}
	}
	t.Logf("%d modules, %d of them in the legacy encoding too: %d calls returned, %d threw, %d trapped", *throwingModules, legacy, returned, uncaught, traps)
	if returned < *throwingModules || uncaught < *throwingModules/4 || traps < *throwingModules/10 {
		t.Error("there are too few of some")
	}
}
