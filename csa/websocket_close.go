package csa

import (
	"fmt"
	"time"

	"bulkhead/abi"
	"bulkhead/internal/websocket"
)

// closeCode is what the peer is told of a connection that ends at once.
func closeCode(r Reason) websocket.Code {
	switch r.Cause {
	case Finished, HandlerEnded:
		return websocket.Normal
	case OperatorClosed, Drained, HostStopped, OldFor, Generations, Lifetime:
		return websocket.GoingAway
	case WebSocketBroken, WebSocketCut:
		return websocket.Broken
	case MessageTooLong:
		return websocket.TooLong
	case HandlerRefused:
		return websocket.Policy
	}
	switch {
	case r.Code == abi.Quota:
		return websocket.TryLater
	case r.Cause.Who() == "limit" && r.Cause != EventTimeout:
		return websocket.Policy
	}
	return websocket.ServerFailed
}

// closedWith says why the peer has ended the connection. The peer's words are text, and may be
// anything: whoever writes them down quotes them.
func closedWith(code websocket.Code, reason []byte) string {
	if len(reason) == 0 {
		return fmt.Sprintf("the peer has closed the WebSocket with %d", code)
	}
	return fmt.Sprintf("the peer has closed the WebSocket with %d: %s", code, reason)
}

// keepAlive sends a ping to a peer that is silent, and gives one up that says nothing after it.
func (s *webSocket) keepAlive(c *CSA) (next int64, why Cause) {
	every, now := int64(c.wiring.Settings.Messages.Ping), c.loop.Now()
	switch {
	case every <= 0 || c.is(finishing|dying|dead|ended) || s.closeSent:
		return never, Unknown
	case !s.reads(c): // it may have answered
		s.heard, s.pinged = now, false
		return now + every, Unknown
	case s.pinged && now >= s.heard+every && c.unsent(): // whose times are others
		return now + every, Unknown
	case s.pinged && now >= s.heard+every:
		return never, PingTimeout
	case now < s.heard+every:
		return s.heard + every, Unknown
	}
	if s.fits(0) && s.queue(websocket.Ping, nil) {
		s.heard, s.pinged = now, true
		c.loop.later(c)
	}
	return now + every, Unknown
}

// takeControl does what a control frame says. It reports whether to go on with the next frame.
func (s *webSocket) takeControl(kind websocket.Kind, payload []byte) bool {
	c := s.c
	if kind == websocket.Close {
		s.takeClose(payload)
		return false
	}
	f := s.rare()
	if now := c.loop.Now() / int64(time.Second); now != f.second {
		f.second, f.controls = now, 0
	}
	if f.controls++; int(f.controls) > or(c.wiring.Settings.Messages.ControlRate, defaultControlRate) {
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
	if s.frags != nil {
		s.frags.parts.release(c.loop, c.wiring.Budget)
	}
	s.ready, s.began, s.left, s.need = false, false, 0, 0
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
