package dev

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/engines/bundle"
	"bulkhead/host/config"
	"bulkhead/internal/watch"
)

// folder makes a folder with these files, and leads there without links.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// workshop is one for listeners with these plugins.
func workshop(t *testing.T, dir string, plugins ...string) *Workshop {
	t.Helper()
	text := "[tenant.a]\n"
	for i, p := range plugins {
		text += "[[listener]]\nname = \"l" + string(rune('0'+i)) + "\"\ntenant = \"a\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"" + p + "\"\n"
	}
	w := &Workshop{File: filepath.Join(dir, "bulkhead.toml"), Log: t.Output()}
	write(t, w.File, text)
	reread(t, w)
	return w
}

func reread(t *testing.T, w *Workshop) {
	t.Helper()
	cfg, err := config.LoadToBuild(w.File)
	if err != nil {
		t.Fatal(err)
	}
	w.Set(cfg)
}

// relative are paths as a test writes them.
func relative(dir string, paths []string) (all []string) {
	for _, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return paths
		}
		all = append(all, rel)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A module's source is what is called as it is, or the project in whose folder it is alone; which
// conversations test it follows the same thought.
func TestSourcesAndTalks(t *testing.T) {
	dir := folder(t,
		"one/one.c=", "one/one.h=", "one/notes.txt=", "one/x.talk=", "one/.hidden.talk=", "one/one.c~=", "one/.#one.c=",
		"two/a.wasm=", "two/b.wasm=", "two/a.c=", "two/b.rs=", "two/c.c=", "two/a.talk=", "two/x.talk=",
		"go/go.mod=", "go/main.go=", "go/text/data.bin=", "go/.git/HEAD=", "go/node_modules/x.js=", "go/state/y=", "go/x.wasm=",
		"mixed/x.wasm=", "mixed/y.c=",
		"script/x.js=", "script/x.talk=",
	)
	for _, c := range []struct {
		plugins []string
		source  string // of the first
		watched string
	}{
		{[]string{"one/one.wasm"}, "C", "bulkhead.toml one/one.c one/one.h one/one.wasm one/x.talk"},
		{[]string{"two/a.wasm", "two/b.wasm"}, "C", "bulkhead.toml two/a.c two/a.talk two/a.wasm two/b.rs two/b.wasm two/c.c"},
		{[]string{"two/b.wasm"}, "Rust", "bulkhead.toml two/a.talk two/b.rs two/b.wasm two/x.talk"},
		{[]string{"go/server.wasm"}, "Go", "bulkhead.toml go/go.mod go/main.go go/server.wasm go/state/y go/text/data.bin"},
		{[]string{"mixed/x.wasm"}, "", "bulkhead.toml mixed/x.wasm"},
		{[]string{"script/x.js"}, "", "bulkhead.toml script/x.js script/x.talk"},
	} {
		w := workshop(t, dir, c.plugins...)
		if got := w.Handlers()[0].Source(); got != c.source {
			t.Errorf("%v: the source is %q, want %q", c.plugins, got, c.source)
		}
		if got := strings.Join(relative(dir, w.Watched()), " "); got != c.watched {
			t.Errorf("%v: watched are\n%s, want\n%s", c.plugins, got, c.watched)
		}
	}
	// The state folder is left out, wherever it is.
	w := workshop(t, filepath.Join(dir, "go"), "server.wasm")
	if slices.Contains(w.Watched(), filepath.Join(dir, "go/state/y")) {
		t.Errorf("the state folder is watched: %v", w.Watched())
	}
	// A source that comes later is found, and one that goes stays known.
	w = workshop(t, dir, "mixed/x.wasm")
	write(t, filepath.Join(dir, "mixed/x.c"), "")
	if !slices.Contains(w.Watched(), filepath.Join(dir, "mixed/x.c")) {
		t.Errorf("a new source is not watched: %v", w.Watched())
	}
	reread(t, w)
	os.Remove(filepath.Join(dir, "mixed/x.c"))
	reread(t, w)
	if w.Handlers()[0].Source() != "C" {
		t.Errorf("a source that has gone is forgotten")
	}
}

