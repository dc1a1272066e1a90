// Package crew provides a listener's connections with handlers: an instance of its plugin for
// each, for each loop, or for all; a program; or a Go value.
//
// What a provider needs of its listener is the interface Site.
package crew

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
	// Begin says that the listener is whole, its provider in its place above all: before, no code
	// of a guest's may run on a loop, which could do everything that a guest may. It is called
	// once, before everything else but Close, and not on a loop.
	Begin()
	// Reserve says which loop the next connection goes to, or -1 when no
	// handler is ready; Site.Unpark is then called when one is. It is
	// called on the home loop.
	Reserve() int
	// Assign provides the connection with a handler, through Site.HandOver, or
	// drops it. It is called on the home loop and does not block.
	Assign(c Arrival)
	// Peer is the handler for a new peer over UDP on a loop, on which it is called; nil
	// when none is ready. It is released as Assign's are.
	Peer(at int) csa.Handler
	// Release lets go of a handler that Assign has provided when its connection
	// is over, or never was. It is called on the connection's loop.
	Release(h csa.Handler)
	// Stop tells the handlers that serve many connections that the listener, or its host,
	// drains. It is not called on a loop.
	Stop()
	// StopOne tells a handler that Assign has provided for one connection alone
	// the same, once however often it is called, on the connection's loop.
	StopOne(h csa.Handler)
	// Retain says that n connections more, or less, that were dialled for an instance
	// keep it alive. It is called on the instance's loop.
	Retain(i *plugins.Instance, n int)
	// Close lets go of every instance. No connection is left by then. It is
	// not called on a loop, and returns when all are gone.
	Close()
}

// Arrival is a connection that has been accepted and counted and has no
// handler yet.
type Arrival struct {
	FD   int
	Peer netip.AddrPort
	At   int // the index of its loop
	// Source is the place that it has among those of its address.
	Source netip.Addr
	// ProxyRead says that its PROXY header has been read. Local, if valid, is where that
	// says that the connection was made to.
	ProxyRead bool
	Local     netip.AddrPort
}

// Counters are what providers count. Any goroutine may use them.
type Counters struct {
	Instances atomic.Int64 // alive; Site.Living counts them
	Failed    atomic.Int64 // instances that did not start
	Refused   atomic.Int64 // connections that were closed since no handler could be had
}

// Site is a listener, or a route, as its provider of handlers sees it. Any goroutine may call
// its methods, but where they say otherwise.
type Site interface {
	// Config is how it is configured. It does not change.
	Config() *config.Listener
	// Loops are the host's.
	Loops() []*loops.Loop
	// Home is the loop that it accepts on. Lives is where the instance of
	// instance = "listener" lives.
	Home() *loops.Loop
	Lives() *loops.Loop
	// Counters are its counters.
	Counters() *Counters
	// Living says that n of its instances more, or less, are alive.
	Living(n int)
	// HandOver has the connection wired on its loop to the handler that find finds
	// there; nil drops it.
	HandOver(a Arrival, find func() csa.Handler)
	// Unpark goes on accepting if that waits for a handler.
	Unpark()
	// Draining reports whether its handlers have been told to stop, or are being told.
	Draining() bool
	// Guests is what its plugin's instances are told and held to.
	Guests(onTrap func(*plugins.Instance, *plugins.Trap)) *plugins.Listener
	// Instantiate starts an instance, beside the loops.
	Instantiate(m *plugins.Module, l *plugins.Listener) (*plugins.Instance, error)
	// ReadFolder reads the folder of its programs on its tenant's account until
	// ReleaseFolder. Nil: there is none.
	ReadFolder() (*wasi.Folder, error)
	ReleaseFolder(*wasi.Folder)
	// Died counts and logs that a handler has trapped, or was stopped by a limit,
	// and what follows from it.
	Died(t *plugins.Trap, who, then string, args ...any)
	// Log is its log. Noisy logs what clients and handlers can cause at will, some lines a
	// second.
	Log() *slog.Logger
	Noisy(level slog.Level, what string, args ...any)
}
