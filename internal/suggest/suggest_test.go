package suggest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	words := []string{"send", "control", "receive", "csa_writable"}
	for word, want := range map[string]string{
		"sned": "send", "Send": "send", "recieve": "receive", "csa_writeable": "csa_writable", "csawritable": "csa_writable",
		"x": "", "": "", "sending": "", strings.Repeat("send", 20): "",
	} {
		if got := Word(word, words); got != want {
			t.Errorf("Word(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Word("a", nil); got != "" {
		t.Errorf("the nearest of nothing: %q", got)
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}, {"é", "e", 1}} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
