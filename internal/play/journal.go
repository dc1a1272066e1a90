package play

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// journal keeps what the host logs, and how connections have ended.
type journal struct {
	mu   sync.Mutex
	text []string
	ends map[string]end // by peer
	part []byte         // of a line of the access log that is not whole
	to   io.Writer      // gets lines as they come; nil: nobody does
	more chan struct{}  // closed, and made anew, when a connection has ended
}

// end is how a connection has ended.
type end struct {
	Peer   string `json:"peer"`
	Code   string `json:"code"`
	Cause  string `json:"cause"`
	Reason string `json:"why"`
	In     int64  `json:"in"`
	Out    int64  `json:"out"`
	Events int    `json:"events"`
}

func newJournal() *journal { return &journal{ends: make(map[string]end), more: make(chan struct{})} }

// lines are what the handler has logged, and what the host says of it, so far.
func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.text)
}

// end is how the connection with that peer has ended, if it has.
func (j *journal) end(peer string) (end, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.ends[peer]
	return e, ok
}

// causes are why connections have ended.
func (j *journal) causes() (all []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.ends {
		all = append(all, e.Cause)
	}
	return all
}

// Write takes lines of the access log.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.part = append(j.part, b...)
	for {
		line, rest, ok := bytes.Cut(j.part, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		var e end
		if json.Unmarshal(line, &e) == nil {
			j.ends[e.Peer] = e
			close(j.more)
			j.more = make(chan struct{})
		}
		j.part = rest
	}
}

// Enabled is slog.Handler's. What goes on for each connection is in the access log.
func (j *journal) Enabled(_ context.Context, level slog.Level) bool { return true }

// Handle keeps a line: its text, and where it has none its message and what is about the handler.
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo && !strings.HasPrefix(r.Message, "handler") {
		return nil
	}
	var text string
	var rest []string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "text":
			text = a.Value.String()
		case "listener", "tenant", "connection", "peer", "address":
		default:
			rest = append(rest, fmt.Sprintf("%s=%s", a.Key, a.Value))
		}
		return true
	})
	if text == "" {
		switch r.Message {
		case "listening", "serving", "draining", "stopped":
			return nil
		}
		text = strings.Join(append([]string{r.Message}, rest...), " ")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.Contains(r.Message, "compil") { // which only tells why a start takes long
		j.text = append(j.text, text)
	}
	if j.to != nil {
		fmt.Fprintln(j.to, text)
	}
	return nil
}

// follow has lines be written as they come, from the first on.
func (j *journal) follow(to io.Writer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.to = to
	for _, line := range j.text {
		fmt.Fprintln(to, line)
	}
}

// waitForEnd waits until the connection with that peer has ended; not ok: it does not within a
// while.
func (j *journal) waitForEnd(peer string) (end, bool) {
	late := time.After(longest)
	for {
		j.mu.Lock()
		e, ok := j.ends[peer]
		more := j.more
		j.mu.Unlock()
		if ok {
			return e, true
		}
		select {
		case <-more:
		case <-late:
			return e, false
		}
	}
}

// WithAttrs and WithGroup are slog.Handler's.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup is slog.Handler's.
func (j *journal) WithGroup(string) slog.Handler { return j }
