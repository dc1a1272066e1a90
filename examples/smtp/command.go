package main

import (
	"strings"
)

// parseCommand takes a line apart, which has no CR LF any more: a verb in capitals, and
// what follows it. There is nothing in it but printable ASCII.
func parseCommand(line []byte) (verb, argument string, ok bool) {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return "", "", false
		}
	}
	verb, argument, _ = strings.Cut(string(line), " ")
	return strings.ToUpper(verb), strings.Trim(argument, " "), true
}

// parsePath reads what stands behind FROM: and TO: (RFC 5321, section 4.1.2): a path,
// and the parameters after it. mailbox is "" for the null path <>, and what says where
// mail should go by (a source route) is left out of it, as the RFC wants.
func parsePath(s string) (mailbox string, parameters []string, ok bool) {
	if s, ok = strings.CutPrefix(s, "<"); !ok {
		return "", nil, false
	}
	path := s
	if !strings.HasPrefix(s, ">") {
		if s, ok = skipRoute(s); !ok {
			return "", nil, false
		}
		path = s
		n := localPart(s)
		if n == 0 || n > 64 {
			return "", nil, false
		}
		if s = s[n:]; strings.HasPrefix(s, "@") {
			if n = domain(s[1:]); n == 0 {
				return "", nil, false
			}
			s = s[1+n:]
		} else if !strings.EqualFold(path[:n], "postmaster") {
			return "", nil, false // the only mailbox that every host has
		}
	}
	mailbox = path[:len(path)-len(s)]
	if s, ok = strings.CutPrefix(s, ">"); !ok || s != "" && s[0] != ' ' || len(mailbox) > 254 {
		return "", nil, false
	}
	return mailbox, strings.Fields(s), true
}

// skipRoute skips "@one,@two:".
func skipRoute(s string) (rest string, ok bool) {
	for strings.HasPrefix(s, "@") {
		n := domain(s[1:])
		if s = s[1+n:]; n == 0 || s == "" {
			return "", false
		}
		if s[0] == ':' {
			return s[1:], true
		}
		if !strings.HasPrefix(s, ",@") {
			return "", false
		}
		s = s[1:]
	}
	return s, true
}

// localPart is the length of the local part that s begins with, or 0.
func localPart(s string) int {
	if !strings.HasPrefix(s, `"`) {
		n := 0
		for n < len(s) && (isAtom(s[n]) || s[n] == '.' && n > 0 && s[n-1] != '.') {
			n++
		}
		if n > 0 && s[n-1] == '.' {
			return 0
		}
		return n
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			if i == 1 {
				return 0
			}
			return i + 1
		}
	}
	return 0
}

func isAtom(c byte) bool {
	return isLetterOrDigit(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// domain is the length of the domain or the address in brackets that s begins with, or
// 0.
func domain(s string) int {
	if strings.HasPrefix(s, "[") {
		for i := 1; i < len(s) && i < 64; i++ {
			switch {
			case s[i] == ']' && i > 1:
				return i + 1
			case !isLetterOrDigit(s[i]) && s[i] != '.' && s[i] != ':' && s[i] != '-':
				return 0
			}
		}
		return 0
	}
	n := 0
	for n < len(s) && (isLetterOrDigit(s[n]) || s[n] == '-' || s[n] == '.') {
		n++
	}
	for label := range strings.SplitSeq(s[:n], ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return 0
		}
	}
	return n
}
