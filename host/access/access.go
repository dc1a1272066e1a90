// Package access writes the access log: a line of JSON for each connection that has ended, and
// lines for those that are open for long. Lines go through a bounded queue, so that no loop waits
// for a disk or a reader; what does not fit is counted, and a line says so.
package access

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/host/logqueue"
	"bulkhead/internal/confined"

	"golang.org/x/sys/unix"
)

// Log is an access log. Any goroutine may use it, and several at once.
type Log struct {
	stdout io.Writer

	now     atomic.Pointer[target] // nil: off
	sample  atomic.Uint64          // a float64's bits
	sampled atomic.Int64           // lines left out by that
	open    atomic.Int64           // lines of connections that were open
	lost    atomic.Int64           // of targets that are closed

	mu     sync.Mutex // held by Set, Reopen and Close
	closed bool
}

// target is where lines go.
type target struct {
	path  string // "" for stdout
	queue *logqueue.Queue
	file  *file // nil for stdout
}

// file is a file that can be opened again. No lock is held while it is written to: a terminal whose
// reader stands still, or a disk, may have that take for ever.
type file struct{ now atomic.Pointer[os.File] }

// Write is the queue's. What the file does not take since it was opened again meanwhile, the new
// one has.
func (f *file) Write(p []byte) (n int, err error) {
	for {
		to := f.now.Load()
		more, err := to.Write(p[n:])
		if n += more; err == nil || !errors.Is(err, os.ErrClosed) || f.now.Load() == to {
			return n, err
		}
	}
}

// The places that are no paths.
const (
	Off    = "off"
	Stdout = "stdout"
)

// lastLines is how long the last lines of a log may take that is not used any more.
const lastLines = time.Second

// New makes a log that is off. stdout is where lines go for Stdout.
func New(stdout io.Writer) *Log { return &Log{stdout: stdout} }

// Check says why a place could not be had. It makes no file that is not there.
func Check(place string) error {
	if place == Off || place == "" || place == Stdout {
		return nil
	}
	if _, err := os.Lstat(place); err != nil && os.IsNotExist(err) {
		dir, err := os.Stat(filepath.Dir(place))
		if err == nil && !dir.IsDir() {
			err = unix.ENOTDIR
		}
		if err != nil {
			return fmt.Errorf("its folder cannot be used: %w; make it, and let the user write to it that the daemon runs as", err)
		}
		if err := unix.Access(filepath.Dir(place), unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("no file can be made in its folder: %w; let the user write to it that the daemon runs as", err)
		}
		if err := mayMake(filepath.Dir(place)); err != nil {
			return fmt.Errorf("no file can be made in its folder: %w", err)
		}
		return nil
	}
	f, err := open(place)
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens a file to append to it. What is no file, a pipe above all, could have the open wait.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	if err != nil {
		mend := confined.Mend(err, path, false)
		if mend == "" {
			mend = confined.Mend(err, filepath.Dir(path), true)
		}
		return nil, fmt.Errorf("%w; %s", err, cmp.Or(mend, "let the user write to it that the daemon runs as, or give another path"))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		err = fmt.Errorf("%s is no file; give the path of one, or \"stdout\"", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Set has lines go to a place from now on: Off, Stdout, or a path, and a share of the orderly ends,
// 0 to 1, have one. With an error nothing changes. Lines that wait are written to where they were
// to go.
func (l *Log) Set(place string, sample float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.now.Load()
	switch {
	case l.closed:
		return nil
	case place == Off || place == "":
		l.now.Store(nil)
	case before != nil && (place == before.path || place == Stdout && before.path == ""):
		l.sample.Store(math.Float64bits(sample))
		return nil
	case place == Stdout:
		l.now.Store(&target{queue: logqueue.New(l.stdout, logqueue.Options{})})
	default:
		f, err := open(place)
		if err != nil {
			return err
		}
		to := &file{}
		to.now.Store(f)
		l.now.Store(&target{path: place, queue: logqueue.New(to, logqueue.Options{}), file: to})
	}
	l.sample.Store(math.Float64bits(sample))
	l.end(before)
	return nil
}

// end lets go of a target that is not used any more.
func (l *Log) end(t *target) {
	if t == nil {
		return
	}
	t.queue.Close(lastLines)
	l.lost.Add(t.queue.Stats().LeftOut)
	if t.file != nil {
		_ = t.file.now.Load().Close()
	}
}

// Reopen opens the file again by its path, as after it was renamed. With an error the one that is
// open stays. It reports whether there is a file.
func (l *Log) Reopen() (is bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.now.Load()
	if t == nil || t.file == nil {
		return false, nil
	}
	f, err := open(t.path)
	if err != nil {
		return true, err
	}
	return true, t.file.now.Swap(f).Close()
}

// Close writes what waits, for a second at most, and takes no more.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	before := l.now.Swap(nil)
	l.end(before)
}

// Stats counts lines.
type Stats struct {
	// Sampled were left out since their ends were orderly, and Lost since they could not be written
	// as fast as they came, or at all.
	Sampled, Lost int64
	// Open are lines of connections that were open: those that were lost included.
	Open int64
}

// Stats may be called at any time.
func (l *Log) Stats() Stats {
	s := Stats{Sampled: l.sampled.Load(), Lost: l.lost.Load(), Open: l.open.Load()}
	if t := l.now.Load(); t != nil {
		s.Lost += t.queue.Stats().LeftOut
	}
	return s
}

// On reports whether lines go anywhere.
func (l *Log) On() bool { return l.now.Load() != nil }

// buffers are for lines that are put together.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write writes the line of a connection, or leaves it out and counts it. It does not wait, and
// keeps nothing of e.
func (l *Log) Write(e *Line) {
	t := l.now.Load()
	if t == nil {
		return
	}
	if (e.Open || e.Reason.Code == abi.OK) && !kept(e.Account.Number, math.Float64frombits(l.sample.Load())) {
		if !e.Open { // else it may have a line at its end, and is not left out
			l.sampled.Add(1)
		}
		return
	}
	if e.Open {
		l.open.Add(1)
	}
	b := buffers.Get().(*[]byte)
	*b = e.append((*b)[:0])
	t.queue.WriteOf(e.Owner.Tenant, *b)
	buffers.Put(b)
}

// kept says of a connection's number whether it is in the sample.
func kept(number uint64, share float64) bool {
	x := number * 0x9e3779b97f4a7c15 // which spreads numbers that follow each other
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return share >= 1 || float64(x>>11)/(1<<53) < share
}
