package plugins

import (
	"fmt"
	"slices"
	"strings"

	"bulkhead/abi"
	"bulkhead/internal/bytesize"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/nearest"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// Shape is what kind of guest a module is.
type Shape string

// The shapes.
const (
	// Events is a handler that is called with what happens, as package abi
	// says.
	Events Shape = "events"
	// Stdio is a plain WASI command whose standard input and output are the
	// connection.
	Stdio Shape = "stdio"
)

// call numbers the exports that the host calls. Those of package abi have the
// numbers of their rows.
type call int

const (
	callWindow call = iota
	callStart
	callReseed
	callOpen
	callData
	callWritable
	callSecured
	callEOF
	callClosed
	callTimer
	callMessage
	callStop
	callInitialize
	callCommand
	callBegin // WebAssembly's start function, by the meter's name for it
	calls
)

var callNames = [calls]string{"csa_window", "csa_start", "csa_reseed", "csa_open", "csa_data", "csa_writable", "csa_secured",
	"csa_eof", "csa_closed", "csa_timer", "csa_message", "csa_stop", "_initialize", "_start", meter.StartExport}

// String is the name of the export, or what it is where that is the meter's.
func (c call) String() string {
	if c == callBegin {
		return "the start function"
	}
	return callNames[c]
}

// importable is what is known of a function that may be imported.
type importable struct {
	signature wasm.FuncType
	commands  bool // those of shape stdio may have it
}

// importables are all functions that may be imported, as "MODULE.NAME".
var importables = func() map[string]importable {
	list := make(map[string]importable)
	for i := range abi.HostFunctions {
		f := &abi.HostFunctions[i]
		list[abi.Module+"."+f.Name] = importable{wasm.FuncType{Params: paramTypes(&f.Function), Results: abiTypes(f.Results)}, f.Commands}
	}
	for _, f := range wasi.Functions() {
		list[wasi.Module+"."+f.Name] = importable{wasm.FuncType{Params: wasiTypes(f.Params), Results: wasiTypes(f.Results)}, true}
	}
	return list
}()

// importNames and exportNames are what a misspelt name may have meant.
var importNames, exportNames = func() (imports, exports []string) {
	for i := range abi.HostFunctions {
		imports = append(imports, abi.HostFunctions[i].Name)
	}
	for i := range abi.GuestExports {
		exports = append(exports, abi.GuestExports[i].Name)
	}
	return imports, exports
}()

// refuseImport says why an import is refused, as one clause that goes on from
// the name of the file; "" when it is not.
func refuseImport(i *wasm.Import, shape Shape) string {
	name := i.Module + "." + i.Name
	want, known := importables[name]
	switch {
	case i.Kind != wasm.Function:
		return fmt.Sprintf("imports the %v %s; only functions can be imported, so build it with a %v of its own", i.Kind, quoted(name), i.Kind)
	case !known && i.Module == abi.Module:
		return fmt.Sprintf("imports function %s, which does not exist%s", quoted(name), functionMeant(i.Name))
	case !known && i.Module == "wasi_unstable":
		return fmt.Sprintf("imports function %s of a WASI older than preview 1; build it with a newer toolchain", quoted(name))
	case !known:
		return fmt.Sprintf("imports function %s, which is not in %s or %s; %s", quoted(name), abi.Module, wasi.Module, withoutImport(i))
	case !i.Type.Equal(want.signature):
		return fmt.Sprintf("imports function %s as %v, which is %v; declare it so", name, i.Type, want.signature)
	case shape == Stdio && !want.commands:
		return fmt.Sprintf("imports function %s, which is for shape = \"events\"; a command reads standard input and writes standard output instead", name)
	}
	return ""
}

// didYouMean is "; did you mean X?" for the known name nearest to what was
// written, or "" when none is near.
func didYouMean(written string, known []string) string {
	if w := nearest.Word(written, known); w != "" {
		return "; did you mean " + w + "?"
	}
	return ""
}

// functionMeant is didYouMean for a function of the ABI; where none is near, it says
// which there are.
func functionMeant(name string) string {
	if s := didYouMean(name, importNames); s != "" {
		return s
	}
	for _, known := range importNames {
		if strings.HasPrefix(name, known) {
			return "; did you mean " + known + "?"
		}
	}
	return "; there are " + strings.Join(importNames, ", ") + ", and what an SDK has beside them is for a newer host"
}

// jsModules are the modules that Go's imports come from when it is built for
// JavaScript: today's, and that of older versions.
var jsModules = []string{"gojs", "go"}

// withoutImport is how a module is built without an import from a module that the
// host has not.
func withoutImport(i *wasm.Import) string {
	switch {
	case slices.Contains(jsModules, i.Module):
		return "it was built with GOOS=js, so build it with " + goBuild
	case strings.HasPrefix(i.Module, "__wbindgen"), i.Module == "wbg":
		return "it was built for JavaScript, so build it without wasm-bindgen, for --target wasm32-wasip1"
	case i.Module == "env" && i.Name == "abort":
		return "build it without it (AssemblyScript: --use abort=FILE/FUNCTION, with one of your own)"
	case i.Module == "env":
		return "build it without it: link what has it, and link without --allow-undefined, which let it pass (Emscripten: -sSTANDALONE_WASM)"
	}
	return "build it without it"
}

// goBuild is how a handler in Go is built.
const goBuild = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"

// Quoted is a name from a module as it may be shown, on a terminal too: as it is if it
// is plain, else quoted.
func Quoted(name string) string { return quoted(name) }

func quoted(name string) string {
	if q := fmt.Sprintf("%q", name); q != `"`+name+`"` || name == "" || strings.ContainsAny(name, " ,;") {
		return q
	}
	return name
}

// refusals says everything for which a module is refused, each as one clause
// that goes on from the name of the file.
func refusals(m *wasm.Module, shape Shape, limit uint32) (why []string) {
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
			why = append(why, fmt.Sprintf("exports %s as the imported function %s, and the host calls only functions of the module's own; export one that calls it", e.Name, quoted(f.Module+"."+f.Name)))
		}
	}
	if m.Start {
		if f := importedFunction(m, m.StartFunction); f != nil {
			why = append(why, fmt.Sprintf("starts with the imported function %s, and the host calls only functions of the module's own; start with one that calls it", quoted(f.Module+"."+f.Name)))
		}
	}
	return why
}

