package route

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"bulkhead/host/hello"
)

// ParseName reads an entry of Rule.SNI and gives it in lower case. The error completes the
// sentence "the entry ...".
func ParseName(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	name, wild := strings.CutPrefix(s, "*.")
	switch {
	case strings.HasSuffix(s, "."):
		return "", errors.New("ends with a dot, which TLS leaves out")
	case strings.Contains(name, "*"):
		return "", errors.New(`has a "*" that is not its first label`)
	case !ascii(s):
		return "", errors.New("is not in the ASCII form (xn--...) that TLS has")
	case !hello.ValidName(name):
		return "", errors.New("is no host name")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", errors.New("is an address, and clients ask for names alone")
	}
	if wild {
		name = "*." + name
	}
	return strings.ToLower(name), nil
}

func ascii(s string) bool {
	for _, r := range s {
		if r >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hexPrefix begins an entry of First that is written in hex digits.
const hexPrefix = "hex:"

// ParseFirst reads an entry of Rule.First: the bytes themselves, or "hex:" and their hex digits,
// with blanks between bytes as one likes. The error completes the sentence "the entry ...".
func ParseFirst(s string) (string, error) {
	bytes := s
	if digits, ok := strings.CutPrefix(s, hexPrefix); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			return "", errors.New("is not in pairs of hex digits")
		}
		bytes = string(b)
	}
	switch {
	case bytes == "":
		return "", errors.New("is empty, which everything begins with")
	case len(bytes) > MaxFirst:
		return "", fmt.Errorf("has %d bytes, and %d are the most", len(bytes), MaxFirst)
	}
	return bytes, nil
}

// FormatFirst writes bytes in the way that ParseFirst reads: as they are where all of them can be
// printed, else in hex.
func FormatFirst(bytes string) string {
	if utf8.ValidString(bytes) && !strings.HasPrefix(bytes, hexPrefix) && !strings.ContainsFunc(bytes, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return bytes
	}
	return fmt.Sprintf(hexPrefix+"% x", bytes)
}

// Clash says that an entry of a rule can never match, because of an earlier rule.
type Clash struct {
	// Rule is the index of the rule, and By that of the earlier one.
	Rule, By int
	// Key is "sni", "alpn" or "first", and Entry the entry in that list; Key is "" when
	// it is the rule as a whole.
	Key, Entry string
}

// Check finds what can never match in a list of rules, in order. A list without such has an
// answer of its own for every entry.
func Check(rules []Rule) []Clash {
	var found []Clash
	c := checker{rules: rules, all: None, hellos: None, names: make(map[string][]int), alpn: make(map[string]int)}
	for i, r := range rules {
		if c.all != None {
			found = append(found, Clash{Rule: i, By: c.all})
			continue
		}
		found = append(found, c.check(i, r)...)
		c.enter(i, r)
	}
	return found
}

// checker has what the rules so far match.
type checker struct {
	rules  []Rule
	all    int              // the rule that matches everything; None: there is none yet
	hellos int              // the same for every ClientHello
	names  map[string][]int // the rules with this entry in SNI
	alpn   map[string]int   // the rule without SNI that has this entry
	first  []prefix
}

func (c *checker) enter(i int, r Rule) {
	if r.Default() {
		c.all = i
	}
	for _, name := range r.SNI {
		c.names[name] = append(c.names[name], i)
	}
	for _, protocol := range r.ALPN {
		if _, taken := c.alpn[protocol]; !taken && len(r.SNI) == 0 {
			c.alpn[protocol] = i
		}
	}
	for _, bytes := range r.First {
		c.first = append(c.first, prefix{bytes, i})
		if c.hellos == None && len(bytes) <= 2 && hello.Begins([]byte(bytes)) {
			c.hellos = i
		}
	}
}

func (c *checker) check(i int, r Rule) (found []Clash) {
	if r.ofTLS() && c.hellos != None {
		return []Clash{{Rule: i, By: c.hellos}}
	}
	for _, bytes := range r.First {
		for _, f := range c.first {
			if strings.HasPrefix(bytes, f.bytes) {
				found = append(found, Clash{i, f.rule, "first", bytes})
				break
			}
		}
	}
	for _, name := range r.SNI {
		if by := c.coveredBy(name, r.ALPN); by != None {
			found = append(found, Clash{i, by, "sni", name})
		}
	}
	for _, protocol := range r.ALPN {
		if by, ok := c.alpn[protocol]; ok {
			found = append(found, Clash{i, by, "alpn", protocol})
		}
	}
	return found
}

// coveredBy is the first rule that takes all that a name with these protocols would.
func (c *checker) coveredBy(name string, alpn []string) int {
	for {
		for _, j := range c.names[name] {
			if has := c.rules[j].ALPN; len(has) == 0 || len(alpn) > 0 && !slices.ContainsFunc(alpn, func(p string) bool { return !slices.Contains(has, p) }) {
				return j
			}
		}
		if name == "*" {
			return None
		}
		_, suffix, more := strings.Cut(strings.TrimPrefix(name, "*."), ".")
		if name = "*." + suffix; !more {
			name = "*"
		}
	}
}
