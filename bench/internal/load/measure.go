package load

import (
	"os"
	"time"

	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
)

// measure is a measured time that has begun.
type measure struct {
	pid    int
	at     time.Time
	server time.Duration
	own    time.Duration
	err    error
}

func begin(pid int) measure {
	m := measure{pid: pid, at: time.Now()}
	if pid != 0 {
		m.server, m.err = proc.CPU(pid)
	}
	if m.err == nil {
		m.own, m.err = proc.CPU(os.Getpid())
	}
	return m
}

// end gives the times of the Result.
func (m measure) end() (Result, error) {
	r := Result{Elapsed: time.Since(m.at)}
	if m.err != nil {
		return r, m.err
	}
	own, err := proc.CPU(os.Getpid())
	if err != nil {
		return r, err
	}
	r.LoadCPU = own - m.own
	if m.pid != 0 {
		server, err := proc.CPU(m.pid)
		if err != nil {
			return r, err
		}
		r.ServerCPU = server - m.server
	}
	return r, nil
}

func (r *Result) latencies(h *stats.Histogram) {
	r.P50 = time.Duration(h.Quantile(0.50))
	r.P99 = time.Duration(h.Quantile(0.99))
	r.P999 = time.Duration(h.Quantile(0.999))
	r.Max = time.Duration(h.Max())
}
