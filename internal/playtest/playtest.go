// Package playtest has tests of handlers build them, and play conversations with them.
package playtest

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	"bulkhead/internal/toolchain"
)

// Build makes a module of the project in a folder, and writes it to plugin. Nothing may be said
// meanwhile. A test whose compiler this machine has not is skipped; CI installs them. It returns
// what the module would be called.
func Build(t *testing.T, folder, plugin string) (name string) {
	t.Helper()
	source, err := toolchain.Find(folder)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	module, err := source.Build(t.Context(), &said)
	if missing := (*toolchain.Missing)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil || said.Len() > 0 {
		t.Fatalf("%v\n%s", err, &said)
	}
	if err := os.WriteFile(plugin, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return source.Name()
}

var everyWay = flag.Bool("every-way", false, "play conversations in all ways, and not only as they are written and with short sends")

// Plays wants all conversations of a text, of which there is one at least, to go as they are
// written, also with short sends, and with -every-way in all ways that suit each. Name is the
// text's, for failures.
func Plays(t *testing.T, plugin, name string, text []byte) {
	t.Helper()
	inWays(t, *everyWay, play.Handler{Plugin: plugin}, name, text, func(r *play.Report) bool {
		if f := r.Failure; f != nil {
			t.Errorf("%s, %s: %s:%d: %s: want %.100q (%d bytes), got %.100q (%d)\n%s", r.Case.Name, r.Variant.Name, name, f.Line, f.What, f.Want, len(f.Want), f.Got, len(f.Got), strings.Join(r.Log, "\n"))
		}
		return true
	})
}

// FirstFailure plays the conversations of a text in all ways, with instances of a kind, up to the
// first that goes otherwise than it is written, and returns that; nil: none does.
func FirstFailure(t *testing.T, plugin, instance, name string, text []byte) (failed *play.Report) {
	t.Helper()
	inWays(t, true, play.Handler{Plugin: plugin, Instance: instance}, name, text, func(r *play.Report) bool {
		if r.Failure != nil {
			failed = r
		}
		return failed == nil
	})
	return failed
}

// inWays plays all conversations of a text in all ways, or in the two of Plays, as long as each
// report has it go on.
func inWays(t *testing.T, all bool, h play.Handler, name string, text []byte, goOn func(r *play.Report) bool) {
	t.Helper()
	f, err := talk.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) == 0 {
		t.Fatal("there is no conversation")
	}
	h.State, h.Engines = hosttest.State(), hosttest.Engines
	for _, one := range f.Cases {
		for _, v := range play.Variants(1) {
			if !v.Suits(h, one) || !all && v.Name != play.Written.Name && v.Name != play.ShortSends.Name {
				continue
			}
			r, err := play.Play(t.Context(), h, one, v)
			if err != nil {
				t.Fatal(err)
			}
			if !goOn(r) {
				return
			}
		}
	}
}
