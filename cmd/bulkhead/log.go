package main

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// newLog makes the log of a form (auto, text or json) and a level, both as in
// [host]. auto is text on a terminal and JSON elsewhere.
func newLog(w io.Writer, form, level string) *slog.Logger {
	var o slog.HandlerOptions
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		o.Level = l
	}
	if form == "text" || form == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, &o))
	}
	return slog.New(slog.NewJSONHandler(w, &o))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
