package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/host/budget"
	"bulkhead/selector"
)

// limited is a log of events that clients or handlers can cause at will: it
// writes a few lines a second and counts the others. How many were left out stands in the
// next line, or in one of its own when there is none for a while.
type limited struct {
	log     *slog.Logger
	what    string // it is about, for the line of its own
	rate    *budget.Rate
	bytes   *budget.Rate // of lines in quotes; nil: only lines are counted
	clock   selector.Clock
	skipped atomic.Int64 // since the last line
	level   atomic.Int64 // of the last that was skipped
	dropped atomic.Int64 // ever
	armed   atomic.Bool  // tell will be called

	mu    sync.Mutex // held while tell writes; never taken by event
	ended bool
}

const (
	// listenerLines bounds what a listener logs of such events in a second.
	listenerLines = 5
	// tellAfter is for how long a number of lines that were left out waits for another line.
	tellAfter = time.Second
)

// newLimited makes one of lines about something, to be ended when the host is.
func newLimited(log *slog.Logger, what string, perSecond float64, clock selector.Clock) *limited {
	return &limited{log: log, what: what, clock: clock, rate: budget.NewRate(perSecond, time.Second)}
}

// event logs one line, with how many were left out before it, or nothing.
func (l *limited) event(level slog.Level, what string, args ...any) {
	if l.may(level) {
		l.write(level, what, args...)
	}
}

// may reports whether a line may be written now, which is to follow, and else counts it.
func (l *limited) may(level slog.Level) bool {
	if !l.log.Enabled(context.Background(), level) {
		return false
	}
	now := l.clock.Now()
	if l.bytes != nil && l.bytes.Spend(0, now) > 0 || l.rate.Take(now) > 0 {
		l.skipped.Add(1)
		l.dropped.Add(1)
		l.level.Store(int64(level))
		if !l.armed.Swap(true) {
			l.clock.AfterFunc(tellAfter, l.tell)
		}
		return false
	}
	return true
}

func (l *limited) write(level slog.Level, what string, args ...any) {
	if n := l.skipped.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	l.log.Log(context.Background(), level, what, args...)
}

// tell says how many lines were left out, if no line has.
func (l *limited) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.armed.Store(false)
	l.tellNow()
}

func (l *limited) tellNow() {
	if l.skipped.Load() > 0 {
		l.write(slog.Level(l.level.Load()), "more lines came than may be logged: "+l.what)
	}
}

// end says it for the last time.
func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.tellNow()
	}
}
