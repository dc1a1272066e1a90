package bulkhead_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// columns is how wide a line of prose may be.
const columns = 100

// pages returns the paths of the Markdown files that are written by hand.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "results" || p != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(p, ".md") && filepath.ToSlash(p) != "abi/ABI.md":
			// abi/ABI.md is generated.
			all = append(all, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages found: the test looks in the wrong place", len(all))
	}
	return all
}

// Prose is wrapped, so that a change shows as the lines it changes. Tables, code, and lines that
// have no space to break at are as wide as they need to be.
func TestPagesAreWrapped(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		code := false
		for i, line := range strings.Split(string(text), "\n") {
			start := strings.TrimLeft(line, " ")
			if strings.HasPrefix(start, "```") {
				code = !code
			}
			switch {
			case code, strings.HasPrefix(start, "|"), strings.HasPrefix(line, "    "):
			case strings.HasPrefix(start, "- [") && strings.HasSuffix(line, ")"):
				// An entry of a list of contents.
			case utf8.RuneCountInString(line) > columns && strings.Contains(start, " "):
				t.Errorf("%s:%d: the line has %d columns; wrap it at %d", page, i+1, utf8.RuneCountInString(line), columns)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\pL\pN_\- ]`)

// anchor returns what a heading is linked by.
func anchor(heading string) string {
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func TestContentsOfTheRationale(t *testing.T) {
	text, err := os.ReadFile("RATIONALE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## Contents\n")
	have, body, ok2 := strings.Cut(rest, "\n## ")
	if !ok || !ok2 {
		t.Fatal("RATIONALE.md has no section Contents before the others")
	}
	var want strings.Builder
	seen := make(map[string]int)
	for _, line := range strings.Split("## "+body, "\n") {
		level, heading, _ := strings.Cut(line, " ")
		if level != "##" && level != "###" {
			continue
		}
		link := anchor(heading)
		seen[link]++
		if n := seen[link]; n > 1 {
			link += "-" + strconv.Itoa(n-1)
		}
		want.WriteString(strings.Repeat("  ", len(level)-2) + "- [" + heading + "](#" + link + ")\n")
	}
	if strings.TrimSpace(have) != strings.TrimSpace(want.String()) {
		t.Errorf("the contents of RATIONALE.md are not its headings; they are\n\n%s", want.String())
	}
}

var namedTest = regexp.MustCompile("`([a-z/]+)` (Test\\w+)")

// Each promise names the tests that hold it, and they are there.
func TestPromisesAreHeld(t *testing.T) {
	text, err := os.ReadFile("docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	promises := 0
	for i, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || strings.HasPrefix(line, "| promise") {
			continue
		}
		promises++
		named := namedTest.FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("docs/SECURITY.md:%d: no test is named for the promise", i+1)
		}
		for _, n := range named {
			if !hasTest(t, n[1], n[2]) {
				t.Errorf("docs/SECURITY.md:%d: there is no %s in %s", i+1, n[2], n[1])
			}
		}
	}
	if promises < 10 {
		t.Errorf("only %d promises found: the test looks in the wrong place", promises)
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
