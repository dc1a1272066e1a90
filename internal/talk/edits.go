package talk

import (
	"slices"
	"strings"
)

// Edits are changes to the lines of a file. The zero value changes nothing.
type Edits struct {
	drop   map[int]bool
	before map[int][]string
	after  map[int][]string
}

// Drop leaves a line out.
func (e *Edits) Drop(line int) {
	if e.drop == nil {
		e.drop = make(map[int]bool)
	}
	e.drop[line] = true
}

// Before puts lines ahead of a line, behind those that were put there before.
func (e *Edits) Before(line int, lines ...string) {
	if len(lines) == 0 {
		return
	}
	if e.before == nil {
		e.before = make(map[int][]string)
	}
	e.before[line] = append(e.before[line], lines...)
}

// After puts lines behind a line, and behind those that were put there before.
func (e *Edits) After(line int, lines ...string) {
	if len(lines) == 0 {
		return
	}
	if e.after == nil {
		e.after = make(map[int][]string)
	}
	e.after[line] = append(e.after[line], lines...)
}

// Replace puts lines in the place of a line.
func (e *Edits) Replace(line int, lines ...string) {
	e.Drop(line)
	e.Before(line, lines...)
}

// Any reports whether something is changed.
func (e *Edits) Any() bool { return len(e.drop)+len(e.before)+len(e.after) > 0 }

// Apply makes the changes to the text of the file, whose other bytes stay as they are.
func (e *Edits) Apply(text []byte) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	ending := "\n"
	if strings.HasSuffix(lines[0], "\r\n") {
		ending = "\r\n"
	}
	var b strings.Builder
	put := func(all []string) {
		if s := b.String(); len(all) > 0 && s != "" && !strings.HasSuffix(s, "\n") {
			b.WriteString(ending)
		}
		for _, line := range all {
			b.WriteString(line + ending)
		}
	}
	for i, line := range lines {
		put(e.before[i+1])
		if !e.drop[i+1] {
			b.WriteString(line)
		}
		put(e.after[i+1])
	}
	return []byte(b.String())
}

// Captures are the names that the step captures, when it is matched.
func (s *Step) Captures() (names []string) {
	if s.Pattern == nil {
		return nil
	}
	re := s.Pattern.fixed
	if re == nil {
		re, _ = s.Pattern.compile(func(string) []byte { return nil }) // which Parse has done
	}
	return slices.DeleteFunc(slices.Clone(re.SubexpNames()), func(name string) bool { return name == "" })
}
