package keylines

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// key reads the parts of a dotted key and the blanks around them. depth is how
// many parts lie above it.
func (s *Scan) key(depth int) ([]string, bool) {
	var parts []string
	for {
		s.spaces()
		if s.Pos >= len(s.src) {
			return nil, false
		}
		if s.TooDeep = depth+len(parts) >= MaxDepth; s.TooDeep {
			return nil, false
		}
		var part string
		switch s.src[s.Pos] {
		case '"', '\'':
			var ok bool
			if part, ok = s.quotedKey(); !ok {
				return nil, false
			}
		default:
			start := s.Pos
			for s.Pos < len(s.src) && bareKeyByte(s.src[s.Pos]) {
				s.Pos++
			}
			if s.Pos == start {
				return nil, false
			}
			part = s.src[start:s.Pos]
		}
		parts = append(parts, part)
		s.spaces()
		if !s.accept('.') {
			return parts, true
		}
	}
}

func bareKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// quotedKey reads a key in quotes of either kind, on one line, and gives what
// it stands for.
func (s *Scan) quotedKey() (string, bool) {
	quote := s.src[s.Pos]
	start := s.Pos + 1
	if !s.oneLine(quote) {
		return "", false
	}
	inside := s.src[start : s.Pos-1]
	if quote == '\'' {
		return inside, true
	}
	return unescape(inside)
}

// text skips a string of any of the four kinds.
func (s *Scan) text() bool {
	quote := s.src[s.Pos]
	three := strings.Repeat(string(rune(quote)), 3)
	if !strings.HasPrefix(s.src[s.Pos:], three) {
		return s.oneLine(quote)
	}
	for s.Pos += 3; s.Pos < len(s.src); {
		switch c := s.src[s.Pos]; {
		case c == '\n':
			s.Line++
			s.Pos++
		case c == '\\' && quote == '"':
			// What is escaped cannot end the string. A line end is left, to be counted.
			if s.Pos++; s.Pos < len(s.src) && s.src[s.Pos] != '\n' {
				s.Pos++
			}
		case strings.HasPrefix(s.src[s.Pos:], three):
			// One or two quotes may stand right before the three that end it.
			for s.accept(quote) {
			}
			return true
		default:
			s.Pos++
		}
	}
	return false
}

// oneLine skips a string of one line, from its opening quote past its closing one.
func (s *Scan) oneLine(quote byte) bool {
	for s.Pos++; s.Pos < len(s.src); {
		c := s.src[s.Pos]
		if c == '\n' {
			return false
		}
		s.Pos++
		switch {
		case c == quote:
			return true
		case c == '\\' && quote == '"' && s.Pos < len(s.src) && s.src[s.Pos] != '\n':
			s.Pos++
		}
	}
	return false
}

// unescape gives what the inside of a "basic" string stands for; ok is false
// for an escape that TOML does not have.
func unescape(s string) (_ string, ok bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		if at := strings.IndexByte(`btnfre"\`, s[i]); at >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[at])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if digits == 0 || i+digits >= len(s) {
			return "", false
		}
		r, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
		if err != nil || r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
			return "", false
		}
		b.WriteRune(rune(r))
		i += digits
	}
	return b.String(), true
}
