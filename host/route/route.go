// Package route says which of a listener's routes a connection takes, by what its peer sends
// first: the server's name (SNI) or the application protocols (ALPN) of a TLS ClientHello, or
// the bytes themselves.
package route

import (
	"strings"

	"bulkhead/host/hello"
)

// Rule says whose connections take a route. All of SNI, ALPN and First that are not empty have
// to match, each by one of its entries; a Rule without any matches everything. First does not
// go with the others.
type Rule struct {
	// SNI are server names as ParseName gives them: a name, "*.SUFFIX" for every name under
	// a suffix, one or more labels deep, or "*" for whoever asks for a name.
	SNI []string
	// ALPN are application protocols of which the client offers one.
	ALPN []string
	// First are the bytes that a connection begins with, as ParseFirst gives them.
	First []string
}

// Default reports whether the rule matches everything.
func (r Rule) Default() bool { return len(r.SNI) == 0 && len(r.ALPN) == 0 && len(r.First) == 0 }

// ofTLS reports whether it takes a ClientHello to tell.
func (r Rule) ofTLS() bool { return len(r.SNI) > 0 || len(r.ALPN) > 0 }

// MaxFirst is how long an entry of First may be, in bytes.
const MaxFirst = 64

// Table is a list of rules, of which the first that matches counts. It may be used by any number
// of goroutines.
type Table struct {
	rules []Rule
	// The rules with these names, by name, by suffix, and for all; and those with
	// protocols and without names. Each list is in order.
	exact, under map[string][]int
	named, alpn  []int
	first        []prefix // in order
	leastTLS     int      // the first rule that takes a ClientHello; len(rules): there is none
	catchAll     int      // the first rule that matches everything; len(rules): there is none
}

// prefix is an entry of a rule's First.
type prefix struct {
	bytes string
	rule  int
}

// New makes the table of these rules, which must not change afterwards.
func New(rules []Rule) *Table {
	t := &Table{rules: rules, exact: make(map[string][]int), under: make(map[string][]int), leastTLS: len(rules), catchAll: len(rules)}
	for i, r := range rules {
		if r.Default() {
			t.catchAll = i
			break // no further rule counts
		}
		if r.ofTLS() {
			t.leastTLS = min(t.leastTLS, i)
		}
		if len(r.SNI) == 0 && len(r.ALPN) > 0 {
			t.alpn = append(t.alpn, i)
		}
		for _, name := range r.SNI {
			if suffix, wild := strings.CutPrefix(name, "*."); wild {
				t.under[suffix] = append(t.under[suffix], i)
			} else if name == "*" {
				t.named = append(t.named, i)
			} else {
				t.exact[name] = append(t.exact[name], i)
			}
		}
		for _, bytes := range r.First {
			t.first = append(t.first, prefix{bytes, i})
		}
	}
	return t
}

// None is the rule of a connection that no rule matches.
const None = -1

// Answer is what Match has found.
type Answer struct {
	// Rule is the index of the rule, or None. It means nothing when Need is above 0 or Err
	// is not nil.
	Rule int
	// Need above 0 says that it depends on what follows, and that nothing is to be said
	// before there are so many bytes.
	Need int
	// Err is an error of package hello: the bytes begin as TLS does, a rule before any that
	// matches asks what the ClientHello says, and that is not to be had. Such a connection
	// belongs nowhere.
	Err error
	// TLS says that the bytes are a ClientHello, where one was looked for.
	TLS bool
	// ServerName is the name that was asked for, as far as one was looked for. It is the
	// reader's, until its next use.
	ServerName []byte
}

// Match says which rule the connection belongs to whose peer has sent p so far. last says that
// nothing will follow. Match allocates nothing and looks at no more than hello.MaxLength bytes.
func (t *Table) Match(r *hello.Reader, p []byte, last bool) (a Answer) {
	best := t.catchAll   // what matches
	open := len(t.rules) // what may match yet
	for _, f := range t.first {
		if f.rule >= best {
			break
		}
		if n := min(len(p), len(f.bytes)); string(p[:n]) != f.bytes[:n] {
			continue
		} else if n == len(f.bytes) {
			best = f.rule
		} else if !last && f.rule < open {
			open, a.Need = f.rule, len(p)+1
		}
	}
	if t.leastTLS < best {
		h, need, err := r.Parse(p)
		a.ServerName = h.ServerName
		switch {
		case err == hello.ErrNotTLS:
		case need > 0 && last: // and so it never becomes one
		case need > 0:
			if a.Need == 0 {
				a.Need = need
			}
			open = min(open, t.leastTLS)
		case err != nil:
			if t.leastTLS < open {
				return Answer{Rule: None, Err: err}
			}
		default:
			a.TLS = true
			best = min(best, t.byName(&h), least(t.alpn, best, t, &h))
		}
	}
	if open < best {
		return a
	}
	a.Need, a.Rule = 0, best
	if best == len(t.rules) {
		a.Rule = None
	}
	return a
}

// byName is the first rule that matches the name that was asked for, and the protocols.
func (t *Table) byName(h *hello.Hello) int {
	best := len(t.rules)
	if len(h.ServerName) == 0 {
		return best
	}
	best = least(t.named, best, t, h)
	best = least(t.exact[string(h.ServerName)], best, t, h)
	for i, c := range h.ServerName {
		if c == '.' {
			best = least(t.under[string(h.ServerName[i+1:])], best, t, h)
		}
	}
	return best
}

// least is the first of the listed rules whose protocols match, if it is before best; else best.
func least(listed []int, best int, t *Table, h *hello.Hello) int {
	for _, i := range listed {
		if i >= best {
			break
		}
		if t.rules[i].offered(h) {
			return i
		}
	}
	return best
}

// offered reports whether the client offers one of the rule's protocols, if it has any.
func (r *Rule) offered(h *hello.Hello) bool {
	for _, protocol := range r.ALPN {
		if h.Offers(protocol) {
			return true
		}
	}
	return len(r.ALPN) == 0
}
