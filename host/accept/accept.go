// Package accept has the sockets of one address. They outlive configurations: a reload gives them
// another server, and what waits in the kernel's queue is that one's.
//
// Streams accept connections, over TCP or a Unix socket. Datagrams are for UDP. What they need of
// the server that they accept for is the interface Server.
package accept

import (
	"log/slog"
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
)

// Address is where sockets were opened, as configured: network "tcp", "udp", "unix" or "fd".
type Address struct{ Network, Host string }

// Sockets are those of one address: Streams or Datagrams. Any goroutine may call their methods but
// a loop's. Serve, Retune and Options are for whoever has the right to reload.
type Sockets interface {
	// Address is what they were opened by, and Listening where they listen: at one address, or at
	// two where the address was a name for both.
	Address() Address
	Listening() []string
	// Home is the loop that accepts; of Datagrams, the one that they are on where there is one
	// socket.
	Home() *loops.Loop
	// Options are those that they have.
	Options() listen.Options
	// Descriptors are those of the sockets that are open.
	Descriptors() []int
	// Register finds out whether the selector takes the sockets, before anybody is told to
	// serve. Begin registers, and starts to accept. Both do nothing on sockets that were closed.
	Register() error
	Begin() error
	// Serve has all who come from now on be the server's, and starts to accept.
	Serve(s Server)
	// Retune gives the open sockets other options than those that they have.
	Retune(before, now listen.Options) error
	// Drain accepts no more, but who waits in the kernel's queue. With unrouted, the server's
	// connections that have no route yet are closed. Datagrams have no queue, and their peers
	// need the sockets: nothing happens, and the server has to turn new peers away.
	Drain(unrouted bool)
	// StopAccepting closes listening sockets, and the connections that were in their queues and
	// have found no place. Datagrams stay open.
	StopAccepting()
	// Close closes everything: peers over UDP end for that reason.
	Close(why csa.Reason)
}

// Server is whose the next connections are. Its methods are called on the loop that the connection
// came to, and do not block: for Streams that is always the same one.
type Server interface {
	// Budget pays for the loop's time, and for a socket of datagrams. SocketMemory pays for what
	// that holds in the system; nil: nothing does.
	Budget() csa.Budget
	SocketMemory() csa.SocketShare
	// Options are what accepted connections get. They may change.
	Options() *listen.Options
	Log() *slog.Logger
	// LogLimited logs what clients can cause at will, some lines a second.
	LogLimited(level slog.Level, what string, args ...any)

	// Reserve takes the places that one more connection needs. at is the loop that it goes to,
	// for Take. The server may call Queued, TellNext and AcceptIn, which are for that.
	Reserve(k *Streams) (at int, next Next)
	// PutBack gives them back, for a connection that did not come.
	PutBack()
	// Join counts a connection as the server's, before Take or GiveUp. It has its places by
	// Take alone: one that waits after Drain has none yet.
	Join()
	// Take has a connection be the server's, which has joined it and for which Reserve took
	// the places. accepted is when it was accepted, on the loop's clock. The server has
	// Streams.Tune give the socket its options if it keeps it.
	Take(k *Streams, fd int, peer netip.AddrPort, accepted int64, at int)
	// GiveUp counts a connection that has joined it and was closed, since it found no place. It
	// was accepted at a time on the loop's clock.
	GiveUp(peer netip.AddrPort, accepted int64)
	// CountShortage counts an accept that failed for want of descriptors or memory, and
	// returns how many did so far.
	CountShortage() int64
	// HasRoutes reports whether the server finds out where connections belong after it has
	// taken them. StopRouting closes those for which it has not.
	HasRoutes() bool
	StopRouting()

	// Ready reports whether it has handlers, or knows that it has none. If not, it has
	// Datagrams.Read called when it does.
	Ready() bool
	// Admit takes a new peer in that has sent a datagram to a loop: csa.Peers.Admit.
	Admit(peer netip.AddrPort, at int) (csa.Wiring, csa.Admission)
	// WantsProxyHeader reports whether what comes from an address begins with a PROXY header,
	// and WantsProxyHeaders whether there is any such address.
	WantsProxyHeader(peer netip.AddrPort) bool
	WantsProxyHeaders() bool
	// CountLost counts n datagrams that were lost, and returns how many were so far.
	CountLost(why csa.Loss, n int) int64
}

// Next is what Streams do after Server.Reserve.
type Next int

// The answers of Server.Reserve.
const (
	// Wait has nothing accepted until Accept is called: by the server when there may be places
	// again, after AcceptIn, or by the selector after TellNext.
	Wait Next = iota
	// Again says that the server has made room: Reserve is called once more.
	Again
	// Go says that the places are taken.
	Go
)

// logEvery is the least time between two lines of one kind about what goes on.
const logEvery = 10 * time.Second

// ServerOf is whose event ran, of what csa.Fault.Told says; nil: it was none of this package's. It
// is called on the loop of that event.
func ServerOf(told any) Server {
	switch told := told.(type) {
	case *Streams:
		return told.server
	case *csa.DatagramSocket:
		if p, ok := told.Owner().(*udpSocket); ok {
			return p.server
		}
	}
	return nil
}
