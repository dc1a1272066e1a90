// Package csa is the ConnectedSocketAdapter: it wraps one connected socket and
// lets a protocol handler talk to it through named boxes only, so that the
// handler never sees a socket.
//
//	inbox           [CSA.Send]: bytes for the peer, bounded by [Settings].Inbox
//	control         [CSA.ProducerFinished], [CSA.FinishSending], [CSA.ShutdownMicroprocess]
//	outbox          [Handler].Data: bytes from the peer, read straight into the handler's window
//	ReadReady       the socket can be read: the selector's answer to newReader
//	SendReady       the socket has room: the selector's answer to newWriter
//	CreatorFeedback [Creator].SocketShutdown, exactly once
//	signal          [Signal].ShutdownCSA, exactly once
//
// Everything on a [Loop] happens under the baton of its selector; only
// [Loop.Post] may be called from elsewhere.
package csa

import (
	"net/netip"
	"time"

	"bulkhead/selector"
)

// Settings are what the connections of one listener have in common. They must
// not change while a CSA uses them; CSA.SetSettings has it use others.
type Settings struct {
	// Inbox is how many bytes a connection may hold unsent. Zero or less:
	// 64 KiB.
	Inbox int
	// InboxOnly has a Send on a stream take no more than the inbox has room for, though the socket
	// would take the rest at once. It is for tests of handlers.
	InboxOnly bool
	// IdleTimeout ends a connection on which no byte has moved either way for
	// so long. Bytes that the peer takes out of the socket's buffer move; where the system
	// does not say when, it is up to a quarter late. Zero or less: never.
	IdleTimeout time.Duration
	// Linger bounds the time from ProducerFinished to the end: to flush, and
	// to wait for the peer to finish. Zero or less: one attempt to flush,
	// then the end.
	Linger time.Duration
	// FirstByteTimeout ends a connection on which neither side has sent a byte
	// for so long since it came, a TLS handshake and a PROXY header not counted.
	// Zero or less: never.
	FirstByteTimeout time.Duration
	// WriteTimeout ends a connection for which bytes wait when its peer has taken
	// none for so long, and is up to a quarter late. Zero or less: never.
	WriteTimeout time.Duration
	// Lifetime ends a connection that is so old. Zero or less: never.
	Lifetime time.Duration
	// UserTimeout ends a connection whose peer has vanished: its socket has held bytes for so
	// long, the system has sent or asked again, and nothing at all came back. It holds for TCP
	// on Linux; elsewhere the system decides. Zero or less: the system does.
	UserTimeout time.Duration
	// WaitingDatagrams and WaitingBytes bound what waits of one peer over UDP while its handler
	// takes none: how many datagrams, and how many bytes of them, with 4 for each. Above
	// 16 datagrams or 64 KiB a peer has more only while those of the socket's peers together
	// are less than 8 times WaitingBytes. Zero or less: 16, and 64 KiB.
	WaitingDatagrams, WaitingBytes int
	// Messages bounds those of a connection over WebSocket.
	Messages Messages
	// MinRate is the least that the peer has to move while it owes something, in
	// bytes a second: the rest of what it has begun to send, or room for bytes that
	// wait. It may be behind by a minute. Zero or less: nothing.
	MinRate int64
	// Pipes bounds how many pipes the relays of the connections hold (Splice). Nil: nobody does.
	Pipes PipeShare
	// SocketMemory bounds what the connections' sockets hold in the system. Nil: nobody does.
	SocketMemory SocketShare
	// Tallies are where the connections count what they do. Settings that a connection is given
	// later have to have the same ones. Nil: nowhere.
	Tallies *Tallies
}

// PipeShare is how many of the kernel's pipes a tenant's relays may hold at once. A pipe is held
// while it has bytes of bulk that the one end has sent and the other has not taken: up to 256 KiB.
// A relay that is refused one copies its bytes instead. The methods are called on any loop, and
// neither block nor lock.
type PipeShare interface {
	// TakePipe takes one, or reports false.
	TakePipe() bool
	// ReturnPipe gives one back.
	ReturnPipe()
}

const defaultInbox = 64 << 10

