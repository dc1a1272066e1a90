package host

import (
	"context"
	"log/slog"
	"sync/atomic"

	"bulkhead/host/budget"
	"bulkhead/selector"
)

// limited is a log of events that clients or handlers can cause at will: it
// writes a few lines a second and counts the others.
type limited struct {
	log     *slog.Logger
	rate    *budget.Rate
	clock   selector.Clock
	skipped atomic.Int64
}

// linesPerSecond bounds each of a listener's logs of such events.
const linesPerSecond = 5

func newLimited(log *slog.Logger, clock selector.Clock) *limited {
	return &limited{log: log, clock: clock, rate: budget.NewRate(linesPerSecond, acceptBurst)}
}

// event logs one line, with how many were left out before it, or nothing.
// Who asks for the debug level gets all of it.
func (l *limited) event(level slog.Level, what string, args ...any) {
	if level < slog.LevelInfo {
		l.log.Log(context.Background(), level, what, args...)
		return
	}
	if l.rate.Take(l.clock.Now()) > 0 {
		l.skipped.Add(1)
		return
	}
	if n := l.skipped.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	l.log.Log(context.Background(), level, what, args...)
}
