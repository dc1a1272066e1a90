package admit

import (
	"strings"

	"bulkhead/plugins/wasm"
)

// Warnings says what a module of a shape does that it can hardly be meant to do, each as one
// clause that goes on from the name of the file. It runs nevertheless.
func Warnings(m *wasm.Module, shape Shape) []string {
	if shape == Events && startsAnew(m) {
		return []string{anew}
	}
	return nil
}

// startsAnew reports whether each callback of a handler runs the module's
// constructors first. wasm-ld makes it so where nothing calls them, since it takes such
// a module for a command whose exports are each called once: it puts a function in
// front of every export that calls the constructors and then what was exported. What
// objects of static storage have become is then lost at each callback, and nothing
// says so.
func startsAnew(m *wasm.Module) bool {
	constructors, found := uint32(0), 0
	for i := range m.Exports {
		e := &m.Exports[i]
		if e.Kind != wasm.Function || !strings.HasPrefix(e.Name, "csa_") {
			continue
		}
		f, ok := wrapped(m, e)
		if !ok || found > 0 && f != constructors {
			return false
		}
		constructors = f
		found++
	}
	return found > 1
}

// wrapped reports whether an export does nothing but call a function without operands
// or results, then one with its own parameters and, if it likes, another of the first
// kind. It returns the first.
func wrapped(m *wasm.Module, e *wasm.Export) (first uint32, ok bool) {
	bare := func(s *wasm.Instructions) bool {
		return s.Op == wasm.OpCall && int(s.X) >= m.Imported(wasm.Function) && m.FunctionType(s.X).Equal(wasm.FuncType{})
	}
	s := wasm.Instructions{Code: m.Code(e.Index)}
	if !s.Step() || !bare(&s) {
		return 0, false
	}
	first = s.X
	for i := range e.Type.Params {
		if !s.Step() || s.Op != wasm.OpLocalGet || int(s.X) != i {
			return 0, false
		}
	}
	if !s.Step() || s.Op != wasm.OpCall || !m.FunctionType(s.X).Equal(e.Type) {
		return 0, false
	}
	if !s.Step() {
		return 0, false
	}
	if bare(&s) && !s.Step() {
		return 0, false
	}
	return first, s.Op == wasm.OpEnd && s.Next == len(s.Code)
}

// anew is what is said of a module that startsAnew.
const anew = "runs its constructors again before each callback, so that what its static objects have become is lost: nothing calls them. Build it with an _initialize that does, as sdk/c/csa.h has one (with a C library: -mexec-model=reactor)"
