package plugins

import "runtime"

// CPU is a tenant's share of the machine's cores. Its methods are called from
// any goroutine.
type CPU interface {
	// Admit reports whether an event may start now. When it may not, again is
	// called once, later, by any goroutine, when it is worth asking again. It is
	// asked on the loops, for every event, and must not block.
	Admit(again func()) bool
	// Book takes note of ns nanoseconds that guests have run on a loop, or as
	// short calls elsewhere. It must not block.
	Book(ns int64)

	// Enlist counts a call that is about to run beside the loops. It is called on the
	// loop that the call leaves, and must not block. Enter waits until a call that was
	// enlisted may run. Begin is both, for a call that leaves no loop.
	Enlist()
	Enter()
	Begin()
	// Slice is told that the call has run for ns nanoseconds since Enter, Begin or Slice
	// returned, lets others run, and waits until it may go on. End takes it off
	// the books; ns is as for Slice.
	Slice(ns int64)
	End(ns int64)
}

// allCores is the share of a tenant that nobody bounds.
type allCores struct{}

func (allCores) Admit(func()) bool { return true }
func (allCores) Book(int64)        {}
func (allCores) Enlist()           {}
func (allCores) Enter()            {}
func (allCores) Begin()            {}
func (allCores) Slice(int64)       { runtime.Gosched() }
func (allCores) End(int64)         {}
