package conformance

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// The lines of docs/CONFORMANCE.md between which stands what Table writes.
const (
	TableBegins = "<!-- go test ./abi/conformance -run Page -update -->"
	TableEnds   = "<!-- the end of the table -->"
)

// Table is the list of the cases for docs/CONFORMANCE.md, by the sentences that they show, with how
// many there are.
func Table(sources fs.FS) (string, error) {
	page, err := fs.ReadFile(sources, "abi/ABI.md")
	if err != nil {
		return "", err
	}
	by := make(map[string][]string) // links to cases, by sentence
	for _, c := range Cases {
		for _, s := range c.Shows {
			by[s] = append(by[s], fmt.Sprintf("[%s](../%s) of %s", c.Name, c.In, path.Base(c.In)))
		}
	}
	var rows strings.Builder
	shown, binding := 0, 0
	done := make(map[string]bool)
	all := Sentences(string(page))
	for i := range all {
		s := &all[i]
		cases := by[s.Text]
		if len(cases) == 0 || done[s.Text] {
			continue // some sentences stand there more than once
		}
		done[s.Text] = true
		shown++
		if s.Binds() {
			binding++
		}
		fmt.Fprintf(&rows, "| [%s](../abi/ABI.md#%s) | %s | %s |\n", s.Heading, s.Anchor, inCell(s), strings.Join(cases, "; "))
	}
	return fmt.Sprintf("\nThere are %d cases. They show %d sentences, %d of which bind.\n\n| in ABI.md | sentence | shown by |\n|---|---|---|\n%s",
		len(Cases), shown, binding, &rows), nil
}

// inCell is a sentence as it may stand in a cell of a table; of a row the cells follow each other.
func inCell(s *Sentence) string {
	if !s.Row {
		return strings.ReplaceAll(s.Text, "|", `\|`)
	}
	var cells []string
	for cell := range strings.SplitSeq(s.Text, "|") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return strings.Join(cells, "; ")
}

// CheckPage reports whether docs/CONFORMANCE.md has the table as it is, and what the page would be.
func CheckPage(sources fs.FS) (page string, fresh bool, err error) {
	have, err := fs.ReadFile(sources, "docs/CONFORMANCE.md")
	if err != nil {
		return "", false, err
	}
	before, rest, ok := strings.Cut(string(have), TableBegins+"\n")
	_, after, ok2 := strings.Cut(rest, TableEnds)
	if !ok || !ok2 {
		return "", false, fmt.Errorf("docs/CONFORMANCE.md has no place for the table: the lines %s and %s", TableBegins, TableEnds)
	}
	table, err := Table(sources)
	if err != nil {
		return "", false, err
	}
	page = before + TableBegins + "\n" + table + TableEnds + after
	return page, page == string(have), nil
}
