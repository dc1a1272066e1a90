package admit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// commandThatImports is a core module that imports one function.
func commandThatImports(module, name, signature string) []byte {
	m := w.New()
	m.Import(module, name, signature)
	m.Memory(1)
	m.Func("_start", ":", "")
	return m.Bytes()
}

func TestOpen(t *testing.T) {
	core := commandThatImports("wasi_snapshot_preview1", "fd_write", "iiii:i")
	for _, wrapped := range []bool{false, true} {
		name, b := "a core module", core
		if wrapped {
			name, b = "a component", w.Component(core)
		}
		m, got, err := Open(b)
		if err != nil || !bytes.Equal(got, core) || m.Export(command) == nil {
			t.Errorf("%s: %v, %x", name, err, got)
		}
		rep, err := Inspect(b, 0)
		if err != nil || rep.Shape != Stdio || len(rep.Refused) > 0 || len(rep.Imports) != 1 {
			t.Errorf("%s: it is of shape %q with %d imports, refused for %q: %v", name, rep.Shape, len(rep.Imports), rep.Refused, err)
		}
		if rep.Size != len(b) || rep.SHA256 != sha256.Sum256(b) {
			t.Errorf("%s: it is said to have %d bytes with another hash than the file's", name, rep.Size)
		}
		if said := strings.Join(rep.Mended, "; "); strings.Contains(said, "is a component that wraps a core module of ") != wrapped {
			t.Errorf("%s: it %s", name, said)
		}
	}
}

// Of what a module imports twice, the wrapping renames the second.
func TestComponentOfAModuleThatImportsTwice(t *testing.T) {
	m := w.New()
	m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	m.Import("wasi_snapshot_preview1", "fd_write [v2]", "iiii:i")
	m.Memory(1)
	m.Func("_start", ":", "")
	parsed, core, err := Open(w.Component(m.Bytes()))
	if err != nil || parsed.Imports[1].Name != "fd_write" || len(core) != len(m.Bytes())-len(" [v2]") {
		t.Fatalf("%v, %+v", err, parsed)
	}
	if why := Refusals(parsed, Stdio, 1); why != nil {
		t.Errorf("it is refused for %q", why)
	}
	if why := Refusals(mustParse(t, m.Bytes()), Stdio, 1); len(why) != 1 {
		t.Errorf("the module itself is refused for %q", why)
	}
}

func mustParse(t *testing.T, b []byte) *wasm.Module {
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestComponentsThatAreRefused(t *testing.T) {
	broken := w.Component([]byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x61\x00\x00"))
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"preview 2": {w.Component(commandThatImports("wasi:cli/environment@0.2.0", "get-environment", "i:")),
			"it is a WebAssembly component that needs WASI preview 2, since its core module imports wasi:cli/environment@0.2.0.get-environment (at byte "},
		"something else": {w.Component(commandThatImports("csa_v1", "send", "iii:i")),
			"it is a WebAssembly component that needs more than WASI preview 1, since its core module imports csa_v1.send (at byte "},
		"a hostile name": {w.Component(commandThatImports("wasi:\n\x1b[2J", "x", ":")),
			`since its core module imports "wasi:\n\x1b[2J.x" (at byte `},
	} {
		_, _, err := Open(c.b)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "build it for WASI preview 1 (Go: GOOS=wasip1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := Open(broken)
	bad, ok := errors.AsType[*wasm.SyntaxError](err)
	if !ok || broken[bad.Offset] != 0x61 || !strings.HasPrefix(bad.What, "in the core module of the component, a type has the unknown form") {
		t.Errorf("a broken core module: %v", err)
	}
	if _, _, err := Open(w.Component(w.Component(w.Echo().Bytes()))); err == nil || !strings.Contains(err.Error(), "in the core module of the component, it is a WebAssembly component, not a core module") {
		t.Errorf("a component as a core module: %v", err)
	}
}
