// Package hello reads what the beginning of a TLS connection says in the clear of whom it
// is for: the server's name (SNI) and the application protocols (ALPN) of a ClientHello.
//
// It is strict: whatever crypto/tls would read otherwise is refused here, so that a connection is
// never sent to one server by a name that another one sees differently. What crypto/tls refuses
// is refused, too, but for the dot of the root behind a name, which is passed over: browsers send
// it, and other servers take it.
package hello

import (
	"bytes"
	"errors"
)

// MaxLength is how many bytes a ClientHello may take, with the headers of the records it
// comes in. crypto/tls takes as much. With the keys of some post-quantum algorithms there are
// more than 32 KiB.
const MaxLength = 64 << 10

// The ways in which bytes are no ClientHello that could be used.
var (
	// ErrNotTLS says that the bytes do not begin as TLS does.
	ErrNotTLS = errors.New("it does not begin with TLS")
	// ErrMalformed says that they begin so and go on otherwise.
	ErrMalformed = errors.New("its TLS ClientHello is malformed")
	// ErrTooLong says that the ClientHello goes beyond MaxLength.
	ErrTooLong = errors.New("its TLS ClientHello is too long")
)

// Hello is what a ClientHello says. It shares memory with the bytes that were parsed and with
// the Reader, until the next Parse.
type Hello struct {
	// ServerName is the name asked for, in lower case and without the dot of the root; empty
	// when the client asks for none.
	ServerName []byte
	alpn       vector // the list's inside
}

// Offers reports whether the client offers an application protocol.
func (h *Hello) Offers(protocol string) bool {
	for list := h.alpn; len(list) > 0; {
		name, ok := list.vector(1)
		if !ok {
			return false
		}
		if string(name) == protocol {
			return true
		}
	}
	return false
}

// Protocols are the application protocols that the client offers, in its order.
func (h *Hello) Protocols() []string {
	var all []string
	for list := h.alpn; len(list) > 0; {
		name, ok := list.vector(1)
		if !ok {
			break
		}
		all = append(all, string(name))
	}
	return all
}

// Reader has the room that parsing needs, so that none is allocated for each. The zero value
// is ready. It is for one goroutine at a time.
type Reader struct {
	joined []byte // a message that is spread over several records
	name   [maxName]byte
}

const (
	recordHeader    = 5
	recordHandshake = 22
	maxRecord       = 16 << 10
	messageHeader   = 4
	clientHello     = 1
	extServerName   = 0
	extALPN         = 16
	hostName        = 0
	maxName         = 253
	maxLabel        = 63
)

// Parse reads the ClientHello that p begins with; p is all that a peer has sent so far. A need
// above 0 says that it is too little to tell, and of how many bytes at least there has to be
// more to say: the caller need not come again before it has so many. Otherwise either h holds,
// or err is one of the errors of this package. Parse looks at no more than MaxLength bytes, and
// not at what follows the ClientHello.
func (r *Reader) Parse(p []byte) (h Hello, need int, err error) {
	message, need, err := r.message(p)
	if err != nil || need > 0 {
		return Hello{}, need, err
	}
	if !r.read(&h, message) {
		return Hello{}, 0, ErrMalformed
	}
	return h, 0, nil
}

// message puts the body of the ClientHello together.
func (r *Reader) message(p []byte) (body vector, need int, err error) {
	p = p[:min(len(p), MaxLength)]
	r.joined = r.joined[:0]
	for at := 0; ; {
		record := p[at:]
		bad := ErrMalformed
		if at == 0 {
			bad = ErrNotTLS
		}
		if len(record) > 0 && record[0] != recordHandshake || len(record) > 1 && record[1] != 3 {
			return nil, 0, bad
		}
		if len(record) < 2 {
			return missing(at + len(record) + 1) // it may be something else yet
		}
		if len(record) < recordHeader {
			return missing(at + recordHeader)
		}
		n := int(record[3])<<8 | int(record[4])
		if n == 0 || n > maxRecord {
			return nil, 0, bad
		}
		inside := record[recordHeader:min(len(record), recordHeader+n)]
		// The message's kind and length are looked at as soon as they are there.
		begin := inside
		if at > 0 {
			r.joined = append(r.joined, inside...)
			begin = r.joined
		}
		if len(begin) > 0 && begin[0] != clientHello {
			return nil, 0, ErrMalformed
		}
		length := messageHeader
		if len(begin) >= messageHeader {
			length += int(begin[1])<<16 | int(begin[2])<<8 | int(begin[3])
			if length > MaxLength {
				return nil, 0, ErrTooLong
			}
			if len(begin) >= length {
				return vector(begin[messageHeader:length]), 0, nil
			}
		}
		// It ends in this record, or in one more at best.
		rest := length - (len(begin) - len(inside))
		end := at + recordHeader + min(n, rest)
		if n < rest {
			end += recordHeader + rest - n
		}
		if end > MaxLength {
			return nil, 0, ErrTooLong
		}
		if len(record) < recordHeader+n {
			return nil, end, nil
		}
		if at == 0 {
			r.joined = append(r.joined, inside...)
		}
		if at += recordHeader + n; len(p) < at+recordHeader {
			// Nobody looks again at each of many small records.
			if len(p) == at || p[at] == recordHandshake && (len(p) == at+1 || p[at+1] == 3) {
				return nil, end, nil
			}
		}
	}
}

