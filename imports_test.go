package bulkhead_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// importRow is what the table of docs/PACKAGES.md says of a folder.
type importRow struct {
	imports []string // of ours
	tests   []string // of ours, by its tests besides
}

// imported is which of our packages a package imports, each with the first file that does.
type imported struct {
	code  map[string]string
	tests map[string]string
}

// importTable reads the table of the folders. A row is "| `folder` | what it is | imports |", where
// imports is "none", or packages in backquotes, and then perhaps "; tests: " and more of those. A
// folder that ends with "/*" stands for all that are in it.
func importTable(page string) (map[string]importRow, error) {
	_, table, found := strings.Cut(page, "\n| folder | what it is | imports of ours |\n")
	if !found {
		return nil, fmt.Errorf("there is no table with the columns folder, what it is, imports of ours")
	}
	rows := make(map[string]importRow)
	words := regexp.MustCompile("`([^`]+)`")
	list := func(cell string) (names []string) {
		for _, m := range words.FindAllStringSubmatch(cell, -1) {
			names = append(names, strings.TrimSuffix(m[1], "/"))
		}
		return names
	}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if strings.HasPrefix(line, "|---") {
			continue
		}
		folder := list(cells[0])
		if len(cells) != 3 || len(folder) != 1 {
			return nil, fmt.Errorf("the row %q has not three cells, or not one folder", line)
		}
		code, tests, _ := strings.Cut(cells[2], "; tests:")
		row := importRow{list(code), list(tests)}
		if folder[0] == "bench" || folder[0] == "host/page/browsertest" {
			continue // modules of their own, which no package here can import
		}
		if len(row.imports) == 0 && strings.TrimSpace(code) != "none" {
			return nil, fmt.Errorf("the row of %s names no imports and does not say none", folder[0])
		}
		if _, twice := rows[folder[0]]; twice {
			return nil, fmt.Errorf("%s has two rows", folder[0])
		}
		rows[folder[0]] = row
	}
	return rows, nil
}

// testKit reports whether a package is there for tests alone: certstest, hosttest, wasmtest.
func testKit(pkg string) bool { return strings.HasSuffix(path.Base(pkg), "test") }

