package load

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"bulkhead/bench/internal/stats"
)

// The kinds over TLS use crypto/tls and a goroutine a connection: what that costs is
// the generator's core's business, and the same for all servers.

// dialTLS opens a connection from source address number i and makes the handshake.
func dialTLS(to netip.AddrPort, i int, config *tls.Config, timeout time.Duration) (*tls.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if to.Addr().IsLoopback() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%250))}
		d.Control = portInConnect
	}
	c, err := d.Dial("tcp4", to.String())
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(timeout))
	t := tls.Client(c, config)
	if err := t.Handshake(); err != nil {
		c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return t, nil
}

// clientConfig trusts everybody: it is the server's work that is measured.
func clientConfig(job Job) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if job.Oldest {
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	return c
}

// secureJob is what the goroutines of a job share.
type secureJob struct {
	Job
	to   netip.AddrPort
	mu   sync.Mutex
	hist *stats.Histogram
	done uint64
	fail Failures
	stop bool
	made int
}

func (s *secureJob) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

func (s *secureJob) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return s.made
}

func (s *secureJob) record(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hist.Record(int64(d))
	s.done++
}

// failed counts a failure, and reports whether to go on.
func (s *secureJob) failed(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var w wrongEcho
	switch {
	case errors.As(err, &w):
		s.fail.Wrong++
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.fail.Cut++
	default:
		s.fail.Connect++
	}
	s.fail.first(err.Error())
	return s.fail.Total() < failuresBorne
}

type wrongEcho struct{ error }

// echoTLS echoes one message, n bytes of the pattern from pos.
func echoTLS(c net.Conn, pos uint64, n int, buf []byte) error {
	want := at(pos, n)
	if _, err := c.Write(want); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf[:n]); err != nil {
		return err
	}
	if !bytes.Equal(buf[:n], want) {
		return wrongEcho{fmt.Errorf("%d bytes of an answer are not those that were sent", n)}
	}
	return nil
}

// answered is how many messages have been, or have failed.
func (s *secureJob) answered() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done + s.fail.Total()
}

// measured has the goroutines work for the warm-up, or until there were as many answers as
// there are connections, and for the measured time.
func (s *secureJob) measured() (Result, error) {
	time.Sleep(s.Warmup)
	for end := time.Now().Add(s.Timeout); s.answered() < uint64(s.Conns) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.mu.Lock()
	s.hist.Reset()
	s.done = 0
	m := begin(s.PID)
	s.mu.Unlock()
	time.Sleep(s.Duration)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := m.end()
	r.Messages = s.done
	r.latencies(s.hist)
	s.stop = true
	return r, err
}

// runSecureEcho is a SecureEcho job from beginning to end.
func runSecureEcho(job Job, to netip.AddrPort, hist *stats.Histogram) (Result, error) {
	idle, r, err := openSecureIdle(job, to, hist)
	if err != nil {
		return r, err
	}
	defer idle.close()
	s := &idle.secureJob
	s.Conns = len(idle.conns)
	var all sync.WaitGroup
	for i, c := range idle.conns {
		all.Go(func() {
			c.SetDeadline(time.Now().Add(job.Warmup + job.Duration + job.Timeout))
			buf := make([]byte, job.Size)
			for pos := uint64(i) * 977; !s.stopped(); pos += uint64(job.Size) {
				began := time.Now()
				if err := echoTLS(c, pos, job.Size, buf); err != nil {
					s.failed(err)
					return
				}
				s.record(time.Since(began))
			}
		})
	}
	r, err = s.measured()
	all.Wait()
	r.Conns, r.Failures = len(idle.conns), s.fail
	return r, err
}

// runHandshakes is a Handshakes job from beginning to end.
func runHandshakes(job Job, to netip.AddrPort, hist *stats.Histogram) (Result, error) {
	s := &secureJob{Job: job, to: to, hist: hist}
	hist.Reset()
	var all sync.WaitGroup
	for range job.Conns {
		all.Go(func() {
			config := clientConfig(job)
			if job.Resume {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			buf := make([]byte, job.Size)
			for first := true; !s.stopped(); first = false {
				began := time.Now()
				if err := s.visit(config, buf, job.Resume && !first); err != nil {
					if !s.failed(err) {
						return
					}
					continue
				}
				s.record(time.Since(began))
			}
		})
	}
	r, err := s.measured()
	all.Wait()
	r.Conns, r.Failures = int(r.Messages), s.fail
	return r, err
}

// visit is one connection: handshake, one message, and the end of both.
func (s *secureJob) visit(config *tls.Config, buf []byte, resumed bool) error {
	n := s.number()
	c, err := dialTLS(s.to, n, config, s.Timeout)
	if err != nil {
		return err
	}
	defer c.NetConn().Close()
	if resumed && !c.ConnectionState().DidResume {
		return errors.New("the session was not resumed")
	}
	if err := echoTLS(c, uint64(n)*977, s.Size, buf); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(buf); err != io.EOF || n != 0 {
		return fmt.Errorf("after its end: %d bytes, %v", n, err)
	}
	return nil
}

// secureIdle holds connections open.
type secureIdle struct {
	secureJob
	conns []*tls.Conn
}

// openSecureIdle is a SecureIdle job. The connections stay open.
func openSecureIdle(job Job, to netip.AddrPort, hist *stats.Histogram) (*secureIdle, Result, error) {
	s := &secureIdle{secureJob: secureJob{Job: job, to: to, hist: hist}}
	hist.Reset()
	m := begin(job.PID)
	config := clientConfig(job)
	var all sync.WaitGroup
	for range min(job.Conns, 16) {
		all.Go(func() {
			for {
				n := s.number() - 1
				if n >= job.Conns {
					return
				}
				c, err := dialTLS(to, n/sourcePorts, config, job.Timeout)
				if err != nil {
					if !s.failed(err) {
						return
					}
					continue
				}
				s.mu.Lock()
				s.conns = append(s.conns, c)
				s.mu.Unlock()
			}
		})
	}
	all.Wait()
	r, err := m.end()
	if err != nil {
		s.close()
		return nil, r, err
	}
	r.Conns, r.Failures = len(s.conns), s.fail
	return s, r, nil
}

func (s *secureIdle) touch(job Job) (Result, error) {
	s.hist.Reset()
	s.done = 0
	m := begin(job.PID)
	buf := make([]byte, job.Size)
	for i, c := range s.conns {
		began := time.Now()
		c.SetDeadline(began.Add(job.Timeout))
		if err := echoTLS(c, uint64(i)*977, job.Size, buf); err != nil {
			s.failed(err)
			continue
		}
		s.record(time.Since(began))
	}
	r, err := m.end()
	r.Messages, r.Conns, r.Failures = s.done, len(s.conns), s.fail
	r.latencies(s.hist)
	return r, err
}

func (s *secureIdle) close() {
	for _, c := range s.conns {
		c.NetConn().Close()
	}
	s.conns = nil
}
