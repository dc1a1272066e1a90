package compiler

import (
	"strings"
	"unicode"
)

// maxLine is how much of a line of another process's is shown.
const maxLine = 500

// firstLine is the first line of a text that may hold anything, such as names
// from a module, without what is not for printing.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "..."
	}
	return s
}

// head keeps the first bytes written to it, and takes the others too.
type head struct {
	b   []byte
	max int
}

// Write keeps what there is room for. It never fails.
func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.max-len(h.b))]...)
	return len(p), nil
}
