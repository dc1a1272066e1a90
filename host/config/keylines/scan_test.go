package keylines

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// keysOf lists what the scanner visits, as "line path".
func keysOf(src string) (lines []string, paths []string, s *Scan, ok bool) {
	s, ok = scanText(src, func(path []string, line int) {
		p := toml.Key(path).String()
		paths = append(paths, p)
		lines = append(lines, fmt.Sprintf("%d %s", line, p))
	})
	return lines, paths, s, ok
}

func TestScanLines(t *testing.T) {
	const src = `# comment with "quotes" and [brackets]
a = 1 # = [
"b c".'d "e' . f = """
not = a key
\""" still not """"" # comment
'''quoted''' = 1`
	// The last line is no key: a key in three quotes is not TOML.
	lines, _, s, ok := keysOf(src)
	if want := []string{"2 a", `3 "b c"."d \"e".f`}; ok || !slices.Equal(lines, want) || s.Line != 6 {
		t.Errorf("got %q, %v on line %d; want %q", lines, ok, s.Line, want)
	}

	const more = `x = [ # [
  "]", ']', """
  ]""", '''
  ]''',
  { y = 1, # }
    "z".w = [ 2,
      { q = "}" } ], },
]
date = 1979-05-27 07:32:00
[ t . "u\u0020v\"\\\x41\e" ]
k = 'C:\'
esc = "a\\"
[[l]]
k = 1
[[ l ]]

k = 2
[l.m]
k = 3
`
	lines, _, _, ok = keysOf(more)
	want := []string{"1 x", "5 x.y", "6 x.z.w", "7 x.z.w.q", "9 date", `10 t."u v\"\\A` + "\x1b" + `"`, "11 t." + `"u v\"\\A` + "\x1b" + `".k`,
		"12 t." + `"u v\"\\A` + "\x1b" + `".esc`, "13 l", "14 l.k", "15 l", "17 l.k", "18 l.m", "19 l.m.k"}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], `\u001b`, "\x1b")
		lines[i] = strings.ReplaceAll(lines[i], `\e`, "\x1b")
	}
	if !ok || !slices.Equal(lines, want) {
		t.Errorf("got  %q, %v\nwant %q", lines, ok, want)
	}
}

func TestScanTree(t *testing.T) {
	s, ok := scanText(`[[l]]
k = [
  1,
  2,
]
[l.m]
j.i = 1
[[l]]
k = 2
[l.m]
j.i = 2
`, nil)
	if !ok {
		t.Fatal("not understood")
	}
	l := s.Root.At("l")
	for _, test := range []struct {
		name      string
		got, want int
	}{
		{"l", l.Line, 1},
		{"first", l.Item(0).Line, 1},
		{"its k", l.Item(0).At("k").Line, 2},
		{"its items", l.Item(0).At("k").Item(1).Line, 4},
		{"beyond its items", l.Item(0).At("k").Item(2).Line, 2},
		{"its m", l.Item(0).At("m").Line, 6},
		{"its m.j.i", l.Item(0).At("m").At("j").At("i").Line, 7},
		{"second", l.Item(1).Line, 8},
		{"its k", l.Item(1).At("k").Line, 9},
		{"its m.j.i", l.Item(1).At("m").At("j").At("i").Line, 11},
		{"a key that is not there", l.Item(1).At("none").Line, 8},
	} {
		if test.got != test.want {
			t.Errorf("%s: line %d, want %d", test.name, test.got, test.want)
		}
	}
}

