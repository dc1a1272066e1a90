package csa

import "bulkhead/abi"

// Handler is the protocol handler a CSA is wired to: the one interface
// between a connection and what speaks its protocol. A native Go handler
// implements it as well as a Wasm instance does.
//
// The CSA calls every method on its loop, with the loop's baton held, one call
// at a time for all the CSAs of the loop: a method is never entered while
// another one runs. For one CSA the order is
//
//	Open, then (Data | Writable | Secured | Timer) any number of times,
//	then EOF at most once, then (Writable | Secured | Timer), then Closed exactly once.
//
// A method must not block; one that needs long passes the loop on (Loop.Pass)
// and goes on beside it. It acts on the connection through the methods of
// the CSA; what it sends leaves when the method has returned.
type Handler interface {
	// Open says that the connection is up.
	Open(c *CSA)

	// Window returns the memory that the next bytes from the peer are read into. The CSA fills it
	// from the start and hands the filled part to Data before any other call to the handler, so
	// that connections may share a window. It belongs to the handler, which must not free it
	// before the event is over: the CSA copies from it what Data has left, after Data has
	// returned. A nil or empty window pauses reading until CSA.Receive(true), and that of the end
	// as well: without a window there is no EOF. One that is shorter than what the handler has
	// left unconsumed counts as full.
	Window(c *CSA) []byte

	// Data hands over received bytes: p is the filled start of the window. It returns how many
	// bytes it has consumed, 0 to len(p). The CSA keeps the rest and offers it again at the start
	// of the window: with more behind it, after Writable, after CSA.Receive(true), and, when the
	// peer has finished sending, until Data consumes nothing of it. Any other result closes the
	// connection with abi.Invalid.
	//
	// Over UDP p is one datagram, whole, and may be empty. It is handed over once: what
	// is not consumed of it is gone. One that the window has no room for is lost.
	Data(c *CSA, p []byte) int

	// Writable says that the inbox takes data again, after a Send that took
	// less than it was given.
	Writable(c *CSA)

	// Secured says how the handshake went that CSA.MakeSSL has begun: abi.OK, or
	// abi.TLS, and then the connection is being closed.
	Secured(c *CSA, code abi.Code)

	// EOF says that the peer has finished sending. The other direction stays
	// open until the handler says ProducerFinished or FinishSending. It never
	// comes over UDP.
	EOF(c *CSA)

	// Timer says that a timer set with CSA.SetTimer has fired.
	Timer(c *CSA, token int32)

	// Closed is the last call for c. The socket is closed by now; every
	// method of c that would act on it answers abi.Closed.
	Closed(c *CSA, r Reason)
}

// Reason says how a connection died.
type Reason struct {
	// Code is abi.OK for an orderly end, else the error a guest is given.
	Code abi.Code
	// Cause is what it was, for the log and the counters. A Reason is best made by its
	// cause's methods.
	Cause Cause
	// Why is one clause for the log, such as "the peer reset the connection".
	Why string
}

// Orderly is the reason of a connection that ended as its handler or both
// sides wished.
var Orderly = Finished.Reason()

// Creator made the CSA and is told of its end: the box CreatorFeedback.
type Creator interface {
	// SocketShutdown is called once for every CSA, on its loop, after the
	// descriptor is closed and the handler has had its Closed, which a handler
	// that has passed the loop on may have put off.
	SocketShutdown(c *CSA, r Reason)
}

// Signal is anyone else who is involved in a connection, such as the accounts
// of a tenant: the box signal.
type Signal interface {
	// ShutdownCSA is called once for every CSA, on its loop, after
	// Creator.SocketShutdown.
	ShutdownCSA(c *CSA)
}

// Budget is what a connection may use of its tenant's share. Its methods are
// called from any loop, at any time, and must not block.
type Budget interface {
	// Reserve takes n bytes of memory for buffers, or reports false when the
	// tenant has no more; Release gives them back.
	Reserve(n int) bool
	Release(n int)

	// ReserveTimer takes one of the tenant's timers, or reports false when it
	// has no more; ReleaseTimers gives n back.
	ReserveTimer() bool
	ReleaseTimers(n int)

	// Received and Sent book n bytes moved at the time now, which is the
	// loop's (Loop.Now). They return for how many nanoseconds the connection
	// has to keep still in that direction before it moves more; zero or less:
	// not at all. n may be zero, to ask.
	Received(n int, now int64) (wait int64)
	Sent(n int, now int64) (wait int64)

	// Book takes note of ns nanoseconds that a loop has worked for the tenant, beside
	// what the handlers book themselves.
	Book(ns int64)
	// CPUWait returns for how many nanoseconds the tenant's accepts, datagrams and relays should
	// wait, because the tenant has used up its CPU time. Zero or less: they need not wait.
	CPUWait() (wait int64)
}

// Unlimited is the budget of a connection that nobody bounds.
type Unlimited struct{}

// Reserve grants everything.
func (Unlimited) Reserve(int) bool { return true }

// Release takes everything back.
func (Unlimited) Release(int) {}

// ReserveTimer grants every timer.
func (Unlimited) ReserveTimer() bool { return true }

// ReleaseTimers takes them back.
func (Unlimited) ReleaseTimers(int) {}

// Received never asks to wait.
func (Unlimited) Received(int, int64) int64 { return 0 }

// Sent never asks to wait.
func (Unlimited) Sent(int, int64) int64 { return 0 }

// Book forgets.
func (Unlimited) Book(int64) {}

// CPUWait never asks to wait.
func (Unlimited) CPUWait() int64 { return 0 }
