package plugins

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// Native code is the tenant's memory, wherever it is from, and one that has no room for it
// is told how much it takes.
func TestCodeIsCharged(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling takes a second, and waits for nothing")
	}
	m := w.Echo()
	m.Func("", "i:i", "", w.LocalGet(0), bytes.Repeat(w.Cat(w.LocalGet(0), w.I32Load8U(0), w.I32Add), 20_000))
	large := m.Bytes()
	for name, o := range map[string]RuntimeOptions{
		"compiled here":           {},
		"compiled here, and kept": {Code: openCode(t, filepath.Join(t.TempDir(), "code"))},
		"compiled apart":          {Code: openCode(t, filepath.Join(t.TempDir(), "code")), Compiler: childCompiler(t)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, start := range []string{"cold", "warm"} {
				acc := &account{}
				o.Memory = acc
				r := NewRuntime(o)
				small, err := r.Load("small.wasm", w.Echo().Bytes(), Events)
				if err != nil {
					t.Fatal(err)
				}
				if held := acc.held.Load(); held != 0 {
					t.Errorf("%s: %d bytes are charged for a small module", start, held)
				}
				acc.limit.Store(200 << 10)
				_, err = r.Load("large.wasm", large, Events)
				if err == nil || !strings.HasPrefix(err.Error(), "large.wasm: takes ") || !strings.Contains(err.Error(), "for its native code, which its tenant does not have; raise its memory") {
					t.Errorf("%s: without room it says %v", start, err)
				}
				if held := acc.held.Load(); held != 0 {
					t.Errorf("%s: %d bytes are held of one that was refused", start, held)
				}
				acc.limit.Store(0)
				code, err := r.Load("large.wasm", large, Events)
				if err != nil {
					t.Fatal(err)
				}
				if held := acc.held.Load(); held < int64(len(large)+freeCode) || held > 64*int64(len(large)) {
					t.Errorf("%s: %d bytes are charged for a module of %d", start, held, len(large))
				}
				i, err := code.Instantiate(listener())
				if err != nil {
					t.Fatal(err)
				}
				i.Close()
				code.Close()
				if held := acc.held.Load(); held != 0 {
					t.Errorf("%s: %d bytes are held when it is closed", start, held)
				}
				small.Close()
				r.Close()
				<-r.Done()
			}
		})
	}
}
