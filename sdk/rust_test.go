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

// rust builds a handler of testdata with the crate. Where no Rust can make WebAssembly the test is
// skipped; CI installs one.
func rust(t *testing.T, name string) (plugin string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	files := append(sdk.Rust(), sdk.File{Path: "../src/lib.rs", Text: text}, sdk.File{Path: "../Cargo.toml", Text: []byte(`[package]
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
`)})
	for _, f := range files {
		path := filepath.Join(dir, "bulkhead", f.Path)
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

// Each function of the crate, in conversations. What the inbox has no room for waits in the queue,
// and comes whole and in order; what the queue has no room for is refused whole.
func TestRust(t *testing.T) {
	plugin := rust(t, "everything.rs")
	text, err := os.ReadFile("testdata/everything.talk")
	if err != nil {
		t.Fatal(err)
	}
	playtest.Plays(t, plugin, "everything.talk", text)
	x := func(n int) string { return strings.Repeat("x", n) }
	playtest.Plays(t, plugin, "queue.talk", fmt.Appendf(nil, `
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
`, x(60000), x(250000)))
}
