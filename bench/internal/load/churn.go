package load

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/bench/internal/stats"
)

// visit is one connection of a Churn job, and its slot the place of the next.
type visit struct {
	fd       int // -1: none under way
	start    uint64
	begun    time.Time
	state    int
	step     int // of the job's, while greeting
	asked    bool
	sent     int
	received int
}

const (
	connecting = iota
	greeting   // the job's steps
	echoing
	leaving // half closed; the server closes next
)

// churn runs the connections of a Churn job.
type churn struct {
	job    Job
	to     netip.AddrPort
	poll   *poller
	slots  []visit
	buf    []byte
	size   int // of the message
	hist   *stats.Histogram
	made   int // connections opened, which numbers them
	open   int
	done   uint64
	refill bool
	fail   Failures
}

// failuresBorne is how many failed connections end a job: a server that
// refuses everything would otherwise be asked as fast as the kernel can.
const failuresBorne = 1000

func (c *churn) close() {
	for i := range c.slots {
		if v := &c.slots[i]; v.fd >= 0 {
			unix.Close(v.fd)
		}
	}
	c.poll.close()
}

// begin opens the next connection in slot i. Unless refill is set it leaves
// the slot empty.
func (c *churn) begin(i int) {
	v := &c.slots[i]
	for c.refill && v.fd < 0 {
		if c.fail.Total() >= failuresBorne {
			c.refill = false
			return
		}
		*v = visit{fd: -1, start: c.job.start(int(c.made)), begun: time.Now()}
		fd, err := open(c.to, c.made, unix.SOCK_NONBLOCK)
		c.made++
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(c.to.Port()), Addr: c.to.Addr().As4()})
			if err == unix.EINPROGRESS || err == unix.EINTR {
				err = nil
			}
			if err == nil {
				err = c.poll.add(fd, i)
			}
			if err != nil {
				unix.Close(fd)
			}
		}
		if err != nil {
			c.fail.Connect++
			c.fail.first(fmt.Sprintf("connecting to %v: %v", c.to, err))
			continue
		}
		v.fd = fd
		c.open++
	}
}

// finish ends the visit in slot i, and begins the next there.
func (c *churn) finish(i int) {
	v := &c.slots[i]
	unix.Close(v.fd)
	v.fd = -1
	c.open--
	c.begin(i)
}

func (c *churn) run(until time.Time) error {
	for c.open > 0 {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		events, err := c.poll.wait(left)
		if err != nil {
			return err
		}
		for j := range events {
			if i := int(events[j].Fd); c.slots[i].fd >= 0 {
				c.event(i, events[j].Events)
			}
		}
	}
	return nil
}

func (c *churn) event(i int, what uint32) {
	v := &c.slots[i]
	if v.state == connecting {
		if what&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
			return
		}
		if e, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || e != 0 {
			c.fail.Connect++
			c.fail.first(fmt.Sprintf("connecting to %v: %v", c.to, unix.Errno(e)))
			c.finish(i)
			return
		}
		v.state = echoing
		if len(c.job.Steps) > 0 {
			v.state = greeting
		}
	}
	if v.state == greeting && !c.greet(i) {
		return
	}
	if v.sent < c.size && !c.send(i) {
		return
	}
	if what&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.receive(i)
	}
}

// greet goes through the steps that come before the message, and reports whether that
// is over; false also when the visit is.
func (c *churn) greet(i int) bool {
	v := &c.slots[i]
	for ; v.step < len(c.job.Steps); v.step, v.asked = v.step+1, false {
		s := &c.job.Steps[v.step]
		if !v.asked {
			v.asked, v.received = true, 0
			// So few bytes always fit.
			if n, err := unix.Write(v.fd, s.Send); err != nil || n < len(s.Send) {
				c.cut(i, fmt.Sprintf("step %d: sending: %d of %d bytes (%v)", v.step+1, n, len(s.Send), err))
				return false
			}
		}
		for want := len(s.Expect) + s.Ignore; v.received < want; {
			n, err := unix.Read(v.fd, c.buf[v.received:want])
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				// The buffer is not the visit's: what has come in part is read as a whole
				// or not at all. On the loopback short answers come in one piece.
				if v.received > 0 {
					c.cut(i, fmt.Sprintf("step %d: %d bytes of an answer of %d came alone", v.step+1, v.received, want))
				}
				return false
			}
			if err != nil || n == 0 {
				c.cut(i, fmt.Sprintf("step %d: the server ended the connection (%v)", v.step+1, err))
				return false
			}
			v.received += n
		}
		if !bytes.HasPrefix(c.buf, s.Expect) {
			c.fail.Wrong++
			c.fail.first(fmt.Sprintf("step %d: the answer begins with %x, not %x", v.step+1, c.buf[:len(s.Expect)], s.Expect))
			c.finish(i)
			return false
		}
	}
	v.state, v.received = echoing, 0
	return true
}

