package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"bulkhead/host/config/keylines"

	"github.com/BurntSushi/toml"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 * mib

// read turns the file's bytes into the values of its keys and the places where
// they stand. What is wrong is added to d; ok is false when there is nothing
// to go on with.
func (d *decoder) read(src []byte) (m map[string]any, root *keylines.Node, ok bool) {
	if !d.checkBytes(src) {
		return nil, nil, false
	}
	s, whole := keylines.Text(string(src))
	for _, dup := range s.Duplicates {
		mend := fmt.Sprintf("keep one of the two (the first is on line %d)", dup.First)
		if dup.Key != "" {
			d.fail(dup.Line, mend, "duplicate key %s", quote(dup.Key))
		} else {
			d.fail(dup.Line, mend, "duplicate table [%s]", clip(toml.Key(dup.Path).String()))
		}
	}
	if s.TooDeep {
		d.fail(s.Line, fmt.Sprintf("write at most %d levels, counting each part of a dotted key, each table and each array", keylines.MaxDepth), "nested too deep")
		return nil, nil, false
	}
	// Duplicates have been reported, and would stop the library: out of the
	// text with them, so that what else is wrong is found too.
	text := s.WithoutDuplicates()
	if !whole {
		// Nothing that the scanner has not been over goes to the library, as
		// it would not have been checked for depth. The line's rest is enough
		// for the library to say what is wrong with it.
		text = text[:cutAfter(text, s.Pos)]
	}
	m, bad := parseTOML(text)
	if bad != nil {
		d.fail(min(max(bad.Line, 1), d.lines), bad.Mend, "%s", bad.What)
		return nil, nil, false
	}
	if !whole {
		d.fail(s.Line, "correct the line", "not valid TOML")
		return nil, nil, false
	}
	return m, s.Root, true
}

// checkBytes refuses what is no text before anything reads it as such.
func (d *decoder) checkBytes(src []byte) bool {
	if len(src) > maxFile {
		d.fail(1, fmt.Sprintf("keep it to %s", formatSize(maxFile)), "the file is larger than %s", formatSize(maxFile))
		return false
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		d.fail(lineAt(src, i), "save the file as UTF-8 text", "a NUL byte in the file")
		return false
	}
	if !utf8.Valid(src) {
		i := 0
		for {
			r, w := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && w == 1 {
				break
			}
			i += w
		}
		d.fail(lineAt(src, i), "save the file as UTF-8 text", "the byte 0x%02x is not UTF-8", src[i])
		return false
	}
	return true
}

func lineAt(src []byte, offset int) int { return 1 + bytes.Count(src[:offset], []byte("\n")) }

// cutAfter returns where to end text so that it holds the line around pos, but
// not much behind pos.
func cutAfter(text string, pos int) int {
	end := len(text)
	if i := strings.IndexByte(text[pos:], '\n'); i >= 0 {
		end = pos + i + 1
	}
	end = min(end, pos+256)
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return end
}

// parseTOML calls the library. A returned Error has no file yet, and a line
// that may lie outside the text.
func parseTOML(text string) (m map[string]any, bad *Error) {
	// The library panics on what it takes for its own mistakes; a file must
	// not be able to end the process through one of them.
	defer func() {
		if r := recover(); r != nil {
			m, bad = nil, &Error{Line: 1, What: "cannot be read as TOML", Mend: fmt.Sprintf("simplify the file (the TOML reader failed: %s)", clip(fmt.Sprint(r)))}
		}
	}()
	_, err := toml.Decode(text, &m)
	if err == nil {
		return m, nil
	}
	bad = &Error{Line: 1, What: "not valid TOML: " + clip(err.Error()), Mend: "correct the line"}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		bad.Line = pe.Position.Line
		bad.What = "not valid TOML: " + clip(strings.TrimSuffix(pe.Message, "."))
		bad.Mend = syntaxMend(pe.Message)
	}
	return nil, bad
}

// syntaxMend goes from what the library found to what the writer of the file
// most likely has to do.
func syntaxMend(message string) string {
	switch {
	case strings.Contains(message, "leading zero"):
		return `put what begins with a zero in quotes, like mode = "0660", or leave the zero out`
	case strings.Contains(message, "used as an array"):
		return "write each of these tables with two brackets, the first one too: [[listener]]"
	case strings.Contains(message, "already"):
		return "give each key and each table once"
	case strings.Contains(message, "escape"):
		return `write \\ for a backslash, or put the text in single quotes`
	case strings.Contains(message, "expected value"):
		return `write key = VALUE, with text in quotes: key = "text"`
	case strings.Contains(message, "cannot contain newlines"), strings.Contains(message, "unexpected EOF; expected '"):
		return "close the quotes"
	case strings.Contains(message, "expected '.' or '='"), strings.Contains(message, "key name"):
		return "write key = VALUE"
	case strings.Contains(message, "table"), strings.Contains(message, "end with a newline"):
		return "write [table], [[table]] or key = VALUE, each on a line of its own"
	}
	return "correct the line"
}
