package load

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// pipeEnd is one socket of a Stream job, of either side.
type pipeEnd struct {
	fd      int
	sends   bool
	pos     uint64 // bytes moved
	turns   uint64
	in      bool // on the list
	answers bool // it has moved something
}

// stream runs a Stream job. Each side that has something to do is on a list, and gets
// its turn there, so that a fast relay cannot keep the others waiting.
type streamer struct {
	job    Job
	poll   *poller
	listen int
	ends   []pipeEnd
	list   []int
	buf    []byte
	got    uint64 // bytes that have arrived since the last mark
	silent int    // receiving ends that have got nothing yet
	fail   Failures
}

const (
	// streamTurn is what one socket moves in a turn.
	streamTurn = 256 << 10
	// Bytes that arrive are thrown away by the kernel, uncopied; only those of every
	// so many reads are looked at.
	lookEvery = 32
	// waitsInAll is how much may wait at all receiving ends together, or 512 KiB each.
	waitsInAll = 256 << 20
)

// runStream is a Stream job from beginning to end.
func runStream(job Job, to netip.AddrPort, buf []byte) (Result, error) {
	p, err := newPoller()
	if err != nil {
		return Result{}, err
	}
	s := &streamer{job: job, poll: p, buf: buf, silent: job.Conns}
	defer s.close()
	if s.listen, err = listen(job.Backend); err != nil {
		return Result{}, err
	}
	if job.Upload {
		s.bound(s.listen) // which the connections inherit
	}
	if err := p.add(s.listen, 1<<30); err != nil {
		return Result{}, err
	}
	for i := range job.Conns {
		fd, err := dial(to, i/sourcePorts, job.Timeout)
		if err != nil {
			s.fail.Connect++
			s.fail.first(err.Error())
			s.silent--
			continue
		}
		if !job.Upload {
			s.bound(fd)
		}
		s.take(fd, job.Upload)
	}
	if err := s.run(time.Now().Add(job.Warmup), false); err != nil {
		return Result{}, err
	}
	if err := s.run(time.Now().Add(job.Timeout), true); err != nil {
		return Result{}, err
	}
	if s.silent > 0 {
		s.fail.Unanswered = uint64(s.silent)
		s.fail.first(fmt.Sprintf("nothing came through %d relayed connections within %v", s.silent, job.Timeout))
	}
	s.got = 0
	m := begin(job.PID)
	if err := s.run(time.Now().Add(job.Duration), false); err != nil {
		return Result{}, err
	}
	r, err := m.end()
	if err != nil {
		return Result{}, err
	}
	r.Messages = s.got / 1_000_000
	r.Conns, r.Failures = job.Conns-s.fail.Connect, s.fail
	return r, nil
}

func (s *streamer) close() {
	for i := range s.ends {
		if e := &s.ends[i]; e.fd >= 0 {
			// What is on its way is thrown away, or the relay would go on with it.
			unix.SetsockoptLinger(e.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(e.fd)
		}
	}
	if s.listen > 0 {
		unix.Close(s.listen)
	}
	s.poll.close()
}

// bound keeps the kernel from having more than a little wait at the receiving end: what
// waits there was moved before it is counted. It is the window that is bounded, and not the
// buffer: with a small one that does not grow, the kernel drops what it has promised to take,
// and connections stand still for a fifth of a second.
func (s *streamer) bound(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, max(waitsInAll/s.job.Conns, 512<<10))
}

// take adds a socket.
func (s *streamer) take(fd int, sends bool) {
	i := len(s.ends)
	s.ends = append(s.ends, pipeEnd{fd: fd, sends: sends})
	if err := s.poll.add(fd, i); err != nil {
		s.lose(i, err.Error())
	}
}

func (s *streamer) lose(i int, why string) {
	e := &s.ends[i]
	s.fail.Cut++
	s.fail.first(why)
	unix.Close(e.fd)
	e.fd = -1
}

// run turns until then; or, to have it begin, until something has come everywhere.
func (s *streamer) run(until time.Time, toBegin bool) error {
	for {
		left := time.Until(until)
		if left <= 0 || toBegin && s.silent <= 0 {
			return nil
		}
		if len(s.list) > 0 {
			left = 0
		}
		events, err := s.poll.wait(left)
		if err != nil {
			return err
		}
		for j := range events {
			i := int(events[j].Fd)
			if i == 1<<30 {
				s.accept()
			} else if e := &s.ends[i]; e.fd >= 0 && !e.in {
				e.in = true
				s.list = append(s.list, i)
			}
		}
		// A turn for each that has had its notice, then look for others.
		now := s.list
		for _, i := range now {
			if !s.turn(i) {
				s.ends[i].in = false
				continue
			}
			s.list = append(s.list, i)
		}
		s.list = s.list[:copy(s.list, s.list[len(now):])]
	}
}

func (s *streamer) accept() {
	for {
		fd, _, err := unix.Accept4(s.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		s.take(fd, !s.job.Upload)
	}
}

// turn moves what one socket can, and reports whether it may have more.
func (s *streamer) turn(i int) bool {
	e := &s.ends[i]
	if e.fd < 0 {
		return false
	}
	if e.sends {
		n, err := unix.Write(e.fd, at(e.pos, streamTurn))
		if err == unix.EAGAIN {
			return false
		}
		if err != nil && err != unix.EINTR {
			s.lose(i, "sending: "+err.Error())
			return false
		}
		e.pos += uint64(max(n, 0))
		return true
	}
	look := e.turns%lookEvery == 0
	flags := unix.MSG_TRUNC
	if look {
		flags = 0
	}
	n, _, err := unix.Recvfrom(e.fd, s.buf[:streamTurn], flags)
	switch {
	case err == unix.EINTR:
		return true
	case err == unix.EAGAIN:
		return false
	case err != nil || n == 0:
		s.lose(i, fmt.Sprintf("the relay ended a connection after %d bytes (%v)", e.pos, err))
		return false
	case look && !bytes.Equal(s.buf[:n], at(e.pos, n)):
		s.fail.Wrong++
		s.lose(i, fmt.Sprintf("bytes %d to %d are not those that were sent", e.pos, e.pos+uint64(n)))
		return false
	}
	if !e.answers {
		e.answers = true
		s.silent--
	}
	e.turns++
	e.pos += uint64(n)
	s.got += uint64(n)
	return true
}
