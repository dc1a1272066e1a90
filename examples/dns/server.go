package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"

	"bulkhead/sdk/go"
)

const (
	defaultTTL = 3600
	maxQuery   = 4096 // over TCP; a question is a name and little else
	maxTTL     = 1<<31 - 1
	anyTTL     = 3600
)

// anyAnswer is the answer to "all that you have", which is asked in order to have a long answer
// sent to somebody else (RFC 8482, section 4.2).
var anyAnswer = record{typeHINFO, anyTTL, "\x07RFC8482\x00"}

// server is the handler.
type server struct {
	guest.Base
	zone   *zone
	out    []byte // the answer, built here so that it costs no memory
	framed []byte // and behind its length, for TCP
}

// Start reads the zone.
func (v *server) Start(config []byte) error {
	c := struct {
		Zone    string   `json:"zone"`
		TTL     int64    `json:"ttl"`
		Records []string `json:"records"`
	}{TTL: defaultTTL}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return errors.New("config: " + err.Error())
	}
	if c.TTL < 0 || c.TTL > maxTTL {
		return errors.New("config: ttl is a number of seconds, 0 to 2147483647")
	}
	var err error
	if v.zone, err = newZone(c.Zone, uint32(c.TTL), c.Records); err != nil {
		return errors.New("config: " + err.Error())
	}
	return nil
}

// Open remembers what kind of connection it is.
func (v *server) Open(c *guest.Conn) error {
	c.Value = c.Transport() != "udp"
	return nil
}

// Data is one datagram, or a piece of a stream.
func (v *server) Data(c *guest.Conn, p []byte) (used int, err error) {
	if stream := c.Value.(bool); stream {
		return v.stream(c, p)
	}
	if answer := v.answer(p, false); answer != nil {
		// There may be no room for it, and then it is lost, as datagrams are.
		_, _ = c.Send(answer)
	}
	return len(p), nil
}

// stream takes messages, each behind its length. As long as the client does not read
// its answers, the rest stays with the host.
func (v *server) stream(c *guest.Conn, p []byte) (used int, err error) {
	for len(p)-used >= 2 && c.Queued() == 0 {
		n := int(binary.BigEndian.Uint16(p[used:]))
		if n > maxQuery {
			return used, guest.Invalid
		}
		if len(p)-used < 2+n {
			break
		}
		answer := v.answer(p[used+2:used+2+n], true)
		if answer == nil {
			return used, guest.Invalid
		}
		// In one piece, as RFC 7766 asks.
		v.framed = append(append(v.framed[:0], byte(len(answer)>>8), byte(len(answer))), answer...)
		_, _ = c.Write(v.framed)
		used += 2 + n
	}
	return used, nil
}

// answer is the answer to a message, good until the next; nil when there is none.
func (v *server) answer(p []byte, stream bool) []byte {
	q, code, ok := parseQuery(p)
	if !ok {
		_ = guest.Count("dns_dropped", 1)
		return nil
	}
	_ = guest.Count("dns_queries", 1)
	v.out = v.zone.reply(&q, code, v.out)
	limit := q.size
	if stream {
		limit = 1<<16 - 1
	}
	if len(v.out) > limit {
		_ = guest.Count("dns_truncated", 1)
		v.out = q.start(v.out, flagOurs|flagCut, noError).finish(&q, noError)
	}
	return v.out
}

// reply answers a question from the zone, in b's memory.
func (z *zone) reply(q *query, code int, b []byte) []byte {
	start, ours := within(q.name, z.apex)
	switch {
	case code != noError:
	case q.version > 0:
		code = badVersion
	case !ours, q.class != classIN, q.kind == typeAXFR, q.kind == typeIXFR:
		code = notOurs
	}
	if code != noError {
		return q.start(b, 0, code).finish(q, code)
	}
	answers, last, code := z.find(q)
	r := q.start(b, flagOurs, code)
	r.apex = headerSize + start
	name := q.name
	for _, rr := range answers {
		r.add(q, z, name, rr)
		r.answers++
		if rr.kind == typeCNAME && q.kind != typeCNAME {
			name = rr.data
		}
	}
	if last {
		r.add(q, z, z.apex, z.soa)
		r.authority++
	}
	return r.finish(q, code)
}

// find is what there is: the aliases that lead to it, each before the next, and then the
// records. nothing says that the last name has none, so that the SOA has to tell for how
// long that holds.
func (z *zone) find(q *query) (answers []record, nothing bool, code int) {
	name := q.name
	for range maxChain + 1 {
		node, exists := z.nodes[name]
		if !exists {
			return answers, true, noSuchName
		}
		if q.kind == typeANY && len(node) > 0 {
			return append(answers, anyAnswer), false, noError
		}
		if alias, ok := z.alias(name); ok && q.kind != typeCNAME {
			answers = append(answers, alias)
			name = alias.data
			if _, ours := within(name, z.apex); !ours {
				return answers, false, noError // somebody else knows
			}
			continue
		}
		before := len(answers)
		for _, rr := range node {
			if rr.kind == q.kind {
				answers = append(answers, rr)
			}
		}
		return answers, len(answers) == before, noError
	}
	return answers, false, noError // newZone has seen to it that this is not reached
}
