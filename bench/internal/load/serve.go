package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"bulkhead/bench/internal/stats"
)

// answer is one line from the generator's process: a result or an error.
type answer struct {
	Result Result
	Error  string
}

// bufferSize is what one read takes at most.
const bufferSize = 256 << 10

// check says what is wrong with a job.
func (j Job) check() (netip.AddrPort, error) {
	if j.Kind == Release {
		return netip.AddrPort{}, nil
	}
	to, err := netip.ParseAddrPort(j.Address)
	if j.Kind != Touch && (err != nil || !to.Addr().Is4()) {
		return to, fmt.Errorf("address %q: want an IPv4 address and a port, such as 127.0.0.1:7001", j.Address)
	}
	err = nil
	switch {
	case j.Kind == Touch && (j.Size < 1 || j.Size > longest):
		err = fmt.Errorf("messages of %d bytes: want 1 to %d", j.Size, longest)
	case j.Lines && j.Kind != Idle && j.Size != lineSize:
		err = fmt.Errorf("lines of %d bytes: want %d", j.Size, lineSize)
	case j.WebSocket && (j.Lines || j.Backend != "" || j.Kind != Echo && j.Kind != Idle && j.Kind != Touch):
		err = fmt.Errorf("%s over WebSocket: only echoes of bytes and idle connections are, without a backend", j.Kind)
	case j.Kind == Touch && j.Timeout <= 0:
		err = fmt.Errorf("timeout %v: want more than none", j.Timeout)
	case j.Kind == Touch:
	case !slices.Contains([]Kind{Echo, Churn, Idle, Stream, SecureEcho, Handshakes, SecureIdle}, j.Kind):
		err = fmt.Errorf("kind %q: there is no such kind", j.Kind)
	case j.Backend != "" && (j.Kind == Idle || j.secure()) || j.Backend == "" && j.Kind == Stream:
		err = fmt.Errorf("backend %q: %s is not for that", j.Backend, j.Kind)
	case j.Conns < 1 || j.Conns > 1<<20:
		err = fmt.Errorf("%d connections: want 1 to %d", j.Conns, 1<<20)
	case j.Kind != Idle && j.Kind != SecureIdle && j.Kind != Stream && len(j.Message) == 0 && (j.Size < 1 || j.Size > longest):
		err = fmt.Errorf("messages of %d bytes: want 1 to %d", j.Size, longest)
	case j.Kind == Echo && (j.Pipeline < 1 || j.Pipeline > 64):
		err = fmt.Errorf("pipeline of %d: want 1 to 64", j.Pipeline)
	case j.Warmup < 0 || j.Duration < 0 || j.Timeout <= 0:
		err = fmt.Errorf("warm-up %v, duration %v, timeout %v: want none negative, and a timeout", j.Warmup, j.Duration, j.Timeout)
	}
	return to, err
}

// Serve is the load generator's process: it takes jobs from r, a line of JSON
// each, and answers each with a line on w, until r ends. The error is that of
// r or w; a job that cannot be run is answered with an error instead.
func Serve(r io.Reader, w io.Writer) error {
	var (
		hist stats.Histogram
		buf  = make([]byte, bufferSize)
		idle interface {
			touch(Job) (Result, error)
			close()
		}
		in  = json.NewDecoder(r)
		out = json.NewEncoder(w)
	)
	defer func() {
		if idle != nil {
			idle.close()
		}
	}()
	for {
		var job Job
		if err := in.Decode(&job); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a job: %w", err)
		}
		if idle != nil && job.Kind != Touch {
			idle.close()
			idle = nil
		}
		to, err := job.check()
		var res Result
		if err == nil {
			switch job.Kind {
			case Echo:
				res, err = runEcho(job, to, &hist, buf)
			case Churn:
				res, err = runChurn(job, to, &hist, buf)
			case Stream:
				res, err = runStream(job, to, buf)
			case SecureEcho:
				res, err = runSecureEcho(job, to, &hist)
			case Handshakes:
				res, err = runHandshakes(job, to, &hist)
			case Idle:
				var e *echo
				if e, res, err = openIdle(job, to, &hist, buf); err == nil {
					idle = e
				}
			case SecureIdle:
				var s *secureIdle
				if s, res, err = openSecureIdle(job, to, &hist); err == nil {
					idle = s
				}
			case Touch:
				if idle == nil {
					err = errors.New("touch: no idle connections are open")
				} else {
					res, err = idle.touch(job)
				}
			}
		}
		a := answer{Result: res}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("answering a job: %w", err)
		}
	}
}

// secure reports whether it is over TLS.
func (j Job) secure() bool {
	return j.Kind == SecureEcho || j.Kind == Handshakes || j.Kind == SecureIdle
}

// bound is the longest that a job may take before its process is given up.
func (j Job) bound() time.Duration {
	return j.Warmup + j.Duration + 3*j.Timeout + 10*time.Second
}
