package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// Listener is what the instances of one listener have in common. It must not
// change while one of them lives, but by Set.
type Listener struct {
	// Name and Tenant are what the guest and the log are told.
	Name, Tenant string
	// Config is the listener's config table as a JSON object; nil is "{}".
	Config []byte
	// Args are the arguments of a command, behind its name. Env is its environment, each
	// NAME=value, beside what it is told about its connection, and instead of that where the
	// name is the same. No text may have a zero in it.
	Args, Env []string
	// Folder is what a command sees of the file system. Nil: nothing.
	Folder *wasi.Folder
	// LogBadData has bad data to send logged only (on_bad_data = "log"), where
	// the connection is closed otherwise.
	LogBadData bool
	// LogLines is how many lines a second one instance may log. Zero: 100. Below zero: none.
	LogLines int
	// EventTimeout is how much CPU time one event may use before its call is
	// stopped; for a command it is the time between two waits. Zero or less:
	// DefaultEventTimeout.
	EventTimeout time.Duration
	// Stack is how large the stack of a call may become, in bytes, give or take
	// what one slice adds. Zero or less: DefaultStack.
	Stack int
	// OneConnection says that each instance serves one connection only, so that
	// what is called once a connection need not be kept ready.
	OneConnection bool
	// OnTrap is called once for an instance or command that has trapped, on its
	// loop, when its connections are being shut down. It may close the
	// instance, which is nil for a command. Nil: nobody is told.
	OnTrap func(i *Instance, t *Trap)
	// Dialer connects for the handlers. Nil: all of connect is DENIED.
	Dialer Dialer
	// MakeSSL wraps a connection in TLS, on its loop, as the ABI's makessl says, with
	// a role that is one. Nil: all of makessl is DENIED.
	MakeSSL func(c *csa.CSA, role int32, name string) abi.Code
	// Certificate says that MakeSSL takes the server's role: there is a certificate to show.
	Certificate bool
	// OnSplice is called on the loop for an instance that has spliced two of its
	// connections, of which it hears no more, when the call is over in which it did. It may
	// close the instance. Nil: nobody is told.
	OnSplice func(i *Instance)
	// OnClosed is called once for an instance that is closed, by whoever closes it. Nil:
	// nobody is told.
	OnClosed func(i *Instance)
	// OnFailed is called each time that a guest says it has met an error that it does not deal
	// with, but not while it starts. Where that ends a connection, its cause is
	// csa.HandlerFailed. It is called by whoever has the instance's loop. Nil: nobody is told.
	OnFailed func()

	// Held counts what the instances hold of their tenant's budgets. Nil: nobody counts.
	Held *Held

	changed atomic.Pointer[changed] // nil: nothing was
	charged atomic.Pointer[budget]  // nil: nothing was yet
}

// changed are what Set has said last.
type changed struct {
	eventTimeout time.Duration
	logBadData   bool
}

// Set changes EventTimeout and LogBadData for all instances from now on, also for calls that
// already run. Any goroutine may call it.
func (l *Listener) Set(eventTimeout time.Duration, logBadData bool) {
	l.changed.Store(&changed{eventTimeout, logBadData})
}

func (l *Listener) eventTimeout() time.Duration {
	limit := l.EventTimeout
	if c := l.changed.Load(); c != nil {
		limit = c.eventTimeout
	}
	if limit <= 0 {
		return DefaultEventTimeout
	}
	return limit
}

func (l *Listener) logsBadData() bool {
	if c := l.changed.Load(); c != nil {
		return c.logBadData
	}
	return l.LogBadData
}

