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
	// loop that the call leaves, and must not block. AwaitSlot waits until a call that was
	// enlisted may run. Acquire is both, for a call that leaves no loop.
	Enlist()
	AwaitSlot()
	Acquire()
	// NextSlice books the ns nanoseconds that the call has run since AwaitSlot, Acquire or
	// NextSlice returned, lets others run, and waits until the call may continue. Release
	// ends the call; ns is as for NextSlice.
	NextSlice(ns int64)
	Release(ns int64)
	// HoldsCalls reports whether calls that wait for a slot now wait for the share of the tenant,
	// rather than for a core that others have. It is asked on a loop, and must not block.
	HoldsCalls() bool
}

// allCores is the share of a tenant that nobody bounds.
type allCores struct{}

func (allCores) Admit(func()) bool { return true }
func (allCores) Book(int64)        {}
func (allCores) Enlist()           {}
func (allCores) AwaitSlot()        {}
func (allCores) Acquire()          {}
func (allCores) NextSlice(int64)   { runtime.Gosched() }
func (allCores) Release(int64)     {}
func (allCores) HoldsCalls() bool  { return false }
