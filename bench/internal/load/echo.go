package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/bench/internal/stats"
)

// stream is one connection of an Echo or Idle job. Positions are in bytes
// since it was opened.
type stream struct {
	fd       int    // -1 once it has failed
	out      uint64 // where the stream begins that it sends, and the one that comes back
	back     uint64
	queued   uint64 // bytes wanted on the wire: whole messages
	sent     uint64
	received uint64
	times    []int64 // when the messages on the way were sent, a ring
	head     int     // the oldest of them
	waiting  int     // how many there are
}

// echo runs the connections of an Echo or Idle job.
type echo struct {
	job    Job
	wire   wire
	poll   *poller
	conns  []stream
	buf    []byte
	begun  time.Time
	hist   *stats.Histogram
	done   uint64 // messages answered since the last mark
	opened int
	silent int // connections that have not been answered yet
	inAir  int // messages on their way
	refill bool
	fail   Failures
}

// newEcho opens the connections, and counts those that it could not open.
func newEcho(job Job, to netip.AddrPort, hist *stats.Histogram, buf []byte) (*echo, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	if job.Backend != "" {
		if err := p.serve(job.Backend); err != nil {
			p.close()
			return nil, err
		}
	}
	e := &echo{job: job, wire: job.wire(), poll: p, hist: hist, buf: buf, begun: time.Now(), conns: make([]stream, job.Conns)}
	if job.Lag > 0 {
		e.buf = buf[:min(job.Lag, len(buf))]
	}
	times := make([]int64, job.Conns*job.Pipeline)
	for i := range e.conns {
		c := &e.conns[i]
		c.fd = -1
		c.out, c.back = job.starts(i, &e.wire)
		c.times = times[i*job.Pipeline : (i+1)*job.Pipeline]
		left := job.Timeout - time.Since(e.begun)
		if left <= 0 {
			e.fail.Connect += job.Conns - i
			e.fail.first(fmt.Sprintf("connecting took longer than %v", job.Timeout))
			for j := range e.conns[i:] {
				e.conns[i+j].fd = -1
			}
			break
		}
		fd, err := dial(to, i/sourcePorts, left)
		if err == nil {
			if job.WebSocket {
				err = upgrade(fd, left)
			}
			if err = errors.Join(err, p.add(fd, i)); err != nil {
				unix.Close(fd)
			}
		}
		if err != nil {
			e.fail.Connect++
			e.fail.first(err.Error())
			continue
		}
		c.fd = fd
		e.opened++
	}
	e.silent = e.opened
	return e, nil
}

func (e *echo) close() {
	for i := range e.conns {
		if c := &e.conns[i]; c.fd >= 0 {
			unix.Close(c.fd)
			c.fd = -1
		}
	}
	e.poll.close()
}

// start sends the first messages, Pipeline of them on each connection.
func (e *echo) start() {
	for i := range e.conns {
		if c := &e.conns[i]; c.fd >= 0 {
			e.ask(c, e.job.Pipeline)
		}
	}
}

// run turns until ever until, or until no message is on its way.
func (e *echo) run(until time.Time) error {
	for e.inAir > 0 {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		events, err := e.poll.wait(left)
		if err != nil {
			return err
		}
		for i := range events {
			e.event(&e.conns[events[i].Fd], events[i].Events)
		}
	}
	return nil
}

func (e *echo) event(c *stream, what uint32) {
	if c.fd >= 0 && what&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.read(c, what&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
	}
	if c.fd >= 0 && what&unix.EPOLLOUT != 0 {
		e.flush(c)
	}
}

// read takes what has come, checks it, and asks for as much again. hungUp says
// that the end of the stream has come with it, for which no event follows.
func (e *echo) read(c *stream, hungUp bool) {
	var answered int
	for c.fd >= 0 {
		n, err := unix.Read(c.fd, e.buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n == 0 {
			why := "the server closed"
			if err != nil {
				why = "reading: " + err.Error()
			}
			e.fail.Cut++
			e.lose(c, fmt.Sprintf("%s after %d bytes of the %d sent", why, c.received, c.sent))
			return
		}
		due := c.sent
		if e.wire.whole {
			due = c.sent / uint64(e.wire.outSize) * uint64(e.wire.backSize)
		}
		if c.received+uint64(n) > due || !bytes.Equal(e.buf[:n], e.wire.back.at(c.back+c.received, n)) {
			e.fail.Wrong++
			e.lose(c, fmt.Sprintf("bytes %d to %d of the answer are not those that were sent", c.received, c.received+uint64(n)))
			return
		}
		size := uint64(e.wire.backSize)
		if c.received < size && c.received+uint64(n) >= size {
			e.silent--
		}
		whole := int((c.received+uint64(n))/size - c.received/size)
		c.received += uint64(n)
		if whole > 0 {
			now := int64(time.Since(e.begun))
			for range whole {
				e.hist.Record(now - c.times[c.head])
				c.head++
				if c.head == len(c.times) {
					c.head = 0
				}
			}
			c.waiting -= whole
			e.inAir -= whole
			e.done += uint64(whole)
			answered += whole
		}
		if n < len(e.buf) && !hungUp {
			break // a short read: nothing more was there
		}
	}
	if e.refill && answered > 0 {
		e.ask(c, answered)
	}
}

// ask queues n messages more and sends what the socket takes.
func (e *echo) ask(c *stream, n int) {
	now := int64(time.Since(e.begun))
	for range n {
		i := c.head + c.waiting
		if i >= len(c.times) {
			i -= len(c.times)
		}
		c.times[i] = now
		c.waiting++
	}
	e.inAir += n
	c.queued += uint64(n) * uint64(e.wire.outSize)
	e.flush(c)
}

// flush sends what is queued until the socket takes no more; EPOLLOUT comes
// when it does again.
func (e *echo) flush(c *stream) {
	for c.sent < c.queued {
		n := int(min(c.queued-c.sent, longest))
		n, err := unix.Write(c.fd, e.wire.out.at(c.out+c.sent, n))
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			e.fail.Cut++
			e.lose(c, "sending: "+err.Error())
			return
		}
		c.sent += uint64(n)
	}
}

