package logqueue

import (
	"context"
	"log/slog"
	"slices"
)

// shareKey is the attribute of a logger whose value says whose lines those are.
const shareKey = "tenant"

// share is what somebody's lines have of the queue. It is a writer, and the queue's lock guards it.
type share struct {
	q            *Queue
	bytes, lines int    // that wait
	taken        amount // those of them that the writer has taken
	lost         bool   // some were left out, and the writer was not here since
}

type amount struct{ bytes, lines int }

// Write is Queue.Write for lines of one share. As many may wait as there is room for others then, so that
// one who fills his share leaves the others theirs.
func (s *share) Write(p []byte) (int, error) {
	q := s.q
	q.mu.Lock()
	over := s.bytes+len(p) > q.o.Bytes-q.bytes-len(p) || s.lines+1 > q.o.Lines-q.lines-1
	if over || s.lost {
		s.lost = true
		q.lostOfShares++
		q.stats.LeftOut++
	} else if q.add(p) {
		s.bytes += len(p)
		s.lines++
	}
	q.mu.Unlock()
	q.signal()
	return len(p), nil
}

// WriteOf is Queue.Write for a line of one share.
func (q *Queue) WriteOf(share string, p []byte) { _, _ = q.shareOf(share).Write(p) }

// shareOf is the share of a name.
func (q *Queue) shareOf(name string) *share {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.shares[name]
	if s == nil {
		s = &share{q: q}
		q.shares[name] = s
	}
	return s
}

// sharing formats lines, and has those of a logger with the attribute shareKey go to its share.
type sharing struct {
	slog.Handler
	q    *Queue
	with []func(slog.Handler) slog.Handler // what has been asked of it
}

// WithAttrs is slog.Handler's.
func (h *sharing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.and(attrs, func(f slog.Handler) slog.Handler { return f.WithAttrs(attrs) })
}

// WithGroup is slog.Handler's.
func (h *sharing) WithGroup(name string) slog.Handler {
	return h.and(nil, func(f slog.Handler) slog.Handler { return f.WithGroup(name) })
}

func (h *sharing) and(attrs []slog.Attr, do func(slog.Handler) slog.Handler) slog.Handler {
	next := &sharing{Handler: do(h.Handler), q: h.q, with: append(slices.Clip(h.with), do)}
	for _, a := range attrs {
		if a.Key == shareKey && a.Value.Kind() == slog.KindString {
			next.Handler = h.q.o.Format(h.q.shareOf(a.Value.String()))
			for _, again := range next.with {
				next.Handler = again(next.Handler)
			}
		}
	}
	return next
}

// Handle is slog.Handler's.
func (h *sharing) Handle(ctx context.Context, r slog.Record) error { return h.Handler.Handle(ctx, r) }