// called reports whether the host calls what a module of the shape exports by that
// name.
func called(name string, shape Shape) bool {
	if shape == Stdio {
		return name == callNames[callCommand]
	}
	return name != callNames[callCommand] && slices.Contains(callNames[:], name)
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
	e := m.Export(callNames[callCommand])
	switch {
	case e == nil && m.Export(callNames[callData]) != nil:
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

func refuseHandler(m *wasm.Module) (why []string) {
	if m.Export(callNames[callCommand]) != nil && m.Export(callNames[callInitialize]) == nil && m.Export(callNames[callData]) != nil && m.BuiltBy("Go cmd/compile") {
		why = append(why, "is a Go program that nobody starts, since it exports _start and no _initialize; build it with "+goBuild)
	}
	known := make(map[string]bool)
	for i := range abi.GuestExports {
		want := &abi.GuestExports[i]
		known[want.Name] = true
		typ := wasm.FuncType{Params: paramTypes(&want.Function), Results: abiTypes(want.Results)}
		e := m.Export(want.Name)
		switch {
		case e == nil && want.Required && m.Export(callNames[callCommand]) != nil && m.Export(callNames[callData]) == nil:
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
	for i := range m.Exports {
		e := &m.Exports[i]
		switch {
		case strings.HasPrefix(e.Name, "csa_") && !known[e.Name]:
			why = append(why, fmt.Sprintf("exports %s, which the host does not know%s", quoted(e.Name), didYouMean(e.Name, exportNames)))
		case e.Name == callNames[callInitialize] && (e.Kind != wasm.Function || !e.Type.Equal(wasm.FuncType{})):
			why = append(why, "exports _initialize as "+described(e)+", and it has to be the function ()")
		}
	}
	return why
}
