package talk

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lineBytes is how many bytes in hex stand on a line.
const lineBytes = 32

// Lines writes bytes as lines of a file whose eol is the given one, each behind prefix, which is
// such as "b>": a line of text as it is, text without a line ending in quotes, and what is no text
// in hex. Parse reads the same bytes from them, as many steps as there are lines.
func Lines(prefix string, data []byte, eol string) []string {
	var lines []string
	if !isText(data) {
		for len(data) > 0 {
			n := min(len(data), lineBytes)
			lines = append(lines, fmt.Sprintf("%s x % x", prefix, data[:n]))
			data = data[n:]
		}
		return lines
	}
	for len(data) > 0 {
		line, rest, ends := bytes.Cut(data, []byte(eol))
		if eol == "" || !ends {
			return append(lines, prefix+" "+quote(string(data)))
		}
		if isPlain(string(line)) {
			lines = append(lines, strings.TrimRight(prefix+" "+string(line), " "))
		} else {
			lines = append(lines, prefix+" "+quote(string(line)+eol))
		}
		data = rest
	}
	return lines
}

// isText reports whether data can be read by people.
func isText(data []byte) bool {
	return utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\r' && r != '\n' && r != '\t'
	})
}

// isPlain reports whether a line means itself without quotes, and shows all that is in it.
func isPlain(line string) bool {
	return !strings.HasPrefix(line, `"`) && !strings.HasPrefix(line, "~ ") && !isHex(line) &&
		!strings.HasSuffix(line, " ") && !strings.Contains(line, "${") &&
		!strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) })
}

// quote is a text in double quotes, in which nothing is a capture.
func quote(text string) string {
	return strings.ReplaceAll(strconv.Quote(text), "${", `\x24{`)
}
