package metertest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// TestCPlusPlus runs what Emscripten has made of C++ that throws and catches, with its libc++abi
// and libunwind. The engine's module has it.
func TestCPlusPlus(t *testing.T) {
	root, err := suiteDir()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "..", "..", "..", "experimental", "testdata", "cpp_exceptions.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := lowered(b)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, true)
	wasi_snapshot_preview1.MustInstantiate(t.Context(), e.runtime)
	code, err := e.runtime.CompileModule(t.Context(), out.Code)
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close(context.Background())
	w := newWorld(e, "rewritten", large)
	ctx := w.context(t.Context())
	m, err := w.instantiate(ctx, &program{metered: code})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.call(ctx, m, "_initialize", nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int32{"test_no_throw": 42, "test_catch_specific": -1, "test_catch_base": 1, "test_rethrow": -42} {
		o, err := w.call(ctx, m, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.trap != nil || int32(o.results[0]) != want {
			t.Errorf("%s: %v, want %d", name, o, want)
		}
	}
}
