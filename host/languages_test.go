package host_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// childArgument has the test binary be the child that compiles, and reads DWARF.
const childArgument = "compile-in-a-child"

// What goes wrong in a handler of each language is in the log of the host with the line of its
// author's source. AssemblyScript's compiler writes no lines but what abort is given, and Go's only
// those that its runtime says.
func TestEachLanguageNamesTheLine(t *testing.T) {
	scripts := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(scripts, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	guest := func(name string) string {
		path, err := filepath.Abs(filepath.Join("../examples/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := []struct {
		language, plugin, send string
		said                   []string
	}{
		{"C", guest("crash.wasm"), "GET /b", []string{"a handler trapped", "lookup crash.c:14 < route crash.c:22 < csa_data crash.c:29"}},
		{"C with exceptions", guest("jumps.wasm"), "t", []string{"a handler trapped", "deep jumps.c:16 < "}},
		{"C++", guest("shop.wasm"), "Gb", []string{"a handler trapped", "at shop.cc:13 < operator() shop.cc:26 < sell shop.cc:29"}},
		{"Rust", guest("languages/panics.rs.wasm"), "index", []string{"a handler trapped", "panic < look_up panics.rs:34 < csa_data panics.rs:41"}},
		{"Zig", guest("languages/panics.zig.wasm"), "index", []string{"a handler trapped", "< lookUp panics.zig:22 < csa_data panics.zig:27"}},
		{"AssemblyScript", guest("languages/panics.ts.wasm"), "throw", []string{"handler says", "no such verb: throw at panics.ts:31"}},
		{"Go", guest("panics/panics.wasm"), "nil", []string{"handler says", "panics/main.go:23 "}},
		{"JavaScript", script("a.js", "function find(o) {\n  return o.x.y\n}\nexport default { line() { find({}) } }\n"), "x\n",
			[]string{"a.js:2:", "a.js:4:"}},
		{"TypeScript", script("b.ts", "type Row = {\n  x?: { y: number }\n}\nfunction find(o: Row): number {\n  return o.x!.y\n}\nexport default { line() { find({}) } }\n"), "x\n",
			[]string{"b.ts:5:", "b.ts:7:"}},
		{"Lua", script("c.lua", "local function find(o)\n  return o.x.y\nend\nreturn { line = function() return find({}) + 1 end }\n"), "x\n",
			[]string{"c.lua:2: attempt to index a nil value (field 'x')", "c.lua:4)"}},
		{"Python", script("d.py", "def find(o):\n  return o['x']['y']\ndef line(c, text):\n  find({'x': None})\n"), "x\n",
			[]string{"TypeError: 'NoneType' object isn't subscriptable, at find (d.py:2), at line (d.py:4)"}},
	}
	child, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lines := hosttest.NewLines(t)
	toml := fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\n", hosttest.State())
	for i, c := range cases {
		toml += fmt.Sprintf("[[listener]]\nname = \"l%d\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", i, c.plugin)
	}
	h := hosttest.Serve(t, toml, host.Options{Log: lines.Log(), Compiler: []string{child, childArgument}})
	for i, c := range cases {
		t.Run(strings.ReplaceAll(c.language, " ", "-"), func(t *testing.T) {
			conn := hosttest.Dial(t, h.Addr(fmt.Sprintf("l%d", i)))
			hosttest.Say(t, conn, c.send)
			_, _ = io.Copy(io.Discard, conn)
			lines.Wait(append(c.said, fmt.Sprintf("l%d", i))...)
		})
	}
}
