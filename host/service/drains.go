package service

import (
	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

// AllListeners is the name by which Drains have all of them.
const AllListeners = ""

// Drains are the listeners that take no new connections, as an operator wants it. They are replaced
// as a whole, and not changed. Nil: there are none.
type Drains struct {
	All       bool // all listeners, whatever their names
	Listeners map[string]bool
}

// Of reports whether a listener is one of them.
func (d *Drains) Of(listener string) bool {
	return d != nil && (d.All || d.Listeners[listener])
}

// Names are those of Listeners.
func (d *Drains) Names() map[string]bool {
	if d == nil {
		return nil
	}
	return d.Listeners
}

// Drained reports whether its listener takes no new connections, as an operator wants it. Any
// goroutine may call it.
func (s *Server) Drained() bool {
	of := s
	if s.front != nil {
		of = s.front
	}
	return s.machine.Drains.Load().Of(of.config.Name)
}

// turnAway closes a connection that has come to a listener that takes none, and gives its places
// back. It is called on the home loop.
func (s *Server) turnAway(a handlers.Arrival) {
	s.CountRefused(&a, csa.Drained.Reason())
	listen.ResetOnClose(a.FD)
	_ = unix.Close(a.FD)
	s.PutBack()
	s.generation.leave()
}
