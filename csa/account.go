package csa

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// spent is what a connection has taken so far. It is the loop's.
type spent struct {
	fuel, cpu int64
	events    uint32
	// firstIn and firstOut are the connection's age at its first byte each way, in firstUnits,
	// plus one; 0: there was none.
	firstIn, firstOut uint32
}

// firstUnit is how exactly the time of the first bytes is known. Later ones than 19 hours are
// taken for 19 hours.
const firstUnit = int64(16 * time.Microsecond)

// Born is when it came, on its loop's clock.
func (c *CSA) Born() int64 { return c.born }

// noteIn notes that bytes come, if they are the first.
func (c *CSA) noteIn() {
	if c.spent.firstIn == 0 {
		c.spent.firstIn = c.ageInUnits()
	}
}

// ageInUnits is the connection's age as spent has it.
func (c *CSA) ageInUnits() uint32 {
	return uint32(min(max(c.loop.Now()-c.born, 0)/firstUnit+1, math.MaxUint32))
}

// unit is the time of a first byte; less than zero: there was none.
func unit(at uint32) time.Duration { return time.Duration((int64(at) - 1) * firstUnit) }

// Spend notes that a call of the connection's handler has used fuel, and cpu nanoseconds of
// processor time.
func (c *CSA) Spend(fuel, cpu int64) {
	c.spent.fuel += fuel
	c.spent.cpu += cpu
}

// Account says what a connection has done so far, and what it does.
type Account struct {
	// Number is CSA.Number.
	Number uint64
	// Age is how old it is, and Idle how long ago a byte has moved.
	Age, Idle time.Duration
	// FirstIn is its age at the first byte that came, TLS and a PROXY header included, and FirstOut
	// at its handler's first byte for the peer, to 16 µs. Less than zero: there was none.
	FirstIn, FirstOut time.Duration
	// Received and Sent are CSA.Traffic.
	Received, Sent int64
	// Unsent bytes wait for the socket in the inbox, Unconsumed ones for the handler.
	Unsent, Unconsumed int
	// Events is how often its loop has turned to it: for bytes or a datagram that came, room in
	// its socket, a timer. It is modulo 2^32.
	Events uint32
	// Fuel and CPU are what its handler's calls have used for it: CSA.Spend.
	Fuel int64
	CPU  time.Duration
	// State is what it does.
	State State
	// Proxied says that the addresses are those that a load balancer has told.
	Proxied bool
}

// State is what a connection does: some of the bits below, or none.
type State uint16

// The bits.
const (
	// Shaking has a TLS handshake under way.
	Shaking State = 1 << iota
	// Paused has a handler that wants no bytes now.
	Paused
	// ThrottledIn and ThrottledOut keep still in a direction, since the tenant's bandwidth is used
	// up.
	ThrottledIn
	ThrottledOut
	// Blocked has a full inbox, which its peer does not empty.
	Blocked
	// Ended has a peer that has finished sending.
	Ended
	// Finishing sends its last bytes, or waits for the peer to finish.
	Finishing
	// Relayed is an end of a relay.
	Relayed
	// Computing has a TLS handshake that computes beside the loop, and does not wait for the peer.
	Computing
)

// states are the flags that are a State each.
var states = []struct {
	f flag
	s State
}{
	{securing, Shaking}, {paused, Paused}, {slowIn, ThrottledIn}, {slowOut, ThrottledOut}, {blocked, Blocked},
	{ended, Ended}, {finishing, Finishing}, {spliced, Relayed},
}

// Account is the connection's now. It is right also when the connection has ended: then nothing is
// unsent or unconsumed.
func (c *CSA) Account() Account {
	now := c.loop.Now()
	a := Account{
		Number: c.number, Age: time.Duration(now - c.born), Idle: time.Duration(now - c.lastActive),
		FirstIn: unit(c.spent.firstIn), FirstOut: unit(c.spent.firstOut),
		Received: c.received, Sent: c.sent, Unsent: c.inbox.len(), Unconsumed: c.unconsumed.len(),
		Events: c.spent.events, Fuel: c.spent.fuel, CPU: time.Duration(c.spent.cpu),
		Proxied: c.local != nil && c.local.IsValid(),
	}
	for _, one := range states {
		if c.is(one.f) {
			a.State |= one.s
		}
	}
	if c.transport.tls().computes() {
		a.State |= Computing
	}
	return a
}

// PeerAddress is the address of the other end; it is not valid where that has none.
func (c *CSA) PeerAddress() netip.AddrPort { return c.peer }

// KeepLocal keeps CSA.LocalAddress known when a connection has ended. The loop calls wanted for
// each connection, and keeps the address if the answer is true. Call KeepLocal before there are
// connections.
func (l *Loop) KeepLocal(wanted func() bool) { l.keepsLocal = wanted }

// LocalAddress is the address of this end. With Loop.KeepLocal it is known also when the connection
// has ended, unless its handler has passed the loop on in Closed and other connections have ended
// since. It is not valid where there is none.
func (c *CSA) LocalAddress() netip.AddrPort {
	switch {
	case c.local != nil && c.local.IsValid():
		return *c.local
	case c.loop.lastEnded == c:
		return c.loop.lastLocal
	}
	return c.transport.local(c)
}

// numbers counts the connections of this process.
var numbers atomic.Uint64

// NextNumber takes a number that no connection has, for one that comes to its end before it is a
// CSA. Any goroutine may call it.
func NextNumber() uint64 { return numbers.Add(1) }

// number is the connection's.
func (o Origin) number() uint64 {
	if o.Number != 0 {
		return o.Number
	}
	return NextNumber()
}

// LastNumber is the greatest number that NextNumber has given, or PassNumbers was told of. Any
// goroutine may call it.
func LastNumber() uint64 { return numbers.Load() }

// PassNumbers has NextNumber give none up to n any more. Any goroutine may call it.
func PassNumbers(n uint64) {
	for {
		last := numbers.Load()
		if last >= n || numbers.CompareAndSwap(last, n) {
			return
		}
	}
}
