package guest

import "errors"

// Conn is one connection. The library makes it for Handler.Open, or Connect does, and it is
// valid until Handler.Closed is called or it is spliced: after that, every method that answers
// an error answers BadHandle. A Conn may be kept as long as one likes; it is never used
// for another connection.
type Conn struct {
	// Value is the handler's own. The library does not touch it.
	Value any

	handle int32
	flags  flags
	limit  int // for queue; 0: DefaultWriteLimit
	queue  queue
}

type flags uint8

const (
	closing  flags = 1 << iota // the handler has closed it, or Closed has come
	stale                      // Closed has come, or it is spliced
	finished                   // the handler has finished sending
	dialled                    // Connect has made it
	pending                    // and Open has not come yet
	spliced
	messages // each send is one: so in the queue, behind its length
	sorted   // that is known
)

func (c *Conn) is(f flags) bool { return c.flags&f != 0 }
func (c *Conn) set(f flags)     { c.flags |= f }
func (c *Conn) unset(f flags)   { c.flags &^= f }

// refuse is the result for the host when a callback returned err.
func (c *Conn) refuse(callback string, err error) int32 {
	code, known := codeOf(err)
	if a := (*advice)(nil); !known || errors.As(err, &a) {
		Log(LogWarn, callback+": "+err.Error())
	}
	c.set(closing)
	c.queue.drop()
	return int32(code)
}

// Send hands p to the connection's inbox: as much as it has room for. It returns
// how many bytes were taken, at least 1 of a p that is not empty, or an error:
// Again when there is no room; Closed after Close, Abort or CloseWrite, and when
// the peer is gone; Quota when the tenant's memory is used up; BadHandle when c
// is stale. Whenever it takes less than p, Writer.Writable comes once there is
// room, and then Data with what Data has left. p is not kept.
//
// Over UDP p is one datagram: all of it is taken, or none. Invalid says that it is longer
// than one can be, 65507 bytes over IPv4 and 65527 over IPv6; an empty p is an empty one. Over
// WebSocket p is one message, likewise; what is longer than the listener's inbox is taken in parts.
//
// Send queues nothing: it is for handlers that can take up where they stopped.
// While something that Write has queued waits, it answers Again.
func (c *Conn) Send(p []byte) (taken int, err error) {
	if err := c.maySend(); err != nil {
		return 0, err
	}
	if c.queue.len() > 0 {
		return 0, Again
	}
	n := send(c.handle, p)
	if n < 0 {
		return 0, errorOf(n)
	}
	return int(n), nil
}

func (c *Conn) maySend() error {
	switch {
	case c.is(stale):
		return BadHandle
	case c.is(closing | finished):
		return Closed
	}
	return nil
}

// Close finishes the connection: what is in the inbox and what Write has queued
// is sent, what the peer still sends is dropped, then the socket is closed
// (producerFinished). It returns at once; Closed follows. Closing again does
// nothing. A peer that takes nothing of the queue is closed by the host's idle
// timeout.
func (c *Conn) Close() error {
	if c.is(stale) {
		return BadHandle
	}
	if c.is(closing) {
		return nil
	}
	c.set(closing)
	if c.queue.len() > 0 {
		return nil // flush says it
	}
	return errorOf(control(c.handle, producerFinished))
}

// Abort closes the connection now, and drops what is not sent yet
// (shutdownMicroprocess). Closed follows, after this callback.
func (c *Conn) Abort() error {
	if c.is(stale) {
		return BadHandle
	}
	c.set(closing)
	c.queue.drop()
	return errorOf(control(c.handle, shutdownMicroprocess))
}

// CloseWrite sends what is in the inbox and in the queue, then tells the peer
// that no more follows (finish sending: a half-close). Receiving goes on. When
// the peer has finished as well, the connection closes.
func (c *Conn) CloseWrite() error {
	if c.is(stale) {
		return BadHandle
	}
	if c.is(closing | finished) {
		return nil
	}
	c.set(finished)
	if c.queue.len() > 0 || c.is(pending) {
		return nil // flush says it, or opened
	}
	return errorOf(control(c.handle, finishSending))
}

// Pause has no Data and no EOF come until Resume; the network holds the peer
// back.
func (c *Conn) Pause() error { return c.receive(0) }

// Resume undoes Pause, and has what Data has left offered again, after this
// callback. It may be called for that alone.
func (c *Conn) Resume() error { return c.receive(1) }

func (c *Conn) receive(on int32) error {
	if c.is(stale) {
		return BadHandle
	}
	return errorOf(receive(c.handle, on))
}

// Want has no Data come before n bytes are there, or the peer has finished
// sending. n is 1, as it is at first, to the length of the window, else Invalid.
// It stays in force until it is changed. A handler that asks for no more than it
// has left unconsumed is called again at once, so it must ask for more, or
// consume.
func (c *Conn) Want(n int) error {
	if c.is(stale) {
		return BadHandle
	}
	if n < 1 || n > len(g.window) {
		return Invalid
	}
	return errorOf(want(c.handle, int32(n)))
}

// SetTimer has Handler.Timer called once, with this token, d from now; 0 means
// soon. d is rounded up to milliseconds. A connection has one timer for each
// token, of which setting it again moves, and at most MaxTimers (Quota). A
// negative d, or one above MaxDuration, is Invalid. The connection's end stops
// its timers.
func (c *Conn) SetTimer(token int32, d Duration) error {
	if c.is(stale) {
		return BadHandle
	}
	return setTimer(c.handle, token, d)
}

// StopTimer stops the timer with this token, if there is one.
func (c *Conn) StopTimer(token int32) error {
	if c.is(stale) {
		return BadHandle
	}
	return errorOf(timer(c.handle, token, -1))
}

// Peer is the address of the peer, as "127.0.0.1:49152", "[::1]:49152", or the
// path of a unix socket, which may be empty. Like the methods below it is ""
// when c is stale.
func (c *Conn) Peer() string { return c.info(infoPeer) }

// Local is the address that the peer connected to.
func (c *Conn) Local() string { return c.info(infoLocal) }

// Listener is the name of the listener that accepted the connection, or "LISTENER/ROUTE".
func (c *Conn) Listener() string { return c.info(infoListener) }

// Tenant is the name of the tenant that the connection belongs to.
func (c *Conn) Tenant() string { return c.info(infoTenant) }

// Transport is "tcp", "unix", "udp" or "ws". With "udp" a connection is a peer: each Data is
// one datagram, and each Send or Write is one that goes whole or not at all. With "ws",
// WebSocket with TLS or without, they are messages.
func (c *Conn) Transport() string { return c.info(infoTransport) }

// MessageType is "text" or "binary": what the last WebSocket message was. It is "" before the first
// one. Like the three below it is "" for a connection that is not over WebSocket.
func (c *Conn) MessageType() string { return c.info(infoMessage) }

// Target is the path and query that the WebSocket client has asked for, such as "/chat?room=7".
func (c *Conn) Target() string { return c.info(infoTarget) }

// Origin is the origin of the page that the WebSocket client is in, such as "https://example.com",
// and "" for a client that is no browser.
func (c *Conn) Origin() string { return c.info(infoOrigin) }

// Subprotocol is the WebSocket subprotocol that both sides have agreed on.
func (c *Conn) Subprotocol() string { return c.info(infoSubprotocol) }

func (c *Conn) info(key int32) string {
	if c.is(stale) {
		return ""
	}
	var short [128]byte
	n := info(c.handle, key, short[:])
	if n <= int32(len(short)) {
		return string(short[:max(0, n)])
	}
	long := make([]byte, n)
	return string(long[:max(0, min(n, info(c.handle, key, long)))])
}
