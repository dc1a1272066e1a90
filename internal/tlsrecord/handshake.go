package tlsrecord

import "crypto/tls"

// Messages that follow a handshake (RFC 8446, 4.6).
const (
	messageNewSessionTicket = 4
	messageKeyUpdate        = 24

	messageHeader = 4
	mostTicket    = 1 << 16 // bytes
)

// keyUpdate has new keys of this side, and asks for none.
var keyUpdate = []byte{messageKeyUpdate, 0, 0, 1, 0}

// message is where in a handshake message of the peer's its records are. Nothing of one is kept but
// its header.
type message struct {
	head [messageHeader]byte
	have int8  // bytes of the header
	left int32 // of the body
}

func (m *message) partial() bool { return m.have > 0 }

// handshake takes what a record has of handshake messages: new keys, and for a client tickets,
// which are dropped. Everything else ends the connection: there is no renegotiation, and nobody has
// offered to authenticate later.
func (c *Conn) handshake(p []byte) (got Got, err error) {
	if c.version != tls.VersionTLS13 {
		return 0, c.fail(alertUnexpectedMessage, "unexpected handshake message: the peer wants another handshake")
	}
	if len(p) == 0 {
		return 0, c.fail(alertUnexpectedMessage, "a handshake record is empty")
	}
	m := &c.message
	for len(p) > 0 {
		if m.have < messageHeader {
			n := copy(m.head[m.have:], p)
			m.have += int8(n)
			p = p[n:]
			if m.have < messageHeader {
				break
			}
			m.left = int32(m.head[1])<<16 | int32(m.head[2])<<8 | int32(m.head[3])
			if err := c.mayCome(m); err != nil {
				return 0, err
			}
			continue
		}
		n := min(len(p), int(m.left))
		body := p[:n]
		p = p[n:]
		if m.left -= int32(n); m.left > 0 {
			break
		}
		kind := m.head[0]
		*m = message{}
		if kind != messageKeyUpdate {
			continue
		}
		switch {
		case len(p) > 0:
			return 0, c.fail(alertUnexpectedMessage, "something follows new keys in their record")
		case body[0] > 1:
			return 0, c.fail(alertIllegalParameter, "a request for new keys is none")
		}
		c.in.next(c.suite)
		if body[0] == 1 {
			c.asked = true
			got = Asked
		}
	}
	return got, nil
}

// mayCome reports an error unless the peer may send the message that begins.
func (c *Conn) mayCome(m *message) error {
	switch kind := m.head[0]; {
	case kind == messageKeyUpdate && m.left == 1:
		return nil
	case kind == messageKeyUpdate:
		return c.fail(alertDecodeError, "a request for new keys has another length")
	case kind == messageNewSessionTicket && c.client && m.left > 0 && m.left <= mostTicket:
		return nil
	}
	return c.fail(alertUnexpectedMessage, "unexpected handshake message")
}