func (s *Settings) inbox() int {
	if s.Inbox > 0 {
		return s.Inbox
	}
	return defaultInbox
}

// Wiring is what a CSA's boxes are linked to. Handler, Settings and Budget
// are needed; Creator and Signal may be nil.
type Wiring struct {
	Handler  Handler
	Settings *Settings
	Budget   Budget
	Creator  Creator
	Signal   Signal
}

// CSA is one connected socket, or one peer of a DatagramSocket. All its methods are to be called on
// its loop, by the owner of the baton.
type CSA struct {
	// Tag is the handler's, to find its own state with.
	Tag int32

	flags  flag
	fd     int32
	want   int32
	d      selector.Descriptor
	wiring Wiring
	loop   *Loop
	next   *CSA // in the loop's list
	prev   *CSA
	number uint64

	inbox      fifo // to be sent
	unconsumed fifo // received, not yet consumed

	timer       selector.Timer // what is due first (deadlines.go), later the linger bound
	born        int64
	lastActive  int64     // when a byte last moved
	owed        int64     // until when the peer has time to send: see timeIn
	behind      *behind   // of a connection whose socket was full
	buffered    buffered  // what the socket holds (kernel.go)
	pendingData *dataCall // a Data that is not over, whose loop was passed on
	throttle    *throttle
	transport   transport
	memory      *socketMemory // of a connection whose socket holds much
	timers      *handlerTimer // a list

	peer     netip.AddrPort
	local    *netip.AddrPort // when somebody has said so; else the socket's, or the peer's
	received int64
	sent     int64
	spent    spent
	reason   Reason
}

// flag is one bit of a connection's state.
type flag uint32

const (
	paused            flag = 1 << iota // the handler said Receive(false)
	full                               // the handler takes nothing of a full window, or has no window
	offering                           // the unconsumed rest is to be offered again
	blocked                            // a Send took less than it was given; Writable is owed
	slowIn                             // over the bandwidth, receiving
	slowOut                            // over the bandwidth, sending
	ended                              // the peer has finished sending
	lastOffered                        // after ended: the rest has been offered for the last time
	eofTold                            // the handler knows of ended
	sendFinished                       // no more is taken for the inbox
	writeShut                          // the peer has been told so
	finishing                          // producerFinished: flush, linger, close
	refused                            // it finishes for the reason that it has already (Refuse)
	broken                             // to be reset, not closed: the other end of its relay has failed
	securing                           // TLS is on its way: nothing is read or sent for the handler
	spliced                            // it is an end of a relay: nothing is read for the handler
	listed                             // on the loop's list of whom to tell at the end of the event
	gotFirstByte                       // a byte has been sent, one way or the other
	answered                           // bytes of its handler's were taken for the peer
	hadUnacknowledged                  // the socket held bytes when the system was last asked
	frozen                             // it is held still (Freeze)
	doomed                             // it was killed meanwhile
	dying                              // to be destroyed at the end of the event
	dead
)

func (c *CSA) is(f flag) bool { return c.flags&f != 0 }
func (c *CSA) set(f flag)     { c.flags |= f }
func (c *CSA) clear(f flag)   { c.flags &^= f }

// Origin is what is known of a connection before it is a CSA. The zero value: nothing.
type Origin struct {
	// Accepted is when it was accepted, on the loop's clock: its age is counted from then. Zero or
	// less, or later than now: from now.
	Accepted int64
	// Number is a number that NextNumber has given for it. 0: it gets one.
	Number uint64
}

// NewCSA wraps the connected, non-blocking socket fd, tells the handler that
// it is open, and starts to read. The CSA owns fd from here on; on an error it
// is closed, and nobody is told. peer may be the zero value. NewCSA does not
// return when the handler passes the loop on.
func (l *Loop) NewCSA(fd int, peer netip.AddrPort, w Wiring) (*CSA, error) {
	return l.NewCSAOf(fd, peer, w, Origin{})
}

