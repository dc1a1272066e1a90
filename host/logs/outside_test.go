package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var outsideTexts = []string{
	"", "plain words", `{"imei":"358","ok":true}`, "\t/tmp/x.go:3 +0x1f\n", "\x1b[2J\x00\x7f", "a\x7fb", "a\\b\"c",
	"\u009b31m", "right\u202eleft", "line\u2028two", "köln 東京", "\U0001f600 \U000e0001", "bad\xff\xc0utf8", "\xed\xa0\x80",
}

func checkOutside(t *testing.T, s string) {
	t.Helper()
	var text, form bytes.Buffer
	slog.New(slog.NewJSONHandler(&form, nil)).Info("handler says", "text", Outside(s))
	slog.New(slog.NewTextHandler(&text, nil)).Info("handler says", "text", Outside(s))
	var l struct{ Text string }
	if err := json.Unmarshal(form.Bytes(), &l); err != nil || l.Text != strings.ToValidUTF8(s, "\ufffd") && l.Text != string([]rune(s)) {
		t.Errorf("%q is %s in JSON (%v), which reads as %q", s, &form, err, l.Text)
	}
	_, value, _ := strings.Cut(strings.TrimSuffix(text.String(), "\n"), "text=")
	if strings.HasPrefix(value, `"`) {
		back, err := strconv.Unquote(value)
		if value = back; err != nil {
			t.Errorf("%q is %s in text: %v", s, &text, err)
		}
	}
	if value != strings.ReplaceAll(s, "\x7f", "\u2421") {
		t.Errorf("%q is %s in text, which reads as %q", s, &text, value)
	}
	for _, line := range []string{form.String(), text.String()} {
		if strings.Count(line, "\n") != 1 || !utf8.ValidString(line) || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q leaves what a terminal obeys: %q", s, line)
		}
	}
	if have := len(appendJSON(nil, s)); have != quotedSize(s) {
		t.Errorf("%q is %d bytes long in quotes, and is said to be %d", s, have, quotedSize(s))
	}
}

// What a guest says is quoted once, can be read back, and moves no terminal's cursor.
func TestTextFromOutside(t *testing.T) {
	for _, s := range outsideTexts {
		checkOutside(t, s)
	}
}

func FuzzTextFromOutside(f *testing.F) {
	for _, s := range outsideTexts {
		f.Add(s)
	}
	f.Fuzz(checkOutside)
}
