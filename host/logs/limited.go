// Package logs writes lines that clients and handlers can cause at will: a few a second, with text
// of theirs that no terminal obeys.
package logs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/host/budget"
	"bulkhead/selector"
)

// Limited is a log of events that clients or handlers can cause at will: it
// writes a few lines a second and counts the others. How many were left out stands in the
// next line, or in one of its own when there is none for a while. Any goroutine may use it, loops
// also: it waits for nobody but the log below it.
type Limited struct {
	log     *slog.Logger
	about   string // for the line of its own
	rate    *budget.Rate
	clock   selector.Clock
	skipped atomic.Int64 // since the last line
	level   atomic.Int64 // of the last that was skipped
	dropped atomic.Int64 // ever
	armed   atomic.Bool  // tell will be called

	mu    sync.Mutex // held while tell writes; never taken by Event
	ended bool
}

// tellAfter is for how long a number of lines that were left out waits for another line.
const tellAfter = time.Second

// NewLimited makes one of lines about something, so many a second, which must be more than zero. It
// has to be ended when nothing is logged any more.
func NewLimited(log *slog.Logger, about string, perSecond float64, clock selector.Clock) *Limited {
	return &Limited{log: log, about: about, clock: clock, rate: budget.NewRate(perSecond, time.Second)}
}

// SetRate has perSecond lines be written from now on, which is a time of the clock.
func (l *Limited) SetRate(perSecond float64, now int64) { l.rate.SetRate(perSecond, now) }

// Dropped is how many lines were left out, ever.
func (l *Limited) Dropped() int64 { return l.dropped.Load() }

// Event logs one line, with how many were left out before it, or nothing.
func (l *Limited) Event(level slog.Level, what string, args ...any) {
	if l.May(level) {
		l.Write(level, what, args...)
	}
}

// May reports whether a line may be written now, which has to follow with Write, and else counts
// it. It is for who would rather not make a line in vain.
func (l *Limited) May(level slog.Level) bool {
	if !l.log.Enabled(context.Background(), level) {
		return false
	}
	if l.rate.Take(l.clock.Now()) > 0 {
		l.skip(level)
		return false
	}
	return true
}

// skip counts a line that is left out.
func (l *Limited) skip(level slog.Level) {
	l.skipped.Add(1)
	l.dropped.Add(1)
	l.level.Store(int64(level))
	if !l.armed.Swap(true) {
		l.clock.AfterFunc(tellAfter, l.tell)
	}
}

// Write writes a line that May has allowed, with how many were left out before it. It may append
// one attribute to args.
func (l *Limited) Write(level slog.Level, what string, args ...any) {
	if n := l.skipped.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	l.log.Log(context.Background(), level, what, args...)
}

// tell says how many lines were left out, if no line has.
func (l *Limited) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.armed.Store(false)
	l.tellNow()
}

func (l *Limited) tellNow() {
	if l.skipped.Load() > 0 {
		l.Write(slog.Level(l.level.Load()), "more lines came than may be logged: "+l.about)
	}
}

// End says it for the last time.
func (l *Limited) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.tellNow()
	}
}
