package play

import (
	"context"
	"io"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/talk"
)

// updated is the text of a conversation after Update, and the failure.
func updated(t *testing.T, h Handler, text string) (string, *Failure) {
	t.Helper()
	h.State = hosttest.State()
	r, edits, err := Update(context.Background(), h, parsed(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(edits.Apply([]byte(text))); (got != text) != edits.Any() {
		t.Errorf("of %q there are edits: %v, and it became %q", text, edits.Any(), got)
	}
	return string(edits.Apply([]byte(text))), r.Failure
}

func TestUpdate(t *testing.T) {
	h := script(t, `
export default {
  open(c) { c.send("hello\r\n") },
  line(c, t) {
    if (t === "many") c.send("one\r\ntwo\r\nthree\r\nfour\r\n");
    else if (t === "bytes") c.send(new Uint8Array([0, 1, 255, 13, 10]));
    else if (t === "quit") { c.send("bye\r\n"); c.close() }
    else if (t === "part") c.send("no end");
    else { count("lines"); c.send("you say " + t + "\r\n") }
  },
};`)
	for _, c := range []struct{ text, want string }{
		// What holds stays as it is.
		{"# about\n\n== a\n< hello\n# why\n> x\n< ~ you .* (?P<w>.)\n> ${w}\n< you say ${w}\n", ""},
		// What differs is replaced, where it stands.
		{"== a\n< hello\n> x\n# why\n< me say x\n\n> y\n", "== a\n< hello\n> x\n# why\n< you say x\n\n> y\n< you say y\n"},
		// Lines that match stay among others.
		{"== a\n< hello\n> many\n< one\n< 2\n< ~ th.*\n< fo\n", "== a\n< hello\n> many\n< one\n< two\n< ~ th.*\n< four\n"},
		{"== a\n< hello\n> many\n< four\n", "== a\n< hello\n> many\n< one\n< two\n< three\n< four\n"},
		{"== a\n> many\n< one\n< two\n< three\n< four\n< five\n", "== a\n> many\n< hello\n< one\n< two\n< three\n< four\n"},
		// Nothing comes, and more than expected.
		{"== a\n", "== a\n< hello\n"},
		{"== a\n< hello\n> part\n< no\n", "== a\n< hello\n> part\n< \"no end\"\n"},
		{"== a\n< hello\n> bytes\n< x 00 ?? fe 0d 0a\n", "== a\n< hello\n> bytes\n< x 00 01 ff 0d 0a\n"},
		{"== a\n< hello\n> bytes\n< x 00 ?? ff\n< x 0d 0a\n", ""},
		// A line that belongs to a later block stays there.
		{"== a\n< hello\n> many\n< one\ncount lines 0\n< two\n< three\n< four\n", ""},
		// The end, codes, counts and budgets.
		{"== a\n< hello\n> quit\n<EOF\nclosed INVALID\n", "== a\n< hello\n> quit\n< bye\n<EOF\nclosed OK\n"},
		{"== a\n< hello\n> x\n< you say x\n<EOF\ncount lines 3\nclosed OK\n", "== a\n< hello\n> x\n< you say x\ncount lines 1\n"},
		{"== a\n< hello\n> quit\n< bye\n<RST\n", "== a\n< hello\n> quit\n< bye\n<EOF\n"},
		// Each of two clients has its own.
		{"== a\n< hello\n> x\nb> y\nb< hi\nb< you say y\n< you say z\n", "== a\n< hello\n> x\nb> y\nb< hello\nb< you say y\n< you say x\n"},
		// The file's line endings stay.
		{"== a\r\n< hi\r\n", "== a\r\n< hello\r\n"},
		{"== a\n< hi", "== a\n< hello\n"},
	} {
		got, failure := updated(t, h, c.text)
		if c.want == "" {
			c.want = c.text
		}
		if failure != nil || got != c.want {
			t.Errorf("%q:\n got %q\nwant %q\n%+v", c.text, got, c.want, failure)
		}
		wellPlayed(t, h, got, Written)
	}
	got, failure := updated(t, h, "== a\n< hello\n> x\n< you say x\nfuel < 1\n")
	if failure != nil || !strings.Contains(got, "\nfuel < ") || strings.Contains(got, "< 1\n") {
		t.Errorf("the budget became %q, %+v", got, failure)
	}
	wellPlayed(t, h, got, Written)
	// What no other expectation puts right.
	for text, want := range map[string]string{
		"== a\n< hello\n> x\n< ~ me (?P<w>.*)\n> ${w}\n": "nothing that has come matches this pattern, and it captures ${w}",
		"== a\n< hello\nlog no such\n":                   "no line of the log has",
		"== a\n< hello\ndial tcp://x:1 as x\n":           "the handler has not dialled",
	} {
		if got, failure := updated(t, h, text); failure == nil || !strings.HasPrefix(failure.What, want) || got != text {
			t.Errorf("%q: %+v, and the text is %q", text, failure, got)
		}
	}
}

// A session becomes a conversation, which goes as written in all ways.
func TestRecording(t *testing.T) {
	for _, c := range []struct {
		name, script string
		sent         []string
		want         string
	}{
		{"greeting, lines, the end", `
export default {
  open(c) { c.send("hello\n") },
  line(c, t) { c.send("you say " + t + "\n") },
  eof(c) { c.send("bye\n"); c.close() },
};`, []string{"x\n", "y\n"}, "== s\neol lf\n< hello\n> x\n< you say x\n\n> y\n< you say y\n>EOF\n< bye\n<EOF\n"},
		{"the handler ends it", `
export default { line(c, t) { c.send("bye\r\n"); c.close() } };`,
			[]string{"x\r\n"}, "== s\neol crlf\n> x\n< bye\n<EOF\n"},
		{"it dials", dialler, []string{"tcp://db:1\r\n"},
			"== s\neol crlf\n> tcp://db:1\n< no: dial: REFUSED\ndial tcp://db:1 refused\n>EOF\n<EOF\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := script(t, c.script)
			h.State = hosttest.State()
			r := &Recording{}
			in, to := io.Pipe()
			go func() {
				for _, one := range c.sent {
					_, _ = to.Write([]byte(one))
				}
				to.Close()
			}()
			if err := Interactive(context.Background(), h, in, io.Discard, io.Discard, r); err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			r.steps = withoutWaits(r.steps) // of a slow machine
			r.mu.Unlock()
			got, err := r.Conversation(context.Background(), h, "s")
			if err != nil || !strings.HasPrefix(got, c.want) {
				t.Fatalf("the conversation is\n%s\nwant\n%s\n%v", got, c.want, err)
			}
			wellPlayed(t, h, got, few...)
		})
	}
}

func withoutWaits(steps []recorded) (rest []recorded) {
	for _, s := range steps {
		if s.wait == 0 {
			rest = append(rest, s)
		}
	}
	return rest
}

// Time that goes by before the handler says something by itself is a wait.
func TestRecordingWaits(t *testing.T) {
	h := script(t, `
export default { open(c) { c.timer(1, 1500) }, timer(c) { c.send("tick\n"); c.close() } };`)
	h.State = hosttest.State()
	r := &Recording{steps: []recorded{{wait: 2e9}}}
	got, err := r.Conversation(context.Background(), h, "s")
	if want := "== s\neol lf\nwait 2s\n< tick\n<EOF\n"; err != nil || got != want {
		t.Fatalf("the conversation is %q, want %q, %v", got, want, err)
	}
	if _, err := talk.Parse("s", []byte(got)); err != nil {
		t.Fatal(err)
	}
}
