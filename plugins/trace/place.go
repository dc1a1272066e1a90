// Package trace says which lines of its source a module's code is from, by the DWARF in it. That is
// input from outside: it may have a reader take all the memory and time there is. So it is read in
// a process with limits, that of package compiler.
package trace

import (
	"path"
	"strconv"
	"strings"
	"unicode"
)

// Place is where in its source a call was.
type Place struct {
	// Function is its name, or "" where nothing says it.
	Function string `json:"f,omitempty"`
	// File is the name of the source without its folders, and Line the line in it; "" and 0 where
	// nothing says them.
	File string `json:"s,omitempty"`
	Line int    `json:"l,omitempty"`
}

// What of names is kept, in bytes.
const (
	MaxName = 64
	// MaxText bounds Text.
	MaxText = 1000
)

// String is "f crash.c:8".
func (p Place) String() string {
	s := p.Function
	if p.File == "" {
		return s
	}
	if s != "" {
		s += " "
	}
	s += p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	return s
}

// Text is the places in one line of at most about MaxText bytes, the innermost first, as Fold
// shows them: "f a.c:1 < g a.c:9".
func Text(places []Place) string {
	calls := make([]string, 0, len(places))
	for _, p := range places {
		if s := p.String(); s != "" {
			calls = append(calls, s)
		}
	}
	return Fold(calls, MaxText)
}

// longestRound is how many functions may call each other in a recursion that Fold shortens.
const longestRound = 4

// Fold is calls in one line of at most about most bytes. Of a recursion it has one round, and how
// many calls are left out: "f < ... 212 more < main".
func Fold(calls []string, most int) string {
	var b strings.Builder
	add := func(s string) (fits bool) {
		if b.Len()+len(" < ")+len(s) > most {
			b.WriteString(" < ...")
			return false
		}
		if b.Len() > 0 {
			b.WriteString(" < ")
		}
		b.WriteString(s)
		return true
	}
	for len(calls) > 0 {
		shown, left := 1, 0
		for round := 1; round <= longestRound && left == 0; round++ {
			again := 0
			for round+again < len(calls) && calls[round+again] == calls[again] {
				again++
			}
			if again >= 2*round {
				shown, left = round, again
			}
		}
		for _, s := range calls[:shown] {
			if !add(s) {
				return b.String()
			}
		}
		if left > 0 && !add("... "+strconv.Itoa(left)+" more") {
			return b.String()
		}
		calls = calls[shown+left:]
	}
	return b.String()
}

// short is a name that fits in a line.
func short(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), MaxName)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// base is the name of a file without its folders, whichever system it was compiled on.
func base(file string) string {
	file = strings.ReplaceAll(file, `\`, "/")
	if file == "" {
		return ""
	}
	return short(path.Base(file))
}