// Instance is a running handler of shape events. It is made by any goroutine
// and then belongs to one loop: all its methods are called on that loop, by
// the owner of the baton.
type Instance struct {
	// Owner is for whoever made the instance.
	Owner any

	module   *Module
	listener *Listener
	memory   *memory.Linear
	asleep   *sleeping // instead of memory, while it sleeps
	exec     *executor // has its state; nil where that is in globals
	pool     *Pool     // whose it is; nil: it has an executor for itself
	globals  []uint64
	state    state
	inCall   bool
	atGate   atomic.Bool // its call waits for a slot; written by the call
	// returning says that the loop does what the result of a call says that ran in the background.
	returning bool
	closing   bool       // Close was called in a call, or with events in the line
	spliced   []*csa.CSA // two by two, in the call that runs
	window    uint32
	length    uint32 // of the window

	visit         *visit // of a call in the background; nil before the first
	used          int64  // when it last had something to do
	awake         bool   // it is among its pool's
	outOfMemory   bool   // its tenant had no memory for what it has written to
	based         bool   // it began as its interpreter's base
	unseeded      bool   // csa_reseed is to be called before anything else
	waitedTooLong bool   // its pool has not got in time what it waits for
	waitingSince  int64  // since when it waits for memory or an executor; 0: it does not
	waitCause     error  // why it has to wait
	broken        bool   // it is closed, and had trapped
	loopGone      bool   // its loop has stopped
	held          bool   // it is held still (Freeze)

	loop      *csa.Loop
	handles   handles
	serving   conn // whose event the call that runs is, or nil
	about     conn // whom its log lines are about, or nil
	shown     shown
	timers    []instanceTimer
	current   event // that runs
	suspended bool  // no event runs at once: see background.go
	queue     eventQueue
	goOnLater func() // posts drain
	turn      *turn
	inLine    bool      // it waits in the turn's line
	behind    *Instance // it there

	process *Process // of a command
	wasi    wasi.Process
	out     [2]stream // standard output and error
	limit   lineLimit
}

type state byte

const (
	starting state = iota
	running
	dead   // trapped; its memory is still there
	closed // its memory is gone
)

// StartError is a guest that refused to start.
type StartError struct {
	Name string   // of the module
	Code abi.Code // what csa_start returned
	Said string   // what it has logged last at level error, in one line; empty: nothing
}

// Error says who refused with what.
func (e *StartError) Error() string {
	if e.Said != "" {
		return fmt.Sprintf("%s: csa_start refused with %v (%d): %s", e.Name, e.Code, int32(e.Code), e.Said)
	}
	return fmt.Sprintf("%s: csa_start refused with %v (%d); its log says more", e.Name, e.Code, int32(e.Code))
}

// Instantiate makes an instance and starts it: WebAssembly's start,
// _initialize, csa_start, csa_window. Errors are one line: a *StartError, one
// that has a *Trap or ErrMemory or ErrClosed inside, or a bad window. It runs
// guest code, and blocks for as long as that takes; so it is better not called
// on a loop.
func (m *Module) Instantiate(l *Listener) (*Instance, error) { return m.make(l, ownPlace) }

// InstantiateHere is Instantiate for a loop. It fails with ErrSlow when the
// guest takes too long to start for that; what it has done so far leaves no
// trace but its log.
func (m *Module) InstantiateHere(l *Listener) (*Instance, error) { return m.make(l, onLoop) }

// unmade is an instance that has nothing yet.
func (m *Module) unmade(l *Listener) *Instance {
	i := &Instance{module: m, listener: l}
	i.wasi.System, i.wasi.Args = (*handlerSystem)(i), []string{m.name}
	return i
}

func (m *Module) make(l *Listener, at place) (*Instance, error) {
	i := m.unmade(l)
	if m.shape != Events {
		return nil, fmt.Errorf("%s: making an instance of shape %q of a module of shape %q", m.name, Events, m.shape)
	}
	var err error
	if make := func() { err = i.instantiate(at) }; at == ownPlace {
		m.runtime.bookAside(make)
	} else {
		make() // it is part of what its loop does
	}
	if err != nil {
		return nil, err
	}
	if err := i.start(); err != nil {
		i.Close()
		return nil, err
	}
	i.exec.use.sinceSpent() // its start is nobody's
	i.state = running
	return i, nil
}

// startContext is the context of the call that makes an instance.
type startContext struct {
	context.Context
	i *Instance
}

// guestContext is an instance as the context of its calls, so that a host
// function finds it by a comparison of types, and nothing is allocated.
type guestContext Instance

func (*guestContext) Deadline() (t time.Time, ok bool) { return t, false }
func (*guestContext) Done() <-chan struct{}            { return nil }
func (*guestContext) Err() error                       { return nil }
func (*guestContext) Value(any) any                    { return nil }

// instanceOf is the instance that calls.
func instanceOf(ctx context.Context) *Instance {
	if c, ok := ctx.(*guestContext); ok {
		return (*Instance)(c)
	}
	if c, ok := ctx.(*startContext); ok {
		return c.i
	}
	panic(errors.New("a host function was called outside an instance"))
}

