package admit

import (
	"fmt"
	"slices"
	"strings"

	"bulkhead/abi"
	"bulkhead/internal/bytesize"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// Refusals says everything for which a module is refused as one of a shape whose memory may have
// limit pages of 64 KiB, each as one clause that goes on from the name of the file. It is empty for
// a module that may run.
func Refusals(m *wasm.Module, shape Shape, limit uint32) (why []string) {
	js := 0 // imports
	for i := range m.Imports {
		w := refuseImport(&m.Imports[i], shape)
		if w != "" && slices.Contains(jsModules, m.Imports[i].Module) {
			if js++; js > 1 {
				continue // one says everything
			}
		}
		if w != "" {
			why = append(why, w)
		}
	}
	memory := m.Export(abi.Memory)
	switch {
	case len(m.Memories) == 0:
		why = append(why, "has no memory; build it with one, exported as \"memory\"")
	case memory == nil:
		why = append(why, `does not export its memory as "memory"; build it so that it does`)
	case memory.Kind != wasm.Memory:
		why = append(why, fmt.Sprintf(`exports a %v as "memory"`, memory.Kind))
	}
	if len(m.Memories) > 0 && m.Memories[0].Min > limit {
		pages := m.Memories[0].Min
		why = append(why, fmt.Sprintf("declares at least %d pages of memory = %s; its tenant's memory is %s: build it with less, or give the tenant more", pages, bytesize.String(int64(pages)*wasm.PageSize), bytesize.String(int64(limit)*wasm.PageSize)))
	}
	if shape == Stdio {
		why = append(why, refuseCommand(m)...)
	} else {
		why = append(why, refuseHandler(m)...)
		why = append(why, refuseConstructors(m)...)
	}
	return append(why, refuseForeign(m, shape)...)
}

// refuseForeign says which imported functions the module has the host call. What the
// host calls has to be code of the guest's: that is what pays for what it does, has
// a stack that is bounded, and turns a panic of a host function into a trap.
func refuseForeign(m *wasm.Module, shape Shape) (why []string) {
	for i := range m.Exports {
		e := &m.Exports[i]
		if e.Kind != wasm.Function || !called(e.Name, shape) {
			continue
		}
		if f := importedFunction(m, e.Index); f != nil {
			why = append(why, fmt.Sprintf("exports %s as the imported function %s, and the host calls only functions of the module's own; export one that calls it", e.Name, Quoted(f.Module+"."+f.Name)))
		}
	}
	if m.Start {
		if f := importedFunction(m, m.StartFunction); f != nil {
			why = append(why, fmt.Sprintf("starts with the imported function %s, and the host calls only functions of the module's own; start with one that calls it", Quoted(f.Module+"."+f.Name)))
		}
	}
	return why
}

// called reports whether the host calls what a module of the shape exports by that
// name.
func called(name string, shape Shape) bool {
	if shape == Stdio {
		return name == command
	}
	return name == initialize || name == meter.StartExport || slices.Contains(callbackNames, name)
}

// importedFunction is the import that a function is; nil when it is the module's own.
func importedFunction(m *wasm.Module, function uint32) *wasm.Import {
	if int(function) >= m.Imported(wasm.Function) {
		return nil
	}
	for i := range m.Imports {
		if m.Imports[i].Kind != wasm.Function {
			continue
		}
		if function == 0 {
			return &m.Imports[i]
		}
		function--
	}
	return nil
}

func refuseCommand(m *wasm.Module) []string {
	e := m.Export(command)
	switch {
	case e == nil && m.Export(data) != nil:
		return []string{`exports csa_data and no _start: it is a handler, so say shape = "events"`}
	case e == nil:
		return []string{"does not export _start; build it as a WASI command"}
	case e.Kind != wasm.Function || !e.Type.Equal(wasm.FuncType{}):
		return []string{"exports _start as " + described(e) + "; it has to be the function () of a WASI command"}
	}
	return nil
}

func described(e *wasm.Export) string {
	if e.Kind == wasm.Function {
		return fmt.Sprintf("the function %v", e.Type)
	}
	return fmt.Sprintf("a %v", e.Kind)
}

// oneConnection is the export that says so.
const oneConnection = "csa_one_connection"

// OneConnection reports whether a module says that each connection has to have an instance of its
// own.
func OneConnection(m *wasm.Module) bool { return m.Export(oneConnection) != nil }

func refuseHandler(m *wasm.Module) (why []string) {
	if m.Export(command) != nil && m.Export(initialize) == nil && m.Export(data) != nil && m.BuiltBy("Go cmd/compile") {
		why = append(why, "is a Go program that nobody starts, since it exports _start and no _initialize; build it with "+goBuild)
	}
	known := make(map[string]bool)
	for i := range abi.GuestExports {
		want := &abi.GuestExports[i]
		known[want.Name] = true
		typ := typeOf(&want.Function)
		e := m.Export(want.Name)
		switch {
		case e == nil && want.Required && m.Export(command) != nil && m.Export(data) == nil:
			return append(why, fmt.Sprintf(`does not export %s but _start: it is a command, so say shape = "stdio"`, want.Name))
		case e == nil && want.Required:
			why = append(why, fmt.Sprintf("does not export %s, which the host calls as %s", want.Name, want.Signature()))
		case e == nil:
		case e.Kind != wasm.Function:
			why = append(why, fmt.Sprintf("exports %s as a %v, and it has to be the function %v", want.Name, e.Kind, typ))
		case !e.Type.Equal(typ):
			why = append(why, fmt.Sprintf("exports %s as %v, and it has to be %v", want.Name, e.Type, typ))
		}
	}
	for i := range abi.Declarations {
		want := &abi.Declarations[i]
		known[want.Name] = true
		if e := m.Export(want.Name); e != nil && (e.Kind != wasm.Function || !e.Type.Equal(typeOf(want))) {
			why = append(why, fmt.Sprintf("exports %s as %s, and it has to be the function %v", want.Name, described(e), typeOf(want)))
		}
	}
	for i := range m.Exports {
		e := &m.Exports[i]
		switch {
		case strings.HasPrefix(e.Name, "csa_") && !known[e.Name]:
			why = append(why, fmt.Sprintf("exports %s, which the host does not know%s", Quoted(e.Name), didYouMean(e.Name, exportNames)))
		case e.Name == initialize && (e.Kind != wasm.Function || !e.Type.Equal(wasm.FuncType{})):
			why = append(why, "exports _initialize as "+described(e)+", and it has to be the function ()")
		}
	}
	return why
}
