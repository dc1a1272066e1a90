package capture

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"bulkhead/internal/talk"
)

// pause is from how long on time that goes by is in a conversation.
const pause = time.Second

// Conversations is the text of a file with a conversation for each connection: what the client has
// sent, what the server has answered, pauses, and the ends. Name is the capture's, for a comment.
// There has to be a connection.
func (t *Traffic) Conversations(name string) []byte {
	lines := []string{fmt.Sprintf("# From %s, port %d.", comment(name), t.Port)}
	for i, c := range t.Connections {
		w := &writer{c: c, lines: append(lines, "", fmt.Sprintf("== connection %d, %s", i+1, c.Client))}
		w.write()
		lines = w.lines
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// comment is a name in one line.
func comment(name string) string { return strings.Join(strings.Fields(name), " ") }

// writer writes one conversation.
type writer struct {
	c      *Connection
	lines  []string
	eol    string
	said   []byte // of one side, and not written yet
	server bool   // it is the server's
	last   time.Time
	played time.Duration // how much time goes by in the conversation so far
	ended  bool          // the server has ended its side,
	deaf   bool          // and breaks off when the client sends more, as it has closed the connection
	after  int           // what the client has sent to nobody
}

func (w *writer) write() {
	w.eol = "\r\n"
	if w.last = w.c.Began; !w.last.IsZero() {
		w.put(w.c.Began.UTC().Format("# 2006-01-02 15:04:05 UTC"))
	}
	if !w.ends("\r\n") && w.ends("\n") {
		w.eol = "\n"
		w.put("eol lf")
	}
	w.deaf = slices.ContainsFunc(w.c.Parts, func(p Part) bool { return p.Server && p.End == Reset })
	for _, p := range w.c.Parts {
		w.part(p)
	}
	w.flush()
	if w.after > 0 {
		w.put(fmt.Sprintf("# The client has sent %d bytes behind the server's end, and was reset: they are not here.", w.after))
	}
	if w.c.Cut {
		w.put("# More was said than a conversation of a capture has.")
	}
}

func (w *writer) put(line string) { w.lines = append(w.lines, line) }

// ends reports whether something of the connection has such an end of a line.
func (w *writer) ends(eol string) bool {
	return slices.ContainsFunc(w.c.Parts, func(p Part) bool { return bytes.Contains(p.Bytes, []byte(eol)) })
}

// prefix is what lines of a side begin with.
func prefix(server bool) string {
	if server {
		return "<"
	}
	return ">"
}

func (w *writer) part(p Part) {
	if !p.Server && w.ended && w.deaf && p.End == Open {
		w.after += len(p.Bytes)
		return
	}
	if wait := w.wait(p); wait > 0 {
		w.flush()
		w.put("wait " + wait.String())
	}
	if p.Lost > 0 {
		w.flush()
		who := "client"
		if p.Server {
			who = "server"
		}
		w.put(fmt.Sprintf("# %d bytes that the %s has sent next are not in the capture.", p.Lost, who))
	}
	if p.Bytes != nil {
		switch {
		case len(w.said) > 0 && p.Server != w.server:
			w.flush()
		case len(w.said) > 0 && !p.Server:
			w.flush()
			w.put("") // a segment of its own
		}
		w.said, w.server = append(w.said, p.Bytes...), p.Server
	}
	if p.End == Open {
		return
	}
	w.flush()
	end := "EOF"
	if p.End == Reset {
		end = "RST"
	}
	w.put(prefix(p.Server) + end)
	w.ended = w.ended || p.Server
}

// flush writes what one side has said.
func (w *writer) flush() {
	w.lines = append(w.lines, talk.Lines(prefix(w.server), w.said, w.eol)...)
	w.said = nil
}

// wait is how much time goes by before a part. Time is counted in seconds. It is rounded down
// before what the client does, and up before what the server does by itself, so that a timer of
// the server's is due at neither too early.
func (w *writer) wait(p Part) time.Duration {
	if p.At.Before(w.last) {
		return 0
	}
	apart := p.At.Sub(w.last)
	w.last = p.At
	due := p.At.Sub(w.c.Began) - w.played
	switch {
	case due < pause, p.Server && apart < pause:
		return 0
	case p.Server:
		due = (due + pause - 1).Truncate(pause)
	default:
		due = due.Truncate(pause)
	}
	due = min(due, talk.MostWait)
	w.played += due
	return due
}
