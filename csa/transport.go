package csa

import (
	"net/netip"

	"bulkhead/abi"
)

// transport is how the bytes of a connection travel, and so the part of a CSA that differs: a
// stream as the socket has it, TLS (tlsTransport), WebSocket (webSocket), one end of a relay
// (relayEnd), or the datagrams of one peer (datagramPeer). MakeSSL, StartWebSocket and Splice
// replace it. Its methods are called on the loop, inside an event; c is always the connection that
// has it. stream has them all, and the others embed one and say what they do otherwise: WebSocket
// and a relay's end embed what was there before, which they go on to use.
type transport interface {
	// network is CSA.Transport.
	network(c *CSA) string
	// local is the address of this end; the zero value if it has none, or is closed.
	local(c *CSA) netip.AddrPort
	// tls is the connection's TLS, nil without.
	tls() *tlsTransport
	// other is the other end of a relay, nil for what is no relay's.
	other() *CSA
	// idle is the cause of an end by Settings.IdleTimeout.
	idle() Cause
	// lastMoved is when something last moved that counts for Settings.IdleTimeout.
	lastMoved(c *CSA) int64
	// keepAlive asks the peer for a sign of life when that is due. It returns when to look again,
	// or why the connection is over; Unknown: it is not.
	keepAlive(c *CSA) (next int64, why Cause)
	// unheard reports whether the peer may have sent something in time that the host has not let
	// the handler hear: then it is not idle.
	unheard(c *CSA) bool

	// send is CSA.Send.
	send(c *CSA, p []byte) (taken int, code abi.Code)
	// write writes the beginning of p once. It returns how much of p that is: 0 when the socket is
	// full or the connection is dying. What is taken and not yet written is held.
	write(c *CSA, p []byte) int
	// holds reports whether there are bytes behind the inbox that the socket has not taken.
	holds() bool
	// drain writes those, as far as the socket takes them, and reports whether all are gone.
	drain(c *CSA) bool
	// sayEnd writes, once, what tells the peer beside the end of the stream that no more follows,
	// and reports whether that is gone.
	sayEnd(c *CSA) bool
	// sendReady is the selector's notice that the socket has room.
	sendReady(c *CSA)
	// moreRoom has the handler of a blocked connection told in a later turn, if the inbox, which
	// has become larger, has room.
	moreRoom(c *CSA)

	// room is the part of the window that new bytes may come into, behind the old ones that the
	// handler has left. offer says that those are offered again for a reason of the host's.
	room(c *CSA, window []byte, old int, offer bool) []byte
	// receive reads once. It returns 0 when nothing came; then the connection may have ended or be
	// dying.
	receive(c *CSA, p []byte) int
	// readMore asks for readReady.
	readMore(c *CSA)
	// readReady is the selector's notice that there is something to read. It is called outside of
	// an event.
	readReady(c *CSA)
	// reads reports whether what the peer sends would be read.
	reads(c *CSA) bool
	// midway reports whether the peer has sent a part of what makes no sense without the rest, and
	// gathers whether a part that has come whole is nothing yet by itself.
	midway() bool
	gathers() bool
	// resume has the handler offered what is unconsumed, and reading goes on.
	resume(c *CSA)
	// consumed is CSA.Consumed.
	consumed(c *CSA, d *dataCall, p []byte, used int)

	// eventOver does what the event that ends has left to do. c may be dying.
	eventOver(c *CSA)
	// lastWords is told that the connection is about to die, and may tell the peer why.
	lastWords(c *CSA, r Reason)
	// takeNoMore says that nothing more is taken for the handler: the connection is finishing, or
	// dying.
	takeNoMore(c *CSA)
	// close closes the socket and lets go of everything, once.
	close(c *CSA)
}

// stream is the transport of a connected stream socket, with nothing in between.
type stream struct{}

func (stream) network(c *CSA) string {
	if c.peer.IsValid() {
		return "tcp"
	}
	return "unix"
}

func (stream) local(c *CSA) netip.AddrPort {
	if c.is(dead) {
		return netip.AddrPort{}
	}
	return localAddrPort(int(c.fd))
}

func (stream) tls() *tlsTransport { return nil }
func (stream) other() *CSA        { return nil }
func (stream) idle() Cause        { return IdleTimeout }
func (stream) unheard(*CSA) bool  { return false }

func (stream) lastMoved(c *CSA) int64        { return c.lastActive }
func (stream) keepAlive(*CSA) (int64, Cause) { return never, Unknown }

func (stream) send(c *CSA, p []byte) (int, abi.Code) { return c.sendBytes(p) }
func (stream) write(c *CSA, p []byte) int            { return c.writeRaw(p) }
func (stream) holds() bool                           { return false }
func (stream) drain(*CSA) bool                       { return true }
func (stream) sayEnd(*CSA) bool                      { return true }

func (stream) sendReady(c *CSA) {
	if !c.is(dying | dead) {
		c.flush()
	}
}

func (stream) moreRoom(c *CSA) {
	c.loop.Post(func() {
		if !c.is(dying | dead) {
			c.SendReady()
		}
	})
}

// room is how much of that to use. Handlers that answer in kind would have to leave what the inbox
// has no room for, and what they leave is copied out and in again.
func (stream) room(c *CSA, window []byte, old int, _ bool) []byte {
	free := c.wiring.Settings.inbox() - c.inbox.len()
	return window[old:][:min(len(window)-old, max(free, smallestBuffer))]
}

func (stream) receive(c *CSA, p []byte) int { return c.receiveRaw(p) }
func (stream) readMore(c *CSA)              { c.d.NewReader() }
func (stream) readReady(c *CSA)             { c.readWindows() }
func (stream) reads(c *CSA) bool            { return c.mayRead() }
func (stream) midway() bool                 { return false }
func (stream) gathers() bool                { return false }
func (stream) resume(c *CSA)                { c.resumeStream() }

func (stream) consumed(c *CSA, d *dataCall, p []byte, used int) { c.streamConsumed(d, p, used) }

func (stream) eventOver(c *CSA) {
	if !c.is(dying | dead) {
		c.flush()
	}
}

func (stream) lastWords(*CSA, Reason) {}

func (stream) takeNoMore(*CSA) {}

// close resets the connection where bytes are lost, so that the peer does not take what it has got
// for all there is.
func (stream) close(c *CSA) {
	if c.unsent() || c.is(broken) {
		resetSocket(int(c.fd))
	} else {
		closeSocket(int(c.fd))
	}
}
