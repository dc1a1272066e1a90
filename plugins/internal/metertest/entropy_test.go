package metertest

import (
	"encoding/binary"
	"math"
)

// entropy makes choices from bytes. When there are none left, each choice is
// the first one, which has to be the one that ends things.
type entropy struct{ b []byte }

func (e *entropy) take() byte {
	if len(e.b) == 0 {
		return 0
	}
	c := e.b[0]
	e.b = e.b[1:]
	return c
}

// n chooses from 0 to k-1, k at most 256.
func (e *entropy) n(k int) int { return int(e.take()) % k }

// rarely is true once in k times.
func (e *entropy) rarely(k int) bool { return e.n(k) == k-1 }

func (e *entropy) word() uint64 {
	var b [8]byte
	for i := range b {
		b[i] = e.take()
	}
	return binary.LittleEndian.Uint64(b[:])
}

// pick chooses one of them; there has to be one.
func pick[T any](e *entropy, from ...T) T { return from[e.n(len(from))] }

// bits chooses a number of a type, most often one at an edge. Its NaNs are
// canonical.
func (e *entropy) bits(t byte) uint64 {
	switch t {
	case typeI32:
		return uint64(pick(e, 0, 1, math.MaxUint32, 1<<31, math.MaxInt32, 255, 65536, uint32(e.word())))
	case typeI64:
		return pick(e, 0, 1, math.MaxUint64, 1<<63, math.MaxInt64, 1<<32, 255, e.word())
	case typeF32:
		return uint64(math.Float32bits(pick(e, 0, 1, -1, 1e30, 0.5, float32(math.Inf(1)), float32(math.NaN()),
			float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 2147483648, float32(int8(e.take()))*1.25)))
	case typeF64:
		return math.Float64bits(pick(e, 0, 1, -1, 1e300, 0.5, math.Inf(1), math.NaN(),
			math.Copysign(0, -1), math.SmallestNonzeroFloat64, 9223372036854775808, float64(int8(e.take()))*1.25))
	}
	return 0
}
