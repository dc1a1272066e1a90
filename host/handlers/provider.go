// Package handlers gives a listener's connections their handlers: an instance of its plugin for
// each connection, for each loop, or for the listener; a WASI command; or a Go value.
//
// Site is what a provider needs of its listener.
package handlers

import (
	"log/slog"
	"net/netip"
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/config"
	"bulkhead/host/loops"
	"bulkhead/plugins"
	"bulkhead/plugins/wasi"
)

// Provider provides a listener's connections with handlers.
type Provider interface {
	// Start puts the provider's instances into service. It is called once, when the listener is
	// complete, before every other method but Close, and not on a loop. No guest code runs on a
	// loop before it, since a guest could use parts of the listener that are not there yet.
	Start()
	// Reserve returns the index of the loop that the next connection goes to, or -1 when no
	// handler is ready; the provider calls Site.Unpark when one is. It is called on the home
	// loop.
	Reserve() int
	// Assign gives the connection a handler, through Site.HandOver, or drops it. It is called on
	// the home loop and does not block.
	Assign(c Arrival)
	// Peer returns the handler of a new UDP peer on the loop with that index, on which it is
	// called; nil when none is ready. It is released as Assign's handlers are.
	Peer(at int) csa.Handler
	// Release gives back a handler from Assign or Peer when its connection has ended or was never
	// made. It is called on the connection's loop.
	Release(h csa.Handler)
	// Stop tells handlers that serve many connections that the listener, or its host, is
	// draining. It is not called on a loop.
	Stop()
	// StopOne tells the same to a handler that Assign has given to one connection alone. The
	// handler hears it once, however often StopOne is called. It is called on the connection's
	// loop.
	StopOne(h csa.Handler)
	// Retain adds n to the number of connections that keep an instance alive; n may be
	// negative. The connections are those that the instance has dialled. It is called on the
	// instance's loop.
	Retain(i *plugins.Instance, n int)
	// Close closes every instance, and returns when all are gone. No connection is left by then.
	// It is not called on a loop.
	Close()
}

// Arrival is a connection that was accepted and counted, and has no handler yet.
type Arrival struct {
	FD int
	// Number is csa.NextNumber's; 0: it is a peer over UDP, which has none yet.
	Number uint64
	Peer   netip.AddrPort
	At     int // the index of its loop
	// Accepted is when it was accepted, on the loops' clock.
	Accepted int64
	// Source is the address that it is counted under for per_source. Not valid:
	// it is not counted.
	Source netip.Addr
	// ProxyRead says that its PROXY header was read. Local, if valid, is the address that the
	// header names as the connection's destination.
	ProxyRead bool
	Local     netip.AddrPort
}

// NoHandler says why a connection gets no handler. The zero value is for one that gets one.
type NoHandler struct {
	Level slog.Level
	Why   string
	Err   error // nil: Why says all
}

// Counters are what providers count. Any goroutine may use them.
type Counters struct {
	Instances atomic.Int64 // alive now; Site.CountInstances counts them
	Failed    atomic.Int64 // instances that did not start
	Refused   atomic.Int64 // connections that were closed because no handler was available
}

// Site is a listener, or a route, as its provider of handlers sees it. Any goroutine may call its
// methods, unless they say otherwise.
type Site interface {
	// Config returns its configuration, which does not change.
	Config() *config.Listener
	// Loops returns the host's loops.
	Loops() []*loops.Loop
	// Home returns the loop that it accepts on. InstanceLoop returns the loop of the only
	// instance where the configuration says instance = "listener".
	Home() *loops.Loop
	InstanceLoop() *loops.Loop
	// Counters returns its counters.
	Counters() *Counters
	// CountInstances adds n, which may be negative, to the number of its instances alive.
	CountInstances(n int)
	// HandOver wires the connection to the handler that find returns on the connection's loop. If
	// find returns nil, the connection is dropped, and the log says why, as by LogLimited.
	HandOver(a Arrival, find func() (csa.Handler, NoHandler))
	// Unpark accepts connections again if that waited for a handler.
	Unpark()
	// Draining reports whether its handlers have been told to stop, or are being told.
	Draining() bool
	// Guests returns the settings and limits of its plugin's instances. onTrap is called on the
	// instance's loop when one traps.
	Guests(onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener
	// Instantiate starts an instance. It is not called on a loop.
	Instantiate(m *plugins.Module, l *plugins.Listener) (*plugins.Instance, error)
	// ReadFolder reads the folder that its commands see, and charges its tenant for it until
	// ReleaseFolder. Nil: there is none.
	ReadFolder() (*wasi.Folder, error)
	ReleaseFolder(*wasi.Folder)
	// Died counts and logs a handler that has trapped or was stopped by a limit: who it was, and
	// what happens then.
	Died(t *plugins.Trap, who, then string, args ...any)
	// Log returns its log. LogLimited is for lines that clients and handlers can cause at will: it
	// writes a few a second and counts the others.
	Log() *slog.Logger
	LogLimited(level slog.Level, what string, args ...any)
}
