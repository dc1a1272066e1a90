package play

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"bulkhead/internal/talk"
)

const (
	// mostMutated is how many bytes the segments of a mutant have at most, if those of its
	// conversation have fewer.
	mostMutated = 256 << 10
	// mostChanges is how many changes make a mutant.
	mostChanges = 4
)

// sent is a segment that a party has sent, or one of the other things that parties do.
type sent struct {
	party string
	bytes []byte
	other *talk.Step // SendEOF, SendRST or Wait; nil: bytes were sent
}

// mutant changes what the clients do, as random says. It leaves all alone.
func mutant(all []sent, random *rand.Rand) []sent {
	m := &mutation{Rand: random, all: slices.Clone(all)}
	for range 1 + m.IntN(mostChanges) {
		m.change()
	}
	return m.all
}

type mutation struct {
	*rand.Rand
	all []sent
}

// segment is the place of a segment that has bytes; not ok: there is none.
func (m *mutation) segment() (i int, ok bool) {
	var places []int
	for i, s := range m.all {
		if len(s.bytes) > 0 {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return 0, false
	}
	return places[m.IntN(len(places))], true
}

// edges are bytes that parsers look for, or count with.
var edges = []byte{0, 1, 0x7f, 0x80, 0xfe, 0xff, '\r', '\n', ' ', '"', '0', '-', ':', '%'}

func (m *mutation) change() {
	i, ok := m.segment()
	if !ok {
		return
	}
	b := bytes.Clone(m.all[i].bytes)
	at := m.IntN(len(b))
	end := at + 1 + m.IntN(len(b)-at)
	switch m.IntN(11) {
	case 0: // a bit
		b[at] ^= 1 << m.IntN(8)
	case 1: // a byte
		b[at] = edges[m.IntN(len(edges))]
	case 2: // a number, as a length is one
		m.number(b[at:])
	case 3: // the end is missing
		b = b[:at]
	case 4: // something in the middle is missing
		b = slices.Delete(b, at, end)
	case 5: // something is there again, a few times or many
		times := 1 + m.IntN(4)
		if m.IntN(4) == 0 {
			times = 1 << m.IntN(12)
		}
		if n := end - at; total(m.all)+n*times <= mostMutated {
			b = slices.Insert(b, at, bytes.Repeat(b[at:end], times)...)
		}
	case 6: // something that nobody expects
		noise := make([]byte, 1+m.IntN(16))
		for n := range noise {
			noise[n] = byte(m.Uint32())
		}
		b = slices.Insert(b, at, noise...)
	case 7: // segments in another order
		j, _ := m.segment()
		m.all[i], m.all[j] = m.all[j], m.all[i]
		return
	case 8: // a segment once more
		if total(m.all)+len(b) <= mostMutated {
			m.all = slices.Insert(m.all, i, m.all[i])
		}
		return
	case 9: // a segment is missing
		m.all = slices.Delete(m.all, i, i+1)
		return
	case 10: // the client ends early
		kind := talk.SendEOF
		if m.IntN(2) == 0 {
			kind = talk.SendRST
		}
		party := m.all[i].party
		m.all = slices.DeleteFunc(m.all[:i+1:i+1], func(s sent) bool { return s.other != nil && s.other.Kind != talk.Wait })
		m.all = append(m.all, sent{party: party, other: &talk.Step{Kind: kind, Party: party}})
		return
	}
	m.all[i].bytes = b
}

// number writes a number to the begin of b, in one, two or four bytes, that is small, large, or by
// one off what stands there.
func (m *mutation) number(b []byte) {
	width := 1 << m.IntN(3)
	for width > len(b) {
		width /= 2
	}
	order := binary.ByteOrder(binary.BigEndian)
	if m.IntN(2) == 0 {
		order = binary.LittleEndian
	}
	var was uint32
	switch width {
	case 1:
		was = uint32(b[0])
	case 2:
		was = uint32(order.Uint16(b))
	case 4:
		was = order.Uint32(b)
	}
	n := []uint32{0, 1, was + 1, was - 1, was * 2, 1<<31 - 1, 1 << 31, 1<<32 - 1}[m.IntN(8)]
	switch width {
	case 1:
		b[0] = byte(n)
	case 2:
		order.PutUint16(b, uint16(n))
	case 4:
		order.PutUint32(b, n)
	}
}
