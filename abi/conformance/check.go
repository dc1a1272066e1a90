package conformance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"

	"bulkhead/internal/talk"
)

// Check reports what is wrong with the table: a sentence of ABI.md that binds and has no case, a
// case that names a sentence which is not there, or a conversation or a test that is not in its
// file, and a conversation of the kit that has no row. sources is the root of the sources.
func Check(sources fs.FS) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	page, err := fs.ReadFile(sources, "abi/ABI.md")
	if err != nil {
		return []error{err}
	}
	shown := make(map[string]bool)
	all := Sentences(string(page))
	for i := range all {
		shown[all[i].Text] = false
	}
	rows := make(map[string]map[string]bool) // by file
	for _, c := range Cases {
		if rows[c.In] == nil {
			rows[c.In] = make(map[string]bool)
		}
		if rows[c.In][c.Name] {
			fault("%q of %s has two rows", c.Name, c.In)
		}
		rows[c.In][c.Name] = true
		for _, s := range c.Shows {
			if _, ok := shown[s]; !ok {
				fault("%q of %s shows a sentence that abi/ABI.md has not, or not any more: %s", c.Name, c.In, s)
			}
			shown[s] = true
		}
	}
	for i := range all {
		if s := &all[i]; s.Binds() && !shown[s.Text] {
			fault("no case shows this sentence of abi/ABI.md#%s; add one to abi/conformance/cases.go, or name it in a row there: %s", s.Anchor, s.Text)
		}
	}
	for file, names := range rows {
		there, err := named(sources, file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for name := range names {
			if !there[name] {
				fault("%s has nothing called %q", file, name)
			}
		}
		for name := range there {
			if !names[name] && strings.HasPrefix(file, "abi/conformance/") {
				fault("%q of %s has no row in abi/conformance/cases.go", name, file)
			}
		}
	}
	return faults
}

// named are the conversations, or the tests, of a file.
func named(sources fs.FS, file string) (map[string]bool, error) {
	text, err := fs.ReadFile(sources, file)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	if strings.HasSuffix(file, ".talk") {
		f, err := talk.Parse(file, text)
		if err != nil {
			return nil, err
		}
		for _, c := range f.Cases {
			names[c.Name] = true
		}
		return names, nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(d.Name.Name, "Test") {
			names[d.Name.Name] = true
		}
	}
	return names, nil
}
