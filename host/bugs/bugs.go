// Package bugs counts and logs the host's own faults that were caught, and says when there are too
// many of them to go on.
package bugs

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins"
	"bulkhead/selector"
)

const (
	// mostFaults is how many panics of its loops a host survives in faultWindow. A fault of one
	// connection, or of what one tenant does, is over with that; of so many it cannot be said.
	mostFaults  = 1000
	faultWindow = int64(time.Minute)
	// mostPlaces is how many places of panics are known to be logged with their stack.
	mostPlaces = 64
)

// Bugs are the host's own faults that were caught: panics in an event of a loop, on a
// goroutine beside the loops, or in a function that a guest has called. Any goroutine may use it.
type Bugs struct {
	log   *slog.Logger
	clock selector.Clock

	mu     sync.Mutex
	caught int64
	places map[string]bool // whose stack was logged
	since  int64           // the beginning of the window
	faults int             // of loops, in the window
}

// New makes one that has caught none. clock is what the number of faults a minute goes by.
func New(log *slog.Logger, clock selector.Clock) *Bugs {
	return &Bugs{log: log, clock: clock, places: make(map[string]bool)}
}

// Caught is how many were caught.
func (b *Bugs) Caught() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.caught
}

// Count counts a bug and logs it: with the stack if it is the first of its place. what says what
// the host does about it, value and stack are the panic's, and args say whose it is, for the log.
func (b *Bugs) Count(what string, value any, stack string, args ...any) {
	at := place(stack)
	b.mu.Lock()
	b.caught++
	known := b.places[at]
	if !known && len(b.places) < mostPlaces {
		b.places[at] = true
	}
	b.mu.Unlock()
	args = append([]any{"panic", fmt.Sprint(value), "at", at}, args...)
	if !known {
		args = append(args, "stack", stack)
	}
	b.log.Error("a bug in the host: "+what+"; please report it", args...)
}

// place is where a panic came from: the first function of ours below it.
func place(stack string) string {
	_, below, _ := strings.Cut(stack, "\npanic(")
	for line := range strings.SplitSeq(below, "\n") {
		if strings.HasPrefix(line, "bulkhead/") {
			name, _, _ := strings.Cut(line, "(0x")
			return strings.TrimSuffix(name, "(...)")
		}
	}
	first, _, _ := strings.Cut(stack, "\n")
	return first
}

// Fault counts a panic in an event of a loop, and reports whether to go on, as csa.Loop.OnFault
// wants it: not after more than mostFaults in a minute. of says whose event it was, for the log;
// nil: that is not known, and the instance that was served says it, if there is one.
func (b *Bugs) Fault(f *csa.Fault, of []any) bool {
	now := b.clock.Now()
	b.mu.Lock()
	if now-b.since > faultWindow {
		b.since, b.faults = now, 0
	}
	b.faults++
	tooMany := b.faults > mostFaults
	b.mu.Unlock()
	what := "an event was given up"
	args := slices.Clone(of)
	if i, ok := f.Serving.(*plugins.Instance); ok && of == nil {
		args = append(args, "listener", i.Listener().Name, "tenant", i.Listener().Tenant)
	}
	if f.Conn != nil {
		what = "a connection is closed by it"
		args = append(args, "connection", f.Conn.Number(), "peer", f.Conn.Peer())
	}
	if f.Notified != nil {
		args = append(args, "event", fmt.Sprintf("%T", f.Notified))
	}
	if tooMany {
		what = fmt.Sprintf("the process ends, since there were more than %d in a minute", mostFaults)
	}
	b.Count(what, f.Value, string(f.Stack), args...)
	return !tooMany
}

// Trap counts a bug that has closed a guest's instance, as plugins.RuntimeOptions.OnBug wants it.
func (b *Bugs) Trap(l *plugins.Listener, t *plugins.Trap) {
	text := t.Err.Error()
	value, stack, _ := strings.Cut(text, "\n")
	of := []any{"listener", l.Name, "tenant", l.Tenant, "call", t.Call}
	if t.Connection != 0 {
		of = append(of, "connection", t.Connection, "peer", t.Peer)
	}
	b.Count("a handler's instance is closed by it", value, stack, of...)
}
