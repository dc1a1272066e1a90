// Package bulkhead_test holds the project to its conventions.
package bulkhead_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bulkhead/csa"
)

const module = "bulkhead"

// third-party modules are few, and each has its place.
var onlyIn = map[string][]string{
	"github.com/tetratelabs/wazero":  {"plugins"},
	"github.com/BurntSushi/toml":     {"host/config"},
	"github.com/spf13/cobra":         {"cmd"},
	"github.com/pires/go-proxyproto": {"host/proxy"},
	"golang.org/x/term":              {"cmd"},
	"github.com/rogpeppe":            {"cmd"},
	"github.com/prometheus":          {"host/openmetrics", "host/metrics", "host/limits"}, // their tests
	"github.com/evanw/esbuild":       {"engines/bundle"},
	"github.com/gopacket/gopacket":   {"internal/capture"},
	"github.com/landlock-lsm":        {"host/confine"},
	"kernel.org/pub/linux/libs":      {"host/confine"},
	"github.com/gobwas/ws":           {"internal/websocket", "csa"},        // csa: its tests
	"github.com/coder/websocket":     {"host", "internal/hosttest", "abi"}, // tests
	"golang.org/x/crypto":            {"internal/tlsrecord"},
	"golang.org/x/sys":               {"selector", "csa", "plugins", "host", "cmd", "examples", "internal", "store"},
	"go.etcd.io/bbolt":               {"store/local"},
	"github.com/tidwall/btree":       {"store/memory"},
}

type source struct {
	path string // with slashes, from the root
	file *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (p == "bench" || p == "host/page/browsertest" || name == "testdata" || p != "." && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir // those two are modules of their own
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(p), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files found: the test looks in the wrong place", len(all))
	}
	return all
}

func top(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

// Modules of others are imported where they have a place. docs/PACKAGES.md has the places of ours.
func TestForeignImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if !strings.Contains(top(imported), ".") {
				continue // the standard library, and ours
			}
			if !placed(imported, s.path) {
				t.Errorf("%s imports %s, which has no place there (see onlyIn)", s.path, imported)
			}
		}
	}
}

func placed(imported, file string) bool {
	for prefix, places := range onlyIn {
		if imported == prefix || strings.HasPrefix(imported, prefix+"/") {
			for _, place := range places {
				if strings.HasPrefix(file, place+"/") {
					return true
				}
			}
		}
	}
	return false
}

// Every package says what it is for, in one place.
func TestPackagesHaveOneDoc(t *testing.T) {
	docs := make(map[string][]string)
	for _, s := range sources(t) {
		dir := path.Dir(s.path)
		if _, seen := docs[dir]; !seen {
			docs[dir] = nil
		}
		if strings.HasSuffix(s.path, "_test.go") && dir != "." {
			continue
		}
		if s.file.Doc != nil {
			docs[dir] = append(docs[dir], s.path)
		}
	}
	for dir, files := range docs {
		if len(files) != 1 {
			t.Errorf("package %s has its doc comment in %d files %v; want one", dir, len(files), files)
		}
	}
}

// Every public name says what it does for its caller.
func TestPublicNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d)) {
					t.Errorf("%s: %s has no doc comment", s.path, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
							t.Errorf("%s: %s has no doc comment", s.path, spec.Name.Name)
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
								t.Errorf("%s: %s has no doc comment", s.path, name.Name)
							}
						}
					}
				}
			}
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	recv := d.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	if generic, ok := recv.(*ast.IndexExpr); ok {
		recv = generic.X
	}
	name, ok := recv.(*ast.Ident)
	return ok && name.IsExported()
}

// keysIn writes the keys that a limit names as docs/CONFIG.md does, and wants that it has them.
func keysIn(t *testing.T, docs, name, keys string) string {
	t.Helper()
	var all []string
	for key := range strings.SplitSeq(keys, ", ") {
		if key == "" {
			continue
		}
		all = append(all, "`"+key+"`")
		if !strings.Contains(docs, "\n| `"+key+"` | ") {
			t.Errorf("%s names the key %q, which docs/CONFIG.md does not have", name, key)
		}
	}
	return strings.Join(all, ", ")
}

// Why a datagram is lost is in one table, which the docs have as it is.
func TestLossesOfDatagrams(t *testing.T) {
	docs, err := os.ReadFile("docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for l := range csa.Losses {
		info := l.Info()
		row := fmt.Sprintf("| `%s` | %s | %s |\n", info.Name, keysIn(t, string(docs), info.Name, info.Key), info.Words)
		if info.Name == "" || seen[info.Name] || !strings.Contains(string(docs), row) {
			t.Errorf("docs/CONFIG.md lacks the row, or its name is another's\n%s", row)
		}
		seen[info.Name] = true
	}
}

// What ends a connection is in one table, which names keys that there are, is in the docs as it
// is, and has no line that nothing uses; and no place makes a reason without it.
func TestCausesOfEnds(t *testing.T) {
	docs, err := os.ReadFile("docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(docs)
	for c := range csa.Causes {
		info := c.Info()
		if c == csa.Unknown {
			continue
		}
		keys := keysIn(t, text, info.Name, info.Key)
		row := fmt.Sprintf("| `%s` | %s | %s | %v | %s |\n", info.Name, strings.ToLower(info.Level.String()), keys, info.Code, info.Words)
		if !strings.Contains(text, row) {
			t.Errorf("docs/CONFIG.md lacks the row\n%s", row)
		}
	}
	used := make(map[string]bool)
	names := make(map[string]bool)
	for _, s := range sources(t) {
		from := top(s.path)
		if strings.HasSuffix(s.path, "_test.go") || from != "csa" && from != "host" && from != "plugins" {
			continue
		}
		if s.path == "csa/cause.go" {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok {
					for _, id := range spec.Names {
						names[id.Name] = true
					}
				}
				return true
			})
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				id, _ := n.Type.(*ast.Ident)
				if sel, ok := n.Type.(*ast.SelectorExpr); ok {
					id = sel.Sel
				}
				if id != nil && id.Name == "Reason" && len(n.Elts) > 0 {
					t.Errorf("%s makes a Reason without one of csa's causes", s.path)
				}
			case *ast.Ident:
				used[n.Name] = true
			}
			return true
		})
	}
	delete(names, "causes")
	delete(names, "Causes")
	for name := range names {
		if !used[name] {
			t.Errorf("nothing ends by csa.%s", name)
		}
	}
	if len(names) != int(csa.Causes) {
		t.Errorf("%d causes were found of %d", len(names), csa.Causes)
	}
}
