package csa

import "bulkhead/internal/tlsrecord"

// records follows the bounds of TLS records in what a peer sends, since crypto/tls keeps to
// itself whether it waits for the rest of one.
type records struct {
	body     int32 // bytes of a record that are still to come
	head     int8  // bytes of a header that have come, of tlsrecord.Header
	high     byte  // the upper half of the length
	complete bool  // a record was completed since this was last set to false
	count    int32 // of records that were completed; it may go round
}

// partial reports whether a record has begun and is not whole.
func (r *records) partial() bool { return r.head > 0 || r.body > 0 }

// left is how many bytes there are at most until the header ends that has begun or begins now, or
// the record.
func (r *records) left() int {
	if r.body > 0 {
		return int(r.body)
	}
	return tlsrecord.Header - int(r.head)
}

// see goes over the next bytes.
func (r *records) see(p []byte) {
	for len(p) > 0 {
		if r.body > 0 {
			n := min(len(p), int(r.body))
			p = p[n:]
			if r.body -= int32(n); r.body == 0 {
				r.end()
			}
			continue
		}
		switch r.head++; r.head {
		case tlsrecord.Header - 1:
			r.high = p[0]
		case tlsrecord.Header:
			r.head = 0
			r.body = int32(r.high)<<8 | int32(p[0])
			if r.body == 0 {
				r.end()
			}
		}
		p = p[1:]
	}
}

func (r *records) end() {
	r.complete = true
	r.count++
}