// checkImports compares what is imported with the table, in both directions: an import that has no
// place in it, and a place that no import takes. Tests may import what their package's row leads
// to, over however many rows, and the test kits.
func checkImports(rows map[string]importRow, packages map[string]imported) (faults []string) {
	rowOf := func(pkg string) (name string, ok bool) {
		for _, name := range []string{pkg, path.Dir(pkg) + "/*"} {
			if _, ok := rows[name]; ok {
				return name, true
			}
		}
		return "", false
	}
	reach := func(start []string) map[string]bool {
		seen := make(map[string]bool)
		var walk func([]string)
		walk = func(names []string) {
			for _, n := range names {
				if seen[n] {
					continue
				}
				seen[n] = true
				if name, ok := rowOf(n); ok {
					walk(rows[name].imports)
				}
			}
		}
		walk(start)
		return seen
	}
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	used := make(map[string]map[string]bool) // by row: the imports that somebody needs
	for pkg, has := range packages {
		name, ok := rowOf(pkg)
		if !ok {
			say("%s has no row", pkg)
			continue
		}
		row := rows[name]
		if used[name] == nil {
			used[name] = make(map[string]bool)
		}
		for other, file := range has.code {
			used[name][other] = true
			if !slices.Contains(row.imports, other) {
				say("%s imports %s, which the row of %s does not have", file, other, name)
			} else if testKit(other) && !testKit(pkg) {
				say("%s imports %s, which is for tests alone", file, other)
			}
		}
		may := reach(slices.Concat(row.imports, row.tests))
		for other, file := range has.tests {
			used[name]["tests: "+other] = true
			if other != pkg && !may[other] && !testKit(other) {
				say("%s imports %s, which the row of %s does not lead to", file, other, name)
			}
		}
	}
	for name, row := range rows {
		if used[name] == nil {
			say("there is no package for the row of %s", name)
			continue
		}
		for _, other := range row.imports {
			if !used[name][other] {
				say("the row of %s has %s, which it does not import", name, other)
			}
		}
		for _, other := range row.tests {
			if !used[name]["tests: "+other] {
				say("the row of %s has %s, which its tests do not import", name, other)
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// docs/PACKAGES.md says which package may import which, for every package and platform.
func TestImportTable(t *testing.T) {
	page, err := os.ReadFile("docs/PACKAGES.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := importTable(string(page))
	if err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]imported)
	for _, s := range sources(t) {
		pkg := path.Dir(s.path)
		if pkg == "." {
			continue // the root has only tests of everything
		}
		has, ok := packages[pkg]
		if !ok {
			has = imported{make(map[string]string), make(map[string]string)}
			packages[pkg] = has
		}
		into := has.code
		if strings.HasSuffix(s.path, "_test.go") {
			into = has.tests
		}
		for _, spec := range s.file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(name, module+"/"); ok && into[ours] == "" {
				into[ours] = s.path
			}
		}
	}
	for _, fault := range checkImports(rows, packages) {
		t.Errorf("docs/PACKAGES.md: %s", fault)
	}
}

// The check itself finds what is wrong, and only that.
func TestImportTableFindsFaults(t *testing.T) {
	const table = "\n| folder | what it is | imports of ours |\n|---|---|---|\n" +
		"| `low/` | a | none |\n" +
		"| `mid` | b | `low` |\n" +
		"| `top` | c | `mid`; tests: `side` |\n" +
		"| `side` | d | none |\n" +
		"| `many/*` | e | `low` |\n" +
		"| `kittest` | f | none |\n\nMore.\n"
	good := func() map[string]imported {
		return map[string]imported{
			"low":     {},
			"mid":     {code: map[string]string{"low": "mid/a.go"}, tests: map[string]string{"kittest": "mid/a_test.go"}},
			"top":     {code: map[string]string{"mid": "top/a.go"}, tests: map[string]string{"side": "top/a_test.go", "low": "top/a_test.go"}},
			"side":    {tests: map[string]string{"side": "side/a_test.go"}},
			"many/x":  {code: map[string]string{"low": "many/x/a.go"}},
			"many/y":  {},
			"kittest": {},
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(map[string]imported)
		want  string
	}{
		{"nothing", func(map[string]imported) {}, ""},
		{"up", func(p map[string]imported) { p["low"] = imported{code: map[string]string{"mid": "low/a.go"}} },
			"low/a.go imports mid, which the row of low does not have"},
		{"past a floor", func(p map[string]imported) { p["top"].code["low"] = "top/b.go" },
			"top/b.go imports low, which the row of top does not have"},
		{"a test up", func(p map[string]imported) { p["mid"].tests["top"] = "mid/b_test.go" },
			"mid/b_test.go imports top, which the row of mid does not lead to"},
		{"a kit in production", func(p map[string]imported) { p["mid"].code["kittest"] = "mid/b.go" },
			"mid/b.go imports kittest, which the row of mid does not have"},
		{"no row", func(p map[string]imported) { p["new"] = imported{} }, "new has no row"},
		{"no package", func(p map[string]imported) { delete(p, "kittest") }, "there is no package for the row of kittest"},
		{"not used", func(p map[string]imported) { delete(p["mid"].code, "low") }, "the row of mid has low, which it does not import"},
		{"not used by tests", func(p map[string]imported) { delete(p["top"].tests, "side") },
			"the row of top has side, which its tests do not import"},
		{"of many", func(p map[string]imported) { p["many/y"] = imported{code: map[string]string{"mid": "many/y/a.go"}} },
			"many/y/a.go imports mid, which the row of many/* does not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, err := importTable(table)
			if err != nil {
				t.Fatal(err)
			}
			packages := good()
			c.spoil(packages)
			if got := strings.Join(checkImports(rows, packages), "\n"); got != c.want {
				t.Errorf("it finds %q, want %q", got, c.want)
			}
		})
	}
	kit := map[string]importRow{"mid": {imports: []string{"kittest"}}, "kittest": {}}
	uses := map[string]imported{"mid": {code: map[string]string{"kittest": "mid/a.go"}}, "kittest": {}}
	if got, want := strings.Join(checkImports(kit, uses), "\n"), "mid/a.go imports kittest, which is for tests alone"; got != want {
		t.Errorf("it finds %q, want %q", got, want)
	}
	for _, bad := range []string{
		"no table",
		strings.Replace(table, "| none |", "| |", 1),
		strings.Replace(table, "| b | `low` |", "| `low` |", 1),
		table[:len(table)-len("\nMore.\n")] + "| `mid` | again | none |\n",
	} {
		if rows, err := importTable(bad); err == nil {
			t.Errorf("%q is read as %v", bad, slices.Sorted(maps.Keys(rows)))
		}
	}
}

// What tests alone need of others is not in the daemon.
func TestTheDaemonHasNoTestLibraries(t *testing.T) {
	said, err := exec.Command("go", "list", "-deps", "./cmd/bulkhead").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, said)
	}
	deps := strings.Fields(string(said))
	if !slices.Contains(deps, "bulkhead/host") {
		t.Fatalf("it does not have the host itself: %s", said)
	}
	for _, d := range deps {
		for _, not := range []string{"github.com/prometheus/", "google.golang.org/protobuf", "github.com/rogpeppe/"} {
			if strings.HasPrefix(d, not) {
				t.Errorf("the daemon links %s, which is for tests alone", d)
			}
		}
	}
}
