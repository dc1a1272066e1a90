package logs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bulkhead/plugins"
	"bulkhead/selector"
)

// still is a clock of which nothing that was put off comes.
type still struct{ *selector.Manual }

func (still) AfterFunc(time.Duration, func()) (stop func() bool) { return func() bool { return true } }

// lines is a log without times, and a clock for it.
func lines(level slog.Level) (*bytes.Buffer, *slog.Logger, still) {
	text, clock := new(bytes.Buffer), still{new(selector.Manual)}
	clock.Advance(time.Hour)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	return text, slog.New(slog.NewTextHandler(text, options)), clock
}

// A few lines a second are written; the next line, or one of its own a second later, says how
// many were left out, and End says it at once and for the last time.
func TestLimited(t *testing.T) {
	text, log, clock := lines(slog.LevelInfo)
	l := NewLimited(log, "trials", 2, clock)
	say := func(want string) {
		t.Helper()
		if got := text.String(); got != want {
			t.Errorf("the log is %q, want %q", got, want)
		}
		text.Reset()
	}
	for range 5 {
		l.Event(slog.LevelWarn, "x")
		l.Event(slog.LevelDebug, "not asked for")
	}
	say(strings.Repeat("level=WARN msg=x\n", 2))
	clock.Advance(time.Second)
	l.tell()
	say("level=WARN msg=\"more lines came than may be logged: trials\" lines_left_out=3\n")
	for range 3 {
		l.Event(slog.LevelInfo, "y")
	}
	text.Reset()
	l.SetRate(100, clock.Now())
	clock.Advance(time.Second / 2)
	l.Event(slog.LevelInfo, "z")
	say("level=INFO msg=z lines_left_out=1\n")
	for range 200 {
		l.Event(slog.LevelInfo, "y")
	}
	text.Reset()
	l.End()
	if !strings.Contains(text.String(), "lines_left_out=") || l.Dropped() < 4 {
		t.Errorf("at the end it says %q, and %d were dropped", text, l.Dropped())
	}
	text.Reset()
	l.tell()
	say("")
}

// A line that is longer than a second's bytes is written, and those behind it wait for their turn.
func TestHandlersAreHeldToBytes(t *testing.T) {
	text, log, clock := lines(slog.LevelInfo)
	h := NewHandlers(log, 1000, 1000, clock)
	defer h.End()
	for range 3 {
		h.Log(plugins.Line{Listener: "a", Guest: true, Text: strings.Repeat("x", 3000), Level: 1})
	}
	if got := strings.Count(text.String(), "handler says"); got != 1 || h.Dropped() != 2 {
		t.Errorf("%d lines are written and %d dropped, want 1 and 2", got, h.Dropped())
	}
	clock.Advance(10 * time.Second)
	text.Reset()
	h.Log(plugins.Line{Listener: "a", Connection: 7, Peer: "p", Text: "ok", Level: 1})
	if want := "level=INFO msg=handler listener=a connection=7 peer=p text=ok lines_left_out=2\n"; text.String() != want {
		t.Errorf("it writes %q, want %q", text, want)
	}
}
