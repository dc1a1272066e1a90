package csa

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"unsafe"
)

// libraryRecords are the records of a connection that stays crypto/tls's: a client's, or one with a
// suite that has no AEAD.
type libraryRecords struct {
	*tlsTransport
	early []byte // came with the handshake, and belongs behind it
}

func newLibraryRecords(s *tlsTransport, early []byte) *libraryRecords {
	s.empty.counted = s.records.count // those of the handshake are none of these
	s.c.loop.takeBuffer(s.conn)
	l := &libraryRecords{tlsTransport: s}
	if len(early) > 0 {
		l.early = early
	}
	return l
}

func (l *libraryRecords) seen() int32 { return l.records.count }

// readWire is crypto/tls's Read.
func (l *libraryRecords) readWire(p []byte) (int, error) {
	if len(l.early) == 0 {
		return l.readSocket(p)
	}
	n := copy(p, l.early)
	if l.early = l.early[n:]; len(l.early) == 0 {
		l.early = nil
	}
	return n, nil
}

// read has crypto/tls read until p is full or nothing more is there.
func (l *libraryRecords) read(p []byte) (total int) {
	s := l.tlsTransport
	s.c.loop.lendBuffer(s.conn)
	defer s.c.loop.takeBuffer(s.conn)
	for total < len(p) {
		if s.turn.over(s.empty.some(s.records.count)) {
			s.more = true
			return total
		}
		begins := !hasInput(s.conn)
		n, err := s.conn.Read(p[total:])
		total += n
		if err == nil && n > 0 {
			if begins {
				s.empty.full++
			}
			continue
		}
		if err == nil || errors.Is(err, errAgain) {
			break
		}
		if total > 0 {
			s.more = true // it will be told again
			return total
		}
		s.endOfTLS(err)
		break
	}
	s.more = total == len(p) && total > 0
	return total
}

func (l *libraryRecords) write(p []byte) bool {
	l.gather = len(p) > 16<<10
	_, err := l.conn.Write(p)
	l.gather = false
	if err != nil {
		l.c.kill(TLSFailed.Because("TLS failed: " + err.Error()))
	}
	return err == nil
}

func (l *libraryRecords) sayEnd() { _ = l.conn.CloseWrite() }
func (l *libraryRecords) close()  {}

// crypto/tls keeps the buffers that it has read into for as long as the connection
// lives: some 3 KiB from the handshake, half of all that an idle connection takes, and 16 KiB more
// once a long record has come. It does not say so in public, hence the look inside. Empty
// ones are taken away from it, and while it reads it is lent one that all
// connections of the loop share. A crypto/tls that keeps them elsewhere keeps them.
var tlsFields = func() (at struct {
	raw, input, hand uintptr
	known            bool
}) {
	conn := reflect.TypeFor[tls.Conn]()
	raw, hasRaw := conn.FieldByName("rawInput")
	input, hasInput := conn.FieldByName("input")
	hand, hasHand := conn.FieldByName("hand")
	at.raw, at.input, at.hand = raw.Offset, input.Offset, hand.Offset
	at.known = hasRaw && hasInput && hasHand && raw.Type == reflect.TypeFor[bytes.Buffer]() &&
		hand.Type == raw.Type && input.Type == reflect.TypeFor[bytes.Reader]()
	return at
}()

// tlsBuffers are where a TLS connection has records from the wire, of which input is what
// the caller has not read yet; and messages of handshakes.
func tlsBuffers(t *tls.Conn) (raw *bytes.Buffer, input *bytes.Reader, hand *bytes.Buffer) {
	base := unsafe.Pointer(t)
	return (*bytes.Buffer)(unsafe.Add(base, tlsFields.raw)), (*bytes.Reader)(unsafe.Add(base, tlsFields.input)), (*bytes.Buffer)(unsafe.Add(base, tlsFields.hand))
}

// hasInput reports whether there is more to read of a record that was read in part; false
// where that cannot be known.
func hasInput(t *tls.Conn) bool {
	if !tlsFields.known {
		return false
	}
	_, input, _ := tlsBuffers(t)
	return input.Len() > 0
}

// lendBuffer gives a TLS connection that has nothing buffered the loop's buffer to read
// into. The handshake has to be over.
func (l *Loop) lendBuffer(t *tls.Conn) {
	if !tlsFields.known {
		return
	}
	if raw, input, _ := tlsBuffers(t); raw.Len() == 0 && input.Len() == 0 {
		*raw, l.records = l.records, bytes.Buffer{}
	}
}

// takeBuffer takes it back, unless there is part of a record in it, or of what the
// caller has yet to read.
func (l *Loop) takeBuffer(t *tls.Conn) {
	if !tlsFields.known {
		return
	}
	raw, input, hand := tlsBuffers(t)
	if raw.Len() == 0 && input.Len() == 0 {
		raw.Reset()
		if raw.Cap() > l.records.Cap() {
			l.records = *raw
		}
		*raw, *input = bytes.Buffer{}, bytes.Reader{}
	}
	if hand.Len() == 0 && hand.Cap() > 0 {
		*hand = bytes.Buffer{}
	}
}
