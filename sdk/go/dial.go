package guest

import (
	"strings"
	"unsafe"
)

// Connect starts to connect to an address: "tcp://host:port", "tls://host:port"
// (TLS, with the host's name verified), "udp://host:port" or "unix:///path", of at most
// MaxAddress bytes. "?proxy=v1" or "?proxy=v2" behind it, but for udp, has the host send a
// PROXY protocol header first, with the addresses of the connection whose callback this is.
//
// Over udp nobody is asked: Open comes when there is a route. From then on each Send or
// Write is one datagram to the peer, each Data one of the peer's, and nobody else's come. Refused
// ends it when the peer's machine says that nothing listens there; else Close does, or the
// listener's idle_timeout. What is lost on the way, nobody says: ask again by a timer.
//
// The Conn comes to Handler.Open when it is up, for tls after the handshake; or
// Handler.Closed says why it is not, with Refused, Unreachable, NotFound, Timeout,
// Denied or TLS, and is all that comes. It is the handler's own to tell apart:
// Value can be set at once. Until Open, Send answers Again, Write queues, CloseWrite
// waits, and Abort gives it up, as does Close when nothing is queued; SetTimer answers
// Again, and Peer is "".
//
// The error is Denied when the operator does not let the tenant's handlers dial
// that, which is so of everything in Starter.Start; Quota when the tenant dials, or
// has dialled, as much as it may; Invalid when it is no address. An address that is
// put together from what a peer has said has to be checked first: nothing but a
// host may come where a host belongs.
func Connect(address string) (*Conn, error) {
	handle := connect(unsafe.Slice(unsafe.StringData(address), len(address)))
	if handle <= 0 {
		return nil, errorOf(min(handle, int32(Invalid)))
	}
	c := &Conn{handle: handle, flags: dialled | pending | sorted}
	if strings.HasPrefix(address, "udp:") {
		c.set(messages)
	}
	g.conns[handle] = c
	return c, nil
}

// Dialled reports whether Connect has made the connection, and not a peer. It is
// right for a stale c, too.
func (c *Conn) Dialled() bool { return c.is(dialled) }

// Splice joins two connections: from here on the host relays their bytes both ways,
// half-close included, until both directions have ended, and the handler sees none
// of them. What was sent, and what Data leaves unconsumed, goes first; that includes
// what the Data that calls this leaves, so it must return what it has used. When one
// breaks off, so does the other.
//
// Both are stale from here on: nothing is called for them any more, Closed included, so what
// the handler keeps for them is to be given up here. Pause, Want and timers are over.
//
// The error is Again while one is not open or not secured yet, or has bytes queued by
// Write that the inbox has not taken: Open, Secured or Writable is the time to try
// again. It is Closed when one has ended or the handler has closed it or finished sending
// on it, BadHandle when one is stale, Invalid when they are the same.
func Splice(a, b *Conn) error {
	for _, c := range [2]*Conn{a, b} {
		if err := c.maySend(); err != nil {
			return err
		}
	}
	if a.queue.len() > 0 || b.queue.len() > 0 {
		return Again
	}
	if code := splice(a.handle, b.handle); code < 0 {
		return errorOf(code)
	}
	for _, c := range [2]*Conn{a, b} {
		delete(g.conns, c.handle)
		c.set(closing | stale | spliced)
	}
	g.last = nil
	return nil
}
