package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// key reads the parts of a dotted key and the blanks around them. depth is how
// many parts lie above it.
func (s *scan) key(depth int) ([]string, bool) {
	var parts []string
	for {
		s.spaces()
		if s.pos >= len(s.src) {
			return nil, false
		}
		if s.tooDeep = depth+len(parts) >= maxDepth; s.tooDeep {
			return nil, false
		}
		var part string
		switch s.src[s.pos] {
		case '"', '\'':
			var ok bool
			if part, ok = s.quotedKey(); !ok {
				return nil, false
			}
		default:
			start := s.pos
			for s.pos < len(s.src) && bareKeyByte(s.src[s.pos]) {
				s.pos++
			}
			if s.pos == start {
				return nil, false
			}
			part = s.src[start:s.pos]
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
func (s *scan) quotedKey() (string, bool) {
	quote := s.src[s.pos]
	start := s.pos + 1
	if !s.oneLine(quote) {
		return "", false
	}
	inside := s.src[start : s.pos-1]
	if quote == '\'' {
		return inside, true
	}
	return unescape(inside)
}

// text skips a string of any of the four kinds.
func (s *scan) text() bool {
	quote := s.src[s.pos]
	three := strings.Repeat(string(rune(quote)), 3)
	if !strings.HasPrefix(s.src[s.pos:], three) {
		return s.oneLine(quote)
	}
	for s.pos += 3; s.pos < len(s.src); {
		switch c := s.src[s.pos]; {
		case c == '\n':
			s.line++
			s.pos++
		case c == '\\' && quote == '"':
			// What is escaped cannot end the string. A line end is left, to be counted.
			if s.pos++; s.pos < len(s.src) && s.src[s.pos] != '\n' {
				s.pos++
			}
		case strings.HasPrefix(s.src[s.pos:], three):
			// One or two quotes may stand right before the three that end it.
			for s.accept(quote) {
			}
			return true
		default:
			s.pos++
		}
	}
	return false
}

// oneLine skips a string of one line, from its opening quote past its closing one.
func (s *scan) oneLine(quote byte) bool {
	for s.pos++; s.pos < len(s.src); {
		c := s.src[s.pos]
		if c == '\n' {
			return false
		}
		s.pos++
		switch {
		case c == quote:
			return true
		case c == '\\' && quote == '"' && s.pos < len(s.src) && s.src[s.pos] != '\n':
			s.pos++
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
