package admit

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
)

// linked is a handler as wasm-ld leaves it, in parts that a test can change: the
// functions are constructors, what they call, the real callbacks, and the wrappers.
type linked struct {
	constructors, window, data, initialize []byte
	names                                  map[uint32]string
	late                                   bool // the constructors are not the first function
	start                                  bool // it has a start function besides
}

const (
	imported    = 0 // a function of the same type as csa_data
	first       = 1 // the constructors, unless late
	initializer = 2
	realWindow  = 3
	realData    = 4
	realInit    = 5
)

func (l linked) bytes() []byte { return l.bytesWith(func(*w.Module) {}) }

// bytesWith is bytes with more functions behind them.
func (l linked) bytesWith(more func(m *w.Module)) []byte {
	m := w.New()
	m.Import("csa_v1", "receive", "ii:i")
	m.Memory(1)
	if l.late {
		m.Func("", ":", "", w.Nop)
		m.Func("", ":", "", l.constructors)
	} else {
		m.Func("", ":", "", l.constructors)
		m.Func("", ":", "", w.Nop)
	}
	m.Func("", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("", "ii:i", "", w.LocalGet(1))
	started := m.Func("", ":", "", w.Nop)
	if l.start {
		m.Start(started)
	}
	m.Func("csa_window", ":I", "", l.window)
	m.Func("csa_data", "ii:i", "", l.data)
	if l.initialize != nil {
		m.Func("_initialize", ":", "", l.initialize)
	}
	more(m)
	if l.names != nil {
		m.Custom("name", nameSection(l.names))
	}
	return m.Bytes()
}

func nameSection(names map[uint32]string) []byte {
	body := binary.AppendUvarint(nil, uint64(len(names)))
	for i := range uint32(20) {
		if name, ok := names[i]; ok {
			body = binary.AppendUvarint(body, uint64(i))
			body = append(binary.AppendUvarint(body, uint64(len(name))), name...)
		}
	}
	return append(binary.AppendUvarint([]byte{1}, uint64(len(body))), body...)
}

// Of constructors that each callback calls, it is told whether the linker has put the calls there.
// Then they are taken out; if nobody can tell, the handler is refused.
func TestConstructorsBeforeEachCallback(t *testing.T) {
	const mended, refused, left = "mended", "refused", "left alone"
	names := func(name string) map[uint32]string { return map[uint32]string{first: name, realData: "data"} }
	for name, c := range map[string]struct {
		want   string
		change func(l *linked)
	}{
		"as it is":                 {mended, func(*linked) {}},
		"with names":               {mended, func(l *linked) { l.names = names("__wasm_call_ctors") }},
		"with names of no use":     {mended, func(l *linked) { l.names = map[uint32]string{realData: "data"} }},
		"with destructors":         {mended, func(l *linked) { l.data = w.Cat(l.data, w.Call(initializer)) }},
		"named, after others":      {mended, func(l *linked) { l.late = true; l.names = map[uint32]string{2: "__wasm_call_ctors"}; l.call(2) }},
		"named, of anything":       {mended, func(l *linked) { l.constructors = w.Unreachable; l.names = names("__wasm_call_ctors") }},
		"with an _initialize":      {mended, func(l *linked) { l.initialize = w.Cat(w.Call(first), w.Call(realInit)) }},
		"with a start function":    {mended, func(l *linked) { l.start = true }},
		"nothing to construct":     {mended, func(l *linked) { l.constructors = nil }},
		"a result that is dropped": {mended, func(l *linked) { l.constructors = w.Cat(w.Call(realWindow), w.Drop) }},

		"not the first function":   {refused, func(l *linked) { l.late = true; l.call(2) }},
		"of more than calls":       {refused, func(l *linked) { l.constructors = w.Cat(w.Call(initializer), w.Nop) }},
		"of a call of the host":    {refused, func(l *linked) { l.constructors = w.Cat(w.I32Const(0), w.I32Const(0), w.Call(imported), w.Drop) }},
		"inlined":                  {refused, func(l *linked) { l.data = w.Cat(w.Call(first), w.LocalGet(1)) }},
		"inlined, with names":      {refused, func(l *linked) { l.data = w.Cat(w.Call(first), w.LocalGet(1)); l.names = names("__wasm_call_ctors") }},
		"more in one":              {refused, func(l *linked) { l.data = w.Cat(l.data, w.Drop, w.I32Const(0)) }},
		"other parameters":         {refused, func(l *linked) { l.data = w.Cat(w.Call(first), w.LocalGet(1), w.LocalGet(0), w.Call(realData)) }},
		"a function of the host":   {refused, func(l *linked) { l.data = w.Cat(w.Call(first), w.LocalGet(0), w.LocalGet(1), w.Call(imported)) }},
		"both starts":              {refused, func(l *linked) { l.start = true; l.initialize = w.Cat(w.Call(first), w.Call(realInit)) }},
		"one wrapped by the other": {refused, func(l *linked) { l.data = w.Cat(w.Call(first), w.LocalGet(0), w.LocalGet(1), w.Call(7)) }},

		"something else by name":    {left, func(l *linked) { l.names = names("forget") }},
		"one does not":              {left, func(l *linked) { l.data = w.Cat(w.LocalGet(0), w.LocalGet(1), w.Call(realData)) }},
		"another one":               {left, func(l *linked) { l.data = w.Cat(w.Call(initializer), w.LocalGet(0), w.LocalGet(1), w.Call(realData)) }},
		"a call of the host first":  {left, func(l *linked) { l.data = w.Cat(w.LocalGet(0), w.LocalGet(1), w.Call(imported)) }},
		"nothing":                   {left, func(l *linked) { l.data = w.Unreachable }},
		"an _initialize that calls": {left, func(l *linked) { l.initialize = w.Cat(w.Nop, w.Call(first)) }},
	} {
		l := linked{constructors: w.Call(initializer)}
		l.call(first)
		c.change(&l)
		b := l.bytes()
		rep, err := Inspect(b, 0)
		got := left
		switch {
		case err != nil || len(rep.Refused)+len(rep.Mended) > 1:
			t.Errorf("%s: %v, refused for %q, mended is %q", name, err, rep.Refused, rep.Mended)
			continue
		case len(rep.Refused) > 0:
			if got = refused; !strings.Contains(rep.Refused[0], "first in each callback") || !strings.Contains(rep.Refused[0], "build it with an _initialize") {
				t.Errorf("%s: it is refused since it %s", name, rep.Refused[0])
			}
		case len(rep.Mended) > 0:
			got = mended
			checkMended(t, name, b, &l)
		}
		if got != c.want {
			t.Errorf("%s: it is %s, not %s: %q", name, got, c.want, rep.Refused)
		}
		m, err := wasm.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if said := Mend(m, Stdio); said != nil {
			t.Errorf("%s: as a command it %s", name, said)
		}
	}
}

// call has the wrappers call a function first.
func (l *linked) call(constructors w.Func) {
	l.window = w.Cat(w.Call(constructors), w.Call(realWindow))
	l.data = w.Cat(w.Call(constructors), w.LocalGet(0), w.LocalGet(1), w.Call(realData))
}

func checkMended(t *testing.T, name string, b []byte, l *linked) {
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(m.Exports)
	kept := m.Exports
	if len(Mend(m, Events)) != 1 {
		t.Errorf("%s: it is mended once only", name)
	}
	if !slices.EqualFunc(before, kept, func(a, b wasm.Export) bool { return a.Name == b.Name && a.Index == b.Index }) {
		t.Errorf("%s: the exports that others have are written to", name)
	}
	constructors := uint32(first)
	if l.late {
		constructors = 2
	}
	want := map[string]uint32{"csa_window": realWindow, "csa_data": realData, "_initialize": constructors}
	if l.initialize != nil {
		want["_initialize"] = realInit
		if !m.Start || m.StartFunction != constructors {
			t.Errorf("%s: it starts with function %d: %v", name, m.StartFunction, m.Start)
		}
	} else if m.Start != l.start {
		t.Errorf("%s: that it has a start function is %v", name, m.Start)
	}
	for export, index := range want {
		if e := m.Export(export); e == nil || e.Index != index || !e.Type.Equal(m.FunctionType(index)) {
			t.Errorf("%s: %s is %+v, not function %d", name, export, e, index)
		}
	}
	if Mend(m, Events) != nil || refuseConstructors(m) != nil {
		t.Errorf("%s: what is mended is mended again, or refused", name)
	}
}

// A wrapper that code takes a reference to stays declared for that, once, though what exported it
// exports what it wraps.
func TestMendedWrappersStayDeclared(t *testing.T) {
	const wrapper = realInit + 2 // that of csa_data
	l := linked{constructors: w.Call(initializer)}
	l.call(first)
	reference := w.Cat([]byte{byte(wasm.OpRefFunc), wrapper}, w.Drop)
	b := l.bytesWith(func(m *w.Module) { m.Func("", ":", "", w.Cat(reference, reference)) })
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(Mend(m, Events)) != 1 {
		t.Fatal("it is not mended")
	}
	named := 0
	for i := range m.Exports {
		if e := &m.Exports[i]; e.Kind == wasm.Function && e.Index == wrapper {
			named++
		}
	}
	if named != 1 {
		t.Errorf("%d exports name the wrapper that code refers to, want 1", named)
	}
	metered, err := meter.Rewrite(m, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(context.Background())
	if _, err := r.CompileModule(t.Context(), metered.Code); err != nil {
		t.Errorf("the engine refuses it: %v", err)
	}
}

// Nothing of what is shipped is mended or refused but the guests that are there for it.
func TestConstructorsOfExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	mended := 0
	for _, f := range files {
		b, err := ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Inspect(b, 0)
		if unconstructed := strings.Contains(f, "unconstructed"); err != nil || len(rep.Refused) > 0 || len(rep.Mended) > 0 != unconstructed {
			t.Errorf("%s: %v, refused for %q, mended is %q", f, err, rep.Refused, rep.Mended)
		} else if unconstructed {
			mended++
		}
	}
	if mended != 3 || len(files) < 10 {
		t.Errorf("%d of %d files are mended", mended, len(files))
	}
}
