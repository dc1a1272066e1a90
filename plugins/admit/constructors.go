package admit

import (
	"fmt"
	"slices"
	"strconv"

	"bulkhead/plugins/wasm"
)

// wasm-ld takes a module for a command if nothing in it calls its constructors, and
// expects each export of a command to be called once. So it exports wrappers: each
// calls the constructors, the function that was to be exported, and the destructors if
// the C library has some. In a handler the constructors then run before each callback,
// and objects of static storage lose what they have become.

// callConstructors is the linker's name for the function that calls all constructors.
const callConstructors = "__wasm_call_ctors"

// constructors is what the callbacks of a handler call before anything else.
type constructors struct {
	function uint32 // what they call; it has no parameters and no results
	calls    []callback
	named    bool // the module's names say that it is callConstructors
}

// callback is an export that the host calls.
type callback struct {
	export  int    // its place in Module.Exports
	wraps   bool   // it does nothing but call the constructors and wrapped
	wrapped uint32 // one of the module's own functions, of the same type
}

// findConstructors looks for a function that each callback calls first. It returns nil
// when there is none, when the module's names say that it is something else, or when an
// _initialize does without it: then somebody has taken care of the constructors.
func findConstructors(m *wasm.Module) *constructors {
	c := &constructors{}
	csa := 0
	for i := range m.Exports {
		e := &m.Exports[i]
		if e.Kind != wasm.Function || !called(e.Name, Events) {
			continue
		}
		first, call, ok := readCallback(m, e)
		if !ok || len(c.calls) > 0 && first != c.function {
			return nil
		}
		call.export = i
		c.function = first
		c.calls = append(c.calls, call)
		if e.Name != initialize {
			csa++
		}
	}
	if csa < 2 {
		return nil
	}
	switch functionName(m, c.function) {
	case callConstructors:
		c.named = true
	case "":
	default:
		return nil
	}
	return c
}

// readCallback returns the function that an export calls first, if that is one of the
// module's own without parameters and results, and what it does after that.
func readCallback(m *wasm.Module, e *wasm.Export) (first uint32, c callback, ok bool) {
	s := wasm.Instructions{Code: m.Code(e.Index)}
	if !s.Step() || !callsBare(m, &s) {
		return 0, c, false
	}
	first = s.X
	for i := range e.Type.Params {
		if !s.Step() || s.Op != wasm.OpLocalGet || int(s.X) != i {
			return first, c, true
		}
	}
	if !s.Step() || s.Op != wasm.OpCall || !own(m, s.X) || !m.FunctionType(s.X).Equal(e.Type) {
		return first, c, true
	}
	c.wrapped = s.X
	if !s.Step() || callsBare(m, &s) && !s.Step() { // the destructors
		return first, c, true
	}
	c.wraps = s.Op == wasm.OpEnd && s.Next == len(s.Code)
	return first, c, true
}

// callsBare reports whether the instruction in hand calls a function of the module's
// own that has no parameters and no results.
func callsBare(m *wasm.Module, s *wasm.Instructions) bool {
	return s.Op == wasm.OpCall && own(m, s.X) && m.FunctionType(s.X).Equal(wasm.FuncType{})
}

// own reports whether a function is the module's own, and not imported.
func own(m *wasm.Module, function uint32) bool { return int(function) >= m.Imported(wasm.Function) }

func functionName(m *wasm.Module, function uint32) (name string) {
	m.FunctionNames(func(i uint32, n []byte) bool {
		if i == function {
			name = string(n)
		}
		return i < function
	})
	return name
}

// certain reports whether it is beyond doubt that the linker has put the calls there,
// and that they can be taken out again.
func (c *constructors) certain(m *wasm.Module) bool {
	for _, call := range c.calls {
		if !call.wraps || m.Exports[call.export].Name == initialize && m.Start {
			return false
		}
	}
	return c.named || c.placed(m)
}

