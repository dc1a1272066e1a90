package talk

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// parse reads one conversation, or ends the test.
func parse(t *testing.T, text string) *Case {
	t.Helper()
	f, err := Parse("a.talk", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.Cases[len(f.Cases)-1]
}

// show writes steps so that a test can say what it wants.
func show(c *Case) string {
	var b strings.Builder
	kinds := [...]string{"send", "expect", "send EOF", "send RST", "get EOF", "get RST", "closed", "dial", "secured", "wait", "log", "count", "fuel", "stretch"}
	for _, s := range c.Steps {
		fmt.Fprintf(&b, "%d %s", s.Line, kinds[s.Kind])
		if s.Party != Client {
			fmt.Fprintf(&b, " %s", s.Party)
		}
		for _, p := range s.Text {
			switch {
			case p.Any:
				b.WriteString(" ??")
			case p.Capture != "":
				b.WriteString(" $" + p.Capture)
			default:
				fmt.Fprintf(&b, " %q", p.Bytes)
			}
		}
		if s.Pattern != nil {
			fmt.Fprintf(&b, " ~%s~ %q", s.Pattern, s.EOL)
		}
		for _, word := range []string{s.Code, s.Address, s.As, s.Name} {
			if word != "" {
				b.WriteString(" " + word)
			}
		}
		if s.Number != 0 {
			fmt.Fprintf(&b, " %d", s.Number)
		}
		if s.Wait != 0 {
			fmt.Fprintf(&b, " %s", s.Wait)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	c := parse(t, `# what a client says
config greeting = "hi"
eol lf
== a login
eol crlf
config name = "x"
> EHLO me.example
> "exact\x00bytes"
> x 78 78 0d
>
>  two blanks
< ~ 250[ -](?P<id>.*)
< hello ${id}!
< x 78 ?? 0D 0a

b> x marks the spot
b>EOF
>RST
b<EOF
<RST
dial tcp://db:5432 as db
db> "\x24{id}${id}"
db secured
secured TLS
dial tcp://no:1 refused
wait 1m30s
log TypeError: ${id}
count frames 3
fuel < 200k
closed INVALID
b closed OK
`)
	want := `7 send "EHLO me.example" "\r\n"
8 send "exact\x00bytes"
9 send "xx\r"
10 send "\r\n"
11 send " two blanks" "\r\n"
12 expect ~250[ -](?P<id>.*)~ "\r\n"
13 expect "hello " $id "!" "\r\n"
14 expect "x" ?? "\r\n"
15 stretch
16 send b "x marks the spot" "\r\n"
17 send EOF b
18 send RST
19 get EOF b
20 get RST
21 dial tcp://db:5432 db
22 send db "${id}" $id
23 secured db
24 secured TLS
25 dial REFUSED tcp://no:1
26 wait 1m30s
27 log "TypeError: " $id
28 count frames 3
29 fuel 200000
30 closed INVALID
31 closed b OK
`
	if got := show(c); got != want {
		t.Errorf("the steps are\n%s\nwant\n%s", got, want)
	}
	if fmt.Sprint(c.Config) != `[{2 greeting = "hi" true} {6 name = "x" true}]` || c.Name != "a login" || c.Line != 4 {
		t.Errorf("the case is %q in line %d with %v", c.Name, c.Line, c.Config)
	}
}

func TestParseConfigSection(t *testing.T) {
	c := parse(t, "-- config.toml --\na = 1\n\n[b]\nc = 2\n== one\n> x\r\n== two\nconfig d = 3\n> y\n")
	if fmt.Sprint(c.Config) != "[{2 a = 1 false} {4 [b] false} {5 c = 2 false} {9 d = 3 true}]" || c.Name != "two" {
		t.Errorf("the config of %q is %v", c.Name, c.Config)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "a.talk:1: there is no conversation"},
		{"> hi", "a.talk:1: this stands before the first conversation"},
		{"==", "a.talk:1: a conversation has a name"},
		{"== a\n== a", `a.talk:2: there is a conversation "a" already`},
		{"== a\n>hi", "a.talk:2: after > or < comes a blank, EOF or RST"},
		{"== a\n> \"hi", "a.talk:2: \"hi is not a text in double quotes"},
		{"== a\n> x ??", "a.talk:2: ?? is any byte that a party gets"},
		{"== a\n> ${id}", "a.talk:2: nothing before this captures ${id}"},
		{"== a\n< ~ (", "a.talk:2: ( is no regular expression"},
		{"== a\neol none\n< ~ a", "a.talk:3: a pattern is for one line, and with eol none"},
		{"== a\neol cr", "a.talk:2: eol is crlf, lf or none"},
		{"== a\nconfig x", "a.talk:2: config is followed by a key"},
		{"== a\n> x\nconfig x = 1", "a.talk:3: config stands before the first line"},
		{"== a\nalone here", "a.talk:2: alone stands alone"},
		{"== a\nalone> x", "a.talk:2: alone is no name for a party"},
		{"== a\nclosed BAD", "a.talk:2: closed is followed by the code"},
		{"== a\nsecured well", "a.talk:2: secured stands alone"},
		{"== a\nwait", "a.talk:2: wait is followed by a time"},
		{"== a\nwait -1s", "a.talk:2: wait is followed by a time"},
		{"== a\nlog", "a.talk:2: log is followed by a text"},
		{"== a\ncount x", "a.talk:2: count is followed by a name"},
		{"== a\ncount x -1", "a.talk:2: count x is followed by a number"},
		{"== a\nfuel 3", "a.talk:2: fuel is followed by <"},
		{"== a\nfuel < 9999999999999999999k", "a.talk:2: fuel is followed by <"},
		{"== a\ndial tcp://x:1", "a.talk:2: dial is followed by the address"},
		{"== a\ndial tcp://x:1 ok", "a.talk:2: dial is followed by the address"},
		{"== a\ndial tcp://x:1 as x\ndial tcp://y:1 as x", "a.talk:3: x has been dialled before"},
		{"== a\nlog> x", "a.talk:2: log is no name for a party"},
		{"== a\ndial tcp://x:1 as wait", "a.talk:2: wait is no name for a party"},
		{"== a\nsend hello", "a.talk:2: send begins no line"},
		{"-- other.toml --", `a.talk:1: a file of conversations has no part "other.toml"`},
	} {
		_, err := Parse("a.talk", []byte(c.text))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s...", c.text, err, c.want)
		}
	}
}

func TestMatch(t *testing.T) {
	c := Captures{}
	steps := parse(t, "== a\n< ~ 250[ -](?P<id>\\S+)( .*)?\n< ok ${id}\n< ~ .* ${id}\n< x 01 ?? 03\n").Steps
	for _, m := range []struct {
		step int
		got  string
		n    int
		want Result
	}{
		{0, "250 a.b", 0, TooShort},
		{0, "251 a.b\r\n", 0, Differs},
		{0, "x250 a.b\r\n", 0, Differs}, // the whole line matches, or nothing
		{0, "250 a.b rest\r\nmore", 14, Matches},
		{1, "ok a", 4, TooShort},
		{1, "ok aXb\r\n", 4, Differs},
		{1, "ok a.b\r\nmore", 8, Matches},
		{2, "x aXb\r\n", 0, Differs}, // a value stands for itself
		{2, "x a.b\r\n", 7, Matches},
		{3, "\x01\xff\x03", 3, Matches},
		{3, "\x01", 1, TooShort},
		{3, "\x01\x02\x02", 2, Differs},
	} {
		if n, r := steps[m.step].Match([]byte(m.got), c); n != m.n || r != m.want {
			t.Errorf("step %d and %q: %d, %d; want %d, %d", m.step, m.got, n, r, m.n, m.want)
		}
	}
	if string(c["id"]) != "a.b" {
		t.Errorf("captured %q", c["id"])
	}
}

func TestParseAlone(t *testing.T) {
	f, err := Parse("a.talk", []byte("== a\n> x\nalone\n== b\n> x\n"))
	if err != nil || !f.Cases[0].Alone || f.Cases[1].Alone {
		t.Errorf("alone in the first: %v", err)
	}
	if !parse(t, "alone\n== a\n> x\n").Alone {
		t.Error("alone for all is not of the first")
	}
}

// written is what the lines that Lines has written send.
func written(t *testing.T, data []byte, eol string) []byte {
	t.Helper()
	name := map[string]string{"\r\n": "crlf", "\n": "lf", "": "none"}[eol]
	text := "== a\neol " + name + "\n" + strings.Join(Lines(">", data, eol), "\n")
	f, err := Parse("written", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var b []byte
	for _, s := range f.Cases[0].Steps {
		if s.Kind != Send {
			t.Fatalf("a step %d in\n%s", s.Kind, text)
		}
		b = append(b, s.Text.Bytes(nil)...)
	}
	return b
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ data, eol, want string }{
		{"EHLO me\r\nQUIT\r\n", "\r\n", "> EHLO me|> QUIT"},
		{"\r\n", "\r\n", ">"},
		{"a\nb", "\n", `> a|> "b"`},
		{"a\nb", "\r\n", `> "a\nb"`},
		{"a \n", "\n", `> "a \n"`},
		{"x 01 02\n", "\n", `> "x 01 02\n"`},
		{"\"a\"\n~ b\n", "\n", `> "\"a\"\n"|> "~ b\n"`},
		{"${a}\n", "\n", `> "\x24{a}\n"`},
		{"\x00\xff", "\n", "> x 00 ff"},
		{"EOF\n", "\n", "> EOF"},
		{"", "\n", ""},
	} {
		if got := strings.Join(Lines(">", []byte(c.data), c.eol), "|"); got != c.want {
			t.Errorf("%q: %s, want %s", c.data, got, c.want)
		}
		if got := written(t, []byte(c.data), c.eol); string(got) != c.data {
			t.Errorf("%q is read back as %q", c.data, got)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a\r\nb", "\x00", "${x}\n", `"\`, " \n", "x 00\n", "\u2028\n"} {
		f.Add([]byte(seed), uint8(len(seed)))
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		eol := [...]string{"\r\n", "\n", ""}[which%3]
		if got := written(t, data, eol); string(got) != string(data) {
			t.Fatalf("%q is read back as %q", data, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("== a\n< ~ (?P<a>.*)\n< ${a}\nb> x 00 ??\nwait 3s\nfuel < 3k\n"), []byte("x\r\n"))
	f.Add([]byte("eol lf\n-- config.toml --\na = 1\n== a\ndial a as b\nb> \"x\"\n\nclosed OK\n"), []byte(nil))
	f.Fuzz(func(t *testing.T, text, got []byte) {
		file, err := Parse("f", text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Line > strings.Count(string(text), "\n")+1 {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		captures := Captures{}
		for _, c := range file.Cases {
			for i := range c.Steps {
				if s := &c.Steps[i]; s.Kind == Expect {
					if n, _ := s.Match(got, captures); n < 0 || n > len(got) {
						t.Fatalf("line %d took %d of %d bytes", s.Line, n, len(got))
					}
				}
			}
		}
	})
}

func TestEdits(t *testing.T) {
	var e Edits
	e.Before(1)
	e.After(1)
	if e.Any() {
		t.Error("nothing is a change")
	}
	e.Before(1, "a", "b")
	e.Replace(2, "two")
	e.Drop(3)
	e.After(4, "e", "f")
	for text, want := range map[string]string{
		"1\n2\n3\n4\n":         "a\nb\n1\ntwo\n4\ne\nf\n",
		"1\n2\n3\n4":           "a\nb\n1\ntwo\n4\ne\nf\n",
		"1\r\n2\r\n3\r\n4\r\n": "a\r\nb\r\n1\r\ntwo\r\n4\r\ne\r\nf\r\n",
	} {
		if got := string(e.Apply([]byte(text))); got != want || !e.Any() {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
