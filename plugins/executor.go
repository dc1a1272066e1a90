package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"bulkhead/plugins/admit"
	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/internal/inside"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
	"bulkhead/plugins/watchdog"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// executor is the engine's instance of a module: code, tables, and places for a
// memory and for globals. It runs the calls of one Instance at a time. One that was
// made from a Snapshot goes over to another Instance of that by being given its
// memory and its globals, which takes some tens of nanoseconds; so an Instance that
// does nothing needs none, and what the engine keeps (10 KB of stack for every
// function that is called from outside, 48 bytes for every function in a table) is
// there once a loop, not once a connection.
//
// It belongs to whoever runs the Instance, or to the loop of its pool.
type executor struct {
	guest   api.Module
	memory  api.Memory          // where the engine keeps it
	globals []api.MutableGlobal // those that the code writes to
	flight  api.Global          // the exception under way; nil: its module uses none
	tags    []string            // their names, for that
	calls   [calls]export
	stack   [4]uint64 // parameters and result of the call that runs
	running export    // the call that runs
	use     usage

	owed    *Runtime       // whose fuel and time its usage may have that are not booked yet; nil: nobody's
	spoilt  bool           // something trapped on it
	bound   *Instance      // whose state it has; nil: nobody's
	on      *memory.Linear // bound's, or what the engine was given to begin with
	binding bool
	busy    bool // a call is under way; the pool's
	charged int  // bytes, beside the memory
	// declared is how many bytes of memory the module declares at most. The engine takes it for one
	// page more.
	declared uint64
	said     string // the last error that a guest has logged while it starts, for who reads why it does not
}

// executors is how many were ever made.
var executors atomic.Uint32

// newExecutor makes one that works on a memory, which nothing runs on before bind
// when it is not the first Instance's. On an error nothing is left. It runs no code
// of the guest's.
func (m *Module) newExecutor(on *memory.Linear, account MemoryAccount, config context.Context) (e *executor, err error) {
	e = &executor{on: on, declared: uint64(min(m.declared, admit.MostPages)) * wasm.PageSize}
	if !account.Reserve(m.extra) {
		return nil, memory.NoRoom(m.extra)
	}
	e.charged = m.extra
	defer func() {
		if p := recover(); p != nil {
			err = &Trap{Call: "instantiation", Why: "the host failed", Bug: true, Err: fmt.Errorf("%v", p)}
		}
		if err != nil {
			account.Release(e.charged)
			e = nil
		}
	}()
	ctx := experimental.WithMemoryAllocator(config, e)
	guest, err := m.code.engine.instantiate(ctx, m.code.compiled)
	if err != nil {
		return nil, newTrap("instantiation", err)
	}
	e.guest, e.memory = guest, guest.Memory()
	for _, index := range m.state.Globals {
		g, ok := guest.ExportedGlobal(meter.GlobalExport(index)).(api.MutableGlobal)
		if !ok {
			_ = guest.Close(ctx)
			return nil, fmt.Errorf("it has no global %d that could be written to", index)
		}
		e.globals = append(e.globals, g)
	}
	if m.code.throws {
		e.flight, e.tags = guest.ExportedGlobal(exceptions.FlightExport), m.code.tags
	}
	fuel, ok := guest.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	if !ok {
		_ = guest.Close(ctx)
		return nil, errors.New("it has no fuel")
	}
	word, err := inside.Word(fuel)
	if err != nil {
		_ = guest.Close(ctx)
		return nil, err
	}
	e.use.fuel, e.use.next = watchdog.NewCounter(word), min(m.pace.Load(), firstFuel)
	e.use.fuel.Prefer(uintptr(executors.Add(1)))
	e.use.grant(e.use.next)
	return e, nil
}

// close lets go of everything but the memory.
func (e *executor) close(account MemoryAccount) {
	e.calls = [calls]export{}
	e.bound = nil
	_ = e.guest.Close(context.Background())
	account.Release(e.charged)
	e.charged = 0
}

// function is the guest's export that is called c. The error is a bug: of the gate,
// which lets no module pass without it, or with one that is not code of the guest's.
func (e *executor) function(c call) (export, error) {
	f, err := exportOf(e.guest.ExportedFunction(callNames[c]))
	if err != nil {
		return export{}, &unfitError{err}
	}
	return f, nil
}

// unfitError is an export that must not be called.
type unfitError struct{ err error }

func (e *unfitError) Error() string { return e.err.Error() }

// bind gives it an Instance's memory and globals, having saved those that it has.
func (e *executor) bind(i *Instance) {
	e.unbind()
	if r := i.module.runtime; e.owed != r {
		e.settle()
		e.owed = r
	}
	e.bound, e.on, i.exec = i, i.memory, e
	// The engine takes another memory where it would take a larger one. It can
	// always have a page more: the module declares one that it never gets.
	e.binding = true
	_, ok := e.memory.Grow(1)
	e.binding = false
	if !ok {
		panic(errors.New("the engine does not take another memory"))
	}
	for k, g := range e.globals {
		g.Set(i.globals[k])
	}
}

// unbind saves the state of the Instance that it has.
func (e *executor) unbind() {
	if i := e.bound; i != nil {
		for k, g := range e.globals {
			i.globals[k] = g.Get()
		}
		i.exec = nil
		e.bound = nil
	}
}

// settle books what is not booked yet of what was used on it, so that nothing of that becomes
// another tenant's.
func (e *executor) settle() {
	r, u := e.owed, &e.use
	if r == nil {
		return
	}
	e.owed = nil
	used := u.granted - u.fuel.Left()
	r.fuel.Add(used - u.counted)
	u.counted = used
	u.sinceSpent()
	if ns := u.take(); ns > 0 {
		r.options.CPU.Book(ns)
	}
}

// spoil has nothing be used again of what a trap may have left: whatever the stacks hold.
func (e *executor) spoil() {
	e.calls = [calls]export{}
	e.spoilt = true
}

// Allocate is the engine's question for a memory.
func (e *executor) Allocate(_, _ uint64) experimental.LinearMemory { return e }

// Reallocate is its question for a larger one. What the tenant's memory has no room for, it is
// asked for all the same, since that has to be counted as refused.
func (e *executor) Reallocate(size uint64) []byte {
	switch {
	case e.binding:
		return e.on.Bytes()
	case size > e.declared:
		return nil
	}
	return e.on.Grow(size)
}

// Free has nothing to do: memories are the Instances'.
func (e *executor) Free() {}
