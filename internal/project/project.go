// Package project writes the projects that authors of handlers begin with: a handler that works, a
// conversation that tests it, and a configuration that serves it. They build offline.
package project

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bulkhead/engines/js"
	"bulkhead/engines/lua"
	"bulkhead/engines/python"
	"bulkhead/examples/hello"
	"bulkhead/internal/suggest"
	"bulkhead/sdk"
)

//go:embed templates
var templates embed.FS

// file is one file of a project. NAME in its path and text is the project's name.
type file struct{ path, text string }

// language is one row of the table: what a project in it has besides what all have.
type language struct {
	name    string
	aliases []string
	// handler is the file that the author changes. It is built, except for scripts.
	handler string
	script  bool
	files   func() ([]file, error)
	ignore  []string // for .gitignore, besides what all have
	// memory is what the tenant of its configuration has.
	memory string
}

var languages = []*language{
	{name: "js", aliases: []string{"javascript"}, handler: "NAME.js", script: true, memory: "16MiB",
		files: static(script("js"), file{"jsconfig.json", jsconfig}, types)},
	{name: "ts", aliases: []string{"typescript"}, handler: "NAME.ts", script: true, memory: "16MiB",
		files: static(script("ts"), file{"tsconfig.json", tsconfig}, types)},
	{name: "python", aliases: []string{"py"}, handler: "NAME.py", script: true, memory: "16MiB",
		files: static(script("py"), pythonTypes("__builtins__.pyi"), pythonTypes("crc.pyi"), file{"pyrightconfig.json", pyrightconfig})},
	{name: "lua", handler: "NAME.lua", script: true, memory: "16MiB",
		files: static(script("lua"), file{"types/bulkhead.lua", lua.Types()}, file{".luarc.json", luarc})},
	{name: "go", aliases: []string{"golang"}, handler: "NAME.go", memory: "64MiB", files: goProject},
	{name: "rust", aliases: []string{"rs"}, handler: "src/lib.rs", memory: "16MiB", files: rustProject, ignore: []string{"/target/"}},
	{name: "assemblyscript", aliases: []string{"as", "asc"}, handler: "assembly/index.ts", memory: "16MiB", files: assemblyScriptProject, ignore: []string{"/node_modules/"}},
	{name: "zig", handler: "NAME.zig", memory: "16MiB", files: zigProject, ignore: []string{"/zig-cache/", "/.zig-cache/", "/node_modules/"}},
	{name: "c", handler: "NAME.c", memory: "16MiB", files: withHeaders("c", sdk.C())},
	{name: "cpp", aliases: []string{"c++", "cc"}, handler: "NAME.cc", memory: "16MiB", files: withHeaders("cc", sdk.CPlusPlus())},
}

// Languages are the names of the languages that New knows.
func Languages() (names []string) {
	for _, l := range languages {
		names = append(names, l.name)
	}
	return names
}

func static(files ...file) func() ([]file, error) {
	return func() ([]file, error) { return files, nil }
}

// script is the quickstart's handler in a scripting language.
func script(end string) file { return file{"NAME." + end, hello.File("hello." + end)} }

var types = file{"bulkhead.d.ts", js.Types()}

func pythonTypes(name string) file {
	builtins, crc := python.Types()
	if name == "crc.pyi" {
		return file{name, crc}
	}
	return file{name, builtins}
}

func template(name string) string {
	text, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic(err) // it is in the program
	}
	return string(text)
}

// withHeaders has the guest headers beside the handler.
func withHeaders(end string, headers []sdk.File) func() ([]file, error) {
	files := []file{{"NAME." + end, template("handler." + end + ".txt")}}
	for _, h := range headers {
		files = append(files, file{h.Path, string(h.Text)})
	}
	return static(files...)
}

// goProject has the library in a folder of its own, as a module that go.mod leads to: this one is
// not published.
func goProject() ([]file, error) {
	files := []file{
		{"NAME.go", template("handler.go.txt")},
		{"go.mod", "module NAME\n\ngo 1.24\n\nrequire bulkhead v0.0.0\n\nreplace bulkhead => ./bulkhead\n"},
		{"bulkhead/go.mod", "module bulkhead\n\ngo 1.24\n"},
	}
	return append(files, vendored(sdk.Go())...), nil
}

// rustProject has the crate in a folder of its own.
func rustProject() ([]file, error) {
	files := []file{
		{"src/lib.rs", template("lib.rs.txt")},
		{"Cargo.toml", template("Cargo.toml.txt")},
		{".cargo/config.toml", template("cargo-config.toml.txt")},
	}
	return append(files, vendored(sdk.Rust())...), nil
}

