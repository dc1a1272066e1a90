package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bulkhead/internal/bytesize"
	"bulkhead/internal/cputime"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasi"
)

// Snapshot is the state of a guest that has started: WebAssembly's start, _initialize, csa_start
// and csa_window have run. Pools make Instances from it, each with its own copy of the memory, the
// globals and the timers that were set. A snapshot does not change. Any goroutine may use it.
//
// Its image is charged to the tenant's memory, once, and takes a mapping. Both are given back, and
// the module is let go, when Close has been called and the last Pool has gone.
type Snapshot struct {
	module         *Module
	listener       *Listener
	image          *stored
	globals        []uint64
	timers         []instanceTimer
	wasi           wasi.Process
	window, length uint32
	quick          bool         // an executor is made in less than quickExecutor
	usual          atomic.Int64 // bytes that an Instance writes to
	users          atomic.Int64 // Pools, and 1 while it is open
	closed         atomic.Bool
	adopted        bool         // it is another process's (AdoptSnapshot)
	thawed         atomic.Int64 // the Instances of one that is adopted
}

// freeGlobals are the globals that an Instance keeps the values of without being
// charged for them; they are within memory.CopyOverhead.
const freeGlobals = 64

// firstUsual is what an Instance is thought to write to before one has ended.
const firstUsual = 16 << 10

// quickExecutor is how long it may take to make an executor on a loop.
const quickExecutor = 100 * time.Microsecond

// SnapshotError is a module of which no Snapshot can be made; its Instances can be.
type SnapshotError struct {
	Name string // of the module
	// Why holds the reasons, each as one clause that goes on from "it".
	Why []string
}

// Error is one line.
func (e *SnapshotError) Error() string {
	return fmt.Sprintf("%s: making a snapshot: it %s", e.Name, strings.Join(e.Why, ", and it "))
}

// Unsnapshotable says why no Snapshot can be made of the module: each reason is a
// clause that goes on from "it". It is empty where one can be.
func (m *Module) Unsnapshotable() []string { return m.state.Hidden }

// Snapshot starts an instance as Instantiate does, keeps its state and closes it. l becomes the
// Listener of every Instance that is made from it. The error is one of Instantiate's if the guest
// does not start, has ErrMappings or ErrClosed inside if the tenant or the module has no room for
// it, and is a *SnapshotError if the guest starts but cannot be kept. It runs the guest and takes
// as long as that does, so it must not be called on a loop. The caller closes the snapshot.
func (m *Module) Snapshot(l *Listener) (*Snapshot, error) {
	i, err := m.Instantiate(l)
	if err != nil {
		return nil, err
	}
	defer i.Close()
	if why := m.Unsnapshotable(); len(why) > 0 {
		return nil, &SnapshotError{m.name, why}
	}
	s := &Snapshot{module: m, listener: l, window: i.window, length: i.length, wasi: i.wasi.Copy(nil)}
	for _, g := range i.exec.globals {
		s.globals = append(s.globals, g.Get())
	}
	for _, t := range i.timers {
		if t.set {
			s.timers = append(s.timers, instanceTimer{token: t.token, delay: t.delay})
		}
	}
	s.usual.Store(firstUsual)
	s.users.Store(1)
	if !m.retain() {
		return nil, fmt.Errorf("%s: making a snapshot: %w", m.name, ErrClosed)
	}
	s.image, err = store(i.memory, s.budget(), 8*max(len(s.globals)-freeGlobals, 0))
	switch {
	case errors.Is(err, ErrMappings):
		m.release()
		return nil, fmt.Errorf("%s: making a snapshot: %w", m.name, err)
	case err != nil:
		m.release()
		return nil, &SnapshotError{m.name, []string{"cannot be kept: " + err.Error()}}
	}
	i.Close() // what it holds is the image's from here on, and the executor's
	account := s.budget()
	if n := s.image.size; !account.Reserve(n + s.image.cost(firstUsual)) {
		s.image.close()
		m.release()
		return nil, &SnapshotError{m.name, []string{fmt.Sprintf("has %s of memory, beside which its tenant has no room for a copy; raise its memory", bytesize.String(int64(n)))}}
	}
	account.Release(s.image.cost(firstUsual)) // it was only asked for

	memory.FaultTime() // measured here, since it takes a while
	if m.code.quick.Load() {
		s.quick = true
		return s, nil
	}
	var watch cputime.Stopwatch // what others do meanwhile says nothing of the guest
	watch.Start()
	e, err := m.newExecutor(s.image.shown(), account, context.Background())
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: making a snapshot: %w", m.name, err)
	}
	s.quick = time.Duration(watch.Elapsed()) < quickExecutor
	m.code.quick.Store(s.quick)
	m.letGo(e, account)
	return s, nil
}

// newExecutor is one that is nobody's yet.
func (s *Snapshot) newExecutor() (*executor, error) {
	// What the engine is given first is only looked at for its size.
	return s.module.obtainExecutor(s.image.shown(), s.budget(), context.Background())
}

// budget is what it is charged to, and all that is made from it.
func (s *Snapshot) budget() *budget { return s.listener.budget(s.module.runtime) }

// Close lets go of the snapshot when its Pools are closed and their last Instance is
// gone. No Pool can be made any more. Calling it again does nothing.
func (s *Snapshot) Close() {
	if !s.closed.Swap(true) {
		s.drop()
	}
}

// drop takes a user off, and lets go of everything with the last.
func (s *Snapshot) drop() {
	if s.users.Add(-1) == 0 {
		s.image.close()
		s.budget().Release(s.image.size)
		s.module.release()
	}
}

// used notes how many bytes an Instance has written to.
func (s *Snapshot) used(wrote int) {
	const most = memory.KeptPages * 4096
	is, usual := int64(min(wrote, most)), s.usual.Load()
	switch {
	case is > usual:
		s.usual.Store(is)
	case usual-is >= 64:
		s.usual.Store(usual - (usual-is)/64)
	}
}

// instance makes an Instance that has the snapshot's state, and a copy of its memory.
func (s *Snapshot) instance(memory *memory.Linear) *Instance {
	i := &Instance{
		module: s.module, listener: s.listener, memory: memory, globals: slices.Clone(s.globals),
		state: running, window: s.window, length: s.length, unseeded: s.module.has[callReseed],
	}
	i.wasi = s.wasi.Copy((*handlerSystem)(i))
	return i
}
