package websocket

import (
	"errors"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Code is what a close frame says.
type Code uint16

// The codes that a server has a use for.
const (
	Normal       Code = 1000
	GoingAway    Code = 1001
	Broken       Code = 1002 // the protocol was not kept
	NoCode       Code = 1005 // there was none in the frame; never sent
	BadText      Code = 1007 // a text message was not UTF-8
	Policy       Code = 1008
	TooLong      Code = 1009
	ServerFailed Code = 1011
	TryLater     Code = 1013
)

// ErrText says that what has to be UTF-8 is not.
var ErrText = errors.New("a text is not UTF-8")

var (
	errCloseOfOneByte = errors.New("a close frame has one byte, which is half of a code")
	errCode           = errors.New("a close frame has a code above 4999")
)

// ParseClose reads the payload of a close frame. reason is a part of it. The error says that the
// peer does not keep the protocol; it is ErrText for the reason.
func ParseClose(payload []byte) (code Code, reason []byte, err error) {
	switch len(payload) {
	case 0:
		return NoCode, nil, nil
	case 1:
		return 0, nil, errCloseOfOneByte
	}
	said, _ := ws.ParseCloseFrameDataUnsafe(payload)
	reason = payload[2:]
	if !utf8.Valid(reason) {
		return 0, nil, ErrText
	}
	if said >= 5000 {
		return 0, nil, errCode
	}
	if c := Code(said); c >= 1012 && c <= 1014 { // which have come to the registry since
		return c, reason, nil
	}
	if err := ws.CheckCloseFrameData(said, ""); err != nil {
		return 0, nil, err
	}
	return Code(said), reason, nil
}

// Failed reports whether a peer that closes with the code says that something is wrong with this
// side or with the connection. It has not where it leaves, or says something of its application's
// own (3000 to 4999).
func (c Code) Failed() bool {
	switch c {
	case Normal, GoingAway, NoCode:
		return false
	}
	return c < 3000
}

// PutClose writes a close frame to the start of b, which needs room for HeaderLen(2)+2 bytes, and
// returns how long it is. With NoCode it has no code.
func PutClose(b []byte, code Code) int {
	if code == NoCode {
		return PutHeader(b, Close, 0)
	}
	n := PutHeader(b, Close, 2)
	b[n], b[n+1] = byte(code>>8), byte(code)
	return n + 2
}
