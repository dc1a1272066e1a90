package render

import (
	"strings"
	"testing"
)

func TestConstantsNeedTheirComments(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"none":          {"package abi\nconst A = 1\n", "comment that starts with its name"},
		"another name":  {"package abi\n// B is one.\nconst A = 1\n", "comment that starts with its name"},
		"no full stop":  {"package abi\n// A is one\nconst A = 1\n", "full stop"},
		"no constant":   {"package abi\nvar A = 1\n", "no constant"},
		"not Go":        {"package", "expected"},
		"does not type": {"package abi\n// A is b.\nconst A = b\n", "undefined"},
		"no value":      {"package abi\nconst (\n// A is one.\nA = 1\n// B is another.\nB\n)\n", "value of its own"},
		"shifted far":   {"package abi\n// A is large.\nconst A = 1 << 64\n", "fewer than 64"},
		"shifted text":  {"package abi\n// A is text.\nconst A = \"x\" << 1\n", "fewer than 64"},
		"minus text":    {"package abi\n// A is text.\nconst A = -\"x\"\n", "a value is a literal"},
		"a call":        {"package abi\n// A is three.\nconst A = len(\"abc\")\n", "a value is a literal"},
	} {
		if _, err := parseConstants("constants.go", []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	groups, err := parseConstants("constants.go", []byte("package abi\n// Some.\nconst (\n// FooBar is a\n// thing.\nFooBar = 1<<4\n// Baz: or none.\nBaz = \"x\"\n// Bars are more.\nBars = -2\n)\n"))
	if err != nil || len(groups) != 1 || groups[0].Doc != "Some." {
		t.Fatal(groups, err)
	}
	if got := groups[0].Constants[0]; got != (constantDoc{"FooBar", "CSA_FOO_BAR", "", "16", "A thing."}) {
		t.Error(got)
	}
	if got := groups[0].Constants[1]; got != (constantDoc{"Baz", "CSA_BAZ", "", `"x"`, "Or none."}) {
		t.Error(got)
	}
	if got := groups[0].Constants[2]; got != (constantDoc{"Bars", "CSA_BARS", "", "-2", "More."}) {
		t.Error(got)
	}
}

// A word in capitals is one word. The header had each letter of it for one, and those
// names stay.
func TestMacroNames(t *testing.T) {
	for name, want := range map[string][2]string{
		"InfoPeer": {"INFO_PEER", "INFO_PEER"}, "InfoALPN": {"INFO_ALPN", "INFO_A_L_P_N"}, "TLSServer": {"TLS_SERVER", "T_L_S_SERVER"},
		"InfoTLSVersion": {"INFO_TLS_VERSION", "INFO_T_L_S_VERSION"}, "TLS": {"TLS", "T_L_S"}, "OK": {"OK", "O_K"}, "Ok": {"OK", "OK"},
	} {
		if got := [2]string{upper(name), spelt(name)}; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestCommentsAreWrapped(t *testing.T) {
	got := comment("one two three\nfour\n\nfive", "", "// ", 12)
	if want := "// one two\n// three\n// four\n//\n// five"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A comment that does not fit behind its macro stands above it.
func TestMacrosAreWrapped(t *testing.T) {
	doc := strings.Repeat("word ", 14) + "end."
	if got, want := cDefine(constantDoc{C: "CSA_A", Value: "1", Doc: doc}), "#define CSA_A 1 /* "+doc+" */"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	doc = strings.Repeat("word ", 19) + "end."
	want := "/* " + strings.Repeat("word ", 18) + "word\n * end. */\n#define CSA_A 1"
	if got := cDefine(constantDoc{C: "CSA_A", Value: "1", Doc: doc}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestGoCode(t *testing.T) {
	for in, want := range map[string]string{"OK": "OK", "TLS": "TLS", "BAD_HANDLE": "BadHandle", "AGAIN": "Again"} {
		if got := goCode(in); got != want {
			t.Errorf("%s is %s in Go, want %s", in, got, want)
		}
	}
}

func TestFilesNeedTheConstants(t *testing.T) {
	if _, err := Files(t.TempDir()); err == nil || !strings.Contains(err.Error(), "constants.go") {
		t.Error(err)
	}
}
