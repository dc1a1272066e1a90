package sdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	"bulkhead/internal/toolchain"
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
	source, err := toolchain.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	module, err := source.Build(t.Context(), &said)
	if missing := (*toolchain.Missing)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil || said.Len() > 0 {
		t.Fatalf("%v\n%s", err, &said)
	}
	plugin = filepath.Join(dir, "handler.wasm")
	if err := os.WriteFile(plugin, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return plugin
}

func plays(t *testing.T, plugin, name string, text []byte) {
	t.Helper()
	f, err := talk.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	h := play.Handler{Plugin: plugin, State: hosttest.State()}
	for _, one := range f.Cases {
		for _, v := range play.Variants(1) {
			if !v.Suits(h, one) {
				continue
			}
			r, err := play.Play(t.Context(), h, one, v)
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != nil {
				t.Errorf("%s, %s: %s:%d: %s: want %.100q (%d bytes), got %.100q (%d)\n%s", one.Name, v.Name, name, r.Failure.Line, r.Failure.What, r.Failure.Want, len(r.Failure.Want), r.Failure.Got, len(r.Failure.Got), strings.Join(r.Log, "\n"))
			}
		}
	}
}

// Each function of the crate, in conversations. What the inbox has no room for waits in the queue,
// and comes whole and in order; what the queue has no room for is refused whole.
func TestRust(t *testing.T) {
	plugin := rust(t, "everything.rs")
	text, err := os.ReadFile("testdata/everything.talk")
	if err != nil {
		t.Fatal(err)
	}
	plays(t, plugin, "everything.talk", text)
	x := func(n int) string { return strings.Repeat("x", n) }
	plays(t, plugin, "queue.talk", fmt.Appendf(nil, `
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
