// Package tlsrecord is the record layer of a TLS connection whose handshake crypto/tls has made. It
// needs some hundred bytes for an idle connection where crypto/tls needs ten thousand, and all that
// it is can be written down and taken to another process. It knows TLS 1.3 and the AEAD suites of
// TLS 1.2. It reads and writes bytes that the caller has, and never waits.
//
// Nothing but the standard library and golang.org/x/crypto, whose ChaCha20-Poly1305 crypto/tls has
// inside, computes with secrets.
package tlsrecord

import (
	"crypto/tls"
	"encoding/binary"
)

// The types of records (RFC 8446, 5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

const (
	// Header is the length of a record's header: type, version, and the length of the rest.
	Header = 5
	// MostPlain is the most data in a record.
	MostPlain = 16 << 10
	// MostOverhead is the most that a record of this side has beside its data, with its header.
	MostOverhead = Header + 8 + 1 + 16
	// MostRecord is the longest record that a peer may send.
	MostRecord = Header + MostPlain + 2048

	// mostUseless is how many records without data a peer may send in a row, as in crypto/tls.
	mostUseless = 16

	mostPlus13 = 256 // TLS 1.3 allows so many bytes beside the data
	version12  = 0x0303
)

// Got is what the peer's record was.
type Got byte

const (
	// Nothing is a record without data that asks for nothing: an empty one, a ticket, a warning,
	// new keys of the peer's.
	Nothing Got = iota
	// Data has some.
	Data
	// Asked has new keys of the peer's, who asks for new ones of this side: see Conn.Answer.
	Asked
	// Closed is the peer's close_notify: no data follows.
	Closed
)

// Conn is a connection's record layer. It is one goroutine's at a time. Its methods allocate
// nothing but the ciphers of new keys, and those after Sleep.
type Conn struct {
	in, out half
	suite   *suite
	version uint16
	client  bool // this side is
	closed  bool // this side has sent close_notify, or an alert that ends all
	failed  bool // the peer's side is over: an error, or close_notify
	asked   bool // the peer awaits new keys
	useless int8 // records without data, since the last with
	records int16
	sent    int32 // bytes, until the size of records does not depend on it
	message message
}

