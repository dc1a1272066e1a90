package talk

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Captures are the values of a conversation's captures so far, by name.
type Captures map[string][]byte

// Result is how a step's text compares with the bytes that a party has.
type Result int

// The results.
const (
	Matches  Result = iota
	Differs         // whatever comes next
	TooShort        // so far it matches; more bytes have to come
)

// Bytes are the text with the values of its captures. A byte that may be any is zero.
func (t Text) Bytes(c Captures) []byte {
	var b []byte
	for _, p := range t {
		switch {
		case p.Capture != "":
			b = append(b, c[p.Capture]...)
		case p.Any:
			b = append(b, 0)
		default:
			b = append(b, p.Bytes...)
		}
	}
	return b
}

// Match compares what an Expect step wants with what its party has got and nobody has compared
// yet. Where it matches, n is how many bytes of got it took, and its captures are in c. Where it
// differs, n is the place of the first byte that does; for a pattern that is 0.
func (s *Step) Match(got []byte, c Captures) (n int, r Result) {
	if s.Pattern != nil {
		return s.Pattern.match(got, s.EOL, c)
	}
	for _, p := range s.Text {
		want := p.Bytes
		if p.Capture != "" {
			want = c[p.Capture]
		}
		if p.Any {
			if n == len(got) {
				return n, TooShort
			}
			n++
			continue
		}
		for i := range want {
			switch {
			case n == len(got):
				return n, TooShort
			case got[n] != want[i]:
				return n, Differs
			}
			n++
		}
	}
	return n, Matches
}

// String is the pattern as its file has it.
func (p *Pattern) String() string { return p.source }

func (p *Pattern) match(got []byte, eol string, c Captures) (int, Result) {
	end := bytes.Index(got, []byte(eol))
	if end < 0 {
		return 0, TooShort
	}
	re := p.fixed
	if re == nil {
		var err error
		if re, err = p.compile(func(name string) []byte { return c[name] }); err != nil {
			return 0, Differs
		}
	}
	found := re.FindSubmatch(got[:end])
	if found == nil {
		return 0, Differs
	}
	for i, name := range re.SubexpNames() {
		if name != "" {
			c[name] = bytes.Clone(found[i])
		}
	}
	return end + len(eol), Matches
}

// compile makes the expression with the values of its captures, which stand for themselves.
func (p *Pattern) compile(value func(name string) []byte) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`\A(?s:`)
	for _, piece := range p.parts {
		if piece.Capture != "" {
			b.WriteString(regexp.QuoteMeta(string(value(piece.Capture))))
		} else {
			b.Write(piece.Bytes)
		}
	}
	b.WriteString(`)\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("%s is no regular expression: %w", p.source, err)
	}
	return re, nil
}