// lose gives up a connection that has failed.
func (e *echo) lose(c *stream, why string) {
	e.fail.first(why)
	unix.Close(c.fd)
	c.fd = -1
	e.inAir -= c.waiting
	c.waiting = 0
	if c.received < uint64(e.wire.backSize) {
		e.silent--
	}
}

// warmUp runs for Warmup, and on until every connection has been answered once,
// or for Timeout: a server that has not yet made what it needs for a connection
// would otherwise be measured with fewer of them than it says.
func (e *echo) warmUp() error {
	if err := e.run(time.Now().Add(e.job.Warmup)); err != nil {
		return err
	}
	const step = 5 * time.Millisecond
	for end := time.Now().Add(e.job.Timeout); e.silent > 0 && e.inAir > 0 && time.Now().Before(end); {
		if err := e.run(time.Now().Add(step)); err != nil {
			return err
		}
	}
	return nil
}

// runEcho is an Echo job from beginning to end.
func runEcho(job Job, to netip.AddrPort, hist *stats.Histogram, buf []byte) (Result, error) {
	e, err := newEcho(job, to, hist, buf)
	if err != nil {
		return Result{}, err
	}
	defer e.close()
	e.refill = true
	e.start()
	if err := e.warmUp(); err != nil {
		return Result{}, err
	}
	hist.Reset()
	e.done = 0
	m := begin(job.PID)
	if err := e.run(time.Now().Add(job.Duration)); err != nil {
		return Result{}, err
	}
	r, err := m.end()
	if err != nil {
		return Result{}, err
	}
	r.Messages = e.done
	r.latencies(hist)
	e.refill = false
	if err := e.run(time.Now().Add(job.Timeout)); err != nil {
		return Result{}, err
	}
	e.unanswered()
	r.Conns, r.Failures = e.opened, e.fail
	return r, nil
}

func (e *echo) unanswered() {
	if e.inAir > 0 {
		e.fail.Unanswered = uint64(e.inAir)
		e.fail.first(fmt.Sprintf("%d messages had no answer within %v", e.inAir, e.job.Timeout))
	}
}

// openIdle is an Idle job. The connections stay open.
func openIdle(job Job, to netip.AddrPort, hist *stats.Histogram, buf []byte) (*echo, Result, error) {
	job.Pipeline, job.Size = 1, 1
	m := begin(job.PID)
	e, err := newEcho(job, to, hist, buf)
	if err != nil {
		return nil, Result{}, err
	}
	r, err := m.end()
	if err != nil {
		e.close()
		return nil, Result{}, err
	}
	r.Conns, r.Failures = e.opened, e.fail
	return e, r, nil
}

// touch is a Touch job on idle connections. Failures counts those since they
// were opened.
func (e *echo) touch(job Job) (Result, error) {
	if e.inAir > 0 {
		return Result{}, errors.New("touch: the message before has not been answered on every connection")
	}
	// A connection's position is a whole number of messages of any size now.
	e.job.Size, e.job.Timeout, e.job.Lines = job.Size, job.Timeout, job.Lines
	e.wire = e.job.wire()
	for i := range e.conns {
		c := &e.conns[i]
		if e.job.WebSocket {
			c.out, c.back = e.job.starts(i, &e.wire)
		} else {
			c.out, c.back = c.out+c.received, c.back+c.received
		}
		c.queued, c.sent, c.received = 0, 0, 0
	}
	e.hist.Reset()
	e.done = 0
	m := begin(job.PID)
	e.start()
	if err := e.run(time.Now().Add(job.Timeout)); err != nil {
		return Result{}, err
	}
	r, err := m.end()
	if err != nil {
		return Result{}, err
	}
	e.unanswered()
	r.Messages, r.Conns, r.Failures = e.done, e.opened, e.fail
	r.latencies(e.hist)
	return r, nil
}