// assemblyScriptProject has the library in a folder of its own. npm brings the compiler, which
// package.json names.
func assemblyScriptProject() ([]file, error) {
	files := []file{
		{"assembly/index.ts", template("index.ts.txt")},
		{"assembly/tsconfig.json", template("assembly-tsconfig.json.txt")},
		{"asconfig.json", template("asconfig.json.txt")},
		{"package.json", template("package.json.txt")},
	}
	return append(files, vendored(sdk.AssemblyScript())...), nil
}

// zigProject has the library in a folder of its own.
func zigProject() ([]file, error) {
	files := []file{{"NAME.zig", template("handler.zig.txt")}}
	return append(files, vendored(sdk.Zig())...), nil
}

// vendored are the files of a guest library, in the folder bulkhead.
func vendored(library []sdk.File) (files []file) {
	for _, f := range library {
		files = append(files, file{"bulkhead/" + f.Path, string(f.Text)})
	}
	return files
}

const jsconfig = `{
  "compilerOptions": {
    "target": "ES2023",
    "lib": ["ES2023"],
    "types": [],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "checkJs": true,
    "noEmit": true
  },
  "include": ["*.js", "bulkhead.d.ts"]
}
`

const tsconfig = `{
  "compilerOptions": {
    "target": "ES2023",
    "lib": ["ES2023"],
    "types": [],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "allowImportingTsExtensions": true,
    "verbatimModuleSyntax": true,
    "strict": true,
    "noEmit": true
  },
  "include": ["*.ts"]
}
`

// What the engine has, and not CPython, is in files without a source.
const pyrightconfig = `{
  "pythonVersion": "3.10",
  "reportMissingModuleSource": "none"
}
`

const luarc = `{
  "runtime.version": "Lua 5.4",
  "workspace.library": ["types"],
  "workspace.checkThirdParty": false
}
`

// names are those that are file names everywhere, and names of a tenant, a listener and a module.
var names = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// New is a project that was written.
type New struct {
	Folder  string
	Handler string   // the file to change
	Script  bool     // it needs no compiler
	Files   []string // all of them, below the folder
}

// Write makes a folder called name in the folder parent, with a project in a language. It refuses
// a folder that has something in it. The error says what to write instead.
func Write(parent, lang, name string) (*New, error) {
	l, err := find(lang)
	if err != nil {
		return nil, err
	}
	switch {
	case !names.MatchString(name):
		return nil, fmt.Errorf("%q cannot be the name of a project: a lower-case letter, and then up to 31 letters a to z, digits and dashes", name)
	case name == "bulkhead" && l.name == "go":
		return nil, errors.New("a project in Go cannot be called bulkhead: that is the module of its library")
	}
	files, err := l.files()
	if err != nil {
		return nil, err
	}
	files = append(files, common(l)...)
	folder := filepath.Join(parent, name)
	if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is there already, and has %s in it: take another name", folder, entries[0].Name())
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	made := &New{Folder: folder, Handler: fill(l.handler, name), Script: l.script}
	for _, f := range files {
		path := filepath.FromSlash(fill(f.path, name))
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(path)), 0o755); err != nil {
			return nil, err
		}
		text := f.text
		if !strings.HasPrefix(f.path, "bulkhead") && !strings.HasPrefix(f.path, "types/") && !strings.HasPrefix(f.path, "csa") {
			text = fill(text, name)
		}
		if err := os.WriteFile(filepath.Join(folder, path), []byte(text), 0o644); err != nil {
			return nil, err
		}
		made.Files = append(made.Files, path)
	}
	slices.Sort(made.Files)
	return made, nil
}

func fill(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }

func find(name string) (*language, error) {
	name = strings.ToLower(name)
	var known []string
	for _, l := range languages {
		if l.name == name || slices.Contains(l.aliases, name) {
			return l, nil
		}
		known = append(append(known, l.name), l.aliases...)
	}
	hint := ""
	if near := suggest.Word(name, known); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return nil, fmt.Errorf("there are no projects in %q%s; there are %s", name, hint, strings.Join(Languages(), ", "))
}

// common is what the projects of all languages have.
func common(l *language) []file {
	plugin, make := "NAME.wasm", template("Makefile.txt")
	if l.script {
		plugin, make = l.handler, template("Makefile.script.txt")
	}
	replace := func(text string) string {
		return strings.NewReplacer("PLUGIN", plugin, "MEMORY", l.memory).Replace(text)
	}
	ignore := "/state/\n"
	if !l.script {
		ignore += "*.wasm\n"
	}
	for _, line := range l.ignore {
		ignore += line + "\n"
	}
	_, talk, _ := strings.Cut(hello.File("hello.talk"), "\n")
	return []file{
		{"NAME.toml", replace(template("config.toml.txt"))},
		{"NAME.talk", replace("# What a client says, and what it must hear: bulkhead try PLUGIN --script NAME.talk\n") + talk},
		{"Makefile", replace(make)},
		{".gitignore", ignore},
	}
}
