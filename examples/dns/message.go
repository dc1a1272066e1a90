package main

import "encoding/binary"

// The codes of an answer. badVersion does not fit the header, and goes to OPT in part.
const (
	noError     = 0
	formatError = 1
	noSuchName  = 3
	notDone     = 4
	notOurs     = 5 // REFUSED
	badVersion  = 16
)

const (
	headerSize = 12
	classIN    = 1

	flagResponse = 1 << 15
	flagOurs     = 1 << 10 // AA
	flagCut      = 1 << 9  // TC
	flagRecurse  = 1 << 8  // RD
	opcodes      = 0xf << 11

	// plainSize is what a client without EDNS takes over UDP, and ourSize the most that
	// is sent over UDP to any: what fits everywhere without fragments.
	plainSize = 512
	ourSize   = 1232
)

// query is a question that was asked.
type query struct {
	id, flags   uint16
	question    []byte // as it came; empty when it could not be read
	name        string // in lower case, as zone has it
	kind, class uint16

	edns    bool
	size    int // that the client takes over UDP
	version byte
	dnssec  bool // DO, which is to be said back
}

// parseQuery reads a message. ok is false for one that is not to be answered: it is no
// question. Otherwise code is formatError or notDone when that is all there is to say.
func parseQuery(p []byte) (q query, code int, ok bool) {
	if len(p) < headerSize {
		return q, 0, false
	}
	q.id = binary.BigEndian.Uint16(p)
	q.flags = binary.BigEndian.Uint16(p[2:])
	q.size = plainSize
	if q.flags&flagResponse != 0 {
		return q, 0, false // or two servers could be made to talk for ever
	}
	if q.flags&opcodes != 0 {
		return q, notDone, true
	}
	var counts [4]int
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(p[4+2*i:]))
	}
	if counts[0] != 1 || counts[1] != 0 || counts[2] != 0 {
		return q, formatError, true
	}
	name, n := readName(p[headerSize:])
	rest := p[headerSize+n:]
	if n == 0 || len(rest) < 4 {
		return q, formatError, true
	}
	kind, class := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	rest = rest[4:]
	for range counts[3] {
		if rest = q.additional(rest); rest == nil {
			return q, formatError, true
		}
	}
	if len(rest) > 0 {
		return q, formatError, true
	}
	q.question, q.name, q.kind, q.class = p[headerSize:headerSize+n+4], name, kind, class
	return q, noError, true
}

// readName reads a name of labels alone, which is the only kind that the first name of a
// message can be: there is nothing yet that a pointer could point to. n is its
// length, 0 when it is none.
func readName(p []byte) (name string, n int) {
	for n < len(p) && n < 255 {
		size := int(p[n])
		if size > 63 || n+1+size > len(p) {
			return "", 0
		}
		n += 1 + size
		if size == 0 {
			low := make([]byte, n)
			for i, c := range p[:n] {
				if c >= 'A' && c <= 'Z' { // no length is that great
					c += 'a' - 'A'
				}
				low[i] = c
			}
			return string(low), n
		}
	}
	return "", 0
}

// additional reads a record behind the question, and returns what is behind that, or nil
// when it is none. What matters is OPT (RFC 6891); the rest is skipped.
func (q *query) additional(p []byte) []byte {
	n := skipName(p)
	if n == 0 || len(p) < n+10 {
		return nil
	}
	f := p[n:]
	kind, class, ttl := binary.BigEndian.Uint16(f), binary.BigEndian.Uint16(f[2:]), binary.BigEndian.Uint32(f[4:])
	end := n + 10 + int(binary.BigEndian.Uint16(f[8:]))
	if end > len(p) {
		return nil
	}
	if kind == typeOPT {
		if q.edns || n != 1 {
			return nil // two of them, or not the root's
		}
		q.edns = true
		q.size = min(max(int(class), plainSize), ourSize)
		q.version = byte(ttl >> 16)
		q.dnssec = ttl&(1<<15) != 0
	}
	return p[end:]
}

// skipName is the length of a name. A pointer ends it, and is not followed.
func skipName(p []byte) int {
	for n := 0; n < len(p) && n < 255; {
		switch size := int(p[n]); {
		case size == 0:
			return n + 1
		case size >= 0xc0:
			return n + 2
		case size > 63:
			return 0
		default:
			n += 1 + size
		}
	}
	return 0
}

// reply is an answer that is being written.
type reply struct {
	b          []byte
	apex       int // where the zone's name is in the message; 0: it is not there
	answers    uint16
	authority  uint16
	additional uint16
}

// start begins an answer to q in b's memory.
func (q *query) start(b []byte, flags uint16, code int) *reply {
	flags |= flagResponse | q.flags&(opcodes|flagRecurse) | uint16(code&0xf)
	b = binary.BigEndian.AppendUint16(b[:0], q.id)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return &reply{b: append(b, q.question...)}
}

// add writes a record of a name in the zone. The names in what is there already are
// pointed to: the question's, or else the zone's, which is the end of the question's.
func (r *reply) add(q *query, z *zone, name string, rr record) {
	start, _ := within(name, z.apex)
	if name == q.name {
		r.b = append(r.b, 0xc0, headerSize)
	} else {
		r.b = append(r.b, name[:start]...)
		r.b = append(r.b, 0xc0|byte(r.apex>>8), byte(r.apex))
	}
	r.b = binary.BigEndian.AppendUint16(r.b, rr.kind)
	r.b = binary.BigEndian.AppendUint16(r.b, classIN)
	r.b = binary.BigEndian.AppendUint32(r.b, rr.ttl)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(len(rr.data)))
	r.b = append(r.b, rr.data...)
}

// finish writes what stands at the end, and the counts.
func (r *reply) finish(q *query, code int) []byte {
	if q.edns {
		ttl := uint32(code>>4) << 24
		if q.dnssec {
			ttl |= 1 << 15
		}
		r.b = append(r.b, 0, 0, typeOPT)
		r.b = binary.BigEndian.AppendUint16(r.b, ourSize)
		r.b = binary.BigEndian.AppendUint32(r.b, ttl)
		r.b = append(r.b, 0, 0)
		r.additional++
	}
	questions := uint16(0)
	if len(q.question) > 0 {
		questions = 1
	}
	for i, n := range [4]uint16{questions, r.answers, r.authority, r.additional} {
		binary.BigEndian.PutUint16(r.b[4+2*i:], n)
	}
	return r.b
}
