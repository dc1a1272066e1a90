package engines

import (
	"bytes"
	"strings"
	"testing"

	"bulkhead/engines/js"
	"bulkhead/engines/lua"
	"bulkhead/plugins/wasm"
)

func TestModulesStayAsTheyAre(t *testing.T) {
	for _, path := range []string{"x.wasm", "js", "x.js.wasm", "x.JS"} {
		b := []byte("anything")
		if got, err := Module(path, b); err != nil || &got[0] != &b[0] {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// A script becomes a module that the gate accepts, with one segment more, and always the same one.
func TestScriptsBecomeModules(t *testing.T) {
	script := []byte("export default { open() {} };")
	b, err := Module("/some/where/x.js", script)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wasm.Parse(b); err != nil {
		t.Error(err)
	}
	want := "\x04\x00\x00\x00\x1d\x00\x00\x00x.js\x00export default { open() {} };"
	if !bytes.HasSuffix(bytes.TrimSuffix(b, tail(t, b)), []byte(want)) {
		t.Errorf("the last segment of data is not %q", want)
	}
	again, _ := Module("x.js", append([]byte("\uFEFF"), script...))
	if !bytes.Equal(b, again) {
		t.Error("the same script gives other bytes in another folder, or with a byte order mark")
	}
	if longest, err := Pack(js.Engine(), "x.js", bytes.Repeat([]byte("/"), Room-4)); err != nil {
		t.Error(err)
	} else if _, err := wasm.Parse(longest); err != nil {
		t.Error(err)
	}
}

// tail is what follows the section of data.
func tail(t *testing.T, b []byte) (after []byte) {
	t.Helper()
	all, err := sections(b)
	if err != nil {
		t.Fatal(err)
	}
	left := len(b)
	for i := len(all) - 1; i >= 0 && all[i].id != wasm.DataSection; i-- {
		left -= len(all[i].body) // and its head, which no engine here has
		t.Fatalf("section %d follows the data", all[i].id)
	}
	return b[left:]
}

// A script in Lua goes into the engine for Lua, whatever its module is called.
func TestEngineByName(t *testing.T) {
	b, err := Module("x.lua", []byte("return {}"))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := Pack(lua.Engine(), "x.lua", []byte("return {}"))
	if !bytes.Equal(b, want) {
		t.Error("another engine is in the module")
	}
	if p, ok, err := Apart("other.wasm", b); err != nil || !ok || p.Engine != Lua {
		t.Errorf("taken apart it is of %v, %v, %v", p.Engine, ok, err)
	}
	if _, err := Module("x.lua", nil); err == nil || !strings.Contains(err.Error(), "x.lua is empty; a handler is, for example: return { line = function") {
		t.Error(err)
	}
}

func TestWhatIsNoScript(t *testing.T) {
	for script, want := range map[string]string{
		"":                            "x.js is empty; a handler is, for example: export default",
		" \n\t":                       "x.js is empty",
		"\uFEFF":                      "x.js is empty",
		"\x00asm\x01\x00\x00\x00":     "x.js holds a WebAssembly module and no script; call it .wasm",
		strings.Repeat("x", Room-4+1): "x.js has 524283 bytes, and a script may have 524282; leave out",
	} {
		if _, err := Module("x.js", []byte(script)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", script, err, want)
		}
	}
}

// An engine that is damaged is refused, wherever it ends.
func TestDamagedEngines(t *testing.T) {
	whole := js.Engine()
	all, err := sections(whole)
	if err != nil {
		t.Fatal(err)
	}
	data := len(whole) - len(all[len(all)-1].body)
	for n := range len(whole) {
		if n > 2000 && n < data-2000 && n%977 != 0 {
			continue // inside of the code
		}
		if n > data+2000 && n%977 != 0 {
			continue
		}
		if _, err := Pack(whole[:n], "x.js", []byte("x")); err == nil {
			t.Fatalf("the first %d bytes of it are an engine", n)
		}
	}
}

func FuzzPack(f *testing.F) {
	f.Add([]byte(wasm.Header), "x.js", []byte("export default {}"))
	f.Add([]byte(wasm.Header+"\x06\x06\x01\x7f\x00\x41\x10\x0b\x07\x13\x01\x0fbulkhead_script\x03\x00\x0b\x01\x00"), "x.js", []byte("x"))
	f.Fuzz(func(t *testing.T, engine []byte, name string, script []byte) {
		b, err := Pack(engine, name, script)
		if err == nil && !bytes.HasPrefix(b, []byte(wasm.Header)) {
			t.Errorf("%q", b)
		}
	})
}