// What a script is made of, and what it looks for in vain, is watched.
func TestScripts(t *testing.T) {
	dir := folder(t, `a.lua=local b = require("b")`, "b.lua=")
	w := workshop(t, dir, "a.lua")
	if r := w.Build(t.Context(), nil, false); len(r) != 1 || r[0].Err != nil || strings.Join(r[0].Files, " ") != "a.lua b.lua" || len(w.Broken()) > 0 {
		t.Errorf("%+v", r)
	}
	write(t, filepath.Join(dir, "a.lua"), "\nrequire(\"c\")")
	r := w.Build(t.Context(), nil, false)
	refused, ok := errors.AsType[*bundle.Error](r[0].Err)
	if len(r) != 1 || !ok || len(w.Broken()) != 1 {
		t.Fatalf("%+v, want an error of the script", r)
	}
	shown := func(path string) string { return "./" + filepath.Base(path) }
	if got := Lines(refused, r[0].Handler, shown); len(got) != 1 || !strings.HasPrefix(got[0], "./a.lua:2:9: ") {
		t.Errorf("%q, want the place first", got)
	}
	for _, path := range []string{"c.lua", "c/init.lua"} {
		if !slices.Contains(w.Watched(), filepath.Join(dir, path)) {
			t.Errorf("%s is not watched, and would mend it: %v", path, relative(dir, w.Watched()))
		}
	}
	os.Remove(filepath.Join(dir, "a.lua"))
	if r := w.Build(t.Context(), nil, false); r[0].Err == nil || Lines(r[0].Err, r[0].Handler, shown)[0][:9] != "./a.lua: " {
		t.Errorf("%+v, want an error that names the file", r)
	}
}

// A module is built if it is not there, if a source is younger, or has changed since, or if it
// could not be built and anything was saved.
func TestStale(t *testing.T) {
	dir := folder(t, "a.c=one", "a.wasm=")
	w := workshop(t, dir, "a.wasm")
	h := w.Handlers()[0]
	source, module := filepath.Join(dir, "a.c"), filepath.Join(dir, "a.wasm")
	at := func(path string, ago time.Duration) {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-ago)); err != nil {
			t.Fatal(err)
		}
	}
	var files watch.Files
	now := func() watch.State { return w.stateOf(h, files.Look(w.Watched())) }
	wants := func(what string, want bool) {
		t.Helper()
		if got := w.stale(h, now()); got != want {
			t.Errorf("%s: stale: %v, want %v", what, got, want)
		}
	}
	at(source, time.Hour)
	wants("a younger module", false)
	at(source, -time.Hour)
	wants("an older module", true)
	h.before = now()
	wants("built", false)
	at(source, time.Minute)
	wants("saved as it was", false)
	h.failed = true
	wants("saved as it was, after it failed", true)
	h.before, h.failed = now(), false
	write(t, source, "two")
	wants("another content", true)
	h.before = now()
	os.Remove(module)
	wants("no module", true)
	h.failed = true
	wants("no module, and it failed with the same", false)
}

// What changes during a round is the reason for the next, unless it is a build's output.
func TestBase(t *testing.T) {
	dir := folder(t, "a.c=one", "b.c=one", "c.c=one", "a.wasm=one")
	w := workshop(t, dir, "a.wasm")
	var files watch.Files
	look := func() watch.State { return files.Look(w.Watched()) }
	path := func(name string) string { return filepath.Join(dir, name) }
	round := func(what, want, outputs string, during func()) {
		t.Helper()
		before := look()
		kept := maps.Clone(before)
		during()
		base, found := w.Base(before, look())
		if got := strings.Join(relative(dir, watch.Changed(base, look(), false)), " "); got != want {
			t.Errorf("%s: the next round is because of %q, want %q", what, got, want)
		}
		if got := strings.Join(relative(dir, found), " "); got != outputs {
			t.Errorf("%s: outputs are %q, want %q", what, got, outputs)
		}
		if len(watch.Changed(before, kept, false)) > 0 {
			t.Errorf("%s: the state from before was changed", what)
		}
	}
	round("nothing", "", "", func() {})
	round("saved as it was", "", "", func() { write(t, path("a.c"), "one") })
	round("a save", "a.c", "", func() { write(t, path("a.c"), "two") })
	round("a new file", "d.c", "", func() { write(t, path("d.c"), "one") })
	round("one that goes", "d.c", "", func() { os.Remove(path("d.c")) })
	round("somebody else's module", "a.wasm", "", func() { write(t, path("a.wasm"), "two") })
	round("one that goes", "a.wasm", "", func() { os.Remove(path("a.wasm")) })
	round("our own module", "", "", func() {
		write(t, path("a.wasm"), "three")
		w.handlers[0].wrote = look()[path("a.wasm")].Content
	})
	text := "x"
	output := func() { text += "x"; write(t, path("b.c"), text) }
	round("an output, once", "b.c", "", output)
	round("an output, twice", "b.c", "", output)
	round("nothing", "", "", func() {})
	round("an output, once", "b.c", "", output)
	round("an output, twice", "b.c", "", output)
	round("and three times, with a save", "c.c", "b.c", func() { output(); write(t, path("c.c"), "two") })
	round("and again", "", "", output)
	// Between rounds it counts.
	before := look()
	output()
	if got := watch.Changed(before, look(), false); len(got) != 1 {
		t.Errorf("%v, want the output, which has changed while nothing was built", got)
	}
}

