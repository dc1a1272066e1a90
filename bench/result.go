package main

import (
	"slices"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
)

// results are all that was measured; they are what the JSON file holds.
// Durations in it are nanoseconds.
type results struct {
	Machine machine
	Table   string
	Plan    plan
	Network string // what they were connected by
	Pinned  string // which cores the processes were kept to; "" when to none
	Servers []string
	Skipped []string // lines: which, and why
	Samples []sample
	Idle    []idleSample
	Trouble []string // what else went wrong, a line each
	Stopped string   // why not everything was measured; "" when it was
}

// sample is one server under one load, once.
type sample struct {
	Server string
	Cell   string
	Repeat int
	load.Result
	// Error says why there is no measurement: the server did not start, or
	// died. The figures are 0 then.
	Error string `json:",omitempty"`
}

// idleSample is the memory of one server, once.
type idleSample struct {
	Server string
	Repeat int
	Conns  int         // connections that were open
	Empty  proc.Memory // before the first one
	Open   proc.Memory // with all open and nothing sent
	Echoed proc.Memory // after each has echoed one message
	Rested proc.Memory // some seconds later, of servers that rest; else nothing
	load.Failures
	Error string `json:",omitempty"`
}

// perConn is what each connection added, in bytes.
func (s idleSample) perConn(with int64, without int64) float64 {
	return float64(with-without) / float64(max(s.Conns, 1))
}

// point is what a sample says about a server.
type point struct {
	cpu       float64 // the server's CPU time, µs per message
	rate      float64 // messages a second
	p50       float64 // µs
	p99       float64
	p999      float64
	serverCPU float64 // cores the server kept busy
	loadCPU   float64 // cores the load generator kept busy
}

// figures are a server's samples in a cell.
type figures struct {
	points map[int]point // by round; only those that were measured
	failed uint64        // over all rounds, with those not measured
	why    string        // the first failure
}

// figuresOf collects a server's samples in a cell.
func (r *results) figuresOf(server, cell string) figures {
	f := figures{points: map[int]point{}}
	for _, s := range r.Samples {
		if s.Server != server || s.Cell != cell {
			continue
		}
		f.failed += s.Failures.Total()
		why := s.Failures.First
		if s.Error != "" {
			f.failed++
			why = s.Error
		}
		if f.why == "" {
			f.why = why
		}
		if s.Error != "" || s.Messages == 0 || s.Elapsed <= 0 {
			continue
		}
		f.points[s.Repeat] = point{
			cpu:       float64(s.ServerCPU) / 1e3 / float64(s.Messages),
			rate:      float64(s.Messages) / s.Elapsed.Seconds(),
			p50:       float64(s.P50) / 1e3,
			p99:       float64(s.P99) / 1e3,
			p999:      float64(s.P999) / 1e3,
			serverCPU: float64(s.ServerCPU) / float64(s.Elapsed),
			loadCPU:   float64(s.LoadCPU) / float64(s.Elapsed),
		}
	}
	return f
}

// all returns one figure of every round.
func (f figures) all(of func(point) float64) []float64 {
	vs := make([]float64, 0, len(f.points))
	for _, p := range f.points {
		vs = append(vs, of(p))
	}
	return vs
}

// median returns the median over the rounds.
func (f figures) median(of func(point) float64) float64 { return stats.Median(f.all(of)) }

// ratio returns the median over the rounds of the ratio to base in the same
// round: what slows the whole machine down for a while slows both. ok is false
// when no round has both.
func (f figures) ratio(base figures, of func(point) float64) (ratio float64, ok bool) {
	var vs []float64
	for round, p := range f.points {
		if b, both := base.points[round]; both && of(b) > 0 {
			vs = append(vs, of(p)/of(b))
		}
	}
	return stats.Median(vs), len(vs) > 0
}

// memory is the medians of a server's idle samples, in bytes a connection.
type memory struct {
	samples            int
	empty              float64 // bytes of the empty server
	open, echoed       float64 // RSS
	rested             float64 // likewise; 0: the server does not rest
	openPSS, echoedPSS float64
	failed             uint64
	conns              int
	why                string
}

func (r *results) memoryOf(server string) memory {
	var (
		m                                               memory
		empty, open, echoed, rested, openPSS, echoedPSS []float64
	)
	for _, s := range r.Idle {
		if s.Server != server {
			continue
		}
		m.failed += s.Total()
		why := s.First
		if s.Error != "" {
			m.failed++
			why = s.Error
		}
		if m.why == "" {
			m.why = why
		}
		if s.Error != "" || s.Conns == 0 {
			continue
		}
		m.samples++
		m.conns = s.Conns
		empty = append(empty, float64(s.Empty.RSS))
		open = append(open, s.perConn(s.Open.RSS, s.Empty.RSS))
		echoed = append(echoed, s.perConn(s.Echoed.RSS, s.Empty.RSS))
		if s.Rested.RSS > 0 {
			rested = append(rested, s.perConn(s.Rested.RSS, s.Empty.RSS))
		}
		openPSS = append(openPSS, s.perConn(s.Open.PSS, s.Empty.PSS))
		echoedPSS = append(echoedPSS, s.perConn(s.Echoed.PSS, s.Empty.PSS))
	}
	m.empty = stats.Median(empty)
	m.open, m.echoed = stats.Median(open), stats.Median(echoed)
	if len(rested) > 0 {
		m.rested = stats.Median(rested)
	}
	m.openPSS, m.echoedPSS = stats.Median(openPSS), stats.Median(echoedPSS)
	return m
}

// trouble notes a line, once.
func (r *results) trouble(line string) {
	if !slices.Contains(r.Trouble, line) {
		r.Trouble = append(r.Trouble, line)
	}
}

// failures is how many things failed over all.
func (r *results) failures() uint64 {
	n := uint64(len(r.Trouble))
	for _, s := range r.Samples {
		n += s.Failures.Total()
		if s.Error != "" {
			n++
		}
	}
	for _, s := range r.Idle {
		n += s.Total()
		if s.Error != "" {
			n++
		}
	}
	return n
}
