package engines

import (
	"bytes"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// The parts of a script make the module that it makes, and come out of that again.
func TestApart(t *testing.T) {
	for _, script := range []string{"export default {}", "\uFEFF// with a mark\n"} {
		whole, err := Module("some.js", []byte(script))
		if err != nil {
			t.Fatal(err)
		}
		p, ok, err := Apart("/where/some.js", []byte(script))
		if err != nil || !ok || p.Engine != JavaScript {
			t.Fatalf("%q: %v, %v, %v", script, p.Engine, ok, err)
		}
		again, err := withSegment(p.Engine.Module, p.At, p.Script)
		if err != nil || !bytes.Equal(again, whole) {
			t.Errorf("%q: the parts make another module, %v", script, err)
		}
		q, ok, err := Apart("some.wasm", whole)
		if err != nil || !ok || q.Engine != p.Engine || q.At != p.At || !bytes.Equal(q.Script, p.Script) {
			t.Errorf("%q: the module has the parts %v, %d, %q, %v, %v", script, q.Engine, q.At, q.Script, ok, err)
		}
	}
	if _, ok, err := Apart("x.js", nil); ok || err == nil {
		t.Errorf("an empty script: %v, %v", ok, err)
	}
}

// What is not to the last byte what Pack makes of an engine of this program has no parts.
func TestWholeModules(t *testing.T) {
	packed, err := Module("x.js", []byte("export default {}"))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		b := bytes.Clone(packed)
		b[at] ^= 1
		return b
	}
	for what, b := range map[string][]byte{
		"nothing":                         nil,
		"an echo":                         w.Echo().Bytes(),
		"an engine without a script":      JavaScript.Module,
		"an engine with another function": changed(len(packed) / 2),
		"an engine with another version":  changed(4),
		"one with a section more":         append(bytes.Clone(packed), 0, 2, 1, 'x'),
		"one that is cut":                 packed[:len(packed)-1],
	} {
		if p, ok, err := Apart("x.wasm", b); ok || err != nil {
			t.Errorf("%s has the parts %v, %d, %v", what, p.Engine, p.At, err)
		}
	}
}