// instantiate makes the engine's part, with nothing shared. On an error nothing is
// left of it.
func (i *Instance) instantiate(at place) (err error) {
	m := i.module
	if err := m.addInstance(); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if i.memory != nil {
			i.memory.Free() // the engine does not
		}
		i.state = closed
		i.finishLog()
		m.removeInstance()
		err = fmt.Errorf("%s: making an instance: %w", m.name, err)
	}()
	of, most, based := i.budget(), int(m.max)*wasm.PageSize, m.base.fits(m)
	if based {
		i.memory, err = m.base.copy(of, most)
	} else {
		i.memory, err = memory.New(of, of, most, int(m.min)*wasm.PageSize)
	}
	if err != nil {
		return err
	}
	if i.exec, err = m.obtainExecutor(i.memory, of, &startContext{context.Background(), i}); err != nil {
		return err
	}
	i.exec.use.place = at
	if based {
		i.startFrom(m.base)
	} else if err = m.fill(i.memory.Bytes()); err != nil {
		i.exec.close(of)
		return err
	}
	if err = put(i.memory.Bytes(), uint64(m.script.At), m.script.Bytes); err != nil {
		m.letGo(i.exec, of)
	}
	return err
}

// start runs what an instance runs once.
func (i *Instance) start() error {
	name := i.module.name
	if !i.based {
		if err := i.each(callBegin, callInitialize); err != nil {
			return err
		}
	}
	if i.module.has[callStart] {
		r, err := i.once(callStart)
		if err != nil {
			return err
		}
		if code := abi.Code(int32(r)); code < 0 {
			return &StartError{name, code, i.exec.said}
		}
	}
	r, err := i.once(callWindow)
	if err != nil {
		return err
	}
	i.window, i.length = uint32(r>>32), uint32(r)
	switch end := uint64(i.window) + uint64(i.length); {
	case i.length < abi.MinWindow || i.length > abi.MaxWindow:
		return fmt.Errorf("%s: csa_window says that the window has %d bytes; it has to have %d to %d", name, i.length, abi.MinWindow, abi.MaxWindow)
	case end > uint64(len(i.memory.Bytes())):
		return fmt.Errorf("%s: csa_window says that the window is %d bytes at %#x, which are not all inside its memory of %d bytes", name, i.length, i.window, len(i.memory.Bytes()))
	}
	return nil
}

