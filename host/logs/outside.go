package logs

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Outside is text of a guest or a peer, for the log: slog's forms of text and of JSON quote it
// once, and so that it can be read back, but for bytes that are not UTF-8. JSON leaves control
// characters above ASCII as they are, and such as turn the direction of writing, which a
// terminal obeys: these are written as \u, too.
type Outside string

// MarshalText is for slog's text, which quotes what it has to, but takes DEL for a character
// like others: that is written as its symbol.
func (s Outside) MarshalText() ([]byte, error) {
	return []byte(strings.ReplaceAll(string(s), "\x7f", "\u2421")), nil
}

// MarshalJSON is for slog's JSON.
func (s Outside) MarshalJSON() ([]byte, error) {
	return append(appendJSON(append(make([]byte, 0, len(s)+2), '"'), string(s)), '"'), nil
}

// AppendQuoted appends a text as a string of JSON, as Outside is written.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(appendJSON(b, s), '"')
		}
	}
	return append(append(b, s...), '"')
}

const hexDigits = "0123456789abcdef"

// appendJSON appends s as it stands inside the quotes of a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r == utf8.RuneError && size == 1:
			b = append(b, `\ufffd`...)
		case r < ' ' || !unicode.IsPrint(r):
			b = appendEscape(b, r)
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}

// appendEscape appends a character as one \u, or as two when it has more than 16 bits.
func appendEscape(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		b = appendEscape(b, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// quotedSize is how long appendJSON makes a text at most. Each form of the log has no more.
func quotedSize(s string) (n int) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t':
			n += 2
		case r == utf8.RuneError && size == 1 || r < ' ' || !unicode.IsPrint(r):
			if n += 6; r > 0xffff {
				n += 6
			}
		default:
			n += size
		}
		i += size
	}
	return n
}
