package bulkhead_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// width is how many columns a line has in an editor, where a tab is four.
func width(line string) int {
	return utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
}

// wideComments says which lines of a Go file have a comment and are wider than columns. Lines that
// cannot be broken are left out: code in a comment, one long word such as an address, directives,
// and comments behind the rows of a table: fields, declarations, elements and arguments.
func wideComments(name string, text []byte) (wide []string, err error) {
	lines := strings.Split(string(text), "\n")
	anyWide := false
	for _, line := range lines {
		anyWide = anyWide || width(line) > columns
	}
	if !anyWide {
		return nil, nil
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			at := set.Position(comment.Pos())
			for i, part := range strings.Split(comment.Text, "\n") {
				line := lines[at.Line-1+i]
				words := strings.TrimLeft(part, "/* ")
				if width(line) <= columns || strings.HasPrefix(words, "\t") || !strings.Contains(strings.TrimSpace(words), " ") {
					continue
				}
				if strings.HasPrefix(part, "//go:") || i == 0 && strings.TrimSpace(line[:at.Column-1]) != "" && isRow(file, comment) {
					continue
				}
				wide = append(wide, fmt.Sprintf("%d (%d columns)", at.Line+i, width(line)))
			}
		}
	}
	return wide, nil
}

// isRow reports whether a comment stands behind something else than a statement.
func isRow(file *ast.File, comment *ast.Comment) (row bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil || comment.Pos() < n.Pos() || n.End() <= comment.Pos() {
			return false
		}
		switch n.(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
			row = false
		case *ast.FieldList, *ast.GenDecl, *ast.CompositeLit, *ast.CallExpr, *ast.BinaryExpr:
			row = true
		}
		return true
	})
	return row
}

// Comments are wrapped as pages are, so that they can be read beside other code.
func TestCommentsAreWrapped(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || p != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		wide, err := wideComments(p, text)
		// Some files in testdata are wrong on purpose.
		if err != nil && !strings.Contains(filepath.ToSlash(p), "testdata/") {
			return err
		}
		if len(wide) > 0 {
			t.Errorf("%s: wrap its comments at %d columns, with a tab as four: lines %s", p, columns, strings.Join(wide, ", "))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 500 {
		t.Errorf("only %d files found: the test looks in the wrong place", files)
	}
}

func TestWideCommentsAreFound(t *testing.T) {
	long := strings.Repeat("word ", 20) + "end."
	for source, want := range map[string]string{
		"// " + long + "\npackage a\n":                               "1 (107 columns)",
		"// Short.\npackage a\n\n/*\n" + long + "\n*/\n":             "5 (104 columns)",
		"package a\n\nfunc f() {\n\t\t\t// " + long[9:] + "\n}\n":    "4 (110 columns)",
		"package a\n\nfunc f() {\n\tf() // " + long + "\n}\n":        "4 (115 columns)",
		"package a\n\nfunc f() {\n\tif true { // " + long + "\n}}\n": "4 (121 columns)",
		"package a\n\nvar x = func() {\n\tx() // " + long + "\n}\n":  "4 (115 columns)",
		"package a\n\ntype s struct {\n\tx int // " + long + "\n}\n": "",
		"package a\n\nvar x = []int{\n\t1, // " + long + "\n}\n":     "",
		"package a\n\nconst x = 1 // " + long + "\n":                 "3 (119 columns)",
		"package a\n\nconst (\n\tx = 1 // " + long + "\n)\n":         "",
		"package a\n\n// https://" + strings.Repeat("a", 100) + "\n": "",
		"package a\n\n//\tcode " + long + "\n":                       "",
		"package a\n\n//go:generate " + long + "\n":                  "",
		"package a\n\nvar x = \"" + long + long + "\"\n":             "",
		"package a\n\nvar x = `\n// " + long + "\n`\n":               "",
		"package a\n\nvar x = `\n" + long + "` // end\n":             "",
	} {
		wide, err := wideComments("a.go", bytes.TrimSpace([]byte(source)))
		if got := strings.Join(wide, ", "); err != nil || got != want {
			t.Errorf("%q has the wide lines %q (%v), want %q", source, got, err, want)
		}
	}
}
