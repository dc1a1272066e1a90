// Package table writes tables that read well both on a terminal and as
// Markdown.
package table

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is a heading and rows of cells. Make one with New.
type Table struct {
	head []string
	rows [][]string
}

// New returns a table with the given column headings and no rows.
func New(head ...string) *Table { return &Table{head: head} }

// Row adds a row. Cells missing at its end are left blank, and cells beyond
// the last column are dropped.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.head))
	copy(row, cells)
	t.rows = append(t.rows, row)
}

// Write writes the table to w in Markdown, padded so that the columns line up:
// the first to the left, the others to the right. A bar in a cell is escaped,
// and a line break becomes a blank.
func (t *Table) Write(w io.Writer) error {
	var all [][]string
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = clean.Replace(c)
			width[i] = max(width[i], utf8.RuneCountInString(cells[i]), 3)
		}
		all = append(all, cells)
	}
	var b strings.Builder
	for n, row := range all {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				fmt.Fprintf(&b, "| %s%s ", c, pad)
			} else {
				fmt.Fprintf(&b, "| %s%s ", pad, c)
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, n := range width {
			if i == 0 {
				fmt.Fprintf(&b, "|:%s-", strings.Repeat("-", n))
			} else {
				fmt.Fprintf(&b, "|-%s:", strings.Repeat("-", n))
			}
		}
		b.WriteString("|\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var clean = strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ")

// Micros writes d in microseconds with three figures that count, and no unit:
// "7.31", "126", "0.84".
func Micros(d time.Duration) string { return Figure(float64(d) / float64(time.Microsecond)) }

// Figure writes v with three figures that count: "0.0123", "7.31", "126",
// "48200".
func Figure(v float64) string {
	abs := max(v, -v)
	switch {
	case v != v:
		return "-"
	case abs == 0:
		return "0"
	case abs < 0.1:
		return fmt.Sprintf("%.4f", v)
	case abs < 1:
		return fmt.Sprintf("%.3f", v)
	case abs < 10:
		return fmt.Sprintf("%.2f", v)
	case abs < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// Ratio writes v / base as "1.24x", or "-" when there is no base.
func Ratio(v, base float64) string {
	if base == 0 || v != v || base != base {
		return "-"
	}
	return fmt.Sprintf("%.2fx", v/base)
}
