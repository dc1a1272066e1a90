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

// lineSize is how many bytes a line has, with its end.
const lineSize = 64

// lines is a stream of lines, for servers that answer those alone. Its period is a whole number of
// them. It is never written to.
var lines = func() []byte {
	rng := rand.New(rand.NewPCG(0x6c696e65, 0x68656164))
	p := make([]byte, linesPeriod+longest)
	for i := range p[:linesPeriod] {
		p[i] = 'a' + byte(rng.IntN(26))
		if i%lineSize == lineSize-1 {
			p[i] = '\n'
		}
	}
	for i := linesPeriod; i < len(p); i++ {
		p[i] = p[i-linesPeriod]
	}
	return p
}()

const linesPeriod = lineSize * 1021

// cycle is an endless stream whose bytes come again after a period. Longest bytes can be taken in
// one piece from anywhere.
type cycle struct {
	period int
	bytes  []byte
}

// at returns n bytes, at most longest, from position pos.
func (c *cycle) at(pos uint64, n int) []byte {
	i := int(pos % uint64(c.period))
	return c.bytes[i : i+n]
}

// wire is what messages are on the wire, on their way out and back: streams, and how many bytes of
// them a message is.
type wire struct {
	out, back         cycle
	outSize, backSize int
	// whole says that nothing of a message comes back before all of it was sent.
	whole bool
}

// wire is that of the job's messages.
func (j *Job) wire() wire {
	c := cycle{period, pattern}
	switch {
	case j.WebSocket:
		return framed(j.Size)
	case j.Lines:
		c = cycle{linesPeriod, lines}
	}
	return wire{out: c, back: c, outSize: j.Size, backSize: j.Size}
}

// starts are where the streams of the i-th connection begin.
func (j *Job) starts(i int, w *wire) (out, back uint64) {
	if j.WebSocket {
		return uint64(i) * 977 * uint64(w.outSize), uint64(i) * 977 * uint64(w.backSize)
	}
	return j.start(i), j.start(i)
}

// at returns n bytes, at most longest, of the stream from position pos.
func at(pos uint64, n int) []byte {
	i := int(pos % period)
	return pattern[i : i+n]
}

// at is at for the stream of the job.
func (j *Job) at(pos uint64, n int) []byte {
	if j.Lines {
		i := int(pos % linesPeriod)
		return lines[i : i+n]
	}
	return at(pos, n)
}

// start is where the stream of the i-th connection begins.
func (j *Job) start(i int) uint64 {
	if j.Lines {
		return uint64(i) * 977 * lineSize
	}
	return uint64(i) * 977
}
