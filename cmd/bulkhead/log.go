package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"bulkhead/host/logqueue"
	"bulkhead/host/recent"

	"golang.org/x/term"
)

// newLog makes the log of a form (auto, text or json) and a level, both as in [host]. auto is text
// on a terminal and JSON elsewhere. Its lines wait for w in the queue, and nobody who logs does;
// the last of them are kept, if last is not nil. The level may be set while it is in use.
func newLog(w io.Writer, form, level string, last *recent.Log) (*logqueue.Queue, *slog.LevelVar) {
	least := new(slog.LevelVar)
	setLevel(least, level)
	o := slog.HandlerOptions{Level: least}
	text := form == "text" || form == "auto" && isTerminal(w)
	asJSON := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, &o) }
	options := logqueue.Options{Format: asJSON}
	if last != nil {
		options.Keep = last.Add
	}
	if text {
		options.Format = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, &o) }
		options.KeepAs = asJSON
	}
	return logqueue.New(w, options), least
}

// auditLog is for lines that are there at every level: who has changed something is to be found,
// however little the log is to tell.
func auditLog(queue *logqueue.Queue) *slog.Logger {
	return slog.New(everyLevel{queue.Logger().Handler()}).With("audit", true)
}

// everyLevel has the handler below it write all records.
type everyLevel struct{ slog.Handler }

// Enabled says that all of them are written.
func (everyLevel) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs keeps it so.
func (h everyLevel) WithAttrs(attrs []slog.Attr) slog.Handler {
	return everyLevel{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps it so.
func (h everyLevel) WithGroup(name string) slog.Handler { return everyLevel{h.Handler.WithGroup(name)} }

// setLevel sets a level of [host].
func setLevel(v *slog.LevelVar, level string) {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		v.Set(l)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
