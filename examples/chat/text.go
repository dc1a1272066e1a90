package main

import "unicode/utf8"

// validName reports whether name can be that of a member or a room. The letters
// are plain, so that nobody can look like somebody else.
func validName(name string) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// clean makes a line fit for other people's terminals: without control
// characters, without marks that turn the direction of writing or break lines,
// a tab as a space, and a ? for what is not UTF-8.
func clean(line []byte) string {
	out := make([]byte, 0, len(line))
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '?')
		case r == '\t':
			out = append(out, ' ')
		case control(r):
		default:
			out = append(out, line[:n]...)
		}
		line = line[n:]
	}
	return string(out)
}

func control(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || // C0, DEL, C1
		r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || // no width, direction, line ends
		r >= 0x2060 && r <= 0x206f || r == 0xfeff || r == 0x061c
}
