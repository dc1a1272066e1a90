package local

import (
	"runtime/debug"
	"sync"

	"bulkhead/abi"
	"bulkhead/store"

	"go.etcd.io/bbolt"
)

// writer is the second goroutine of a file, and what it has to do.
type writer struct {
	file   *File
	db     *bbolt.DB
	mu     sync.Mutex
	filled sync.Cond
	tasks  []task
	ending bool
	ended  chan struct{}
}

func newWriter(f *File, db *bbolt.DB) *writer {
	w := &writer{file: f, db: db, ended: make(chan struct{})}
	w.filled.L = &w.mu
	go w.run()
	return w
}

func (w *writer) take(tasks []task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = append(w.tasks, tasks...)
	w.filled.Signal()
}

// end has it do what it has, and waits for that.
func (w *writer) end() {
	w.mu.Lock()
	w.ending = true
	w.filled.Signal()
	w.mu.Unlock()
	<-w.ended
}

func (w *writer) run() {
	debug.SetPanicOnFault(true)
	defer close(w.ended)
	for {
		w.mu.Lock()
		for len(w.tasks) == 0 && !w.ending {
			w.filled.Wait()
		}
		tasks := w.tasks
		w.tasks = nil
		w.mu.Unlock()
		if len(tasks) == 0 {
			return
		}
		for len(tasks) > 0 {
			n := min(len(tasks), mostTogether)
			w.file.group(w.db, tasks[:n])
			tasks = tasks[n:]
		}
		w.file.wake() // which may wait for the last, to close
	}
}

// group writes some operations at once, or, if there is no room for all of them, one by one: so
// that some may be done, such as those that delete.
func (f *File) group(db *bbolt.DB, tasks []task) {
	if f.broken.Load() != nil {
		f.answer(tasks, nil, abi.Unreachable)
		return
	}
	results, known, err := f.attempt(db, tasks)
	switch {
	case err == nil:
		f.answer(tasks, results, abi.OK)
	case full(err) && len(tasks) > 1:
		for i := range tasks {
			f.group(db, tasks[i:i+1])
		}
	case full(err):
		f.answer(tasks, nil, abi.Quota)
	default:
		f.report(err)
		f.broken.Store(&err) // the first goroutine opens it anew
		code := abi.Timeout
		if known {
			code = abi.Unreachable
		}
		f.answer(tasks, nil, code)
	}
}

func (f *File) answer(tasks []task, results []store.Result, code abi.Code) {
	for i, t := range tasks {
		res := store.Result{Code: code}
		if results != nil {
			res = results[i]
		}
		f.behind.Add(-1)
		t.finish(res)
	}
}

// attempt does operations in one transaction. Without an error they are on the disk when it
// returns; with one, budgets are as before, and known says that nothing was written for sure.
func (f *File) attempt(db *bbolt.DB, tasks []task) (results []store.Result, known bool, err error) {
	tables := make(map[*Store]*table)
	known = true
	err = f.guarded(func() error {
		tx, err := db.Begin(true)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			of := tables[t.store]
			if of == nil {
				of = t.store.table(tx)
				tables[t.store] = of
			}
			now := f.options.Now()
			if t.r.Writes() {
				of.Sweep(now, sweepEach)
			}
			res, err := store.Apply(of, t.r, now, t.store.ttl())
			if err != nil {
				_ = tx.Rollback()
				return err
			}
			results = append(results, res)
		}
		for _, of := range tables {
			if err := of.save(); err != nil {
				_ = tx.Rollback()
				return err
			}
		}
		known = false
		return tx.Commit()
	})
	if err != nil {
		for of, table := range tables {
			of.hold(-table.taken)
		}
		for _, t := range tasks {
			t.r.Uncharge()
		}
	}
	return results, known, err
}
