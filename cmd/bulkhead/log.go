package main

import (
	"io"
	"log/slog"
	"os"

	"bulkhead/host/logqueue"

	"golang.org/x/term"
)

// newLog makes the log of a form (auto, text or json) and a level, both as in
// [host]. auto is text on a terminal and JSON elsewhere. Its lines wait for w in
// the queue, and nobody who logs does. The level may be set while it is in use.
func newLog(w io.Writer, form, level string) (*logqueue.Queue, *slog.LevelVar) {
	least := new(slog.LevelVar)
	setLevel(least, level)
	o := slog.HandlerOptions{Level: least}
	text := form == "text" || form == "auto" && isTerminal(w)
	return logqueue.New(w, logqueue.Options{Format: func(w io.Writer) slog.Handler {
		if text {
			return slog.NewTextHandler(w, &o)
		}
		return slog.NewJSONHandler(w, &o)
	}}), least
}

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
