// Package local keeps keys and values in files: one for each tenant, in the format of bbolt, which
// survives that the process is killed at any time. A write is done when it is on the disk; all that
// wait then are written at once.
//
// A file has two goroutines while it is open. The first opens it, and answers what only reads. It
// hands on to the second what writes, and all that is in an Order behind something that was handed
// on. The second writes, and answers when the disk has it.
package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bulkhead/abi"
	"bulkhead/store"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

const (
	// idleFor is how long a file without anything to do stays open.
	idleFor = 30 * time.Second
	// mostTogether is how many operations are written at once.
	mostTogether = 1024
	// soonAgain is how long after a failure a file is not tried again, and later after several.
	soonAgain = 100 * time.Millisecond
	later     = 5 * time.Second
	// slack is how much larger a file may become than what is kept in it, beside four times that.
	slack = 32 << 20
)

// FileOptions say how a file is.
type FileOptions struct {
	// Path is where it is. Its folder is made when it is needed.
	Path string
	// Now is the time of day, in nanoseconds since 1970.
	Now func() int64
	// Budget is charged with what all its stores keep. It also bounds the file: to slack and four
	// times what Most says; zero or less is no bound.
	Budget store.Budget
	Most   func() int64
	// Failed is told, by any goroutine, when the file cannot be opened, read or written, with its
	// name, once for each time that it is tried. Nil: nobody is told.
	Failed func(error)
}

// File is a file, which need not be there or open. Its methods may be called by any goroutine.
type File struct {
	files   *Files
	slack   int64
	options FileOptions

	mu      sync.Mutex
	stores  map[string]*Store
	waiting []task // for the first goroutine
	running bool   // there is one
	closing bool   // no more is taken
	yields  bool   // it is to close the file when it has nothing to do
	woken   chan struct{}
	ended   sync.WaitGroup

	// What follows is the first goroutine's.
	db       *bbolt.DB
	file     *os.File // db's
	tryAt    time.Time
	failures int

	writer *writer      // nil while there is no second goroutine
	behind atomic.Int64 // operations that it has
	broken atomic.Pointer[error]
}

// task is an operation of a store.
type task struct {
	store *Store
	r     *store.Request
}

// File makes a File; nothing is opened. There must not be two of one path.
func (fs *Files) File(o FileOptions) *File {
	return &File{files: fs, slack: slack, options: o, stores: make(map[string]*Store), woken: make(chan struct{}, 1)}
}

// Close closes it when all that was asked has been answered. What is asked of it from then on is
// UNREACHABLE. It waits for the disk. The budgets are given back.
func (f *File) Close() {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	f.wake()
	f.ended.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.stores {
		s.hold(-s.Size())
	}
}

// yield has it close the file soon, if it has nothing to do.
func (f *File) yield() {
	f.mu.Lock()
	f.yields = true
	f.mu.Unlock()
	f.wake()
}

func (f *File) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

func (f *File) do(t task) {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		t.r.Fail(abi.Unreachable)
		return
	}
	f.waiting = append(f.waiting, t)
	if !f.running {
		f.running = true
		f.ended.Go(f.run)
	}
	f.mu.Unlock()
	f.wake()
}

