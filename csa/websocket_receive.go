package csa

import (
	"unicode/utf8"

	"bulkhead/internal/websocket"
)

// readReady hands over one message after another, each in an event of its own. Those are inside
// one, so that the answers to messages that came together leave by one write. If a handler passes
// the loop on in the midst of it, the answers that are there leave then.
func (s *webSocket) readReady(c *CSA) {
	c.loop.enterEvent()
	s.readMessages(c)
	c.loop.leaveEvent()
}

func (s *webSocket) readMessages(c *CSA) {
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
	room := s.in.room(c.loop, c.wiring.Budget, max(1, int(s.need), min(int(s.last), mostAhead)))
	if room == nil {
		c.kill(MemoryFull.Because("its tenant has no memory left for a WebSocket message"))
		return false
	}
	room = room[:min(len(room), max(int(s.need), mostAhead))]
	s.below = true
	n := s.transport.receive(c, room)
	s.below = false
	if c.is(dying) {
		return false
	}
	if n > 0 {
		s.in.end += int32(n)
		s.need = max(0, s.need-int32(n))
		s.heard, s.pinged = c.loop.Now(), false
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
		s.need = int32(min(1, len(b))) // of a frame that has begun, more has to come
		return false
	case !s.allowed(h):
		return false
	}
	if all := n + int(h.Length); len(b) < all {
		s.need = int32(all - len(b))
		return false
	}
	s.last = int32(n + int(h.Length))
	payload := b[n:s.last]
	websocket.Unmask(payload, h)
	if h.OpCode.IsControl() {
		var said [websocket.MaxControl]byte
		size := copy(said[:], payload)
		s.in.discard(c.loop, c.wiring.Budget, int(s.last))
		return s.takeControl(h.OpCode, said[:size])
	}
	if h.OpCode != websocket.Continuation {
		s.text = h.OpCode == websocket.Text
	}
	whole := h.Fin && !s.began
	if whole { // it stays where it is
		s.in.discard(c.loop, c.wiring.Budget, n)
		s.left, s.inParts = int32(len(payload)), false
	} else {
		f := s.rare()
		if !s.began {
			f.frames = 0
		}
		f.frames++
		kept := len(payload) == 0 || f.parts.append(c.loop, c.wiring.Budget, payload)
		s.in.discard(c.loop, c.wiring.Budget, int(s.last))
		if !kept {
			c.kill(MemoryFull.Because("its tenant has no memory left for a WebSocket message"))
			return false
		}
		s.began = !h.Fin
		s.left, s.inParts = int32(f.parts.len()), true
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
	came, bytes := 0, 0
	if s.began {
		came, bytes = int(s.frags.frames), s.frags.parts.len()
	}
	switch {
	case h.Length > int64(size-bytes):
		s.fail(MessageTooLong.Reason(), websocket.TooLong)
		return false
	case h.OpCode == websocket.Continuation && came >= frames:
		s.fail(MessageFrames.Reason(), websocket.Policy)
		return false
	}
	return true
}

// message is what is left of the one that is ready.
func (s *webSocket) message() []byte {
	if s.inParts {
		return s.frags.parts.bytes()
	}
	return s.in.bytes()[:s.left]
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
	case s.fresh && int(s.left) > len(p) && c.unconsumed.len() == 0 && c.want <= 1:
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
			from = &s.frags.parts
		}
		from.discard(c.loop, c.wiring.Budget, n)
	}
	s.left -= int32(n)
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