// NewCSAOf is NewCSA for a connection of which something is known already.
func (l *Loop) NewCSAOf(fd int, peer netip.AddrPort, w Wiring, from Origin) (*CSA, error) {
	now := l.Now()
	c := &CSA{number: from.number(), fd: int32(fd), loop: l, wiring: w, transport: stream{}, peer: peer, born: now, lastActive: now}
	if from.Accepted > 0 && from.Accepted < now {
		c.born = from.Accepted
	}
	if err := l.sel.Add(&c.d, fd, c); err != nil {
		closeSocket(fd)
		return nil, err
	}
	l.link(c)
	c.startTime()
	c.enter()
	c.d.NewExceptional()
	c.d.NewReader()
	l.calling = call{c: c, what: inOther}
	w.Handler.Open(c)
	l.calling = call{}
	l.leaveEvent()
	return c, nil
}

// Number is the connection's own in this process, from 1 on: what log lines tell it from others
// by. Any goroutine may ask.
func (c *CSA) Number() uint64 { return c.number }

// Loop is the loop the CSA lives on.
func (c *CSA) Loop() *Loop { return c.loop }

// Creator made the CSA, and is told of its end; nil when nobody was named.
func (c *CSA) Creator() Creator { return c.wiring.Creator }

// Signal is told of the connection's end, as its Creator is; nil when nobody was named.
func (c *CSA) Signal() Signal { return c.wiring.Signal }

// Handler is what the CSA is wired to.
func (c *CSA) Handler() Handler { return c.wiring.Handler }

// Rewire gives the CSA another handler. The CSA tells that handler nothing of what was before, not
// even Open: the caller does. The old handler hears no more, and its timers are over. Its methods
// may call Rewire, but not for a connection in whose event they have passed the loop on.
func (c *CSA) Rewire(h Handler) {
	c.stopTimers()
	c.wiring.Handler = h
}

// SetAddresses sets the addresses that the connection is said to have: those that a load balancer
// in front of the host has told.
func (c *CSA) SetAddresses(peer, local netip.AddrPort) { c.peer, c.local = peer, &local }

// Addresses are those of the other end and of this one; they are not valid where an end
// has none, as on a unix socket, or the socket is closed.
func (c *CSA) Addresses() (peer, local netip.AddrPort) {
	switch {
	case c.local != nil && c.local.IsValid():
		local = *c.local
	default:
		local = c.transport.local(c)
	}
	return c.peer, local
}

// Peer is the address of the other end, "" when it has none.
func (c *CSA) Peer() string {
	if !c.peer.IsValid() {
		return ""
	}
	return c.peer.String()
}

// Local is the address of this end: "ip:port", the path of a Unix socket, or
// "" when there is none or the socket is closed.
func (c *CSA) Local() string {
	switch {
	case c.is(dead):
		return ""
	case c.local != nil && c.local.IsValid():
		return c.local.String()
	}
	if at := c.transport.local(c); at.IsValid() {
		return at.String()
	}
	return socketPath(int(c.fd))
}

// Transport is "tcp", "unix", "udp" or "ws".
func (c *CSA) Transport() string { return c.transport.network(c) }

// Traffic is how many bytes have been received from the peer and taken by the
// socket for it.
func (c *CSA) Traffic() (received, sent int64) { return c.received, c.sent }

// ProducerFinished flushes the inbox, tells the peer that no more follows,
// and closes when it has finished too, or after Settings.Linger. What it sends
// meanwhile is not read by the handler; the handler's next and last call is
// Closed. Over UDP there is nothing to tell: it closes when the inbox is empty, and the
// next datagram from the peer is a new connection's.
func (c *CSA) ProducerFinished() {
	if c.is(finishing | dying | dead) {
		return
	}
	c.set(finishing | sendFinished)
	c.clear(paused | full | offering)
	c.transport.takeNoMore(c)
	c.unconsumed.release(c.loop, c.wiring.Budget)
	c.stopTimers()
	if linger := c.wiring.Settings.Linger; linger > 0 {
		c.loop.sel.SetTimer(&c.timer, c, c.loop.Now()+int64(linger))
	}
	c.loop.eventOverLater(c)
}

// Refuse is ProducerFinished with another reason than that it is finished: what was sent, which
// says why, leaves first.
func (c *CSA) Refuse(r Reason) {
	if !c.is(finishing | dying | dead) {
		c.set(refused)
		c.reason = r
		c.ProducerFinished()
	}
}

