package csa

import (
	"unicode/utf8"

	"bulkhead/abi"
	"bulkhead/internal/websocket"
)

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
