package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime/debug"
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

// bugs are the host's own faults that were caught: panics in an event of a loop, on a
// goroutine beside the loops, or in a function that a guest has called. Any goroutine may use it.
type bugs struct {
	log   *slog.Logger
	clock selector.Clock

	mu     sync.Mutex
	caught int64
	places map[string]bool // whose stack was logged
	since  int64           // the beginning of the window
	faults int             // of loops, in the window
}

func newBugs(log *slog.Logger, clock selector.Clock) *bugs {
	return &bugs{log: log, clock: clock, places: make(map[string]bool)}
}

// number is how many were caught.
func (b *bugs) number() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.caught
}

// count counts a bug and logs it: with the stack if it is the first of its place.
func (b *bugs) count(what string, value any, stack string, args ...any) {
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

// fault is csa.Loop.OnFault's.
func (b *bugs) fault(f *csa.Fault) bool {
	now := b.clock.Now()
	b.mu.Lock()
	if now-b.since > faultWindow {
		b.since, b.faults = now, 0
	}
	b.faults++
	tooMany := b.faults > mostFaults
	b.mu.Unlock()
	what := "an event was given up"
	var args []any
	if s := serverAt(f); s != nil {
		args = append(args, "listener", s.config.Name, "tenant", s.config.Tenant)
	} else if i, ok := f.Serving.(*plugins.Instance); ok {
		args = append(args, "listener", i.Listener().Name, "tenant", i.Listener().Tenant)
	}
	if f.Conn != nil {
		what = "a connection is closed by it"
		args = append(args, "peer", f.Conn.Peer())
	}
	if f.Told != nil {
		args = append(args, "event", fmt.Sprintf("%T", f.Told))
	}
	if tooMany {
		what = fmt.Sprintf("the process ends, since there were more than %d in a minute", mostFaults)
	}
	b.count(what, f.Value, string(f.Stack), args...)
	return !tooMany
}

// serverAt is whose event ran.
func serverAt(f *csa.Fault) *server {
	if f.Conn != nil {
		if s := serverOf(f.Conn); s != nil {
			return s
		}
	}
	switch told := f.Told.(type) {
	case *acceptor:
		return told.s
	case *csa.DatagramSocket:
		if p, ok := told.Owner().(*peers); ok {
			return p.s
		}
	}
	return nil
}

// trap is plugins.RuntimeOptions.OnBug's.
func (b *bugs) trap(l *plugins.Listener, t *plugins.Trap) {
	text := t.Err.Error()
	value, stack, _ := strings.Cut(text, "\n")
	b.count("a handler's instance is closed by it", value, stack, "listener", l.Name, "tenant", l.Tenant, "call", t.Call)
}

// Guard is deferred on a goroutine beside the loops: it makes a panic an error.
func (s *server) Guard(doing string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	*err = fmt.Errorf("%s: a bug in the host: %v", doing, v)
	s.host.bugs.count(doing+" is given up", v, string(bytes.TrimSpace(debug.Stack())), "listener", s.config.Name, "tenant", s.config.Tenant)
}
