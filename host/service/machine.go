package service

import (
	"log/slog"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/access"
	"bulkhead/host/budget"
	"bulkhead/host/bugs"
	"bulkhead/host/egress"
	"bulkhead/host/loops"
	"bulkhead/selector"
)

// Machine is what a host has for the generations of all configurations, and outlives these. Its
// fields are set before the first generation is made.
type Machine struct {
	Log   *slog.Logger
	Loops []*loops.Loop
	Clock selector.Clock
	// Connections are all that are open.
	Connections *budget.Count
	// Access has a line of each connection that ends; nil: none is written. WriteOpen has lines of
	// open ones be written, too.
	Access *access.Log
	// Redirect says where connections go that handlers dial: see dial.Site. Nil: to whom they dial.
	Redirect func(egress.Target) (csa.Address, error)
	// ShortSends is how many bytes a handler's send takes at most, until the socket has had them.
	// Zero or less: listeners say how large an inbox is.
	ShortSends int
	// Bugs counts panics that were caught.
	Bugs *bugs.Bugs

	open []*openLines // by loop; set by the first call of WriteOpen

	// Drains are the listeners that take no new connections.
	Drains atomic.Pointer[Drains]

	// Parked counts the servers that wait for a place, and Queued the connections that were
	// accepted when their socket was closed and wait for one.
	Parked atomic.Int32
	Queued atomic.Int64
	// Draining says that nothing more is accepted, and Stopping that no connection gets a handler
	// any more.
	Draining atomic.Bool
	Stopping atomic.Bool

	// Released is called when a connection has given its places back. It has the servers that are
	// parked look again: Server.Unpark.
	Released func()
	// Over is called on a goroutine of its own when the last connection of a retired generation
	// is gone, which is to be closed then.
	Over func(*Generation)
	// DelayStop has the host not stop until release is called; not ok: it stops already.
	DelayStop func() (release func(), ok bool)
	// Stopped is closed when the loops have stopped.
	Stopped <-chan struct{}
}
