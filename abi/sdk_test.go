package abi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The Go guest library has each host function: something of it that is not generated calls the
// binding.
func TestTheGoLibraryHasEveryFunction(t *testing.T) {
	files, err := filepath.Glob("../sdk/go/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	called := make(map[string]bool)
	for _, name := range files {
		if base := filepath.Base(name); strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "imports_") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if f, ok := c.Fun.(*ast.Ident); ok {
					called[strings.ToLower(f.Name)] = true
				}
			}
			return true
		})
	}
	for i := range HostFunctions {
		if f := &HostFunctions[i]; f.Built && !called[strings.ReplaceAll(f.Name, "_", "")] {
			t.Errorf("nothing in sdk/go calls %s: the table has a function that Go guests cannot have", f.Name)
		}
	}
}