// FinishSending flushes the inbox and then tells the peer that no more
// follows. Receiving goes on. When the peer has finished too, the connection
// closes by itself. Over UDP nobody is told, and the peer never has.
func (c *CSA) FinishSending() {
	if c.is(sendFinished | dying | dead) {
		return
	}
	c.set(sendFinished)
	if c.is(blocked) {
		// No Writable will come; what waited for it goes on.
		c.clear(blocked)
		c.offerAgain()
	}
	c.loop.eventOverLater(c)
}

// ShutdownMicroprocess closes now, without waiting for the inbox. If that has
// bytes in it, the peer sees the connection reset, so that it does not take
// what it has got for all there is. r is the reason that is told; the first
// reason stands.
func (c *CSA) ShutdownMicroprocess(r Reason) {
	c.loop.enterEvent()
	c.kill(r)
	c.loop.leaveEvent()
}

// kill marks the connection as over; it is destroyed at the end of the event.
func (c *CSA) kill(r Reason) {
	if c.is(dying | dead) {
		return
	}
	if c.is(frozen) {
		c.killHeld(r)
		return
	}
	if c.is(refused) {
		r = c.reason
	}
	c.transport.lastWords(c, r) // which may meet a socket that is gone, and come here by itself
	c.set(dying | sendFinished)
	c.reason = r
	c.transport.takeNoMore(c)
	c.loop.later(c)
}

// eventOver does what the handlers of the event that now ends have left to do.
func (c *CSA) eventOver() {
	c.clear(listed)
	c.transport.eventOver(c)
	if c.is(dying) && !c.is(dead) {
		c.destroy()
	}
}

// destroy closes the socket and tells everybody, once. Every connection ends here.
func (c *CSA) destroy() {
	l := c.loop
	if l.keepsLocal != nil && l.keepsLocal() {
		l.lastLocal = c.LocalAddress()
		l.lastEnded = c
	}
	c.set(dead)
	l.sel.StopTimer(&c.timer)
	c.stopTimers()
	c.stopThrottle()
	l.sel.Remove(&c.d)
	if c.memory != nil {
		c.memory.release()
	}
	c.transport.close(c)
	c.inbox.release(l, c.wiring.Budget)
	c.unconsumed.release(l, c.wiring.Budget)
	l.unlink(c)
	l.calling = call{c: c, what: inClosed}
	c.wiring.Handler.Closed(c, c.reason)
	l.calling = call{}
	c.tellOthers()
}

// unsent reports whether bytes wait for the socket.
func (c *CSA) unsent() bool { return c.inbox.len() > 0 || c.transport.holds() }

// tellOthers is the end of the connection for those who are not its handler.
func (c *CSA) tellOthers() {
	l := c.loop
	if c.wiring.Creator != nil {
		l.calling = call{c: c, what: inCreator}
		c.wiring.Creator.SocketShutdown(c, c.reason)
	}
	if c.wiring.Signal != nil {
		l.calling = call{c: c, what: inSignal}
		c.wiring.Signal.ShutdownCSA(c)
	}
	l.calling = call{}
}

// Exceptional is the selector's notice that the socket is broken or hung up.
// It matters when nobody is reading, since a read would find out by itself.
func (c *CSA) Exceptional() {
	c.enter()
	if !c.is(dying|dead) && !c.d.Reading() {
		if err := socketError(int(c.fd)); err != nil {
			c.kill(reasonOf(err))
		}
	}
	c.d.NewExceptional()
	c.loop.leaveEvent()
}

// Expired is the selector's notice that a deadline or the linger bound may be
// over.
func (c *CSA) Expired(*selector.Timer) {
	c.enter()
	switch {
	case c.is(finishing) && !c.unsent():
		c.kill(Orderly)
	case c.is(finishing):
		c.kill(Linger.Reason())
	case !c.is(dying | dead):
		c.keepDeadlines()
	}
	c.loop.leaveEvent()
}

// Over reports whether the connection has ended, or ends with this event.
func (c *CSA) Over() bool { return c.is(dying | dead) }