// cut ends a visit that the server has not let come to its end.
func (c *churn) cut(i int, why string) {
	c.fail.Cut++
	c.fail.first(why)
	c.finish(i)
}

// message is n bytes of the visit's message from position pos.
func (c *churn) message(v *visit, pos, n int) []byte {
	if m := c.job.Message; len(m) > 0 {
		return m[pos : pos+n]
	}
	return c.job.at(v.start+uint64(pos), n)
}

// send sends what is left of the message; false when the visit is over.
func (c *churn) send(i int) bool {
	v := &c.slots[i]
	for v.sent < c.size {
		n, err := unix.Write(v.fd, c.message(v, v.sent, c.size-v.sent))
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return true
		}
		if err != nil {
			c.cut(i, "sending: "+err.Error())
			return false
		}
		v.sent += n
	}
	return true
}

func (c *churn) receive(i int) {
	v := &c.slots[i]
	for {
		n, err := unix.Read(v.fd, c.buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			if err == nil && v.state == leaving {
				c.hist.Record(int64(time.Since(v.begun)))
				c.done++
			} else {
				c.cut(i, fmt.Sprintf("the server ended a connection after %d bytes of %d (%v)", v.received, c.size, err))
				return
			}
			c.finish(i)
			return
		}
		if v.received+n > v.sent || !bytes.Equal(c.buf[:n], c.message(v, v.received, n)) {
			c.fail.Wrong++
			c.fail.first(fmt.Sprintf("bytes %d to %d of the answer are not those that were sent", v.received, v.received+n))
			c.finish(i)
			return
		}
		v.received += n
		if v.received == c.size {
			v.state = leaving
			// An error here shows in the next read.
			unix.Shutdown(v.fd, unix.SHUT_WR)
		}
	}
}

// runChurn is a Churn job from beginning to end.
func runChurn(job Job, to netip.AddrPort, hist *stats.Histogram, buf []byte) (Result, error) {
	p, err := newPoller()
	if err != nil {
		return Result{}, err
	}
	c := &churn{job: job, to: to, poll: p, hist: hist, buf: buf, size: job.Size, slots: make([]visit, job.Conns), refill: true}
	if len(job.Message) > 0 {
		c.size = len(job.Message)
	}
	if job.Backend != "" {
		if err := p.serve(job.Backend); err != nil {
			p.close()
			return Result{}, err
		}
	}
	for i := range c.slots {
		c.slots[i].fd = -1
	}
	defer c.close()
	for i := range c.slots {
		c.begin(i)
	}
	if err := c.run(time.Now().Add(job.Warmup)); err != nil {
		return Result{}, err
	}
	hist.Reset()
	c.done = 0
	m := begin(job.PID)
	if err := c.run(time.Now().Add(job.Duration)); err != nil {
		return Result{}, err
	}
	r, err := m.end()
	if err != nil {
		return Result{}, err
	}
	r.Messages, r.Conns = c.done, int(c.done)
	r.latencies(hist)
	c.refill = false
	if err := c.run(time.Now().Add(job.Timeout)); err != nil {
		return Result{}, err
	}
	if c.open > 0 {
		c.fail.Unanswered = uint64(c.open)
		c.fail.first(fmt.Sprintf("%d connections did not end within %v", c.open, job.Timeout))
	}
	r.Failures = c.fail
	return r, nil
}
