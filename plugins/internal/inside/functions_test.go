package inside

import (
	"context"
	"testing"

	w "bulkhead/internal/wasmtest"

	"github.com/tetratelabs/wazero/api"
)

// The places of calls are of the functions that were called, by their names where the module has
// some.
func TestFunctionsOf(t *testing.T) {
	m := w.New()
	m.Memory(1)
	inner := m.Func("", "i:i", "", w.LocalGet(0), w.I32Const(0), w.I32DivS)
	m.Func("outer", "i:i", "", w.LocalGet(0), w.Call(inner), w.I32Const(1), w.I32Add)
	m.Custom("name", []byte("\x01\x08\x01\x00\x05inner"))
	g, err := start(t, m.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := g.ExportedFunction("outer")
	if _, err := f.Call(context.Background(), 7); err == nil {
		t.Fatal("it divides by zero")
	}
	calls, err := CallsOf(f, 9)
	if err != nil {
		t.Fatal(err)
	}
	all, err := FunctionsOf(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, at := range calls.At {
		n, ok := all.Number(at)
		if !ok {
			t.Errorf("the place %d is of no function", at)
		}
		names = append(names, all.Name(n))
	}
	if len(names) != 2 || names[0] != "inner" || names[1] != "$1" {
		t.Errorf("the calls are of %q", names)
	}
	if _, ok := all.Number(0); ok {
		t.Error("what is before all functions is of one")
	}
	if name := all.Name(99); name != "$99" {
		t.Errorf("a function that is not there is called %s", name)
	}
	for _, f := range []api.Function{nil, foreign{}, &foreign{}} {
		if _, err := FunctionsOf(f); err == nil {
			t.Errorf("the functions of %T are known", f)
		}
	}
}