// missing says that so many bytes have to be there.
func missing(n int) (vector, int, error) {
	if n > MaxLength {
		return nil, 0, ErrTooLong
	}
	return nil, n, nil
}

// read reads the body of a ClientHello (RFC 8446, section 4.1.2).
func (r *Reader) read(h *Hello, body vector) bool {
	_, ok1 := body.take(2 + 32) // version, random
	session, ok2 := body.vector(1)
	ciphers, ok3 := body.vector(2)
	compression, ok4 := body.vector(1)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(session) > 32 || len(ciphers) < 2 || len(ciphers)%2 != 0 || len(compression) == 0 {
		return false
	}
	if len(body) == 0 {
		return true // an old client has no extensions
	}
	extensions, ok := body.vector(2)
	if !ok || len(body) > 0 {
		return false
	}
	var named, offered bool
	for len(extensions) > 0 {
		kind, ok1 := extensions.take(2)
		data, ok2 := extensions.vector(2)
		if !ok1 || !ok2 {
			return false
		}
		switch int(kind[0])<<8 | int(kind[1]) {
		case extServerName:
			// Two would be two answers to the question where this goes.
			if named || !r.readName(h, data) {
				return false
			}
			named = true
		case extALPN:
			if offered || !h.readProtocols(data) {
				return false
			}
			offered = true
		}
	}
	return true
}

// readName reads the extension server_name (RFC 6066, section 3), which may have one name.
func (r *Reader) readName(h *Hello, data vector) bool {
	list, ok1 := data.vector(2)
	kind, ok2 := list.take(1)
	name, ok3 := list.vector(2)
	if !ok1 || !ok2 || !ok3 || kind[0] != hostName || len(list) > 0 || len(data) > 0 {
		return false
	}
	if last := len(name) - 1; last > 0 && name[last] == '.' {
		name = name[:last]
	}
	if !ValidName(name) {
		return false
	}
	h.ServerName = r.name[:copy(r.name[:], name)]
	for i, c := range h.ServerName {
		if 'A' <= c && c <= 'Z' {
			h.ServerName[i] = c + 'a' - 'A'
		}
	}
	return true
}

// readProtocols reads the extension of RFC 7301.
func (h *Hello) readProtocols(data vector) bool {
	list, ok := data.vector(2)
	if !ok || len(data) > 0 || len(list) == 0 {
		return false
	}
	h.alpn = list
	for len(list) > 0 {
		if name, ok := list.vector(1); !ok || len(name) == 0 {
			return false
		}
	}
	return true
}

// ValidName reports whether a host's name can be asked for: labels of up to 63 letters, digits,
// "-" and "_", 253 bytes in all, without the dot of the root.
func ValidName[T []byte | vector | string](name T) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			if label++; label > maxLabel {
				return false
			}
		default:
			return false
		}
	}
	return label > 0
}

// vector takes things from its front. What it answers shares its memory.
type vector []byte

func (v *vector) take(n int) (p vector, ok bool) {
	if n > len(*v) {
		return nil, false
	}
	p, *v = (*v)[:n], (*v)[n:]
	return p, true
}

// vector takes what stands behind its own length, of so many bytes.
func (v *vector) vector(size int) (p vector, ok bool) {
	length, ok := v.take(size)
	if !ok {
		return nil, false
	}
	n := 0
	for _, b := range length {
		n = n<<8 | int(b)
	}
	return v.take(n)
}

// Begins reports whether p, the first bytes of a connection, can be the beginning of a
// ClientHello's record, as far as they go.
func Begins(p []byte) bool {
	begin := []byte{recordHandshake, 3}
	n := min(len(p), len(begin))
	return bytes.Equal(p[:n], begin[:n])
}
