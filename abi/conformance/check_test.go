package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSentences(t *testing.T) {
	t.Parallel()
	const page = "<!-- a note. -->\n# The ABI\n\nOne sentence\nin two lines. Another; it goes on: here. `x` is the third.\n\n" +
		"```c\nmust not be seen.\n```\n\n- An item, which must be.\n- Another\n\n### send\n\n| a | must |\n|---|---|\n\nErrors: INVALID.\n"
	want := []Sentence{
		{Text: "One sentence in two lines.", Heading: "The ABI", Anchor: "the-abi"},
		{Text: "Another; it goes on: here.", Heading: "The ABI", Anchor: "the-abi"},
		{Text: "`x` is the third.", Heading: "The ABI", Anchor: "the-abi"},
		{Text: "An item, which must be.", Heading: "The ABI", Anchor: "the-abi"},
		{Text: "Another", Heading: "The ABI", Anchor: "the-abi"},
		{Text: "| a | must |", Heading: "send", Anchor: "send", Row: true},
		{Text: "|---|---|", Heading: "send", Anchor: "send", Row: true},
	}
	if got := Sentences(page); !slices.Equal(got, want) {
		t.Errorf("the sentences are %+v", got)
	}
	var bind []string
	for _, s := range want {
		if s.Binds() {
			bind = append(bind, s.Text)
		}
	}
	if !slices.Equal(bind, []string{"An item, which must be.", "| a | must |"}) {
		t.Errorf("these bind: %q", bind)
	}
}

// Whatever is wrong with the table is found.
func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	sources := fstest.MapFS{}
	for _, c := range append(slices.Clone(Cases), Case{In: "abi/ABI.md"}) {
		text, err := os.ReadFile("../../" + c.In)
		if err != nil {
			t.Fatal(err)
		}
		sources[c.In] = &fstest.MapFile{Data: text}
	}
	if faults := Check(sources); len(faults) != 0 {
		t.Fatalf("it begins with %q", faults)
	}
	for _, c := range []struct{ file, from, to, want string }{
		{"abi/ABI.md", "## Receiving\n", "## Receiving\n\nA guest must be quick.\n", "no case shows this sentence of abi/ABI.md#receiving; add one to abi/conformance/cases.go, or name it in a row there: A guest must be quick."},
		{"abi/ABI.md", "A close cannot be undone.", "A close can be undone.", `"shutdownMicroprocess" of abi/conformance/host.talk shows a sentence that abi/ABI.md has not, or not any more: A close cannot be undone.`},
		{hostTalk, "== timers\n", "== other timers\n", `abi/conformance/host.talk has nothing called "timers"`},
		{hostTalk, "== timers\n", "== other timers\n", `"other timers" of abi/conformance/host.talk has no row`},
		{limitsTest, "func TestNoRoomAtAll", "func TestRoom", limitsTest + ` has nothing called "TestNoRoomAtAll"`},
		{limitsTest, "func filled", "func TestFilled", `"TestFilled" of ` + limitsTest + " has no row"},
	} {
		before := sources[c.file].Data
		changed := strings.Replace(string(before), c.from, c.to, 1)
		if changed == string(before) {
			t.Fatalf("%s has no %q", c.file, c.from)
		}
		sources[c.file].Data = []byte(changed)
		found := slices.ContainsFunc(Check(sources), func(err error) bool { return strings.HasPrefix(err.Error(), c.want) })
		if !found {
			t.Errorf("with %q in %s it finds %q, not %q", c.to, c.file, Check(sources), c.want)
		}
		sources[c.file].Data = before
	}
}
