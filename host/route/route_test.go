package route_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host/hello"
	"bulkhead/host/route"
)

// sink is a connection that keeps what is written to it, and has nothing to read.
type sink struct {
	net.Conn
	sent []byte
}

func (s *sink) Read([]byte) (int, error)    { return 0, errors.New("nothing") }
func (s *sink) Write(p []byte) (int, error) { s.sent = append(s.sent, p...); return len(p), nil }
func (s *sink) Close() error                { return nil }

func (s *sink) SetDeadline(time.Time) error { return nil }

// helloFor is what crypto/tls sends when it asks for a name and offers protocols.
func helloFor(name string, protocols ...string) string {
	s := &sink{}
	_ = tls.Client(s, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols}).Handshake()
	return string(s.sent)
}

// naive says which rule matches, one by one, by the words of the documentation.
func naive(rules []route.Rule, p []byte, last bool) (rule int, more bool, err error) {
	var r hello.Reader
	h, need, bad := r.Parse(p)
	for i, rule := range rules {
		if rule.Default() {
			return i, false, nil
		}
		fits := false
		for _, first := range rule.First {
			if strings.HasPrefix(string(p), first) {
				fits = true
			}
		}
		for _, first := range rule.First {
			if !fits && !last && len(p) < len(first) && strings.HasPrefix(first, string(p)) {
				return 0, true, nil
			}
		}
		if len(rule.SNI) > 0 || len(rule.ALPN) > 0 {
			switch {
			case bad == hello.ErrNotTLS:
				continue
			case bad != nil:
				return 0, false, bad
			case need > 0 && !last:
				return 0, true, nil
			case need > 0:
				continue
			}
			name := string(h.ServerName)
			fits = (len(rule.SNI) == 0 || slices.ContainsFunc(rule.SNI, func(entry string) bool {
				return entry == name || name != "" && entry == "*" || strings.HasPrefix(entry, "*.") && strings.HasSuffix(name, entry[1:])
			})) && (len(rule.ALPN) == 0 || slices.ContainsFunc(rule.ALPN, func(entry string) bool { return slices.Contains(h.Protocols(), entry) }))
		}
		if fits {
			return i, false, nil
		}
	}
	return route.None, false, nil
}

var tenants = []route.Rule{
	{SNI: []string{"a.test", "b.test"}, ALPN: []string{"h2"}},
	{SNI: []string{"a.test"}},
	{First: []string{"SSH-"}},
	{SNI: []string{"*.a.test"}},
	{SNI: []string{"*.deep.b.test"}},
	{ALPN: []string{"acme-tls/1", "mqtt"}},
	{SNI: []string{"*"}, ALPN: []string{"imap"}},
	{First: []string{"GET ", "HEAD "}},
	{First: []string{"\x16\x03"}},
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		sent string
		want int
	}{
		{helloFor("a.test", "h2", "http/1.1"), 0},
		{helloFor("A.Test", "http/1.1", "h2"), 0},
		{helloFor("a.test", "http/1.1"), 1},
		{helloFor("b.test"), 8},
		{helloFor("x.a.test"), 3},
		{helloFor("x.y.a.test", "mqtt"), 3},
		{helloFor("deep.b.test"), 8},
		{helloFor("x.deep.b.test"), 4},
		{helloFor("xa.test", "mqtt"), 5},
		{helloFor("", "mqtt", "imap"), 5},
		{helloFor("c.test", "imap"), 6},
		{helloFor("", "imap"), 8},
		{helloFor(""), 8},
		{"SSH-2.0-x\r\n", 2},
		{"GET / HTTP/1.1\r\n", 7},
		{"HEAD / HTTP/1.1\r\n", 7},
		{"PUT / HTTP/1.1\r\n", route.None},
		{"SSX", route.None},
	} {
		for _, fallback := range []bool{false, true} {
			rules, want := tenants, test.want
			if fallback {
				rules = append(slices.Clone(rules), route.Rule{})
				if want == route.None {
					want = len(tenants)
				}
			}
			table := route.New(rules)
			var r hello.Reader
			if a := table.Match(&r, []byte(test.sent), false); a.Rule != want || a.Need != 0 || a.Err != nil {
				t.Errorf("%.20q: %+v; want %d", test.sent, a, want)
			}
			// Byte by byte the answer is the same, and it comes in time.
			due, known := 0, false
			for n := range len(test.sent) + 1 {
				a := table.Match(&r, []byte(test.sent[:n]), false)
				switch {
				case a.Need > 0 && (known || a.Need <= n), a.Need == 0 && (a.Rule != want || a.Err != nil), n < due && a.Need != due:
					t.Fatalf("%.20q, %d bytes: %+v; want %d, due at %d", test.sent, n, a, want, due)
				}
				due, known = a.Need, a.Need == 0
			}
			if !known {
				t.Errorf("%.20q: never known", test.sent)
			}
		}
	}
}