// Length is how long the record is that begins with b, its header included; 0 when b has too
// little to know. It returns an *Error for what is no record of this connection.
func (c *Conn) Length(b []byte) (int, error) {
	if len(b) < Header {
		return 0, nil
	}
	if binary.BigEndian.Uint16(b[1:]) != version12 {
		return 0, c.fail(alertProtocolVersion, "a record has another version")
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if most := MostPlain + mostPlus13; n > MostRecord-Header || c.version == tls.VersionTLS13 && n > most {
		return 0, c.fail(alertRecordOverflow, "a record is too long")
	}
	return Header + n, nil
}

// Open opens a record of the peer's, which has to be whole (Length). The data are in plain: in dst,
// if its capacity is enough for all that the record has, padding included, else where the record
// was. dst and the record do not overlap, or dst is nil. What is in the rest of dst's capacity, and
// in the record, is lost. It returns an *Error when the connection is over; a *Remote, when the
// peer has said so. There is no Open after an error, or after Closed.
func (c *Conn) Open(dst, record []byte) (plain []byte, got Got, err error) {
	switch {
	case c.failed:
		return nil, 0, c.fail(alertInternalError, "the peer's side is over")
	case c.in.seq == mostSequence:
		return nil, 0, c.fail(alertInternalError, "the peer has sent all records that there may be")
	}
	kind, plain, err := c.unseal(dst, record)
	if err != nil {
		return nil, 0, err
	}
	c.in.seq++
	if kind != typeHandshake && c.message.partial() {
		return nil, 0, c.fail(alertUnexpectedMessage, "a handshake message has something in its middle")
	}
	if kind == typeData && len(plain) > 0 {
		c.useless = 0
		return plain, Data, nil
	}
	switch kind {
	case typeData:
	case typeAlert:
		got, err = c.alert(plain)
	case typeHandshake:
		got, err = c.handshake(plain)
	default:
		err = c.fail(alertUnexpectedMessage, "a record is of no kind that may come")
	}
	if c.useless++; err == nil && got != Closed && c.useless > mostUseless {
		err = c.fail(alertUnexpectedMessage, "the peer sends records without data again and again")
	}
	return nil, got, err
}

// unseal decrypts a record, and takes what TLS 1.3 has put around its data away.
func (c *Conn) unseal(dst, record []byte) (kind byte, plain []byte, err error) {
	if n, err := c.Length(record); err != nil {
		return 0, nil, err
	} else if n == 0 || n != len(record) {
		return 0, nil, c.fail(alertInternalError, "a record is not whole")
	}
	s, h := c.suite, &c.in
	h.wake(s, c.version)
	head, body := record[:Header], record[Header:]
	if c.version == tls.VersionTLS13 && head[0] == typeChangeCipherSpec {
		return 0, nil, c.fail(alertUnexpectedMessage, "a record is not encrypted")
	}
	explicit := int(s.explicit)
	if len(body) < explicit+h.aead.Overhead() {
		return 0, nil, c.fail(alertBadRecordMAC, badRecord)
	}
	h.number(body[:explicit])
	body = body[explicit:]
	additional := head
	if c.version != tls.VersionTLS13 {
		additional = h.additional(head, len(body)-h.aead.Overhead())
	}
	to := body[:0]
	if cap(dst) >= len(body)-h.aead.Overhead() {
		to = dst[:0]
	}
	plain, err = h.aead.Open(to, h.nonce[:], body, additional)
	if err != nil {
		return 0, nil, c.fail(alertBadRecordMAC, badRecord)
	}
	kind = head[0]
	if c.version == tls.VersionTLS13 {
		if kind != typeData {
			return 0, nil, c.fail(alertUnexpectedMessage, "a record is of no kind that may come")
		}
		if len(plain) > MostPlain+1 {
			return 0, nil, c.fail(alertRecordOverflow, "a record has too much data")
		}
		end := len(plain) - 1
		for end >= 0 && plain[end] == 0 { // padding
			end--
		}
		if end < 0 {
			return 0, nil, c.fail(alertUnexpectedMessage, "a record has no kind")
		}
		kind, plain = plain[end], plain[:end]
	}
	if len(plain) > MostPlain {
		return 0, nil, c.fail(alertRecordOverflow, "a record has too much data")
	}
	return kind, plain, nil
}

// Seal appends the records of p to dst, and returns the whole. p and dst's capacity do not overlap.
// After Close, or an alert of Error's, it appends nothing. Where one key may seal no more records,
// it goes over to the next.
func (c *Conn) Seal(dst, p []byte) []byte {
	for len(p) > 0 && !c.closed {
		n := min(len(p), c.recordSize())
		dst = c.seal(dst, typeData, p[:n])
		p = p[n:]
	}
	return dst
}

// Sealed is the most that Seal appends for n bytes.
func (c *Conn) Sealed(n int) int {
	small := c.smallRecord()
	records := n/small + 1
	return n + (records+1)*MostOverhead // one for new keys
}

// The first records fit a segment of TCP each, then they grow, so that the peer has the first bytes
// early, and the many at little cost: as crypto/tls does it.
const (
	segment   = 1208
	manyBytes = 128 << 10
	manySmall = 1000
)

// smallRecord is the most data of a record that fits a segment.
func (c *Conn) smallRecord() int {
	n := segment - Header - int(c.suite.explicit) - 16
	if c.version == tls.VersionTLS13 {
		n--
	}
	return n
}

// recordSize is the most data of the next record.
func (c *Conn) recordSize() int {
	if c.sent >= manyBytes || c.records >= manySmall {
		return MostPlain
	}
	c.records++
	return min(c.smallRecord()*int(c.records), MostPlain)
}

// seal appends one record.
func (c *Conn) seal(dst []byte, kind byte, p []byte) []byte {
	s, h := c.suite, &c.out
	if h.seq >= s.most {
		if c.version != tls.VersionTLS13 {
			c.closed = true // 2^64 records: nobody gets there
			return dst
		}
		dst = c.newKeys(dst)
	}
	return c.sealNext(dst, kind, p)
}

// sealNext is seal with the keys that there are.
func (c *Conn) sealNext(dst []byte, kind byte, p []byte) []byte {
	s, h := c.suite, &c.out
	h.wake(s, c.version)
	at := len(dst)
	n := len(p) + h.aead.Overhead()
	outer := kind
	if c.version == tls.VersionTLS13 {
		n++
		outer = typeData
	}
	n += int(s.explicit)
	dst = append(dst, outer, version12>>8, version12&0xff, byte(n>>8), byte(n))
	var explicit []byte
	if s.explicit > 0 {
		dst = binary.BigEndian.AppendUint64(dst, h.seq)
		explicit = dst[at+Header:]
	}
	h.number(explicit)
	begins := len(dst)
	dst = append(dst, p...)
	var additional []byte
	if c.version == tls.VersionTLS13 {
		dst = append(dst, kind)
		additional = dst[at : at+Header]
	} else {
		additional = h.additional(dst[at:at+Header], len(p))
	}
	dst = h.aead.Seal(dst[:begins], h.nonce[:], dst[begins:], additional)
	h.seq++
	if c.sent < manyBytes {
		c.sent += int32(len(dst) - at)
	}
	return dst
}

// newKeys tells the peer of new keys, and takes them.
func (c *Conn) newKeys(dst []byte) []byte {
	dst = c.sealNext(dst, typeHandshake, keyUpdate)
	c.out.next(c.suite)
	return dst
}

// Answer appends the record that the peer awaits after Asked. However often the peer has asked
// since, it is one.
func (c *Conn) Answer(dst []byte) []byte {
	if !c.asked || c.closed {
		return dst
	}
	c.asked = false
	return c.newKeys(dst)
}

// Close appends close_notify, once; Seal appends nothing then. The peer may go on.
func (c *Conn) Close(dst []byte) []byte {
	if c.closed {
		return dst
	}
	dst = c.seal(dst, typeAlert, []byte{alertWarning, alertCloseNotify})
	c.closed = true
	return dst
}

// Sleep lets go of what is made again when the next record comes or goes.
func (c *Conn) Sleep() { c.in.aead, c.out.aead = nil, nil }

// Wipe forgets the secrets. There is nothing to be done with c then.
func (c *Conn) Wipe() { *c = Conn{closed: true, failed: true} }
