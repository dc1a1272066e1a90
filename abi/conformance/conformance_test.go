package conformance

import (
	"flag"
	"os"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
	"bulkhead/internal/talk"
)

// guest is the kit's own.
const guest = "guest/guest.wasm"

// conversations plays the conversations of a file in one way.
func conversations(t *testing.T, file string, h play.Handler, way play.Variant) {
	t.Helper()
	t.Parallel()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := talk.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range f.Cases {
		t.Run(one.Name, func(t *testing.T) {
			t.Parallel()
			converse(t, file, h, one, way)
		})
	}
}

// converse wants a conversation to go as it is written.
func converse(t *testing.T, file string, h play.Handler, one *talk.Case, way play.Variant) {
	t.Helper()
	h.State, h.Engines = hosttest.State(), hosttest.Engines
	r, err := play.Play(t.Context(), h, one, way)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Failure; f != nil {
		t.Errorf("%s:%d: %s: want %.200q, got %.200q\n%s", file, f.Line, f.What, f.Want, f.Got, strings.Join(r.Log, "\n"))
	}
}

// says has a conversation that is written here go so.
func says(t *testing.T, h play.Handler, lines string) {
	t.Helper()
	f, err := talk.Parse("it", []byte("eol lf\n== "+t.Name()+"\n"+lines))
	if err != nil {
		t.Fatal(err)
	}
	converse(t, "it", h, f.Cases[0], play.Written)
}

func TestHost(t *testing.T) {
	conversations(t, hostTalk, play.Handler{Plugin: guest, Instance: "listener"}, play.Written)
}

func TestHostWithShortSends(t *testing.T) {
	conversations(t, shortTalk, play.Handler{Plugin: guest, Instance: "listener"}, play.ShortSends)
}

func TestCopies(t *testing.T) {
	conversations(t, copiesTalk, play.Handler{Plugin: guest}, play.Written)
}

var update = flag.Bool("update", false, "write the table of docs/CONFORMANCE.md anew")

// The page has the table; the test of the root holds it to that.
func TestPage(t *testing.T) {
	page, fresh, err := CheckPage(os.DirFS("../.."))
	switch {
	case err != nil:
		t.Error(err)
	case *update:
		if err := os.WriteFile("../../docs/CONFORMANCE.md", []byte(page), 0o644); err != nil {
			t.Error(err)
		}
	case !fresh:
		t.Error("docs/CONFORMANCE.md has not the cases as they are; -update writes them")
	}
}
