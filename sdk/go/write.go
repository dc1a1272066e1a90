package guest

import (
	"encoding/binary"
	"unsafe"
)

// DefaultWriteLimit is how many bytes Write queues for one connection when
// SetWriteLimit was not called.
const DefaultWriteLimit = 64 << 10

// advice is a code with words that say what to do.
type advice struct {
	code Code
	text string
}

func (a *advice) Error() string { return a.code.Error() + ": " + a.text }
func (a *advice) Unwrap() error { return a.code }

// errWriteLimit is what Write answers when its queue is full.
var errWriteLimit error = &advice{Quota, "Write would queue more than SetWriteLimit allows: its peer takes less than it is sent; write in pieces, the next one when Queued is small again (from Timer, say), or raise the limit"}

// SetWriteLimit bounds what Write queues for c to n bytes; 0 or less means
// DefaultWriteLimit. What is queued already stays.
func (c *Conn) SetWriteLimit(n int) { c.limit = max(0, n) }

// Queued is how many bytes Write has queued and the inbox has not taken yet, and over UDP and
// WebSocket 4 more for each message.
func (c *Conn) Queued() int { return c.queue.len() }

// Write sends all of p: what the inbox has no room for is copied, queued and
// sent later, ahead of anything else. When the queue would grow beyond the write
// limit it answers an error that is Quota for errors.Is, and says so: the peer is too
// slow, and a handler does best to Abort. Then it has taken nothing, or as much as it says of a p
// that alone is longer than the limit. The other errors are those of Send, without Again; n says
// how much was taken before.
//
// Over UDP and WebSocket each Write is a message, also one that has to wait, and so is an empty
// one. None of a message waits that is longer than the limit.
func (c *Conn) Write(p []byte) (n int, err error) {
	if err := c.maySend(); err != nil {
		return 0, err
	}
	limit := c.limit
	if limit == 0 {
		limit = DefaultWriteLimit
	}
	for c.queue.len() == 0 {
		// A short count is asked again, for the answer Again: it promises
		// csa_writable, which the queue needs.
		taken := send(c.handle, p[n:])
		if taken == int32(Again) {
			break
		}
		if taken <= 0 {
			return n, errorOf(taken)
		}
		if n += int(taken); n == len(p) {
			return n, nil
		}
	}
	rest, mark := p[n:], c.markLen()
	if c.queue.len()+mark+len(rest) > limit {
		if c.queue.len() > 0 || mark > 0 {
			return n, errWriteLimit
		}
		rest = rest[:limit]
		err = errWriteLimit
	}
	if mark > 0 {
		var length [messageMark]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(rest)))
		c.queue.push(length[:])
	}
	c.queue.push(rest)
	return n + len(rest), err
}

// messageMark is how many bytes the length of a message takes in a queue.
const messageMark = 4

// markLen is how many bytes stand before each message in c's queue: none where they are a stream.
func (c *Conn) markLen() int {
	if !c.is(sorted) {
		c.set(sorted)
		var transport [3]byte
		switch n := info(c.handle, infoTransport, transport[:]); {
		case n == 3 && string(transport[:]) == "udp", n == 2 && string(transport[:2]) == "ws":
			c.set(messages)
		}
	}
	if c.is(messages) {
		return messageMark
	}
	return 0
}

// WriteString is Write for a string, without a copy.
func (c *Conn) WriteString(s string) (n int, err error) {
	return c.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// flush sends what is queued, as far as the inbox takes it, and says what
// waited for the queue to be empty. It reports whether the queue is empty and c
// can go on.
func (c *Conn) flush() bool {
	if c.queue.len() == 0 {
		return true
	}
	for c.queue.len() > 0 {
		next, mark := c.queue.bytes(), c.markLen()
		if mark > 0 {
			next = next[mark:][:binary.LittleEndian.Uint32(next)]
		}
		taken := send(c.handle, next)
		if taken == int32(Again) {
			return false
		}
		if taken < 0 || taken == 0 && len(next) > 0 {
			// Closed: the end is near anyhow. Anything else has no csa_writable
			// behind it, so that the queue would wait for ever.
			if taken != int32(Closed) {
				Log(LogWarn, "sending what is queued: "+Code(taken).Error()+"; the connection is closed")
			}
			_ = c.Abort()
			return false
		}
		if rest := len(next) - int(taken); rest > 0 {
			c.queue.pop(int(taken))
			if mark > 0 { // what is left is a message of its own
				binary.LittleEndian.PutUint32(c.queue.bytes(), uint32(rest))
			}
		} else {
			c.queue.pop(mark + int(taken))
		}
	}
	switch {
	case c.is(closing):
		control(c.handle, producerFinished)
	case c.is(finished):
		control(c.handle, finishSending)
	}
	return true
}

// queue is a first-in-first-out row of bytes. The zero value is empty.
type queue struct {
	buf   []byte
	start int
}

// keep is up to what capacity an empty queue keeps its memory: enough for
// chatter, little for ten thousand connections.
const keep = 1 << 10

func (q *queue) len() int      { return len(q.buf) - q.start }
func (q *queue) bytes() []byte { return q.buf[q.start:] }
func (q *queue) drop()         { *q = queue{} }

func (q *queue) push(p []byte) {
	if q.start > 0 && len(q.buf)+len(p) > cap(q.buf) {
		q.buf = q.buf[:copy(q.buf, q.buf[q.start:])]
		q.start = 0
	}
	q.buf = append(q.buf, p...)
}

func (q *queue) pop(n int) {
	q.start += n
	if q.len() == 0 {
		if cap(q.buf) > keep {
			q.buf = nil
		}
		q.buf = q.buf[:0]
		q.start = 0
	}
}
