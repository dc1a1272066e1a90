package admit

import (
	"errors"
	"fmt"
	"strings"

	"bulkhead/plugins/component"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// Open parses a module, or the core module that a component wraps if that needs nothing but WASI
// preview 1. core is what was parsed: b itself, a part of b, or that part with other names of
// imports. Neither must be written to as long as the module is in use. The error is a
// *wasm.SyntaxError, whose offset is one of b.
func Open(b []byte) (m *wasm.Module, core []byte, err error) {
	if !component.Is(b) {
		m, err = wasm.Parse(b)
		return m, b, err
	}
	core, at, err := component.Core(b)
	if err != nil {
		return nil, nil, err
	}
	if m, err = wasm.Parse(core); err != nil {
		return nil, nil, inCore(err, at)
	}
	if renamed := component.Imports(core, m); len(renamed) != len(core) {
		core = renamed
		if m, err = wasm.Parse(core); err != nil {
			return nil, nil, inCore(err, at)
		}
	}
	for i := range m.Imports {
		name := &m.Imports[i]
		if name.Module == wasi.Module {
			continue
		}
		needs := "more than WASI preview 1"
		if strings.HasPrefix(name.Module, "wasi:") {
			needs = "WASI preview 2"
		}
		return nil, nil, &wasm.SyntaxError{
			Offset: at,
			What:   fmt.Sprintf("it is a WebAssembly component that needs %s, since its core module imports %s", needs, Quoted(name.Module+"."+name.Name)),
			Mend:   wasm.ForPreview1,
		}
	}
	return m, core, nil
}

// inCore has an error of wasm.Parse say that it is about the core module, which begins at a byte of
// the file.
func inCore(err error, at int) error {
	if bad, ok := errors.AsType[*wasm.SyntaxError](err); ok {
		bad.What = "in the core module of the component, " + bad.What
		bad.Offset += at
	}
	return err
}

// unwrapped says that a component of so many bytes is run as its core module.
func unwrapped(core []byte) string {
	return fmt.Sprintf("is a component that wraps a core module of %d bytes for WASI preview 1; the host runs that", len(core))
}
