package enginetest

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// SameNames checks that what editors are told of has the names that the engine has, in any order.
func SameNames(t *testing.T, what string, declared, has []string) {
	t.Helper()
	declared, has = slices.Compact(slices.Sorted(slices.Values(declared))), slices.Compact(slices.Sorted(slices.Values(has)))
	if len(has) == 0 || !slices.Equal(declared, has) {
		t.Errorf("%s: editors are told of\n%q, and the engine has\n%q", what, declared, has)
	}
}

// Names are what the first group of a pattern has matched in a text.
func Names(pattern, text string) (names []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// Part is what is between two marks of a text; it fails the test if they are not there.
func Part(t *testing.T, text, from, to string) string {
	t.Helper()
	m := regexp.MustCompile(`(?s)` + from + `(.*?)` + to).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing is between %q and %q", from, to)
	}
	return m[1]
}

// Source is the text of a file.
func Source(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Codes are the names of the codes by which operations and connections end, as engines know them.
func Codes(t *testing.T) []string {
	t.Helper()
	return Names(`"([A-Z_]+)"`, Part(t, Source(t, "../guest/link.c"), `codes\[\] = \{`, `\};`))
}
