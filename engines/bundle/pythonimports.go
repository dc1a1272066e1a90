package bundle

import (
	"bytes"
	"slices"
	"strings"
)

// pythonImport is one module that an import statement names, and where that name stands, from 1.
type pythonImport struct {
	name         string   // "lib.parse"; "" behind from: what the dots lead to
	dots         int      // before the name
	from         []string // what is imported from it; nil: it is itself
	line, column int
	may          bool // a try is around it, so that it may fail
}

// written is the module as it is written.
func (p pythonImport) written() string { return strings.Repeat(".", p.dots) + p.name }

// complete reports whether it is a name, or dots.
func (p pythonImport) complete() bool {
	return p.written() != "" && !strings.HasSuffix(p.name, ".")
}

// pythonImports finds them. A text that is no Python has some, or none: the engine says what is
// wrong with it.
func pythonImports(text []byte) (all []pythonImport) {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	r := pythonReader{place: placeIn(bytes.TrimPrefix(text, []byte("\uFEFF")))}
	var tries []int // how far the try statements are indented that a line is in
	for w := r.next(); w.kind != pythonEnd; {
		begins := r.begins // a statement begins with w
		if begins == pythonLine {
			tries = slices.DeleteFunc(tries, func(indent int) bool { return w.column <= indent })
			if w.is("try") {
				tries = append(tries, w.column)
			}
		}
		switch {
		case begins != 0 && w.is("import"):
			w = r.next()
			for {
				var p pythonImport
				if p, w = r.module(w); !p.complete() || p.dots > 0 {
					break
				}
				p.may = len(tries) > 0
				all = append(all, p)
				if w.is("as") {
					r.next()
					w = r.next()
				}
				if !w.is(",") {
					break
				}
				w = r.next()
			}
		case begins != 0 && w.is("from"):
			var p pythonImport
			p, w = r.module(r.next())
			if !p.complete() || !w.is("import") {
				break
			}
			p.may, p.from = len(tries) > 0, []string{}
			for w = r.next(); w.kind == pythonName || w.is("("); w = r.next() {
				if w.is("(") {
					continue
				}
				p.from = append(p.from, w.text)
				if w = r.next(); w.is("as") {
					r.next()
					w = r.next()
				}
				if !w.is(",") {
					break
				}
			}
			all = append(all, p)
		default:
			w = r.next()
		}
	}
	return all
}

// module reads the name of a module, with its dots, from the word w on. It returns the word that
// follows, too.
func (r *pythonReader) module(w pythonWord) (pythonImport, pythonWord) {
	p := pythonImport{line: w.line, column: w.column}
	for ; w.is("."); w = r.next() {
		p.dots++
	}
	for w.kind == pythonName && !w.is("import") {
		p.name += w.text
		if w = r.next(); !w.is(".") {
			break
		}
		p.name += "."
		w = r.next()
	}
	return p, w
}

// Kinds of words.
const (
	pythonEnd   = iota
	pythonName  // or a number
	pythonText  // in quotes
	pythonSign  // one byte
	pythonLines // a line ends, and with it a statement
)

// What begins a statement.
const (
	pythonLine = iota + 1 // a line
	pythonPart            // a colon or a semicolon before it
)

type pythonWord struct {
	kind         int
	text         string
	line, column int
}

func (w pythonWord) is(text string) bool {
	return (w.kind == pythonName || w.kind == pythonSign) && w.text == text
}

// pythonReader reads words.
type pythonReader struct {
	place
	depth  int // of brackets that are open
	begins int // how a statement begins with the word that came last; 0: none does
	last   pythonWord
}

// next is the next word. Comments, blanks and ends of lines in brackets are left out.
func (r *pythonReader) next() pythonWord {
	last := r.last
	w := r.word()
	switch {
	case last.kind == pythonEnd || last.kind == pythonLines:
		r.begins = pythonLine
	case r.depth == 0 && (last.is(":") || last.is(";")):
		r.begins = pythonPart
	default:
		r.begins = 0
	}
	switch {
	case w.is("(") || w.is("[") || w.is("{"):
		r.depth++
	case (w.is(")") || w.is("]") || w.is("}")) && r.depth > 0:
		r.depth--
	}
	r.last = w
	return w
}

func (r *pythonReader) word() pythonWord {
	for r.at < len(r.text) {
		c := r.peek(0)
		switch {
		case c == '#':
			r.skip(lineEnd(r.text[r.at:]))
		case c == '\\' && r.peek(1) == '\n':
			r.skip(2)
		case c == '\n' && r.depth == 0 && r.last.kind != pythonEnd && r.last.kind != pythonLines:
			w := pythonWord{kind: pythonLines, line: r.line, column: r.at - r.from + 1}
			r.skip(1)
			return w
		case c <= ' ':
			r.skip(1)
		default:
			return r.visible()
		}
	}
	return pythonWord{}
}

// visible reads a word that begins here.
func (r *pythonReader) visible() pythonWord {
	c := r.peek(0)
	w := pythonWord{kind: pythonSign, line: r.line, column: r.at - r.from + 1}
	switch {
	case c == '"' || c == '\'':
		w.kind = pythonText
		r.quoted()
	case isNameByte(c) || c >= 0x80:
		n := 1
		for isNameByte(r.peek(n)) || r.peek(n) >= 0x80 {
			n++
		}
		w.kind, w.text = pythonName, string(r.text[r.at:r.at+n])
		r.skip(n)
	default:
		w.text = string(rune(c))
		r.skip(1)
	}
	return w
}

// quoted reads a text in quotes, one or three of them.
func (r *pythonReader) quoted() {
	quote := string(r.text[r.at : r.at+1])
	if three := strings.Repeat(quote, 3); bytes.HasPrefix(r.text[r.at:], []byte(three)) {
		quote = three
	}
	n := len(quote)
	for r.at+n < len(r.text) && !bytes.HasPrefix(r.text[r.at+n:], []byte(quote)) {
		if len(quote) == 1 && r.peek(n) == '\n' {
			r.skip(n) // it has no end
			return
		}
		if r.peek(n) == '\\' {
			n++
		}
		n++
	}
	r.skip(n + len(quote))
}

// lineEnd is how many bytes the rest of a line has.
func lineEnd(text []byte) int {
	if n := bytes.IndexByte(text, '\n'); n >= 0 {
		return n
	}
	return len(text)
}