// each calls those of the exports that there are, once.
func (i *Instance) each(all ...call) error {
	for _, c := range all {
		if i.module.has[c] {
			if _, err := i.once(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// once calls an export while the instance starts, and keeps it only where the executor starts
// others.
func (i *Instance) once(c call) (uint64, error) {
	f := i.exec.calls[c]
	if f.Function == nil {
		var err error
		if f, err = i.exec.function(c); err != nil {
			return 0, i.notStarted(i.newTrap(c.String(), err))
		}
		if i.module.sharesExecutors() {
			i.exec.calls[c] = f
		}
	}
	i.exec.stack = [4]uint64{}
	i.inCall = true
	if i.process != nil {
		i.process.takeTurn()
	}
	i.startTiming(f, i.exec.use.place)
	err := f.CallWithStack((*guestContext)(i), i.exec.stack[:])
	if err != nil {
		err = i.module.locate(&f, err)
	}
	i.finish()
	i.inCall = false
	if err = i.exec.uncaught(err); err != nil {
		i.exec.spoil()
		return 0, i.notStarted(i.newTrap(c.String(), err))
	}
	return i.exec.stack[0], nil
}

// Listener is what the instance was made for.
func (i *Instance) Listener() *Listener { return i.listener }

func (i *Instance) notStarted(t *Trap) error {
	i.bug(t)
	if t.Stop == StopTimeout {
		return fmt.Errorf("%s: starting it: %w; all that it starts with has to return, and it is called back for its connections", i.module.name, t)
	}
	return fmt.Errorf("%s: starting it: %w", i.module.name, t)
}

// call runs an export of the running instance. ok is false when it did not
// run to its end; then the instance is dead, or the host stops.
func (i *Instance) call(c call, a, b uint64) (result uint64, ok bool) {
	return i.callWith(c, [4]uint64{a, b})
}

func (i *Instance) callWith(c call, args [4]uint64) (result uint64, ok bool) {
	if i.state != running || i.module.runtime.stopped.Load() {
		return 0, false
	}
	if i.inCall {
		i.writeLog(abi.LogError, false, fmt.Sprintf("a bug in the host: it would call %s while the instance runs; the call is left out", callNames[c]))
		return 0, false
	}
	if i.pool != nil && !i.pool.take(i) {
		i.writeLog(abi.LogError, false, fmt.Sprintf("a bug in the host: it would call %s with nothing to run it on; the call is left out", callNames[c]))
		return 0, false
	}
	e := i.exec
	f := e.calls[c]
	if f.Function == nil {
		var err error
		if f, err = e.function(c); err != nil {
			return i.returned(c, err)
		}
		if i.pool != nil || !i.listener.OneConnection || !oncePerConnection[c] {
			e.calls[c] = f
		}
	}
	e.stack = args
	i.inCall = true
	at, depth := ownPlace, 0
	if i.loop != nil {
		at, depth = onLoop, i.loop.Depth()
	}
	i.startTiming(f, at)
	err := f.CallWithStack((*guestContext)(i), e.stack[:])
	if err != nil {
		err = i.module.locate(&f, err)
	}
	if e.use.place == background {
		i.returnToLoop(err) // and does not return
	}
	if err != nil && i.loop != nil {
		i.loop.Unwind(depth)
	}
	i.finish()
	i.spentOn(e.use.sinceSpent())
	return i.returned(c, err)
}

// returned is the end of a call, on the loop.
func (i *Instance) returned(c call, err error) (result uint64, ok bool) {
	i.inCall = false
	if i.exec.use.seen != nil {
		i.observed(c)
	}
	result = i.exec.stack[0]
	if err == nil && i.outOfMemory {
		err = i.stopForMemory()
	}
	if err = i.exec.uncaught(err); err != nil {
		i.exec.spoil()
	}
	if i.pool != nil {
		i.pool.gives(i.exec)
	}
	if err != nil {
		i.trapped(i.newTrap(c.String(), err))
	}
	i.settleSplices()
	if i.closing && !i.suspended {
		i.Close()
	}
	return result, err == nil
}

// oncePerConnection are the exports of which the engine's 12 KB of state are
// not worth keeping for an instance with one connection and an executor for it
// alone.
var oncePerConnection = [calls]bool{callOpen: true, callSecured: true, callEOF: true, callClosed: true, callStop: true}

// trapped makes the instance dead, and ends the connections it serves.
func (i *Instance) trapped(t *Trap) {
	i.state = dead
	i.serving = nil
	i.stopTimers()
	i.finishLog()
	about := i.about
	if about == nil {
		about = i.handles.whom(nil, i.listener.OneConnection)
	}
	if about != nil {
		t.Connection, t.Peer = about.Number(), about.Peer()
	}
	i.bug(t)
	i.shutAll(t.reason())
	for _, c := range i.spliced { // whose unconsumed bytes nobody knows
		c.ShutdownMicroprocess(t.reason())
	}
	if i.listener.OnTrap != nil {
		i.listener.OnTrap(i, t)
	}
	if i.closing && !i.suspended {
		i.Close()
	}
}

// bug tells of a trap that is the host's doing.
func (i *Instance) bug(t *Trap) {
	if !t.Bug {
		return
	}
	if told := i.module.runtime.options.OnBug; told != nil {
		told(i.listener, t)
		return
	}
	i.writeLog(abi.LogError, false, fmt.Sprintf("a bug in the host: %v", t.Err))
}

// Faulted has the instance trap if a panic has come out of a call of it, or of what there is to do
// before and after one. It is csa.Faulty's.
func (i *Instance) Faulted(value any) {
	if i.state != running || i.current == (event{}) && !i.inCall && !i.returning || i.exec != nil && i.exec.use.place == background {
		return
	}
	i.inCall, i.suspended, i.returning, i.queue = false, false, false, eventQueue{}
	i.serving, i.current = nil, event{}
	if i.exec != nil {
		i.exec.spoil()
		if i.pool != nil && i.exec.busy {
			i.pool.gives(i.exec)
		}
	}
	i.trapped(&Trap{Call: "an event", Why: "the host failed", Bug: true, Err: fmt.Errorf("%v", value)})
	i.settleSplices()
}

func (i *Instance) shutAll(r csa.Reason) {
	for n := range i.handles.slots {
		if c := i.handles.slots[n].conn; c != nil {
			c.ShutdownMicroprocess(r)
		}
	}
}

// Running reports whether the instance takes connections: it has not trapped
// and is not closed.
func (i *Instance) Running() bool { return i.state == running && !i.closing }

// Connections is how many the instance serves.
func (i *Instance) Connections() (n int) {
	for s := range i.handles.slots {
		if i.handles.slots[s].conn != nil {
			n++
		}
	}
	return n
}

// PeakMemory is the most linear memory that the instance has had, in bytes: what it has in use, as
// that never shrinks. 0: it is not known, since a call runs beside the loop now, or the instance is
// closed. It is called on its loop.
func (i *Instance) PeakMemory() int {
	if i.inCall {
		return 0
	}
	return i.Memory()
}

// Memory is how many bytes of linear memory the instance has in use; 0 once
// it is closed.
func (i *Instance) Memory() int {
	switch {
	case i.asleep != nil:
		return i.asleep.size
	case i.state == closed:
		return 0
	}
	return len(i.memory.Bytes())
}

// Close ends the instance. Connections that it still
// serves are shut down; the guest hears nothing of that. Called while the
// guest runs, or events wait for it to, it takes effect when they are over; StayOpen, called
// before, takes it back. Its memory is freed when the event is over, since a CSA may yet copy from
// its window. Calling it again does nothing. An instance that was never attached may be closed by
// any goroutine, and is freed at once.
func (i *Instance) Close() {
	if i.inCall || i.suspended {
		i.closing = true
		return
	}
	if i.state == closed {
		return
	}
	i.broken = i.state == dead
	i.state, i.closing = closed, false
	i.shutAll(csa.InstanceGone.With(abi.Closed, "its handler's instance was closed"))
	i.stopTimers()
	i.finishLog()
	i.serving, i.about = nil, nil
	if i.listener.OnClosed != nil {
		i.listener.OnClosed(i)
	}
	if i.loop != nil && !i.loopGone {
		i.loop.AtEnd((*closedInstance)(i))
	} else {
		i.giveBack()
	}
}

// StayOpen takes back a Close that has not taken effect, since the guest runs or has events
// waiting.
func (i *Instance) StayOpen() { i.closing = false }

// closedInstance is an instance that is closed, to its loop.
type closedInstance Instance

// EventOver frees what the instance has.
func (e *closedInstance) EventOver() { (*Instance)(e).giveBack() }

// giveBack frees what a closed instance has.
func (i *Instance) giveBack() {
	if i.pool != nil {
		i.pool.recycle(i, i.broken)
	} else {
		i.book()
		i.module.letGo(i.exec, i.budget())
		i.memory.Free()
	}
	i.exec, i.memory = nil, nil
	i.module.removeInstance()
}

// budget is what it is charged to.
func (i *Instance) budget() *budget { return i.listener.budget(i.module.runtime) }

// finishLog logs what a guest has printed last.
func (i *Instance) finishLog() {
	i.flush(&i.out[0], abi.LogInfo)
	i.flush(&i.out[1], abi.LogWarn)
	i.reportDropped()
}

// handlerSystem is what WASI calls of a handler act on: there is nothing to
// read, and what it prints goes to the log.
type handlerSystem Instance

func (s *handlerSystem) Memory() []byte { return s.memory.Bytes() }
func (s *handlerSystem) Enter()         {}
func (s *handlerSystem) YieldIfDue()    { (*Instance)(s).yieldIfDue() }
func (s *handlerSystem) Yield()         {}
func (s *handlerSystem) Close(int)      {}

// Sleep does not: it would hold up everybody on the loop. A guest that goes on sleeping until
// it has slept enough is told so when it is stopped.
func (s *handlerSystem) Sleep(time.Duration) { s.exec.use.waits++ }

// Poll answers that the end of the input can be read.
func (s *handlerSystem) Poll(want wasi.Ready, _ time.Duration) (got wasi.Ready, end bool) {
	return want, true
}

func (s *handlerSystem) Read([]byte) (int, wasi.Errno) { return 0, wasi.Success }

func (s *handlerSystem) Write(fd int, p [][]byte, _ bool) (n int, e wasi.Errno) {
	return (*Instance)(s).printAll(fd, p), wasi.Success
}

// mostPrinted is how many bytes are taken of one write for the log: a write may
// name the same memory many times.
const mostPrinted = 16 << 10

// printAll logs what is written to descriptor 1 or 2, as far as it goes.
func (i *Instance) printAll(fd int, p [][]byte) (n int) {
	for _, b := range p {
		b = b[:min(len(b), mostPrinted-n)]
		if fd == 1 {
			i.print(&i.out[0], abi.LogInfo, b)
		} else {
			i.print(&i.out[1], abi.LogWarn, b)
		}
		n += len(b)
	}
	return n
}
