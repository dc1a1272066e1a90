package bundle

import "bytes"

// luaRequire is a require of a name that stands there as text, and where that is, from 1.
type luaRequire struct {
	name         string
	line, column int
	may          bool // pcall calls it, so that it may fail
}

// luaRequires finds them. A text that is no Lua has some, or none: the engine says what is wrong
// with it.
func luaRequires(text []byte) (all []luaRequire) {
	l := luaReader{placeIn(text)}
	var last luaWord
	called, may := false, false // what came last is require, or that and what stands before a name
	for {
		w := l.next()
		switch {
		case w.kind == luaEnd:
			return all
		case w.kind == luaText && called:
			all = append(all, luaRequire{w.text, w.line, w.column, may})
			called, may = false, false
		case last.is("require") && called && w.is("("):
		case last.is("require") && called && w.is(","):
			may = true
		default:
			called, may = w.is("require") && !last.is(".") && !last.is(":"), false
		}
		last = w
	}
}

const (
	luaEnd = iota
	luaText
	luaOther // a name, or a sign
)

type luaWord struct {
	kind         int
	text         string
	line, column int
}

func (w luaWord) is(text string) bool { return w.kind == luaOther && w.text == text }

// luaReader reads words.
type luaReader struct{ place }

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// next is the next word. Comments and blanks are left out.
func (l *luaReader) next() luaWord {
	for {
		switch c := l.peek(0); {
		case l.at >= len(l.text):
			return luaWord{}
		case c == ' ' || c >= '\t' && c <= '\r':
			l.skip(1)
			continue
		case l.at == 0 && c == '#':
			l.skip(l.lineEnd())
			continue
		case c == '-' && l.peek(1) == '-':
			l.skip(2)
			if _, ok := l.long(); !ok {
				l.skip(l.lineEnd())
			}
			continue
		}
		break
	}
	w := luaWord{kind: luaText, line: l.line, column: l.at - l.from + 1}
	if text, ok := l.long(); ok {
		w.text = text
		return w
	}
	switch c := l.peek(0); {
	case c == '"' || c == '\'':
		w.text = l.short()
	case isNameByte(c):
		n := 1
		for isNameByte(l.peek(n)) {
			n++
		}
		w.kind, w.text = luaOther, string(l.text[l.at:l.at+n])
		l.skip(n)
	case c == '.' && l.peek(1) == '.':
		w.kind, w.text = luaOther, ".."
		l.skip(2)
	default:
		w.kind, w.text = luaOther, string(rune(c))
		l.skip(1)
	}
	return w
}

// lineEnd is how many bytes the rest of the line has.
func (l *luaReader) lineEnd() int {
	if n := bytes.IndexByte(l.text[l.at:], '\n'); n >= 0 {
		return n
	}
	return len(l.text) - l.at
}

// long reads a text, or the rest of a comment, in long brackets: [[...]], [=[...]=]. ok is false
// where none begins.
func (l *luaReader) long() (text string, ok bool) {
	level := 0
	if l.peek(0) != '[' {
		return "", false
	}
	for l.peek(1+level) == '=' {
		level++
	}
	if l.peek(1+level) != '[' {
		return "", false
	}
	l.skip(2 + level)
	end := "]" + string(bytes.Repeat([]byte("="), level)) + "]"
	n := bytes.Index(l.text[l.at:], []byte(end))
	if n < 0 {
		n = len(l.text) - l.at
	}
	text = string(l.text[l.at : l.at+n])
	l.skip(n + len(end))
	return text, true
}

// short reads a text in quotes. What stands behind a backslash is left as it is written: no name
// of a file needs that.
func (l *luaReader) short() string {
	quote := l.peek(0)
	n := 1
	for l.at+n < len(l.text) && l.peek(n) != quote && l.peek(n) != '\n' {
		if l.peek(n) == '\\' {
			n++
		}
		n++
	}
	n = min(n, len(l.text)-l.at)
	text := string(l.text[l.at+1 : l.at+n])
	l.skip(n + 1)
	return text
}
