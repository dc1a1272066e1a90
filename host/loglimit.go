package host

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"bulkhead/host/budget"
	"bulkhead/selector"
)

// limited is a log of events that clients or handlers can cause at will: it
// writes a few lines a second and counts the others.
type limited struct {
	log     *slog.Logger
	rate    *budget.Rate
	clock   selector.Clock
	skipped atomic.Int64 // since the last line
	dropped atomic.Int64 // ever
}

const (
	// listenerLines bounds what a listener logs of such events in a second.
	listenerLines = 5
)

func newLimited(log *slog.Logger, perSecond float64, clock selector.Clock) *limited {
	return &limited{log: log, clock: clock, rate: budget.NewRate(perSecond, time.Second)}
}

// event logs one line, with how many were left out before it, or nothing.
func (l *limited) event(level slog.Level, what string, args ...any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	if l.rate.Take(l.clock.Now()) > 0 {
		l.skipped.Add(1)
		l.dropped.Add(1)
		return
	}
	if n := l.skipped.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	l.log.Log(context.Background(), level, what, args...)
}
