package sdk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/playtest"
	"bulkhead/sdk"
)

// language is a guest library that conversations try.
type language struct {
	name    string
	library []sdk.File // a folder called bulkhead
	end     string     // of the names of handlers in testdata
	handler string     // where a project has its handler
	project []sdk.File // what a project has besides
}

var languages = []language{
	{"Rust", sdk.Rust(), ".rs", "src/lib.rs", []sdk.File{{Path: "Cargo.toml", Text: []byte(`[package]
name = "handler"
version = "0.1.0"
edition = "2021"
[lib]
crate-type = ["cdylib"]
[dependencies]
bulkhead = { path = "bulkhead" }
[profile.release]
opt-level = 1
panic = "abort"
strip = "debuginfo"
`)}}},
	{"AssemblyScript", sdk.AssemblyScript(), ".ts", "assembly/index.ts", nil},
	{"Zig", sdk.Zig(), ".zig", "handler.zig", nil},
}

// build makes a module of a handler in testdata. Where this machine has no compiler for it, the
// test is skipped; CI installs them.
func (l *language) build(t *testing.T, name string) (plugin string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", name+l.end))
	if err != nil {
		t.Fatal(err)
	}
	files := append([]sdk.File{{Path: l.handler, Text: text}}, l.project...)
	for _, f := range l.library {
		files = append(files, sdk.File{Path: "bulkhead/" + f.Path, Text: f.Text})
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plugin = filepath.Join(dir, "handler.wasm")
	playtest.Build(t, dir, plugin)
	return plugin
}

// Each function of each library, in the same conversations. What the inbox has no room for waits in
// the queue, and comes whole and in order; what the queue has no room for is refused whole.
func TestLibraries(t *testing.T) {
	everything, err := os.ReadFile("testdata/everything.talk")
	if err != nil {
		t.Fatal(err)
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	queue := fmt.Appendf(nil, `
== more than an inbox
eol lf
< hello
> many 60000
< %[1]s
> many 60000
< %[1]s
> many 70000
< QUOTA
> limit 300000
> many 250000
> quit
< %[2]s
<EOF
closed OK
`, x(60000), x(250000))
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			plugin := l.build(t, "everything")
			playtest.Plays(t, plugin, "everything.talk", everything)
			playtest.Plays(t, plugin, "queue.talk", queue)
		})
	}
}

// What of the library for AssemblyScript needs no connection holds: the handler tries it when it
// starts.
func TestAssemblyScriptUnits(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		if l.name == "AssemblyScript" {
			playtest.Plays(t, l.build(t, "units"), "units.talk", []byte("== units\n< all hold\n<EOF\n"))
		}
	}
}