func TestScanDepth(t *testing.T) {
	for _, src := range []string{
		strings.Repeat("a.", MaxDepth-1) + "a = 1",
		"[" + strings.Repeat("a.", MaxDepth-1) + "a]",
		"a = " + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1),
		"a = " + strings.Repeat("{a=", (MaxDepth-1)/2) + "1" + strings.Repeat("}", (MaxDepth-1)/2),
	} {
		if s, ok := scanText(src, nil); !ok || s.TooDeep {
			t.Errorf("%s is refused", src)
		}
	}
	for _, src := range []string{
		strings.Repeat("a.", MaxDepth) + "a = 1",
		"[" + strings.Repeat("a.", MaxDepth) + "a]",
		"[" + strings.Repeat("a.", MaxDepth-1) + "a]\na = 1",
		"a = " + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
		strings.Repeat("a={", 1<<17),
		"a=" + strings.Repeat("[{a=", 1<<17),
	} {
		if s, ok := scanText(src, nil); ok || !s.TooDeep {
			t.Errorf("%.80s is let through", src)
		}
	}
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{`plain`: "plain", `\b\t\n\f\r\e\"\\`: "\b\t\n\f\r\x1b\"\\", `\x41\u00e9\U0001F600!`: "Aé😀!", ``: ""} {
		if got, ok := unescape(s); got != want || !ok {
			t.Errorf("unescape(%q) = %q, %v", s, got, ok)
		}
	}
	for _, s := range []string{`\`, `\q`, `\x4`, `\u00e`, `\ud800`, `\U00110000`, `\U7fffffff`, `\u+0e9`, `\ `} {
		if got, ok := unescape(s); ok {
			t.Errorf("unescape(%q) = %q", s, got)
		}
	}
}

// FuzzScan holds the scanner to the library: whatever the library takes for
// TOML, the scanner must understand, with the same keys in the same order, no
// duplicate, and each key on a line that has it.
func FuzzScan(f *testing.F) {
	for _, src := range []string{
		"[tenant.acme]\n[[listener]]\nname = \"echo\"\nconfig = { a = 1, b.c = [1, \"x\"] }\n[listener.more]\nk = 1979-05-27\n",
		"a = [[{b=1}],[{b=2}]]", "'a' = \"\"\"\\\"\"\"\"", "a.b=1\n[c]\nd={e.f=[]}\n[[g.h]]\n[[g.h.i]]",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<20 || !utf8.ValidString(src) || strings.Contains(src, "\x00") {
			return // whoever calls Text has refused it
		}
		lines, paths, s, ok := keysOf(src)
		if s.TooDeep || !ok && s.Pos-strings.LastIndexByte(src[:s.Pos], '\n') > 1<<12 {
			return
		}
		for _, dup := range s.Duplicates {
			if dup.start < 0 || dup.start >= dup.end || dup.end > len(src) || dup.comma < 0 || dup.comma >= len(src) {
				t.Fatalf("a duplicate out of bounds: %+v", dup)
			}
		}
		var m map[string]any
		md, err := func() (md toml.MetaData, err error) {
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("panic: %v", r)
				}
			}()
			return toml.Decode(src, &m)
		}()
		if err != nil {
			return
		}
		if !ok {
			t.Fatalf("the scanner stops at %d, line %d", s.Pos, s.Line)
		}
		for _, dup := range s.Duplicates {
			if !dup.implied {
				t.Fatalf("a duplicate: %+v", dup)
			}
		}
		keys := md.Keys()
		if len(keys) != len(paths) {
			t.Fatalf("%d keys, and the library has %d:\n%q\n%q", len(paths), len(keys), paths, keys)
		}
		text := strings.Split(src, "\n")
		for i, key := range keys {
			if key.String() != paths[i] {
				t.Fatalf("key %d is %s, and the library's is %s", i, paths[i], key)
			}
			var line int
			if _, err := fmt.Sscan(lines[i], &line); err != nil || line < 1 || line > len(text) {
				t.Fatalf("%s: no such line", lines[i])
			}
			last := key[len(key)-1]
			if isBare(last) && !strings.Contains(text[line-1], last) && !strings.Contains(text[line-1], `\`) {
				t.Fatalf("line %d has no %s: %q", line, last, text[line-1])
			}
		}
	})
}

func isBare(s string) bool {
	for i := range len(s) {
		if !bareKeyByte(s[i]) {
			return false
		}
	}
	return s != ""
}