// placed reports whether the functions are where the linker puts them, and the first
// one does what the linker lets it do: it is the first of all, calls one function after
// another, and the wrappers stand behind what they wrap.
func (c *constructors) placed(m *wasm.Module) bool {
	if int(c.function) != m.Imported(wasm.Function) {
		return false
	}
	last, wrapper := uint32(0), ^uint32(0)
	for _, call := range c.calls {
		last = max(last, call.wrapped)
		wrapper = min(wrapper, m.Exports[call.export].Index)
	}
	if wrapper <= last {
		return false
	}
	s := wasm.Instructions{Code: m.Code(c.function)}
	for s.Step() {
		switch {
		case s.Op == wasm.OpEnd, s.Op == wasm.OpDrop:
		case s.Op == wasm.OpCall && own(m, s.X) && len(m.FunctionType(s.X).Params) == 0:
		default:
			return false
		}
	}
	return true
}

// refuseConstructors says why a handler is refused whose callbacks seem to call its
// constructors, if nobody can tell.
func refuseConstructors(m *wasm.Module) []string {
	c := findConstructors(m)
	if c == nil || c.certain(m) {
		return nil
	}
	what := fmt.Sprintf("calls its constructors (%s) first in each callback, so that objects of static storage would be made anew at each", callConstructors)
	mend := "build it with an _initialize that calls them, as sdk/c/csa.h has one (with a C library: -mexec-model=reactor)"
	if !c.named {
		what = fmt.Sprintf("calls function %d first in each callback; these may be its constructors, by which objects of static storage would be made anew at each", c.function)
		mend += "; if it is something else, keep the names of functions (link without --strip-all, wasm-opt with -g)"
	}
	return []string{what + ": " + mend}
}

// Mend has the host start a handler's constructors once, before csa_start, where the linker has
// each callback call them; Refusals has let through no handler of which this cannot be told. It
// changes Exports, Start and StartFunction and not the sections, so whoever rewrites the module
// afterwards has to go by those. It returns what it has changed, each as one clause that goes on
// from the name of the file.
func Mend(m *wasm.Module, shape Shape) []string {
	if shape != Events {
		return nil
	}
	c := findConstructors(m)
	if c == nil || !c.certain(m) {
		return nil
	}
	m.Exports = slices.Clone(m.Exports)
	initializes := false
	var wrappers []uint32
	for _, call := range c.calls {
		e := &m.Exports[call.export]
		wrappers = append(wrappers, e.Index)
		e.Index = call.wrapped
		initializes = initializes || e.Name == initialize
	}
	if initializes {
		m.Start, m.StartFunction = true, c.function
	} else {
		m.Exports = append(m.Exports, wasm.Export{Name: initialize, Kind: wasm.Function, Index: c.function, Type: m.FunctionType(c.function)})
	}
	keepDeclared(m, wrappers)
	return []string{"has each callback run its constructors, as the linker does where nothing calls them; the host runs them once, before csa_start"}
}

// declaredExport is what the name of an export begins with that is there for keepDeclared.
const declaredExport = wasm.ReservedPrefix + "declared."

// keepDeclared exports those of the functions that code takes references to. Code may do that only
// where a function is exported, or something else outside of code names it; and what has exported
// these now names others.
func keepDeclared(m *wasm.Module, functions []uint32) {
	code := m.Section(wasm.CodeSection)
	if code == nil {
		return
	}
	r := wasm.Source{Bytes: code.Content}
	for range r.U32() {
		size := int(r.U32())
		body := wasm.Source{Bytes: r.Take(size)}
		for n := body.U32(); n > 0; n-- {
			body.U32()
			body.Take(1)
		}
		s := wasm.Instructions{Code: body.Bytes, Next: body.Next}
		for s.Step() {
			if s.Op != wasm.OpRefFunc {
				continue
			}
			at := slices.Index(functions, s.X)
			if at < 0 {
				continue
			}
			m.Exports = append(m.Exports, wasm.Export{
				Name: declaredExport + strconv.FormatUint(uint64(s.X), 10),
				Kind: wasm.Function, Index: s.X, Type: m.FunctionType(s.X),
			})
			functions = slices.Delete(functions, at, at+1)
		}
	}
}
