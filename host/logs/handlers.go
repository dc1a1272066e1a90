package logs

import (
	"context"
	"log/slog"
	"time"

	"bulkhead/abi"
	"bulkhead/host/budget"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// Handlers is where the lines of a tenant's handlers go: so many lines and bytes a second.
type Handlers struct {
	*Limited
	bytes *budget.Rate
}

var _ plugins.Logger = (*Handlers)(nil)

// NewHandlers makes one. lines and bytes are those of a second, and more than zero.
func NewHandlers(log *slog.Logger, lines, bytes float64, clock selector.Clock) *Handlers {
	return &Handlers{
		NewLimited(log, "what its handlers say (log_lines, log_bytes)", lines, clock),
		budget.NewRate(bytes, time.Second),
	}
}

// SetRates has so many lines and bytes a second be written from now on, which is a time of the
// clock.
func (h *Handlers) SetRates(lines, bytes float64, now int64) {
	h.SetRate(lines, now)
	h.bytes.SetRate(bytes, now)
}

var levels = map[int32]slog.Level{
	abi.LogDebug: slog.LevelDebug,
	abi.LogInfo:  slog.LevelInfo,
	abi.LogWarn:  slog.LevelWarn,
	abi.LogError: slog.LevelError,
}

// lineBytes is about what a line takes beside its text: time, level, names.
const lineBytes = 150

// Log writes a line, or leaves it out and counts it.
func (h *Handlers) Log(l plugins.Line) {
	level := levels[l.Level]
	if !h.may(level) {
		return
	}
	h.bytes.Spend(lineBytes+quotedSize(l.Text)+len(l.Listener)+len(l.Peer), h.clock.Now())
	what := "handler"
	if l.Guest {
		what = "handler says"
	}
	args := make([]any, 0, 10) // room for lines_left_out
	args = append(args, "listener", l.Listener)
	if l.Connection != 0 {
		args = append(args, "connection", l.Connection)
		if l.Peer != "" {
			args = append(args, "peer", l.Peer)
		}
	}
	h.Write(level, what, append(args, "text", Outside(l.Text))...)
}

// LeftOut counts a line that an instance has not come to write.
func (h *Handlers) LeftOut() { h.dropped.Add(1) }

// may is May, where those that were written may have had too many bytes.
func (h *Handlers) may(level slog.Level) bool {
	if h.bytes.Spend(0, h.clock.Now()) > 0 && h.log.Enabled(context.Background(), level) {
		h.skip(level)
		return false
	}
	return h.May(level)
}
