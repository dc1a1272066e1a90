package play

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/talk"
)

// A handler that does what it may not do is found by a few mutants of a conversation that goes
// well, and what is left of the mutant fails as a conversation.
func TestFuzzFindsFaults(t *testing.T) {
	for _, c := range []struct {
		name, handler, text string
		what, line          string // what is found, and a line of the conversation
	}{
		{"an error that is not caught", `export default { line(c, t) { c.send(({PING: "PONG"}[t]).toLowerCase() + "\r\n") } };`,
			"== a\n> PING\n< pong\n", "its handler met an error that it does not catch", "closed OK"},
		{"a frame that is left in the window until it is whole", `
export default { data(c, b) {
	let at = 0;
	for (let n; b.length >= at + 2 && b.length >= (n = at + 2 + (b[at] << 8 | b[at + 1])); at = n) c.send(b.subarray(at, n));
	return at;
} };`, "== a\n> x 00 01 61 00 02 62 63\n< x 00 01 61 00 02 62 63\n", "", ""},
		{"an answer that depends on where an event ends", `export default { data(c, b) { c.send(text(b).includes("!!") ? "two\n" : "-\n") } };`,
			"eol lf\n== a\n> \"a\"\n< -\n> \"b\"\n< -\n", "the handler answers otherwise", "< "},
		{"what is refused on purpose", `export default { line(c, t) { if (t !== "PING") throw new Error("it is no PING"); c.send("PONG\r\n") } };`,
			"== a\n> PING\n< PONG\n> what\nclosed INVALID\n", "", ""},
		{"what is right", `export default { line(c, t) { c.send(t.toUpperCase() + "\r\n") }, eof(c) { c.close() } };`,
			"== a\n> hello\n< HELLO\nwait 1s\n> you\n< YOU\n>EOF\n<EOF\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := script(t, c.handler)
			h.State = hosttest.State()
			f := parsed(t, c.text)
			z, err := NewFuzzer(context.Background(), h, []*talk.Case{f}, 1)
			if err != nil {
				t.Fatal(err)
			}
			most := uint64(60)
			if c.what == "" {
				most = 3
			}
			var found *Fault
			for n := uint64(0); n < most && found == nil; n++ {
				if found, err = z.Try(context.Background(), n); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case c.what == "" && found != nil:
				t.Fatalf("mutant %d: %s\n%s", found.Number, found.What, found.Conversation())
			case c.what == "":
				return
			case found == nil:
				t.Fatalf("%d mutants find nothing", most)
			case !strings.Contains(found.What, c.what) || !strings.Contains(found.Conversation(), "\n"+c.line):
				t.Fatalf("mutant %d: %s\n%s", found.Number, found.What, found.Conversation())
			}
			t.Logf("mutant %d: %s\n%s", found.Number, found.What, found.Conversation())
			again, err := z.Try(context.Background(), found.Number)
			if err != nil || again == nil || again.Conversation() != found.Conversation() {
				t.Errorf("once more: %v, %+v", err, again)
			}
			failed := false
			for _, r := range reports(t, h, found.Conversation(), Variants(1)[:3]...) {
				failed = failed || r.Failure != nil
			}
			if !failed {
				t.Errorf("it goes well as a conversation:\n%s", found.Conversation())
			}
		})
	}
}

// Mutants are the same for the same seed, leave what they are made of alone, and keep their bounds.
func TestMutants(t *testing.T) {
	all := []sent{
		{bytes: []byte("hello, a little text\r\n")}, {party: "b", bytes: []byte{0, 3, 1, 2, 3}},
		{other: &talk.Step{Kind: talk.Wait, Wait: 1}}, {bytes: []byte("x")}, {other: &talk.Step{Kind: talk.SendEOF}},
	}
	before := strings.Clone(string(all[0].bytes)) + string(all[1].bytes)
	differ := 0
	for n := range uint64(3000) {
		a, b := mutant(all, rand.New(rand.NewPCG(1, n))), mutant(all, rand.New(rand.NewPCG(1, n)))
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("mutant %d is not the same twice", n)
		}
		if !reflect.DeepEqual(a, all) {
			differ++
		}
		if size := total(a); size > mostMutated+64 {
			t.Fatalf("mutant %d has %d bytes", n, size)
		}
	}
	if string(all[0].bytes)+string(all[1].bytes) != before || len(all) != 5 {
		t.Error("what mutants are made of has changed")
	}
	if differ < 2700 {
		t.Errorf("only %d of 3000 mutants differ from what they are made of", differ)
	}
}

// What cannot be mutated is told apart.
func TestFuzzable(t *testing.T) {
	for text, want := range map[string]bool{
		"> a\n< b\n": true, "< a\n": false, "> a\nsecured\n> b\n": false, "> a\ndial tcp://x:1 as x\nx> b\n": false, "b> a\n": true,
	} {
		if got := fuzzable(parsed(t, "== a\n"+text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
