package load

import "math/rand/v2"

// The bytes a connection sends are an endless stream, and the bytes it gets
// back are checked against the same stream: a byte that is lost, doubled,
// changed, moved, or another connection's cannot pass. The period is a prime,
// so that no power-of-two slip in a buffer falls on it.
const (
	period  = 65521
	longest = 1 << 20 // bytes that can be taken in one piece
)

// pattern is the stream, long enough to take longest bytes from any position
// in one piece. It is never written to.
var pattern = func() []byte {
	rng := rand.New(rand.NewPCG(0x62756c6b, 0x68656164))
	p := make([]byte, period+longest)
	for i := range p[:period] {
		p[i] = byte(rng.Uint32())
	}
	for i := period; i < len(p); i++ {
		p[i] = p[i-period]
	}
	return p
}()

// at returns n bytes, at most longest, of the stream from position pos.
func at(pos uint64, n int) []byte {
	i := int(pos % period)
	return pattern[i : i+n]
}
