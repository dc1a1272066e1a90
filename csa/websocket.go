package csa

import (
	"time"
	"unicode/utf8"

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
	request websocket.Request

	in    fifo // as it came; when ready, it may begin with the message that is
	parts fifo // of a message that comes in several frames
	// ready says that a message is whole: left bytes of it are at the start of in, or of parts
	// where inParts says so, and fresh that the handler has had none of it.
	ready, inParts, fresh bool
	left                  int
	need                  int // how many bytes of in are missing from its first frame, if that is known
	last                  int // how long the last frame was

	began    bool // a message has begun, in frames of which the last has not come
	text     bool // it is, or was, a text
	handed   MessageKind
	frames   int32
	controls int32 // in this second
	second   int64

	closeSent, closeGot bool
	code                websocket.Code // to close with, and 0: what fits the reason
	below               bool           // a method of the transport below is under way

	heard  int64 // when the peer last sent anything
	moved  int64 // when a message last came, or was taken from the handler
	pinged int64 // when a ping was sent that nothing has come after; 0: none
}

// StartWebSocket has the connection speak WebSocket from now on, on this side the server: each
// message of the peer's is one Data, and each Send is one message. What the handler has left
// unconsumed is the beginning of the peer's frames. The request has been answered. It is called for
// a stream, with TLS or without, whose handler has paused (CSA.Receive), and while no TLS handshake
// is under way.
func (c *CSA) StartWebSocket(request websocket.Request) {
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

// readReady hands over one message after another, each in an event of its own.
func (s *webSocket) readReady(c *CSA) {
	start := c.received
	for range windowsPerTurn {
		c.enter()
		s.readOnce()
		c.timeIn()
		c.loop.leaveEvent()
		if !s.waits() || c.received-start >= bytesPerTurn || !c.mayRead() {
			return
		}
	}
}

// waits reports whether there may be something to do without the socket.
func (s *webSocket) waits() bool { return s.ready || s.in.len() > 0 && s.need == 0 }

// readOnce does what there is to do for one notice. The handler is asked for its window, which may
// wake it, only when there is a message for it.
func (s *webSocket) readOnce() {
	c := s.c
	if c.mayRead() && !c.is(offering) {
		s.gather()
		switch {
		case c.is(finishing | dying | dead):
			return
		case s.ready && s.left == 0:
			s.handEmpty()
			return
		case !s.ready && !c.is(ended):
			c.resumeReading()
			return
		}
	}
	c.readOnce()
}

// gather takes frames from what has come, and reads more, until a message is whole, or the end has
// come, or nothing more is there.
func (s *webSocket) gather() {
	for more := true; ; {
		for s.takeFrame() {
		}
		if s.ready || !more || s.c.is(ended|finishing|dying) {
			return
		}
		more = s.fill()
	}
}

// fill reads once. It reports whether there may be more to read at once.
func (s *webSocket) fill() bool {
	c := s.c
	room := s.in.room(c.loop, c.wiring.Budget, max(1, s.need, min(s.last, mostAhead)))
	if room == nil {
		c.kill(MemoryFull.Because("its tenant has no memory left for a WebSocket message"))
		return false
	}
	room = room[:min(len(room), max(s.need, mostAhead))]
	s.below = true
	n := s.transport.receive(c, room)
	s.below = false
	if c.is(dying) {
		return false
	}
	if n > 0 {
		s.in.end += int32(n)
		s.need = max(0, s.need-n)
		s.heard, s.pinged = c.loop.Now(), 0
		return n == len(room)
	}
	if s.in.len() == 0 {
		s.in.release(c.loop, c.wiring.Budget)
	}
	if c.is(ended) && !s.closeSent {
		c.clear(ended)
		c.kill(WebSocketCut.Reason())
	}
	return false
}

// takeFrame takes one frame from the start of in. It reports whether it has, and whether to go on
// with the next one.
func (s *webSocket) takeFrame() bool {
	c := s.c
	if s.ready || s.need > 0 || c.is(ended|finishing|dying) {
		return false
	}
	b := s.in.bytes()
	h, n, err := websocket.ParseHeader(b, s.began)
	switch {
	case err != nil:
		s.fail(WebSocketBroken.Because("the peer does not keep the WebSocket protocol: "+err.Error()), websocket.Broken)
		return false
	case n == 0:
		s.need = min(1, len(b)) // of a frame that has begun, more has to come
		return false
	case !s.allowed(h):
		return false
	}
	if all := n + int(h.Length); len(b) < all {
		s.need = all - len(b)
		return false
	}
	s.last = n + int(h.Length)
	payload := b[n:s.last]
	websocket.Unmask(payload, h)
	if h.OpCode.IsControl() {
		var said [websocket.MaxControl]byte
		size := copy(said[:], payload)
		s.in.discard(c.loop, c.wiring.Budget, s.last)
		return s.takeControl(h.OpCode, said[:size])
	}
	if h.OpCode != websocket.Continuation {
		s.text, s.frames = h.OpCode == websocket.Text, 0
	}
	s.frames++
	whole := h.Fin && !s.began
	if whole { // it stays where it is
		s.in.discard(c.loop, c.wiring.Budget, n)
		s.left, s.inParts = len(payload), false
	} else {
		kept := len(payload) == 0 || s.parts.append(c.loop, c.wiring.Budget, payload)
		s.in.discard(c.loop, c.wiring.Budget, s.last)
		if !kept {
			c.kill(MemoryFull.Because("its tenant has no memory left for a WebSocket message"))
			return false
		}
		s.began = !h.Fin
		s.left, s.inParts = s.parts.len(), true
	}
	if s.began {
		return true
	}
	s.ready, s.fresh = true, true
	if s.text && !utf8.Valid(s.message()) {
		s.fail(WebSocketBroken.Because("the peer's text message is not UTF-8"), websocket.BadText)
		return false
	}
	s.moved = c.loop.Now()
	if c.unconsumed.len() == 0 {
		c.owed = 0 // the next message's time begins
	}
	return true
}

// allowed reports whether a frame is within the bounds, and ends the connection if it is not.
func (s *webSocket) allowed(h websocket.Header) bool {
	m := &s.c.wiring.Settings.Messages
	if h.OpCode.IsControl() {
		return true // counted when it has come
	}
	size, frames := or(m.Size, defaultMessage), or(m.Frames, defaultFrames)
	switch {
	case h.Length > int64(size-s.parts.len()):
		s.fail(MessageTooLong.Reason(), websocket.TooLong)
		return false
	case h.OpCode == websocket.Continuation && int(s.frames) >= frames:
		s.fail(MessageFrames.Reason(), websocket.Policy)
		return false
	}
	return true
}

// message is what is left of the one that is ready.
func (s *webSocket) message() []byte {
	if s.inParts {
		return s.parts.bytes()
	}
	return s.in.bytes()[:s.left]
}

// takeControl does what a control frame says. It reports whether to go on with the next frame.
func (s *webSocket) takeControl(kind websocket.Kind, payload []byte) bool {
	c := s.c
	if kind == websocket.Close {
		s.takeClose(payload)
		return false
	}
	if now := c.loop.Now() / int64(time.Second); now != s.second {
		s.second, s.controls = now, 0
	}
	if s.controls++; int(s.controls) > or(c.wiring.Settings.Messages.ControlRate, defaultControlRate) {
		s.fail(WebSocketFlood.Reason(), websocket.Policy)
		return false
	}
	// A peer that does not read gets no answer, as long as others wait.
	if kind == websocket.Ping && s.fits(len(payload)) && s.queue(websocket.Pong, payload) {
		c.loop.later(c)
	}
	return true
}

// takeClose is the end of what the peer sends, and the end of all where it says that something is
// wrong.
func (s *webSocket) takeClose(payload []byte) {
	c := s.c
	code, reason, err := websocket.ParseClose(payload)
	switch {
	case err == websocket.ErrText:
		s.fail(WebSocketBroken.Because("the peer's reason to close is not UTF-8"), websocket.BadText)
	case err != nil:
		s.fail(WebSocketBroken.Because("the peer does not keep the WebSocket protocol: "+err.Error()), websocket.Broken)
	case code.Failed():
		s.closeGot = true
		s.fail(WebSocketBroken.Because(closedWith(code, reason)), code)
	default:
		s.closeGot = true
		s.code = code
		s.drop(c)
		c.set(ended)
	}
}

// fail ends the connection by the peer's fault: what was sent goes, and then a close frame with the
// code. What the peer sends until it has that is dropped.
func (s *webSocket) fail(r Reason, code websocket.Code) {
	s.code = code
	s.c.Refuse(r)
}

// drop lets go of what has come.
func (s *webSocket) drop(c *CSA) {
	s.in.release(c.loop, c.wiring.Budget)
	s.parts.release(c.loop, c.wiring.Budget)
	s.ready, s.began, s.left, s.need = false, false, 0, 0
}

// room leaves what is offered again by itself: a handler that could not answer a message at once
// gets the next one by itself, too. One that has left bytes and waits for more gets those of the
// next message behind them, as many as there is room for.
func (s *webSocket) room(_ *CSA, window []byte, old int, offer bool) []byte {
	if offer && old > 0 {
		return nil
	}
	return window[old:]
}

// receive hands over the message that is ready, or as much of it as p has room for where the
// handler takes messages for a stream. When the connection finishes, it reads what is dropped.
func (s *webSocket) receive(c *CSA, p []byte) int {
	if c.is(finishing) {
		s.below = true
		n := s.transport.receive(c, p)
		s.below = false
		return n
	}
	if !s.ready {
		s.gather()
	}
	switch {
	case !s.ready || c.is(finishing|dying):
		return 0
	case s.fresh && s.left > len(p) && c.unconsumed.len() == 0 && c.want <= 1:
		s.fail(MessageTooLong.Because("the peer's message is longer than its handler's window"), websocket.TooLong)
		return 0
	}
	n := copy(p, s.message())
	s.hand(n)
	return n
}

// hand notes that n bytes of the message go to the handler.
func (s *webSocket) hand(n int) {
	c := s.c
	if s.fresh {
		s.fresh = false
		s.handed = BinaryMessage
		if s.text {
			s.handed = TextMessage
		}
	}
	if n > 0 {
		from := &s.in
		if s.inParts {
			from = &s.parts
		}
		from.discard(c.loop, c.wiring.Budget, n)
	}
	s.left -= n
	s.ready = s.left > 0
}

// handEmpty hands over an empty message.
func (s *webSocket) handEmpty() {
	c := s.c
	if c.unconsumed.len() > 0 { // the handler takes them for a stream
		s.hand(0)
		c.resumeReading()
		return
	}
	window := c.wiring.Handler.Window(c)
	switch {
	case c.notForData():
		return
	case len(window) == 0:
		c.set(full)
		return
	}
	s.hand(0)
	c.deliver(dataCall{}, window[:0])
	c.resumeReading()
}

func (s *webSocket) readMore(c *CSA) {
	if s.waits() && !c.is(finishing) {
		c.d.ReadAgain()
	} else {
		s.transport.readMore(c)
	}
}

// fits reports whether a message of n bytes may be put into the inbox: one at least always may.
func (s *webSocket) fits(n int) bool {
	c := s.c
	return c.inbox.len() == 0 || websocket.HeaderLen(n)+n <= c.wiring.Settings.inbox()-c.inbox.len()
}

// queue puts a frame into the inbox, if there is memory for it.
func (s *webSocket) queue(kind websocket.Kind, p []byte) bool {
	c := s.c
	room := c.inbox.room(c.loop, c.wiring.Budget, websocket.HeaderLen(len(p))+len(p))
	if room == nil {
		return false
	}
	n := websocket.PutHeader(room, kind, len(p))
	n += copy(room[n:], p)
	c.inbox.end += int32(n)
	return true
}

// send is CSA.Send: one message, whole or not at all. What is longer than the inbox is several,
// since whoever sends it may have a stream in mind, and goes on with the rest as there.
func (s *webSocket) send(c *CSA, p []byte) (taken int, code abi.Code) {
	if c.is(sendFinished | dying | dead) {
		return 0, abi.Closed
	}
	kind := s.kindOf(p)
	all := len(p)
	if most := min(c.wiring.Settings.inbox(), longestMessage); all > most {
		if p = p[:most]; kind == websocket.Text {
			p = p[:runes(p)]
		}
	}
	if !s.fits(len(p)) && !c.wiring.Settings.InboxOnly {
		c.writeInbox()
		if c.is(dying) {
			return 0, abi.Closed
		}
	}
	full := !s.fits(len(p))
	if !full && !s.queue(kind, p) {
		return 0, abi.Quota
	}
	if full || len(p) < all {
		c.set(blocked)
		c.awaitRoom()
		c.timeIn()
	}
	if full {
		return 0, abi.Again
	}
	c.loop.later(c)
	s.moved = c.loop.Now()
	c.noteFirstByte()
	c.answer()
	return len(p), abi.OK
}

// runes is how much of p, the beginning of a text, is whole characters.
func runes(p []byte) int {
	for n := len(p) - 1; n >= 0 && n > len(p)-utf8.UTFMax; n-- {
		if utf8.RuneStart(p[n]) {
			if !utf8.FullRune(p[n:]) {
				return n
			}
			break
		}
	}
	return len(p)
}

// kindOf is what the handler's message is sent as. What is no UTF-8 cannot be a text.
func (s *webSocket) kindOf(p []byte) websocket.Kind {
	as := s.c.wiring.Settings.Messages.SendAs
	if as == AsReceived {
		as = s.handed
	}
	if as == BinaryMessage || !utf8.Valid(p) {
		return websocket.Binary
	}
	return websocket.Text
}

func (s *webSocket) write(c *CSA, p []byte) int {
	s.below = true
	n := s.transport.write(c, p)
	s.below = false
	return n
}

func (s *webSocket) drain(c *CSA) bool {
	s.below = true
	gone := s.transport.drain(c)
	s.below = false
	return gone
}

// sayEnd sends a close frame, and then what there is below.
func (s *webSocket) sayEnd(c *CSA) bool {
	if !s.closeSent {
		s.closeSent = true
		if s.code == 0 {
			s.code = websocket.Normal
		}
		var frame [4]byte
		if !c.inbox.append(c.loop, c.wiring.Budget, frame[:websocket.PutClose(frame[:], s.code)]) {
			c.kill(MemoryFull.Reason())
			return false
		}
		if !c.writeInbox() {
			return false
		}
	}
	s.below = true
	gone := s.transport.sayEnd(c)
	s.below = false
	return gone
}

// lastWords tells the peer why, if nothing stands in the way. It may not be told in the middle of
// what the transport below does, nor when that has failed.
func (s *webSocket) lastWords(c *CSA, r Reason) {
	if s.below || s.closeSent || c.unsent() || !c.d.WriteReady() || r.Cause.Who() == "network" || r.Cause == PeerReset {
		return
	}
	s.closeSent = true
	var frame [4]byte
	s.write(c, frame[:websocket.PutClose(frame[:], closeCode(r))])
}

func (s *webSocket) takeNoMore(c *CSA) {
	s.drop(c)
	s.transport.takeNoMore(c)
}

func (s *webSocket) close(c *CSA) {
	s.drop(c)
	s.transport.close(c)
}
