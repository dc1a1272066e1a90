package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"bulkhead/internal/bytesize"
)

// devLog is the log as dev shows it: what handlers say, and what is wrong, a line each, that begins
// with the place in a source where one is known.
type devLog struct {
	d     *developing
	w     io.Writer // the queue's, which has nobody wait
	attrs []slog.Attr
	level slog.Leveler
}

// Enabled has all be written of a level that the configuration asks for.
func (l devLog) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level.Level() }

// WithAttrs keeps what is said of all lines.
func (l devLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.attrs = append(l.attrs[:len(l.attrs):len(l.attrs)], attrs...)
	return l
}

// WithGroup does nothing: the host's log has no groups.
func (l devLog) WithGroup(string) slog.Handler { return l }

// whose are the attributes that say whom a line is about, and stand before it.
var whose = map[string]bool{"tenant": true, "listener": true, "connection": true, "peer": true}

// Handle writes a line. That a connection has ended its line in the access log says.
func (l devLog) Handle(_ context.Context, r slog.Record) error {
	by := make(map[string]string)
	var rest []string
	each := func(a slog.Attr) bool {
		value := lineText(a.Value.Resolve().String())
		by[a.Key] = value
		if !whose[a.Key] && a.Key != "text" {
			rest = append(rest, a.Key+": "+value)
		}
		return true
	}
	for _, a := range l.attrs {
		each(a)
	}
	r.Attrs(each)
	text, says := by["text"]
	_, ends := by["cause"]
	switch {
	case ends && by["connection"] != "":
		return nil
	case says && text == "":
		return nil
	case !says && r.Level < slog.LevelWarn && !l.d.verbose:
		return nil
	case !says:
		text = strings.Join(append([]string{r.Message}, rest...), "; ")
	}
	who := by["listener"]
	if peer := by["peer"]; peer != "" {
		who += " " + peer
	}
	if r.Level != slog.LevelInfo {
		who = strings.TrimSpace(r.Level.String() + " " + who)
	}
	line := strings.TrimPrefix(who+": "+text, ": ")
	place := l.d.place(cmp.Or(by["in"], by["text"], by["why"], by["error"]), by["listener"])
	switch {
	case place == "":
		line = stamped(line)
	case by["connection"] == "" && !l.d.screen.first(place):
		return nil
	default:
		line = place + ": " + line
	}
	_, err := io.WriteString(l.w, line+"\n")
	return err
}

// devAccess writes lines of the access log for people.
type devAccess struct {
	d *developing

	mu   sync.Mutex
	open map[int64]int64 // connections of which a line said that they are open, and after how many events
}

// devConnection is what of a line of the access log is shown.
type devConnection struct {
	ID       int64
	Listener string
	Peer     string
	Dialled  bool
	Open     bool
	Duration float64 `json:"duration_seconds"`
	In, Out  int64
	Events   int64
	Fuel     int64
	Code     string
	Why      string
}

// Write gets whole lines.
func (a *devAccess) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		var c devConnection
		if err := json.Unmarshal(line, &c); err != nil || c.ID == 0 {
			a.d.screen.line(strings.TrimSpace(string(line))) // such as that some were left out
			continue
		}
		if a.worth(&c) {
			a.d.screen.say("%s", c.String())
		}
	}
	return len(p), nil
}

// worth reports whether a line tells something new: not if nothing has happened on a connection
// that is open.
func (a *devAccess) worth(c *devConnection) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.Open {
		delete(a.open, c.ID)
		return true
	}
	before, known := a.open[c.ID]
	if a.open == nil {
		a.open = make(map[int64]int64)
	}
	a.open[c.ID] = c.Events
	return !known || before != c.Events
}

// String is a line without the time.
func (c *devConnection) String() string {
	who := c.Listener + " " + cmp.Or(c.Peer, "a peer")
	if c.Dialled {
		who = c.Listener + " to " + cmp.Or(c.Peer, "an upstream")
	}
	used := fmt.Sprintf("%s in, %s out, %d events, %d fuel", bytesize.String(c.In), bytesize.String(c.Out), c.Events, c.Fuel)
	age := time.Duration(c.Duration * float64(time.Second)).Round(time.Millisecond)
	if c.Open {
		return fmt.Sprintf("%s: open for %v: %s", who, age, used)
	}
	return fmt.Sprintf("%s: ended after %v: %s; %s: %s", who, age, used, c.Code, lineText(c.Why))
}
