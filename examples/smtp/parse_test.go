package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"<a@b>": "a@b", "<>": "", "<a.b+c@sub.example.com>": "a.b+c@sub.example.com", "<postMaster>": "postMaster",
		`<"a b"@c>`: `"a b"@c`, `<"a\"b>"@c>`: `"a\"b>"@c`, "<a@[192.0.2.1]>": "a@[192.0.2.1]", "<a@[IPv6:2001:db8::1]>": "a@[IPv6:2001:db8::1]",
		"<@one,@two.example:a@b>": "a@b", "<!#$%&'*+-/=?^_`{|}~@b>": "!#$%&'*+-/=?^_`{|}~@b",
		"<" + strings.Repeat("l", 64) + "@b>": strings.Repeat("l", 64) + "@b",
	} {
		if got, p, ok := parsePath(path + " SIZE=1  BODY=7BIT "); !ok || got != want || !slices.Equal(p, []string{"SIZE=1", "BODY=7BIT"}) {
			t.Errorf("%s: %q, %q, %v", path, got, p, ok)
		}
	}
	for _, path := range []string{
		"", "a@b", "<a@b", "a@b>", "<a>", "<@b>", "<a@>", "<a@b>>", "<<a@b>", "<a@@b>", "<a b@c>", "<.a@b>", "<a.@b>", "<a..b@c>", "<a@b.>", "<a@.b>", "<a@-b>", "<a@b->",
		"<a@b_c>", `<"a@b>`, `<""@b>`, `<"a"b@c>`, `<"a\`, "<a@[]>", "<a@[1.2.3.4>", "<a@[a[b]>", "<@:a@b>", "<@a;a@b>", "<@a,b:a@b>", "<@a:>", "< a@b>", "<a@b >", "<a@b>SIZE=1",
		"<" + strings.Repeat("l", 65) + "@b>", "<a@" + strings.Repeat("d.", 130) + "d>", "<a@" + strings.Repeat("d", 64) + ">", "<a@[" + strings.Repeat("1", 64) + "]>",
	} {
		if got, _, ok := parsePath(path); ok {
			t.Errorf("%q is taken for %q", path, got)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Fuzz(func(t *testing.T, line []byte) {
		verb, argument, ok := parseCommand(line)
		if !ok {
			return
		}
		if len(verb)+len(argument) > len(line) || strings.ContainsAny(verb+argument, "\x00\r\n\t") {
			t.Errorf("%q is %q, %q", line, verb, argument)
		}
		mailbox, parameters, ok := parsePath(argument)
		if !ok {
			return
		}
		if again, more, ok := parsePath("<" + mailbox + ">"); !ok || again != mailbox || len(more) > 0 {
			t.Errorf("%q is not taken for itself but for %q", mailbox, again)
		}
		if len(mailbox) > 254 || !strings.Contains(argument, mailbox) {
			t.Errorf("%q is %q", argument, mailbox)
		}
		for _, p := range parameters {
			if p == "" || strings.Contains(p, " ") {
				t.Errorf("%q has a parameter %q", argument, p)
			}
		}
	})
}

// model reads a message the simple way, with all of it at hand.
func model(text string) (message string, n int, fault bool) {
	for rest := text; ; {
		line, more, ok := strings.Cut(rest, "\r\n")
		if !ok {
			return "", 0, false
		}
		rest = more
		if line == "." {
			return message, len(text) - len(rest), fault || strings.ContainsAny(strings.ReplaceAll(message, "\r\n", ""), "\r\n")
		}
		line = strings.TrimPrefix(line, ".")
		message += line + "\r\n"
	}
}

func TestBodies(t *testing.T) {
	for _, text := range []string{
		".\r\n", "a\r\n.\r\n", "..\r\n.\r\n", ".a\r\n.\r\n", "\r\n.\r\n", "a\r\n..b\r\n.\r\nrest", strings.Repeat("x", 998) + "\r\n.\r\n", "." + strings.Repeat("x", 998) + "\r\n.\r\n",
		strings.Repeat("x", 999) + "\r\n.\r\n", strings.Repeat("y\r\n", 600) + ".\r\n", "a\n.\r\n.\r\n", "a\r.\r\n.\r\n", "a\r\n.\r.\r\n.\r\n", "a\r\r\n.\r\n", "a\r\n.\n.\r\n.\r\n", "a\n.\nb\r\n.\r\n",
		".\r\r\n.\r\n", ".\rx\r\n.\r\n", "a\r\n.\r", "a\r\n.", "a\r", "",
	} {
		checkBody(t, text)
	}
}

// checkBody wants the same of a text in pieces of every length, and as of the model.
func checkBody(t *testing.T, text string) {
	t.Helper()
	const limit = 1500
	want, length, faulty := model(text)
	for _, chunk := range []int{1, 2, 3, max(1, len(text))} {
		b, read, done := newBody(limit), 0, false
		for read < len(text) && !done {
			var n int
			n, done = b.take([]byte(text[read:min(len(text), read+chunk)]))
			read += n
		}
		switch {
		case done != (length > 0), done && read != length:
			t.Errorf("%q in pieces of %d: %d bytes, done %v; want %d", text, chunk, read, done, length)
		case !done:
		case b.size != int64(len(want)):
			t.Errorf("%q in pieces of %d: %d bytes, want %d", text, chunk, b.size, len(want))
		case (b.fault != noFault) != (faulty || len(want) > limit):
			t.Errorf("%q in pieces of %d: the fault is %q", text, chunk, b.fault)
		case b.fault == noFault && fmt.Sprintf("%x", b.sum.Sum(nil)) != fmt.Sprintf("%x", sha256.Sum256([]byte(want))):
			t.Errorf("%q in pieces of %d: not the hash of %q", text, chunk, want)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1<<14 {
			checkBody(t, text)
		}
	})
}
