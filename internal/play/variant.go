package play

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"bulkhead/internal/talk"
)

// Variant is a way in which a conversation is played. What a handler answers may not depend on it.
type Variant struct {
	// Name says it in words: "byte by byte".
	Name string
	// Cause is what is likely wrong with a handler that goes well as written, but not in this way,
	// and Mend what to do about it. "": nothing is known.
	Cause, Mend string
	// bytes: each byte travels alone. random, where it is not nil, says where else to cut.
	bytes  bool
	random *rand.Rand
	// piece is how long pieces that random cuts are at most; 0: 64 bytes.
	piece int
	// short: a send takes a few bytes only, and sockets have small buffers.
	short bool
	// ended: the client ends its side with its last bytes.
	ended bool
	// anew: the instance is made for its connection, and not copied from a snapshot.
	anew bool
	// beside: other clients come and go meanwhile, in the same instance.
	beside bool
}

// Written is the way that the file has it: each stretch is one segment.
var Written = Variant{Name: "as written"}

// ShortSends is the way in which a send takes a few bytes.
var ShortSends = Variant{
	Name: "with short sends", short: true,
	Cause: "the handler ignores that a send was short: the bytes that send has not taken are lost",
	Mend:  "send returns how many bytes it took; keep the others until csa_writable, as csa_write in C and Write in Go do",
}

const (
	// mostBytes is up to which length a segment travels byte by byte.
	mostBytes = 4096
	// shortSend is how many bytes a short send takes at most.
	shortSend = 5
)

const (
	cutCause = "the handler takes an event for a message; TCP may cut a stream anywhere"
	cutMend  = "leave in the window what is not whole yet, and consume whole messages only; or read by lines or frames"
)

// Variants are all of them. The same seed cuts at the same places.
func Variants(seed uint64) []Variant {
	return []Variant{
		Written,
		{Name: "byte by byte", bytes: true, Cause: cutCause, Mend: cutMend},
		{Name: fmt.Sprintf("cut at random, seed %d", seed), random: rand.New(rand.NewPCG(seed, seed)), Cause: cutCause, Mend: cutMend},
		ShortSends,
		{
			Name: "ended at once", short: true, ended: true,
			Cause: "bytes are lost at the half-close: the handler ends the connection while it still has answers to send",
			Mend:  "end the connection when everything is sent, in csa_writable if not in csa_eof, as csa_finish in C and Close in Go do",
		},
		{
			Name: "without a snapshot", anew: true,
			Cause: "the handler differs between an instance that has just started and a copy of its snapshot",
			Mend:  "do not keep from the start what is different each time: an address, a time, a random number, a handle",
		},
		{
			Name: "beside other clients", beside: true,
			Cause: "the handler keeps for all connections what is one connection's",
			Mend:  `keep it by the connection's handle, or set instance = "connection"; if clients are to share it, write the line alone in the conversation`,
		},
	}
}

// Suits reports whether the conversation can go the same way in this variant.
func (v *Variant) Suits(h Handler, c *talk.Case) bool {
	has := func(kinds ...talk.Kind) bool {
		return slices.ContainsFunc(c.Steps, func(s talk.Step) bool { return slices.Contains(kinds, s.Kind) })
	}
	switch {
	case v.ended:
		return endedAtOnce(c) != nil
	case v.anew:
		return h.perConnection()
	case v.beside:
		return !h.perConnection() && !c.Alone && has(talk.Send) && !has(talk.Dial, talk.Secured)
	}
	return true
}

// endedAtOnce is the conversation with the client's end right behind the last that it sends. It is
// nil if that may change how the conversation goes: if more goes on behind that than answers, or
// others take part.
func endedAtOnce(c *talk.Case) *talk.Case {
	last := -1
	for i, s := range c.Steps {
		switch s.Kind {
		case talk.Send:
			last = i
		case talk.Wait, talk.SendRST, talk.GetRST:
			if last >= 0 {
				return nil
			}
		}
		if s.Party != talk.Client || s.Kind == talk.Dial {
			return nil
		}
	}
	if last < 0 || slices.ContainsFunc(c.Steps[:last], func(s talk.Step) bool { return s.Kind == talk.SendEOF }) {
		return nil
	}
	ended := *c
	ended.Steps = slices.Clone(c.Steps[:last+1])
	ended.Steps = append(ended.Steps, talk.Step{Line: c.Steps[last].Line, Kind: talk.SendEOF})
	for _, s := range c.Steps[last+1:] {
		if s.Kind == talk.Secured {
			return nil
		}
		if s.Kind != talk.SendEOF {
			ended.Steps = append(ended.Steps, s)
		}
	}
	return &ended
}

// cut cuts a segment into the pieces in which it travels.
func (v *Variant) cut(segment []byte) (pieces [][]byte) {
	if !v.bytes && v.random == nil {
		return [][]byte{segment}
	}
	for len(segment) > 0 {
		n := 1
		switch {
		case v.bytes && len(segment) > mostBytes:
			n = len(segment) - mostBytes
		case v.random != nil:
			n = 1 + v.random.IntN(min(len(segment), cmp.Or(v.piece, 64)))
		}
		pieces = append(pieces, segment[:n])
		segment = segment[n:]
	}
	return pieces
}
