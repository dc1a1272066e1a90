package main

import (
	"errors"
	"strings"
)

// maxHello bounds what a client may send up to the end of its ClientHello, record
// headers included. It is the length of the window, so that nothing is kept.
const maxHello = 32 << 10

var (
	errNotTLS  = errors.New("this is not TLS")
	errHello   = errors.New("the ClientHello is malformed")
	errTooLong = errors.New("the ClientHello is too long")
)

const (
	recordHandshake = 22
	maxRecord       = 16 << 10
	clientHello     = 1
	extServerName   = 0
	hostName        = 0
)

// serverName reads the name that a client asks for, in lower case; "" when it asks
// for none. p is what has come so far, from the first byte. A need above 0 says that
// it is too little, and how many bytes are the least that make a difference.
func serverName(p []byte) (name string, need int, err error) {
	var hello []byte // the message, which may be spread over several records
	for read := 0; ; {
		rest := p[read:]
		if len(rest) > 0 && rest[0] != recordHandshake || len(rest) > 1 && rest[1] != 3 {
			return "", 0, errNotTLS
		}
		size := 5
		if len(rest) >= size {
			n := int(rest[3])<<8 | int(rest[4])
			if n == 0 || n > maxRecord {
				return "", 0, errNotTLS
			}
			size += n
		}
		if read+size > maxHello {
			return "", 0, errTooLong
		}
		if len(rest) < size {
			return "", read + size, nil
		}
		hello = append(hello, rest[5:size]...)
		read += size
		if hello[0] != clientHello {
			return "", 0, errHello
		}
		if len(hello) >= 4 {
			n := 4 + (int(hello[1])<<16 | int(hello[2])<<8 | int(hello[3]))
			if n > maxHello {
				return "", 0, errTooLong
			}
			if len(hello) >= n {
				name, err = nameIn(hello[4:n])
				return name, 0, err
			}
		}
	}
}

// nameIn reads the body of a ClientHello (RFC 8446, section 4.1.2).
func nameIn(body reader) (string, error) {
	_, ok1 := body.take(2 + 32) // version, random
	session, ok2 := body.vector(1)
	ciphers, ok3 := body.vector(2)
	compression, ok4 := body.vector(1)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(session) > 32 || len(ciphers) < 2 || len(ciphers)%2 != 0 || len(compression) == 0 {
		return "", errHello
	}
	if len(body) == 0 {
		return "", nil // an old client has no extensions
	}
	extensions, ok := body.vector(2)
	if !ok || len(body) > 0 {
		return "", errHello
	}
	name, seen := "", false
	for len(extensions) > 0 {
		kind, ok1 := extensions.take(2)
		data, ok2 := extensions.vector(2)
		if !ok1 || !ok2 {
			return "", errHello
		}
		if kind[0] != 0 || kind[1] != extServerName {
			continue
		}
		// Two would be two answers to the question where this goes.
		if seen {
			return "", errHello
		}
		seen = true
		if name, ok = nameOf(data); !ok {
			return "", errHello
		}
	}
	return name, nil
}

// nameOf reads the extension server_name (RFC 6066, section 3): a list with one host
// name.
func nameOf(data reader) (string, bool) {
	list, ok1 := data.vector(2)
	kind, ok2 := list.take(1)
	text, ok3 := list.vector(2)
	if !ok1 || !ok2 || !ok3 || kind[0] != hostName || len(list) > 0 || len(data) > 0 {
		return "", false
	}
	return cleanName(string(text))
}

// cleanName writes a host name as it is looked up: in lower case and without the
// dot of the root.
func cleanName(s string) (name string, ok bool) {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 {
			return "", false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return strings.ToLower(s), true
}

// reader takes things from its front. What it answers shares its memory.
type reader []byte

func (r *reader) take(n int) (p reader, ok bool) {
	if n > len(*r) {
		return nil, false
	}
	p, *r = (*r)[:n], (*r)[n:]
	return p, true
}

// vector takes what stands behind its own length, of so many bytes.
func (r *reader) vector(size int) (p reader, ok bool) {
	length, ok := r.take(size)
	if !ok {
		return nil, false
	}
	n := 0
	for _, b := range length {
		n = n<<8 | int(b)
	}
	return r.take(n)
}
