package metertest

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/wasm"
)

// TestSetjmp runs random programs of setjmp and longjmp, compiled to the exceptions of both
// encodings, and wants what native code says. testdata/setjmp/build.sh makes them.
func TestSetjmp(t *testing.T) {
	dir := filepath.Join("testdata", "setjmp")
	modules, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
	if err != nil || len(modules) != 6 {
		t.Fatalf("find the modules: %d, %v; want 6", len(modules), err)
	}
	e := newEngine(t, true)
	for _, file := range modules {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out, l, err := lowered(b)
			if err != nil {
				t.Fatal(err)
			}
			if _, legacy := exceptionsOf(t, b); legacy != strings.HasPrefix(filepath.Base(file), "legacy") {
				t.Errorf("legacy: %v", legacy)
			}
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
			f, err := os.Open(filepath.Join(dir, "native.txt"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			seed := uint32(0)
			for lines := bufio.NewScanner(f); lines.Scan(); seed++ {
				o, err := w.call(ctx, m, "run", []uint64{uint64(seed * 2654435761)})
				if err != nil {
					t.Fatal(err)
				}
				if o.trap != nil || strconv.FormatUint(o.results[0], 10) != lines.Text() {
					t.Fatalf("program %d: %v, and native code says %s", seed, o, lines.Text())
				}
			}
			if seed != 2000 {
				t.Fatalf("there are %d programs, want 2000", seed)
			}
			o, err := w.call(ctx, m, "lost", nil)
			if err != nil {
				t.Fatal(err)
			}
			flight := m.ExportedGlobal(exceptions.FlightExport).Get()
			if tag := exceptions.Thrown(l.Tags, uint32(flight)); o.trap == nil || !strings.Contains(o.trap.Error(), "unreachable") || tag != `"__c_longjmp"` {
				t.Errorf("a longjmp to nowhere: %v, with the tag %s", o, tag)
			}
			t.Logf("%d bytes, %d as it runs", len(b), len(out.Code))
		})
	}
}

func exceptionsOf(t *testing.T, b []byte) (used, legacy bool) {
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m.Exceptions()
}