func TestFindPlace(t *testing.T) {
	dir := folder(t, "hello.js=", "src/lib.rs=", "a.py=")
	shown := func(path string) string {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return path
		}
		return "here/" + rel
	}
	for text, want := range map[string]string{
		"SyntaxError: expecting ',', at hello.js:2:24":            "here/hello.js:2:24",
		"ReferenceError: 'foo' is not defined, at f (hello.js:1)": "here/hello.js:1",
		"panic < look_up src/lib.rs:33 < csa_data src/lib.rs:40":  "here/src/lib.rs:33",
		"option.rs:775 < field src/lib.rs:8":                      "here/src/lib.rs:8",
		`File "a.py", line 3, in line`:                            "here/a.py:3",
		filepath.Join(dir, "a.py") + ":7: no":                     "here/a.py:7",
		"other.js:1:1: it is not here":                            "",
		"hello.js is wrong, at 10:30":                             "",
		"":                                                        "",
	} {
		if got := FindPlace(text, []string{"/nowhere", dir}, shown); got != want {
			t.Errorf("%q is at %q, want %q", text, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := folder(t,
		"project/greeter.toml=[[listener]]", "project/Cargo.toml=[package]", "project/a.js=",
		"rust/Cargo.toml=[package]", "script/a.js=", "script/bulkhead.d.ts=", "c/x.c=", "x.wasm=", "x.py=", "x.txt=",
		"as/asconfig.json={}", "as/assembly/index.ts=", "as/assembly/other.ts=", "script.ts=",
	)
	for path, want := range map[string]string{
		"project":              "project/greeter.toml",
		"project/greeter.toml": "project/greeter.toml",
		"project/a.js":         "project/a.js",
		"rust":                 "rust/rust.wasm",
		"script":               "script/a.js",
		"c/x.c":                "c/x.wasm",
		"c":                    "c/x.wasm",
		"x.wasm":               "x.wasm",
		"as":                   "as/as.wasm",
		"as/assembly/index.ts": "as/as.wasm",
		"as/assembly/other.ts": "as/other.wasm",
		"script.ts":            "script.ts",
		"x.py":                 "x.py",
		"x.txt":                "",
		"none":                 "",
	} {
		found, err := Find(filepath.Join(dir, path))
		got := strings.TrimPrefix(found.TOML+found.Plugin, dir+"/")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q leads to %q (%v), want %q", path, got, err, want)
		}
	}
}

// A configuration that is written for a handler can be read, whatever its file is called.
func TestConfiguration(t *testing.T) {
	for _, name := range []string{"a.js", "Größe \"x\" \\.py", "1\t2.lua", strings.Repeat("long", 20) + ".js"} {
		dir := folder(t)
		plugin := filepath.Join(dir, name)
		write(t, plugin, "")
		text, err := Configuration(plugin, "127.0.0.1:0", filepath.Join(dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("dev.toml", []byte(text), dir)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if l := cfg.Listeners[0]; l.Plugin != plugin || cfg.Host.State != filepath.Join(dir, "state") {
			t.Errorf("%s: %s in %s", name, l.Plugin, cfg.Host.State)
		}
	}
	if _, err := Configuration("a.js", "7000", "s"); err == nil {
		t.Error("a port alone passes for an address")
	}
	if text, err := Configuration("a.js", "unix:///tmp/x", "s"); err != nil || !strings.Contains(text, `address = "unix:///tmp/x"`) {
		t.Errorf("%s (%v)", text, err)
	}
}
