package metertest

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/wasm"
)

// withoutTypes are what the engine says of invalid modules that are no fault of a function's
// operands: of constants, element segments and imports. It sees these in what comes out as in what
// went in.
var withoutTypes = []string{"const expression type mismatch", "element[0]", "element type", "table type mismatch", "empty module name"}

// TestOperandsAreChecked runs the modules of the whole core suite through the validation of modules
// with exceptions, as if they had some: what the engine refuses for its operands has to be refused
// before it is rewritten, and what it accepts has to be accepted.
func TestOperandsAreChecked(t *testing.T) {
	root, err := suiteDir()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, true)
	var valid, invalid, later int
	for _, version := range []string{"v1", "v2"} {
		dir := filepath.Join(root, version, "testdata")
		scripts, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(scripts) < 60 {
			t.Fatalf("find scripts: %d, %v", len(scripts), err)
		}
		for _, script := range scripts {
			s, err := readScript(script)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range s.Commands {
				if c.Filename == "" || c.ModuleType == "text" {
					continue
				}
				b, err := os.ReadFile(filepath.Join(dir, c.Filename))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := wasm.Parse(b); err != nil {
					continue
				}
				m, err := wasm.Parse(withTags(b))
				if err != nil {
					t.Fatalf("%s: %v", c.Filename, err)
				}
				if used, _ := m.Exceptions(); !used {
					t.Fatalf("%s has no exceptions", c.Filename)
				}
				l, refused := exceptions.Lower(m, exceptions.Options{})
				if c.Type != "assert_invalid" {
					if valid++; refused != nil {
						t.Errorf("%s/%s, line %d: %v", version, c.Filename, c.Line, refused)
					}
					continue
				}
				if refused != nil {
					invalid++
					if version == "v2" {
						continue
					}
					// It is valid since 1.0.
					if code, err := e.runtime.CompileModule(t.Context(), b); err == nil {
						code.Close(context.Background())
						t.Errorf("%s/%s, line %d: it is valid by now: %v", version, c.Filename, c.Line, refused)
					}
					continue
				}
				code, err := e.runtime.CompileModule(t.Context(), b)
				if err == nil {
					code.Close(context.Background())
					continue // the engine accepts it as it is
				}
				later++
				known := false
				for _, text := range withoutTypes {
					known = known || strings.Contains(err.Error(), text)
				}
				if !known {
					t.Errorf("%s/%s, line %d: it is not refused, and the engine says %v", version, c.Filename, c.Line, err)
				}
				if code, err := e.runtime.CompileModule(t.Context(), l.Code); err == nil {
					code.Close(context.Background())
					t.Errorf("%s/%s, line %d: the engine accepts it when it is rewritten: %s", version, c.Filename, c.Line, c.Text)
				}
			}
		}
	}
	t.Logf("%d valid, %d refused, %d refused by the engine alone", valid, invalid, later)
	if valid < 1000 || invalid < 1000 {
		t.Error("there are too few of some")
	}
}

// withTags puts an empty section of tags into a module.
func withTags(b []byte) []byte {
	at := 8
	for at < len(b) {
		id := b[at]
		n, k := binary.Uvarint(b[at+1:])
		if id > 5 {
			break
		}
		at += 1 + k + int(n)
	}
	return append(b[:at:at], append([]byte{13, 1, 0}, b[at:]...)...)
}
