// Package logqueue keeps a log from holding up those who write to it. Lines go into a
// bounded queue, and one goroutine writes them: to a pipe whose reader stands still, to a
// terminal that Ctrl-S has stopped, to a disk that is full. What does not fit is left out,
// and a line says how many lines that were when the reader goes on.
//
//	q := logqueue.New(os.Stderr, logqueue.Options{})
//	defer q.Close(time.Second)
//	h, err := host.New(cfg, host.Options{Log: q.Logger()})
//
// A program whose log goes to its standard output or error should also call
// signal.Ignore(syscall.SIGPIPE): else Go ends it when the reader has gone away.
package logqueue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// Options bound a queue and say what its lines look like. The zero value is a good one.
type Options struct {
	// Bytes is how many bytes may wait. The queue may take twice as much memory. Zero or
	// less: 1 MiB.
	Bytes int
	// Lines is how many lines may wait. Zero or less: 16384.
	Lines int
	// Format makes the handler that formats records and writes each with one call, which
	// ends in a line feed, as those of slog do. Nil: slog's JSON at level INFO.
	Format func(io.Writer) slog.Handler
	// Keep is given each line, too, before it is known whether it has room in the queue: whose it
	// is (the attribute "tenant" of its logger; "": nobody's), and its level, or another that is
	// WARN or above where its own is. Any goroutine calls it, loops also: it must not wait, nor
	// keep the line. Nil: nobody is given any.
	Keep func(tenant string, level slog.Level, line []byte)
	// KeepAs formats the lines for Keep. Nil: Format does, and no line is formatted twice.
	KeepAs func(io.Writer) slog.Handler
}

const (
	defaultBytes = 1 << 20
	defaultLines = 16384
	// chunk is how much is written by one call, but for longer lines: so that what is left
	// out when a call fails is little.
	chunk = 64 << 10
	// kept is how large an empty buffer may be that is kept for the next lines.
	kept = 64 << 10
	// The wait for a descriptor that is not ready, although it was to block, doubles from the
	// first to the last value.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 250 * time.Millisecond
)

// Queue is a log's queue. Make one with New. Any goroutine may use it.
type Queue struct {
	o      Options
	w      io.Writer
	logger *slog.Logger
	wake   chan struct{} // holds one token when there is something to do
	ended  chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	next   []byte // lines that wait for the writer to take them
	spare  []byte // empty, for next
	lost   int64  // lines left out behind those of next
	bytes  int    // that wait, those that the writer has taken included
	lines  int
	stats  Stats
	shares map[string]*share // by name
	// lostOfShares are lines that were left out of shares; lost has none of them.
	lostOfShares int64
	closing      bool // nothing more is taken
	abandoned    bool // nor written

	// The rest is the writer's.
	unsaid int64 // lines that were left out, of which the log does not know yet
	failed error // why the last call of w failed
	torn   bool  // the last byte written is not a line's end
}

// Stats count a queue's lines.
type Stats struct {
	Written int64 // lines that the writer has taken
	LeftOut int64 // lines that did not fit, or whose writing failed
	Waiting int   // bytes that wait now
}

// New makes a queue before w and starts its writer, the only goroutine that calls w. When
// a write fails, its lines are counted as left out, and the next are tried all the same.
func New(w io.Writer, o Options) *Queue {
	if o.Bytes <= 0 {
		o.Bytes = defaultBytes
	}
	if o.Lines <= 0 {
		o.Lines = defaultLines
	}
	if o.Format == nil {
		o.Format = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }
	}
	q := &Queue{o: o, w: w, wake: make(chan struct{}, 1), ended: make(chan struct{}), shares: make(map[string]*share)}
	q.logger = slog.New(&sharing{formatted: q.format(""), q: q})
	go q.run()
	return q
}

// Logger is a logger whose lines go into the queue. The caller formats them; it never waits for the
// writer. Lines of a logger that has the attribute "tenant" (slog.Logger.With) are that one's, and
// it can fill no more of the queue than it leaves to others.
func (q *Queue) Logger() *slog.Logger { return q.logger }

// Write puts p, one line with its line feed, into the queue, or counts it as left out. It
// copies p, does not block, and never fails. It is the Logger's.
func (q *Queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	q.add(p)
	q.mu.Unlock()
	q.signal()
	return len(p), nil
}

