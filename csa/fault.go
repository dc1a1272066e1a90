package csa

import (
	"runtime/debug"

	"bulkhead/selector"
)

// Fault is a panic that has come out of an event of a loop.
type Fault struct {
	*selector.Fault
	// Conn is whose event it was; nil when it is not known to be a connection's.
	Conn *CSA
	// Serving is what Loop.Serve was last told in that event; nil: nothing.
	Serving Faulty
}

// Faulty is a handler, or whatever else runs on a loop, that wants to know of a panic.
type Faulty interface {
	// Faulted says that a panic has come out of an event in which it may have been called. It is
	// called on the loop, as a notice is. If a method of it was on its way, it does not go on.
	Faulted(value any)
}

// OnFault has a panic in an event of the loop end that event only: its connection is shut down,
// whose state may be anything, and all others go on. The handler is told, if it is Faulty.
// f is asked first whether that may be, on the goroutine of the panic, and may not touch the loop;
// if it reports false, the process ends. It is to be called before the loop runs, or on it.
func (l *Loop) OnFault(f func(*Fault) bool) {
	l.onFault = f
	l.sel.OnFault(func(at *selector.Fault) (mend func(), ok bool) {
		fault := &Fault{Fault: at}
		if at.BatonPassed {
			return nil, f(fault)
		}
		was := l.calling
		fault.Conn, fault.Serving = l.faulted(at.Notified), l.serving
		if !f(fault) {
			return nil, false
		}
		return func() { l.mend(fault, was) }, true
	})
}

// beside says of a panic on a goroutine beside the loop, which belongs to a connection, whether
// its end is enough. Any goroutine may call it.
func (l *Loop) beside(c *CSA, value any) bool {
	return l.onFault != nil && l.onFault(&Fault{Fault: &selector.Fault{Value: value, Stack: debug.Stack(), BatonPassed: true}, Conn: c})
}

// Serve notes whose work the loop does next, where it is not a connection's: it is told when a
// panic comes of that. Nil: the work is done.
func (l *Loop) Serve(f Faulty) { l.serving = f }

// Depth is how many events have been entered and not left, for Unwind.
func (l *Loop) Depth() int { return l.depth }

// Unwind leaves the events that were entered since Depth was asked, for whoever has caught a panic
// that has come through them.
func (l *Loop) Unwind(depth int) { l.depth = depth }

// faulted is the connection whose event runs, as far as that can be told: the one that is being
// called or destroyed, else the one that was told.
func (l *Loop) faulted(told any) *CSA {
	switch {
	case l.calling.c != nil:
		return l.calling.c
	case l.toldTodo > 0:
		return l.todo[l.toldTodo-1]
	case l.ended > 0:
		return nil
	}
	switch t := told.(type) {
	case *CSA:
		return t
	case *tlsTransport:
		return t.c
	case *throttle:
		return t.c
	case *handlerTimer:
		return t.c
	}
	return nil
}

// mend ends the event in which there was a panic, as takeOver does for one whose loop was passed
// on. What a connection has heard of its end, it does not hear again.
func (l *Loop) mend(f *Fault, was call) {
	l.depth = 1
	l.calling, l.serving = call{}, nil
	l.time.forget()
	if g := l.datagrams; g != nil {
		if g.of != nil && g.next < g.n && was.what == inOther {
			g.lose(LostWaiting) // it is what the panic comes of, and would come again
		}
		if s := g.reading; s != nil {
			g.reading = nil
			s.continueBatch()
		}
	}
	if f.Serving != nil {
		f.Serving.Faulted(f.Value)
	}
	if c := f.Conn; c != nil {
		if h, ok := c.wiring.Handler.(Faulty); ok && h != f.Serving {
			h.Faulted(f.Value)
		}
		c.kill(HostBug.Reason())
	}
	if t, ok := f.Notified.(Faulty); ok {
		t.Faulted(f.Value)
	}
	switch was.what {
	case inClosed:
		was.c.tellOthers()
	case inCreator:
		if s := was.c.wiring.Signal; s != nil {
			l.calling = call{c: was.c, what: inSignal}
			s.ShutdownCSA(was.c)
			l.calling = call{}
		}
	}
	l.leaveEvent()
}
