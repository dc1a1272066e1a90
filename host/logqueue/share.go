package logqueue

import (
	"context"
	"io"
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

// Write is Queue.Write for lines of one share. As many may wait as there is room for others then,
// so that one who fills his share leaves the others theirs.
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

// formatted formats lines: those of level WARN and above by grave, and the others by plain.
type formatted struct {
	plain, grave slog.Handler
	two          bool // they are not the same
}

// format is how lines are formatted whose logger has the attribute shareKey with that value; "": it
// has none.
func (q *Queue) format(name string) formatted {
	if name == "" {
		return q.formatTo(q, "")
	}
	return q.formatTo(q.shareOf(name), name)
}

// formatTo is how lines are formatted that go to w, and are kept as somebody's.
func (q *Queue) formatTo(w io.Writer, name string) formatted {
	of := func(level slog.Level) slog.Handler {
		switch to := (keeper{w, q.o.Keep, name, level}); {
		case q.o.Keep == nil:
			return q.o.Format(w)
		case q.o.KeepAs == nil:
			return q.o.Format(to)
		default:
			to.Writer = io.Discard
			return both{q.o.Format(w), q.o.KeepAs(to)}
		}
	}
	f := formatted{plain: of(slog.LevelInfo), two: q.o.Keep != nil}
	if f.grave = f.plain; f.two {
		f.grave = of(slog.LevelWarn)
	}
	return f
}

// keeper has lines of one share be kept.
type keeper struct {
	io.Writer
	keep  func(tenant string, level slog.Level, line []byte)
	name  string
	level slog.Level
}

// Write has p be kept, and writes it.
func (k keeper) Write(p []byte) (int, error) {
	k.keep(k.name, k.level, p)
	return k.Writer.Write(p)
}

// both formats lines twice. It is no slog.MultiHandler, since that leaves out lines below the level
// of its handlers, and an audit line is there at every level.
type both struct{ first, second slog.Handler }

// Enabled is what the first says.
func (b both) Enabled(ctx context.Context, l slog.Level) bool { return b.first.Enabled(ctx, l) }

// Handle is slog.Handler's.
func (b both) Handle(ctx context.Context, r slog.Record) error {
	_ = b.second.Handle(ctx, r.Clone())
	return b.first.Handle(ctx, r)
}

// WithAttrs is slog.Handler's.
func (b both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{b.first.WithAttrs(attrs), b.second.WithAttrs(attrs)}
}

// WithGroup is slog.Handler's.
func (b both) WithGroup(name string) slog.Handler {
	return both{b.first.WithGroup(name), b.second.WithGroup(name)}
}

// sharing formats lines, and has those of a logger with the attribute shareKey go to its share.
type sharing struct {
	formatted
	q    *Queue
	name string                            // whose lines those are; "": each line says it, or nobody's
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
	next := &sharing{formatted: h.after(do), q: h.q, name: h.name, with: append(slices.Clip(h.with), do)}
	for _, a := range attrs {
		if a.Key == shareKey && a.Value.Kind() == slog.KindString {
			next.name = a.Value.String()
			next.formatted = h.q.format(next.name)
			for _, again := range next.with {
				next.formatted = next.after(again)
			}
		}
	}
	return next
}

// after is both of it after something was asked of them.
func (f formatted) after(do func(slog.Handler) slog.Handler) formatted {
	next := formatted{plain: do(f.plain), two: f.two}
	if next.grave = next.plain; f.two {
		next.grave = do(f.grave)
	}
	return next
}

// Enabled is slog.Handler's.
func (h *sharing) Enabled(ctx context.Context, l slog.Level) bool { return h.plain.Enabled(ctx, l) }

// Handle is slog.Handler's.
func (h *sharing) Handle(ctx context.Context, r slog.Record) error {
	f := h.formatted
	if h.two && h.name == "" {
		if name := tenantOf(r); name != "" {
			f = h.q.formatTo(h.q, name)
			for _, again := range h.with {
				f = f.after(again)
			}
		}
	}
	if r.Level >= slog.LevelWarn {
		return f.grave.Handle(ctx, r)
	}
	return f.plain.Handle(ctx, r)
}

// tenantOf is what a line says itself of whose it is.
func tenantOf(r slog.Record) (name string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == shareKey && a.Value.Kind() == slog.KindString {
			name = a.Value.String()
		}
		return true
	})
	return name
}