// add puts a line into the queue, under its lock, and reports whether it did.
func (q *Queue) add(p []byte) bool {
	// Behind a line that was left out the next ones are, until the writer is here: so a
	// hole in the log is one hole, and the line that tells of it is where it is.
	if q.closing || q.lost > 0 || q.lines >= q.o.Lines || q.bytes+len(p) > q.o.Bytes {
		q.lost++
		q.stats.LeftOut++
		return false
	}
	q.next = append(q.next, p...)
	q.bytes += len(p)
	q.lines++
	return true
}

// Stats tells what has become of the lines so far.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting = q.bytes
	return s
}

// Close takes no more lines and waits until those in the queue are written, for as long as d
// at most. It reports whether they are. It may be called more than once. When the time is
// over, what is left is not written, but for what w has been given already.
func (q *Queue) Close(d time.Duration) bool {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.signal()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-q.ended:
	case <-late.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.abandoned = true
	return q.bytes == 0
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run is the writer.
func (q *Queue) run() {
	defer close(q.ended)
	for {
		lines, lost, more := q.take()
		switch {
		case len(lines) > 0 || lost > 0:
			q.writeAll(lines)
			if q.unsaid += lost; lost > 0 {
				q.tell()
			}
			q.giveBack(lines)
		case !more:
			return
		default:
			<-q.wake
		}
	}
}

// take takes the lines that wait. more says that others may follow.
func (q *Queue) take() (lines []byte, lost int64, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.abandoned {
		return nil, 0, false
	}
	lines, lost = q.next, q.lost+q.lostOfShares
	q.next, q.spare, q.lost, q.lostOfShares = q.spare, nil, 0, 0
	for _, s := range q.shares { // what was taken before is written by now
		s.bytes, s.lines = s.bytes-s.taken.bytes, s.lines-s.taken.lines
		s.taken, s.lost = amount{s.bytes, s.lines}, false
	}
	return lines, lost, !q.closing
}

// giveBack keeps a buffer for the next lines.
func (q *Queue) giveBack(b []byte) {
	if cap(b) > kept {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next == nil {
		q.next = b[:0]
	} else {
		q.spare = b[:0]
	}
}

// writeAll writes lines, a chunk at a time.
func (q *Queue) writeAll(lines []byte) {
	for len(lines) > 0 {
		end := len(lines)
		if end > chunk {
			if end = bytes.LastIndexByte(lines[:chunk], '\n') + 1; end == 0 {
				if end = bytes.IndexByte(lines, '\n') + 1; end == 0 {
					end = len(lines)
				}
			}
		}
		p := lines[:end]
		lines = lines[end:]
		n := 0
		if q.unsaid == 0 || q.tell() {
			n = q.put(p)
		}
		left := int64(bytes.Count(p[n:], []byte{'\n'}))
		q.unsaid += left
		all := bytes.Count(p, []byte{'\n'})
		q.mu.Lock()
		q.bytes -= len(p)
		q.lines -= all
		q.stats.Written += int64(all) - left
		q.stats.LeftOut += left
		q.mu.Unlock()
	}
}

// tell writes a line about those that were left out. It reports whether it could.
func (q *Queue) tell() bool {
	var b bytes.Buffer
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log could not be written as fast as it came, and lines were left out", 0)
	if q.failed != nil {
		r.Message = "the log could not be written, and lines were left out"
		r.Add("error", q.failed.Error())
	}
	r.Add("lines_left_out", q.unsaid)
	h := q.o.Format(&b)
	if h.Enabled(context.Background(), slog.LevelWarn) {
		_ = h.Handle(context.Background(), r)
		if q.put(b.Bytes()) < b.Len() {
			return false
		}
	}
	q.unsaid, q.failed = 0, nil
	return true
}

// put writes p, and returns how much of it was written. Behind a line that was cut short it
// begins a new one.
func (q *Queue) put(p []byte) (n int) {
	if q.torn {
		if q.write([]byte{'\n'}) == 0 {
			return 0
		}
		q.torn = false
	}
	if n = q.write(p); n > 0 {
		q.torn = p[n-1] != '\n'
	}
	return n
}

// write is put without its care for lines. It waits for a descriptor that somebody has made
// non-blocking, as any process can that has it, too.
func (q *Queue) write(p []byte) (n int) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		k, err := q.w.Write(p[n:])
		n += max(0, min(k, len(p)-n))
		switch {
		case err == nil && n == len(p):
			return n
		case err == nil:
			q.failed = io.ErrShortWrite
			return n
		case !errors.Is(err, syscall.EAGAIN) || q.over():
			q.failed = err
			return n
		}
		time.Sleep(wait)
	}
}

func (q *Queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.abandoned
}