// run is the first goroutine: it lives while the file is open.
func (f *File) run() {
	debug.SetPanicOnFault(true) // the file may be shorter than it was, or the disk fail
	idle := time.NewTimer(idleFor)
	defer idle.Stop()
	for {
		f.mu.Lock()
		tasks := f.waiting
		f.waiting = nil
		if len(tasks) == 0 && f.behind.Load() == 0 && (f.closing || f.yields) {
			f.yields = false
			// Nobody waits, and who comes now finds that it does not run.
			f.running = false
			f.closeFile() // under the lock: the next must not open it before
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		if len(tasks) > 0 {
			f.serve(tasks)
			idle.Reset(idleFor)
			continue
		}
		if f.db != nil && f.behind.Load() == 0 && f.files.idle(f, true) {
			f.yield()
		}
		select {
		case <-f.woken:
		case <-idle.C:
			f.yield()
		}
		if f.db != nil {
			f.files.idle(f, false)
		}
	}
}

// serve answers what only reads, and hands on the rest.
func (f *File) serve(tasks []task) {
	if err := f.broken.Swap(nil); err != nil {
		f.drop(*err)
	}
	if !f.open() {
		for _, t := range tasks {
			t.r.Fail(abi.Unreachable)
		}
		return
	}
	done := 0
	var handed []task
	err := f.guarded(func() error {
		tx, err := f.db.Begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // also of a panic: the writer may wait for it
		for _, t := range tasks {
			if t.r.Writes() || t.r.Order != nil && t.r.Order.Behind.Load() > 0 {
				if t.r.Order != nil {
					t.r.Order.Behind.Add(1)
				}
				handed = append(handed, t)
				done++
				continue
			}
			res, err := store.Apply(t.store.table(tx), t.r, f.options.Now(), 0)
			if err != nil {
				return err
			}
			done++
			t.r.Done(t.r, res)
		}
		return nil
	})
	if err == nil {
		f.failures = 0
	} else {
		f.report(err)
		for _, t := range tasks[done:] {
			t.r.Fail(abi.Unreachable)
		}
		for _, t := range handed {
			t.finish(store.Result{Code: abi.Unreachable})
		}
		f.drop(err)
		return
	}
	if len(handed) == 0 {
		return
	}
	if f.writer == nil {
		f.writer = newWriter(f, f.db)
	}
	f.behind.Add(int64(len(handed)))
	f.writer.take(handed)
}

// finish answers an operation that was handed on.
func (t task) finish(res store.Result) {
	order := t.r.Order
	t.r.Done(t.r, res)
	if order != nil {
		order.Behind.Add(-1) // not before: what only reads would overtake this
	}
}

// open opens the file, if it is not. It reports false when it cannot be, or was tried too lately.
func (f *File) open() bool {
	if f.db != nil {
		return true
	}
	if time.Now().Before(f.tryAt) {
		return false
	}
	f.files.enter(f)
	if err := f.guarded(f.openNow); err != nil {
		if f.file != nil {
			_ = unix.Flock(int(f.file.Fd()), unix.LOCK_UN)
			_ = f.file.Close() // where bbolt has not
			f.file = nil
		}
		f.db = nil
		f.files.leave(f)
		f.report(err)
		f.notYet()
		return false
	}
	return true
}

func (f *File) openNow() error {
	o := f.options
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return err
	}
	most := 0
	if o.Most != nil && o.Most() > 0 {
		most = int(4*o.Most() + f.slack)
		if is, err := os.Stat(o.Path); err == nil {
			most = max(most, int(is.Size()+f.slack)) // else what is there could not be read
		}
	}
	f.file = nil
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, MaxSize: most, OpenFile: openFile(&f.file), NoStatistics: true,
	})
	if err != nil {
		return err
	}
	db.AllocSize = 1 << 20
	f.db = db
	return f.load()
}

// load charges the budgets with what the file has, which is what they are charged with already if
// it was open before.
func (f *File) load() error {
	tx, err := f.db.Begin(false)
	if err != nil {
		return err
	}
	sizes := make(map[string]int)
	err = tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if b != nil {
			sizes[string(name)] = sizeIn(b)
		}
		return nil
	})
	if e := tx.Rollback(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range sizes {
		f.storeLocked(name)
	}
	for name, s := range f.stores {
		s.hold(sizes[name] - s.Size())
	}
	return nil
}

// guarded runs f, which may find that the file is not what it should be.
func (f *File) guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &damage{v}
		}
	}()
	return do()
}

// damage is a file that bbolt panics about, or reading which faults.
type damage struct{ value any }

func (d *damage) Error() string { return fmt.Sprintf("it is damaged: %v", d.value) }

// drop lets go of a file that cannot be used, without asking bbolt: its locks may be held, and what
// it has mapped stays mapped.
func (f *File) drop(err error) {
	f.endWriter()
	if f.db == nil {
		return
	}
	if damaged := (*damage)(nil); errors.As(err, &damaged) {
		_ = unix.Flock(int(f.file.Fd()), unix.LOCK_UN) // which the mapping would keep
		_ = f.file.Close()
	} else {
		_ = f.guarded(f.db.Close)
	}
	f.db, f.file = nil, nil
	f.files.leave(f)
	f.notYet()
}

// notYet has it not be tried again at once.
func (f *File) notYet() {
	f.failures++
	f.tryAt = time.Now().Add(min(soonAgain<<min(f.failures-1, 10), later))
}

// report says that the file could not be used.
func (f *File) report(err error) {
	if f.options.Failed != nil {
		f.options.Failed(fmt.Errorf("%s: %w", f.options.Path, err))
	}
}

func (f *File) endWriter() {
	if f.writer != nil {
		f.writer.end()
		f.writer = nil
	}
}

// closeFile closes it when nothing is to be done.
func (f *File) closeFile() {
	f.endWriter()
	if err := f.broken.Swap(nil); err != nil {
		f.drop(*err)
	}
	if f.db == nil {
		return
	}
	if err := f.guarded(f.db.Close); err != nil {
		f.report(err)
	}
	f.db, f.file = nil, nil
	f.files.leave(f)
}

// full reports whether an error says that there is no room for the file.
func full(err error) bool {
	for _, e := range []error{berrors.ErrMaxSizeReached, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt does not wrap all of them.
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}
