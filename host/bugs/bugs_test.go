package bugs

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// caughtHere is the value and the stack of a panic of this function.
func caughtHere() (value any, stack string) {
	defer func() { value, stack = recover(), string(debug.Stack()) }()
	panic("as bugs are")
}

// Every bug is counted and logged with its place; only the first of a place has its stack in the
// log.
func TestABugIsLoggedWithItsStackOnce(t *testing.T) {
	var log bytes.Buffer
	b := New(slog.New(slog.NewTextHandler(&log, nil)), &selector.Manual{})
	for range 3 {
		value, stack := caughtHere()
		b.Count("it is over", value, stack, "listener", "echo")
	}
	text := log.String()
	if n := b.Caught(); n != 3 {
		t.Errorf("%d are counted", n)
	}
	if n := strings.Count(text, "at=bulkhead/host/bugs.caughtHere"); n != 3 {
		t.Errorf("%d lines have the place:\n%s", n, text)
	}
	if n := strings.Count(text, " stack="); n != 1 {
		t.Errorf("%d lines have the stack:\n%s", n, text)
	}
	for _, want := range []string{"a bug in the host: it is over; please report it", `panic="as bugs are"`, "listener=echo"} {
		if strings.Count(text, want) != 3 {
			t.Errorf("not every line says %q:\n%s", want, text)
		}
	}
}

// So many places are known that the list does not grow for ever; bugs of others are logged with
// their stack each time.
func TestPlacesAreBounded(t *testing.T) {
	var log bytes.Buffer
	b := New(slog.New(slog.NewTextHandler(&log, nil)), &selector.Manual{})
	for range 2 {
		for i := range mostPlaces + 1 {
			b.Count("it is over", "x", strings.Repeat("a", i+1))
		}
	}
	if len(b.places) != mostPlaces {
		t.Errorf("%d places are known", len(b.places))
	}
	if n := strings.Count(log.String(), " stack="); n != mostPlaces+2 {
		t.Errorf("%d lines have a stack", n)
	}
}

// A host goes on after mostFaults of its loops in a minute, and not after one more; a minute later
// it begins to count anew.
func TestTooManyFaultsInAMinute(t *testing.T) {
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	var log bytes.Buffer
	b := New(slog.New(slog.NewTextHandler(&log, nil)), clock)
	fault := &csa.Fault{Fault: &selector.Fault{Value: "x", Stack: []byte("at a place")}}
	for round := range 2 {
		for i := range mostFaults {
			if !b.Fault(fault, []any{"listener", "echo"}) {
				t.Fatalf("round %d: the host ends at fault %d", round, i+1)
			}
		}
		clock.Advance(2 * time.Minute)
	}
	for i := range mostFaults + 1 {
		if on := b.Fault(fault, nil); on != (i < mostFaults) {
			t.Fatalf("fault %d: the host goes on: %v", i+1, on)
		}
	}
	if text := log.String(); !strings.Contains(text, "the process ends, since there were more than 1000 in a minute") || !strings.Contains(text, "listener=echo") {
		t.Error("the log does not say why the process ends, or whose event it was")
	}
}

// The fault of a function that a guest has called says whose the guest is, and what it called.
func TestABugInAGuestsCall(t *testing.T) {
	var log bytes.Buffer
	b := New(slog.New(slog.NewTextHandler(&log, nil)), &selector.Manual{})
	b.Trap(&plugins.Listener{Name: "echo", Tenant: "acme"}, &plugins.Trap{Call: "csa_data", Err: errors.New("it broke\ngoroutine 1\n")})
	text := log.String()
	for _, want := range []string{"a handler's instance is closed by it", `panic="it broke"`, "listener=echo", "tenant=acme", "call=csa_data", "goroutine 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if b.Caught() != 1 {
		t.Errorf("%d are counted", b.Caught())
	}
}
