package csa

import (
	"fmt"

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
		s.heard, s.pinged = now, 0
		return now + every, Unknown
	case s.pinged != 0 && now >= s.pinged+every && c.unsent(): // whose times are others
		return now + every, Unknown
	case s.pinged != 0 && now >= s.pinged+every:
		return never, PingTimeout
	case s.pinged != 0:
		return s.pinged + every, Unknown
	case now < s.heard+every:
		return s.heard + every, Unknown
	}
	if s.fits(0) && s.queue(websocket.Ping, nil) {
		s.pinged = max(1, now)
		c.loop.later(c)
	}
	return now + every, Unknown
}
