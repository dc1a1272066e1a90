// Package websocket reads and writes what a server says and hears of RFC 6455: the frames of a
// connection, and the HTTP request that it begins with. It has no sockets: it works on bytes that
// somebody else moves, which may come in any pieces. Masks, the rules of headers and of close
// codes, and the handshake are those of github.com/gobwas/ws.
package websocket

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"
)

// Header is that of a frame, and Kind its opcode.
type (
	Header = ws.Header
	Kind   = ws.OpCode
)

// The kinds of frames.
const (
	Continuation = ws.OpContinuation
	Text         = ws.OpText
	Binary       = ws.OpBinary
	Close        = ws.OpClose
	Ping         = ws.OpPing
	Pong         = ws.OpPong
)

// MaxHeader is how long the header of a frame from a server can be, and MaxClientHeader one from a
// client, which has a mask besides. MaxControl is how long the payload of a control frame can be.
const (
	MaxHeader       = 10
	MaxClientHeader = MaxHeader + 4
	MaxControl      = ws.MaxControlFramePayloadSize
)

var errLength = errors.New("a frame's length has its highest bit set")

// ParseHeader reads the header of a client's frame from the start of b. It returns how long that
// is, or 0 when b does not hold all of it. fragmented says that a message has begun and not ended,
// which decides what may come. The error, which breaks the connection, may come before all of the
// header has.
func ParseHeader(b []byte, fragmented bool) (h Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin, h.Rsv, h.OpCode = b[0]&0x80 != 0, b[0]>>4&7, Kind(b[0]&15)
	h.Masked = b[1]&0x80 != 0
	h.Length = int64(b[1] & 0x7f)
	state := ws.StateServerSide
	if fragmented {
		state = state.Set(ws.StateFragmented)
	}
	// The first two bytes have all that can be wrong but the length.
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, err
	}
	n = 2
	switch h.Length {
	case 126:
		if n += 2; len(b) < n {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if n += 8; len(b) < n {
			return h, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long>>63 != 0 {
			return h, 0, errLength
		}
		h.Length = int64(long)
	}
	if len(b) < n+len(h.Mask) {
		return h, 0, nil
	}
	n += copy(h.Mask[:], b[n:])
	return h, n, nil
}

// Unmask takes the mask of a frame off its payload, in place.
func Unmask(payload []byte, h Header) { ws.Cipher(payload, h.Mask, 0) }

// HeaderLen is how long the header of a server's frame with n bytes is.
func HeaderLen(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	}
	return MaxHeader
}

// PutHeader writes the header of a server's frame with n bytes, which is all of a message, to the
// start of b. It returns how long that is: HeaderLen(n), for which b must have room.
func PutHeader(b []byte, kind Kind, n int) int {
	b[0] = 0x80 | byte(kind)
	switch size := HeaderLen(n); size {
	case 2:
		b[1] = byte(n)
		return size
	case 4:
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		return size
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
		return size
	}
}
