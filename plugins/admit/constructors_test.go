package admit

import (
	"path/filepath"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// A module is said to lose its statics when every callback is a call of the same
// constructors with what was meant behind it, and nothing else is.
func TestConstructorsBeforeEachCallback(t *testing.T) {
	build := func(change func(window, data *[]byte, ctors, real w.Func)) []byte {
		m := w.New()
		send := m.Import("csa_v1", "receive", "ii:i")
		m.Memory(1)
		ctors := m.Func("", ":", "", w.Nop)
		window := m.Func("", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		data := m.Func("", "ii:i", "", w.LocalGet(0), w.LocalGet(1), w.Call(send))
		a := w.Cat(w.Call(ctors), w.Call(window))
		b := w.Cat(w.Call(ctors), w.LocalGet(0), w.LocalGet(1), w.Call(data))
		change(&a, &b, ctors, data)
		m.Func("csa_window", ":I", "", a)
		m.Func("csa_data", "ii:i", "", b)
		return m.Bytes()
	}
	for name, c := range map[string]struct {
		warns  bool
		change func(window, data *[]byte, ctors, real w.Func)
	}{
		"as it is": {true, func(_, _ *[]byte, _, _ w.Func) {}},
		"with destructors": {true, func(_, data *[]byte, ctors, _ w.Func) {
			*data = append(*data, w.Call(ctors)...)
		}},
		"one is not": {false, func(_, data *[]byte, _, real w.Func) {
			*data = w.Cat(w.LocalGet(0), w.LocalGet(1), w.Call(real))
		}},
		"one does more": {false, func(_, data *[]byte, _, _ w.Func) {
			*data = append(*data, w.Cat(w.Drop, w.I32Const(0))...)
		}},
		"other parameters": {false, func(_, data *[]byte, ctors, real w.Func) {
			*data = w.Cat(w.Call(ctors), w.LocalGet(1), w.LocalGet(0), w.Call(real))
		}},
		"a call of the host": {false, func(_, data *[]byte, ctors, _ w.Func) {
			*data = w.Cat(w.LocalGet(0), w.LocalGet(1), w.Call(0))
		}},
		"nothing": {false, func(_, data *[]byte, _, _ w.Func) { *data = w.Unreachable }},
	} {
		rep, err := Inspect(build(c.change), 0)
		if err != nil || len(rep.Refused) > 0 || len(rep.Warnings) > 0 != c.warns || c.warns && !strings.HasPrefix(rep.Warnings[0], "runs its constructors again") {
			t.Errorf("%s: %q, %q, %v", name, rep.Warnings, rep.Refused, err)
		}
	}
	files, err := filepath.Glob("../../examples/*/*.wasm")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if rep, err := Inspect(b, 0); err != nil || len(rep.Warnings) > 0 {
			t.Errorf("%s: %q, %v", f, rep.Warnings, err)
		}
	}
}
