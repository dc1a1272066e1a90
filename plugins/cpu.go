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

	// Begin counts a call that runs beside the loops, and waits until it may
	// run. Slice is told that it has run for ns nanoseconds since Begin or Slice
	// returned, lets others run, and waits until it may go on. End takes it off
	// the books; ns is as for Slice.
	Begin()
	Slice(ns int64)
	End(ns int64)
}

// allCores is the share of a tenant that nobody bounds.
type allCores struct{}

func (allCores) Admit(func()) bool { return true }
func (allCores) Book(int64)        {}
func (allCores) Begin()            {}
func (allCores) Slice(int64)       { runtime.Gosched() }
func (allCores) End(int64)         {}
