package play

import (
	"fmt"
	"math/rand/v2"
)

// Variant is a way in which a conversation is played. What a handler answers may not depend on it.
type Variant struct {
	// Name says it in words: "byte by byte".
	Name string
	// bytes: each byte travels alone. random, where it is not nil, says where else to cut.
	bytes  bool
	random *rand.Rand
	// small: the inbox is as small as it may be, so that sends are short.
	small bool
	// anew: the instance is made for its connection, and not copied from a snapshot.
	anew bool
}

// Written is the way that the file has it: each stretch is one segment.
var Written = Variant{Name: "as written"}

// mostBytes is up to which length a segment travels byte by byte.
const mostBytes = 4096

// Variants are all of them. The same seed cuts at the same places.
func Variants(seed uint64) []Variant {
	return []Variant{
		Written,
		{Name: "byte by byte", bytes: true},
		{Name: fmt.Sprintf("cut at random, seed %d", seed), random: rand.New(rand.NewPCG(seed, seed))},
		{Name: "with a small inbox", small: true},
		{Name: "without a snapshot", anew: true},
	}
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
			n = 1 + v.random.IntN(max(1, min(len(segment), 64)))
		}
		pieces = append(pieces, segment[:n])
		segment = segment[n:]
	}
	return pieces
}
