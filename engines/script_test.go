package engines

import (
	"bytes"
	"testing"

	"bulkhead/engines/js"
	"bulkhead/plugins/wasm"
)

func TestScript(t *testing.T) {
	const script = "export default { open() {} };"
	b, err := Module("a b.js", []byte(script))
	if err != nil {
		t.Fatal(err)
	}
	if name, text, ok := Script(b); string(name) != "a b.js" || string(text) != script || !ok {
		t.Errorf("%q, %q, %v", name, text, ok)
	}
	for what, b := range map[string][]byte{"an engine": js.Engine(), "nothing": nil, "a text": []byte(script)} {
		if name, text, ok := Script(b); ok {
			t.Errorf("%s has a script %q, %q", what, name, text)
		}
	}
	for n := len(b) - 100; n < len(b); n++ {
		if _, _, ok := Script(b[:n]); ok {
			t.Errorf("the first %d bytes have a script", n)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add([]byte(wasm.Header + "\x06\x06\x01\x7f\x00\x41\x10\x0b\x07\x13\x01\x0fbulkhead_script\x03\x00\x0b\x13\x01\x00\x41\x10\x0b\x0d\x02\x00\x00\x00\x01\x00\x00\x00ab\x00cd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, text, ok := Script(b); ok && (!bytes.Contains(b, name) || len(text) == 0) {
			t.Errorf("%q, %q", name, text)
		}
	})
}
