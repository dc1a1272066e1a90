package csa

import (
	"time"

	"bulkhead/abi"
	"bulkhead/internal/websocket"
)

// Messages bounds the messages of connections over WebSocket.
type Messages struct {
	// Size is how many bytes one of the peer's may have. Zero or less: 64 KiB. One that is longer
	// than the handler's window ends the connection, too.
	Size int
	// Frames is how many frames one may come in. Zero or less: 256.
	Frames int
	// ControlRate is how many control frames the peer may send in a second. Zero or less: 100.
	ControlRate int
	// Ping is for how long the peer may be silent before it is sent a ping, and then how long it
	// may take to send anything. Zero or less: none is sent.
	Ping time.Duration
	// SendAs is what the handler's are.
	SendAs MessageKind
}

// MessageKind is whether a message is text or bytes.
type MessageKind byte

const (
	// AsReceived is of the kind of the last one that was received, and text before there is one.
	AsReceived MessageKind = iota
	// TextMessage is text.
	TextMessage
	// BinaryMessage is bytes.
	BinaryMessage
)

const (
	defaultMessage     = 64 << 10
	defaultFrames      = 256
	defaultControlRate = 100
	// longestMessage is how long one of the handler's can be, however long the inbox: the longest
	// buffer has to hold it.
	longestMessage = smallestBuffer<<(bufferClasses-1) - websocket.MaxHeader
	// mostAhead is how much is read at once.
	mostAhead = 64 << 10
)

func or(n, deflt int) int {
	if n > 0 {
		return n
	}
	return deflt
}

// webSocket is the transport of a connection over WebSocket, above the stream or the TLS that it
// had before. What comes from the socket waits in a buffer until a message is whole, and only then
// the handler is asked for its window. In the inbox are frames, each of which is a message of the
// handler's or a control frame.
type webSocket struct {
	transport
	c       *CSA
	request *websocket.Request // others may have the same

	in    fifo       // as it came; when ready, it may begin with the message that is
	frags *fragments // nil before there was one

	heard int64 // when the peer last sent anything, or was sent a ping, as pinged says
	moved int64 // when a message last came, or was taken from the handler

	left int32 // bytes of the message that is ready, at the start of in, or of the fragments
	need int32 // how many bytes of in are missing from its first frame, if that is known
	last int32 // how long the last frame was

	code websocket.Code // to close with, and 0: what fits the reason
	// ready says that a message is whole, in fragments where inParts says so, and fresh that the
	// handler has had none of it.
	ready, inParts, fresh bool
	began                 bool // a message has begun, in frames of which the last has not come
	text                  bool // it is, or was, a text
	handed                MessageKind
	closeSent, closeGot   bool
	pinged                bool // nothing has come since
	below                 bool // a method of the transport below is under way
}

// fragments are what a connection has whose peer sends messages in several frames, or control
// frames. Most have none, and thousands may be idle.
type fragments struct {
	parts    fifo  // of the message that has begun, or is ready
	frames   int32 // of it
	controls int32 // in this second
	second   int64
}

// rare is what s has of these.
func (s *webSocket) rare() *fragments {
	if s.frags == nil {
		s.frags = new(fragments)
	}
	return s.frags
}

// StartWebSocket has the connection speak WebSocket from now on, on this side the server: each
// message of the peer's is one Data, and each Send is one message. What the handler has left
// unconsumed is the beginning of the peer's frames. The request has been answered. It is called for
// a stream, with TLS or without, whose handler has paused (CSA.Receive), and while no TLS handshake
// is under way.
func (c *CSA) StartWebSocket(request *websocket.Request) {
	now := c.loop.Now()
	s := &webSocket{transport: c.transport, c: c, request: request, heard: now, moved: now}
	if b := c.unconsumed.bytes(); len(b) > 0 && !s.in.append(c.loop, c.wiring.Budget, b) {
		c.kill(MemoryFull.Reason())
		return
	}
	c.unconsumed.release(c.loop, c.wiring.Budget)
	c.transport = s
	c.want = 0
	if ping := c.wiring.Settings.Messages.Ping; ping > 0 {
		c.wakeBy(now + int64(ping))
	}
}

// WebSocketInfo is what is known of the connection's WebSocket, by a key of abi.Info; "" for a key
// of something else, and when it is none.
func (c *CSA) WebSocketInfo(key int32) string {
	s, ok := c.transport.(*webSocket)
	if !ok {
		return ""
	}
	switch key {
	case abi.InfoMessage:
		switch s.handed {
		case TextMessage:
			return "text"
		case BinaryMessage:
			return "binary"
		}
	case abi.InfoTarget:
		return s.request.Target
	case abi.InfoOrigin:
		return s.request.Origin
	case abi.InfoSubprotocol:
		return s.request.Protocol
	}
	return ""
}

func (*webSocket) network(*CSA) string { return "ws" }

func (*webSocket) gathers() bool { return true }

// lastMoved counts messages: pings keep the way open, and say nothing of whether it is used.
func (s *webSocket) lastMoved(c *CSA) int64 {
	if c.unsent() {
		return max(s.moved, c.lastActive)
	}
	return s.moved
}

// midway reports whether there is a part of a message, or of a frame.
func (s *webSocket) midway() bool {
	return !s.ready && s.in.len() > 0 || s.began || s.transport.midway()
}

func (s *webSocket) takeNoMore(c *CSA) {
	s.drop(c)
	s.transport.takeNoMore(c)
}

func (s *webSocket) close(c *CSA) {
	s.drop(c)
	s.transport.close(c)
}
