package trace

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func example(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../examples/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whether a module says its lines is in its sections, wherever it ends.
func TestSections(t *testing.T) {
	b := example(t, "crash.wasm")
	if !HasLines(b) || HasLines(example(t, "split.wasm")) || !HasLines(example(t, "split.debug.wasm")) {
		t.Error("it is not told apart which module has lines")
	}
	for n := range b {
		HasLines(b[:n])
	}
	if HasLines(b[:len(b)/4]) || HasLines(nil) {
		t.Error("a part of a module has lines")
	}
	id := func(s string) []byte { return append([]byte("\x00asm\x01\x00\x00\x00\x00\x0b\x08build_id"), s...) }
	for _, c := range []struct {
		a, b string
		want bool
	}{{"aa", "aa", true}, {"aa", "bb", false}} {
		if Belongs(id(c.a), id(c.b)) != c.want {
			t.Errorf("a build %s and lines of %s: want %v", c.a, c.b, c.want)
		}
	}
	if !Belongs(id("aa"), b) || !Belongs(b, b) {
		t.Error("a build that is not named does not belong")
	}
}

// The text is one short line, whatever names there are.
func TestText(t *testing.T) {
	for want, places := range map[string][]Place{
		"":                           {{}},
		"f a.c:1 < g":                {{"f", "a.c", 1}, {}, {Function: "g"}},
		"a.c":                        {{File: "a.c"}},
		"h a.c < f a.c:2 < $7 b.c:3": {{"h", "a.c", 0}, {"f", "a.c", 2}, {"$7", "b.c", 3}},
	} {
		if got := Text(places); got != want {
			t.Errorf("%v is %q, want %q", places, got, want)
		}
	}
	long := Text(make([]Place, 10000))
	if long != "" {
		t.Errorf("nothing is %q", long)
	}
	deep := make([]Place, 1000)
	for i := range deep {
		deep[i] = Place{short(strings.Repeat("ä", 100)), base(strings.Repeat("b", 100)), 1<<30 + i}
	}
	if got := Text(deep); len(got) > MaxText+6 || !strings.HasSuffix(got, " < ...") {
		t.Errorf("1000 places are %d bytes", len(got))
	}
	for in, want := range map[string]string{`C:\src\a.c`: "a.c", "/x/y/z.rs": "z.rs", "a\x1b[2J\n": "a?[2J?", "": "", "..": ".."} {
		if got := base(in); got != want {
			t.Errorf("the file %q is %q, want %q", in, got, want)
		}
	}
}

// A recursion is one round and a number, whoever is in it; calls that come twice are none.
func TestFold(t *testing.T) {
	calls := func(of string) []string { return strings.Split(of, "") }
	for of, want := range map[string]string{
		"":                    "",
		"abc":                 "a < b < c",
		"aab":                 "a < a < b",
		"aaab":                "a < ... 2 more < b",
		"ababc":               "a < b < a < b < c",
		"xababababy":          "x < a < b < ... 6 more < y",
		"abcdabcdabcdz":       "a < b < c < d < ... 8 more < z",
		"abaaaaab":            "a < b < a < ... 4 more < b",
		"aaabbb":              "a < ... 2 more < b < ... 2 more",
		"abcdeabcdeabcdeabcd": "a < b < c < d < e < a < b < c < d < e < a < b < c < d < e < a < b < c < d",
	} {
		if got := Fold(calls(of), 1000); got != want {
			t.Errorf("%s is %q, want %q", of, got, want)
		}
	}
	if got := Fold(calls("abcdefgh"), 12); got != "a < b < c < ..." {
		t.Errorf("what does not fit is %q", got)
	}
}

// FuzzSections: whatever the bytes are, what is found is in them.
func FuzzSections(f *testing.F) {
	f.Add(example(f, "crash.wasm"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\x03\xff\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, s := range Sections(b) {
			if !bytes.Contains(b, s) || !strings.HasPrefix(name, linePrefix) && name != "build_id" {
				t.Errorf("the section %q is not in there", name)
			}
		}
	})
}