// A peer that has finished is judged by what it has sent.
func TestNoMoreComes(t *testing.T) {
	table := route.New(append(slices.Clone(tenants), route.Rule{}))
	var r hello.Reader
	for sent, want := range map[string]int{"": 9, "SS": 9, "GET": 9, "GET ": 7, "\x16": 9, helloFor("a.test")[:50]: 8} {
		if a := table.Match(&r, []byte(sent), false); sent != "GET " && a.Need == 0 {
			t.Errorf("%.20q: known too early: %+v", sent, a)
		}
		if a := table.Match(&r, []byte(sent), true); a.Rule != want || a.Need != 0 || a.Err != nil {
			t.Errorf("%.20q: %+v; want %d", sent, a, want)
		}
	}
}

// What begins as TLS and goes on otherwise belongs nowhere, unless an earlier rule takes it
// by its bytes.
func TestBrokenHellos(t *testing.T) {
	bad := "\x16\x03\x01\x00\x04\x02\x00\x00\x00"
	var r hello.Reader
	if a := route.New(tenants).Match(&r, []byte(bad), false); a.Err != hello.ErrMalformed {
		t.Errorf("malformed: %+v", a)
	}
	if a := route.New(append([]route.Rule{{First: []string{"\x16\x03\x01\x00\x04"}}}, tenants...)).Match(&r, []byte(bad), false); a.Err != nil || a.Rule != 0 {
		t.Errorf("taken by its bytes: %+v", a)
	}
	if a := route.New([]route.Rule{{First: []string{bad + "x"}}, {ALPN: []string{"x"}}}).Match(&r, []byte(bad), false); a.Err != nil || a.Need != len(bad)+1 {
		t.Errorf("perhaps taken by its bytes: %+v", a)
	}
	long := "\x16\x03\x01\x40\x00\x01\x01\x00\x00"
	if a := route.New(tenants).Match(&r, []byte(long), false); a.Err != hello.ErrTooLong {
		t.Errorf("too long: %+v", a)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := route.New(tenants)
	var r hello.Reader
	p, q := []byte(helloFor("x.y.a.test", "x")), []byte("HEAD / HTTP/1.1")
	if n := testing.AllocsPerRun(100, func() {
		if table.Match(&r, p, false).Rule != 3 || table.Match(&r, q, false).Rule != 7 {
			t.Fatal("wrong")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseName(t *testing.T) {
	for s, want := range map[string]string{"a.test": "a.test", "A.Test": "a.test", "*.A.test": "*.a.test", "*": "*", "localhost": "localhost", "xn--bcher-kva.test": "xn--bcher-kva.test"} {
		if got, err := route.ParseName(s); got != want || err != nil {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"": "no host name", "a.": "dot", "*a.test": "first label", "a.*.test": "first label", "*.": "dot", "*.*": "first label",
		"a b": "no host name", "a..b": "no host name", "bücher.test": "ASCII", "192.0.2.1": "address", "::1": "no host name", strings.Repeat("a", 64): "no host name",
	} {
		if got, err := route.ParseName(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", s, got, err, want)
		}
	}
}

func TestParseFirst(t *testing.T) {
	for s, want := range map[string]string{"GET ": "GET ", "hex:16 03": "\x16\x03", "hex:1603": "\x16\x03", "HEX:16": "HEX:16", "\x00\x01": "\x00\x01", "hex:ff": "\xff"} {
		got, err := route.ParseFirst(s)
		if got != want || err != nil {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		if back, err := route.ParseFirst(route.FormatFirst(got)); back != got || err != nil {
			t.Errorf("%q is written %q, which is read %q, %v", got, route.FormatFirst(got), back, err)
		}
	}
	for s, want := range map[string]string{"": "empty", "hex:": "empty", "hex:1": "pairs", "hex:xx": "pairs", strings.Repeat("x", 65): "65 bytes"} {
		if got, err := route.ParseFirst(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", s, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct{ rules, want string }{
		{"s a.test; s *.a.test; s *; a h2; f GET ; f HEAD ;", ""},
		{"; s a.test; f x", "1 by 0: ; 2 by 0: "},
		{"s a.test; s b.test,a.test", "1 by 0: sni a.test"},
		{"s *.a.test; s a.test,x.a.test,*.y.a.test", "1 by 0: sni x.a.test; 1 by 0: sni *.y.a.test"},
		{"s *; s a.test,*.a.test,*", "1 by 0: sni a.test; 1 by 0: sni *.a.test; 1 by 0: sni *"},
		{"s a.test|a h2; s a.test", ""},
		{"s a.test|a h2,h3; s a.test|a h3; s a.test|a h3,x", "1 by 0: sni a.test"},
		{"s a.test; s a.test|a h2", "1 by 0: sni a.test"},
		{"a h2; s a.test|a h2,x; a x,h2", "1 by 0: alpn h2; 2 by 0: alpn h2"},
		{"s *|a h2; a h2", ""},
		{"f GE; f GET ,G,PUT", "1 by 0: first GET "},
		{"f hex:16 03; s a.test; f hex:16 03 01", "1 by 0: ; 2 by 0: first \x16\x03\x01"},
		{"f hex:16 03 01; s a.test; f hex:16 03", ""},
	} {
		var got []string
		for _, c := range route.Check(rulesOf(test.rules)) {
			got = append(got, strings.TrimSuffix(fmt.Sprintf("%d by %d: %s %s", c.Rule, c.By, c.Key, c.Entry), " "))
		}
		want := strings.Split(test.want, "; ")
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], " ")
		}
		for i := range got {
			got[i] = strings.TrimSuffix(got[i], " ")
		}
		if strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("%s: %q; want %q", test.rules, got, want)
		}
	}
}

// rulesOf reads rules for tests: "s NAME,NAME|a PROTOCOL; f BYTES". What is wrong is left out.
func rulesOf(text string) []route.Rule {
	var rules []route.Rule
	for rule := range strings.SplitSeq(text, ";") {
		var r route.Rule
		for part := range strings.SplitSeq(strings.TrimPrefix(rule, " "), "|") {
			kind, list, _ := strings.Cut(part, " ")
			for entry := range strings.SplitSeq(list, ",") {
				switch kind {
				case "s":
					if name, err := route.ParseName(entry); err == nil {
						r.SNI = append(r.SNI, name)
					}
				case "a":
					if entry != "" {
						r.ALPN = append(r.ALPN, entry)
					}
				case "f":
					if bytes, err := route.ParseFirst(entry); err == nil {
						r.First = append(r.First, bytes)
					}
				}
			}
		}
		if len(r.First) > 0 {
			r.SNI, r.ALPN = nil, nil
		}
		rules = append(rules, r)
	}
	return rules
}

// FuzzMatch holds the table to the naive matcher, and Check to what can match.
func FuzzMatch(f *testing.F) {
	f.Add("s a.test|a h2; s *.test; f GET ; f SSH-;", []byte(helloFor("a.test", "h2")), "", true)
	f.Add("s *; a x; f hex:16 03", []byte(helloFor("", "y")), "b.a.test", false)
	f.Add("f GET ; s a.test; f G", []byte("GE"), "a.test", true)
	f.Add("f GET,GOT; s x", []byte("GET"), "x.y", false)
	f.Add("a h2; f \x16\x03\x01\x02", []byte("\x16\x03\x01\x00\x05\x02"), "", false)
	f.Fuzz(func(t *testing.T, text string, p []byte, name string, last bool) {
		if strings.Count(text, ";") > 50 || len(text) > 2000 {
			return
		}
		if parsed, err := route.ParseName(name); err == nil && !strings.Contains(parsed, "*") {
			p = []byte(helloFor(parsed, "h2", "x"))
		}
		rules := rulesOf(text)
		table := route.New(rules)
		var r hello.Reader
		rule, more, err := naive(rules, p, last)
		a := table.Match(&r, p, last)
		if more != (a.Need > 0) || err != a.Err || !more && err == nil && rule != a.Rule || a.Need > 0 && (a.Need <= len(p) || last) {
			t.Fatalf("%q, %q: %+v; want rule %d, more %v, %v", rules, p, a, rule, more, err)
		}
		if more || err != nil || rule == route.None {
			return
		}
		clashes := route.Check(rules)
		for _, c := range clashes {
			if c.By >= c.Rule || c.Rule == rule && c.Key == "" {
				t.Fatalf("%q: rule %d matches %q, and the check says %+v", rules, rule, p, c)
			}
		}
		// Without what the check has found the answer is the same.
		for _, c := range clashes {
			r := &rules[c.Rule]
			list := map[string]*[]string{"sni": &r.SNI, "alpn": &r.ALPN, "first": &r.First, "": new([]string)}[c.Key]
			left := slices.DeleteFunc(slices.Clone(*list), func(entry string) bool { return entry == c.Entry })
			if len(left) > 0 {
				*list = left
			}
		}
		if b := route.New(rules).Match(&r, p, last); b.Rule != a.Rule {
			t.Fatalf("%q: %q takes rule %d, and without %+v rule %d", rules, p, a.Rule, clashes, b.Rule)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var rules []route.Rule
	for i := range 1000 {
		rules = append(rules, route.Rule{SNI: []string{fmt.Sprintf("tenant%d.test", i), fmt.Sprintf("*.tenant%d.test", i)}})
	}
	table := route.New(rules)
	var r hello.Reader
	p := []byte(helloFor("www.tenant999.test", "h2", "http/1.1"))
	b.ReportAllocs()
	for b.Loop() {
		if table.Match(&r, p, false).Rule != 999 {
			b.Fatal("wrong")
		}
	}
}
