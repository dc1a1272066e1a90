package main

import (
	"fmt"
	"slices"
	"time"

	"bulkhead/bench/internal/load"
)

// cell is one load of the matrix.
type cell struct {
	Name string
	Job  load.Job // without the server's address and process
	// For names the servers that have this load; none: all.
	For []string `json:",omitempty"`
	// Args and Count are for the table's tool, where it has one: more arguments, and how many
	// messages there are to be.
	Args  []string `json:",omitempty"`
	Count int      `json:",omitempty"`
}

func (c cell) isFor(server string) bool {
	return len(c.For) == 0 || slices.Contains(c.For, server)
}

// plan is what is measured and for how long.
type plan struct {
	Repeats     int
	Cells       []cell
	Idle        int // connections to hold open; 0: none
	IdleRepeats int
	Secure      bool // hold them open with TLS
	Lines       bool // what they say is lines
}

var (
	connections = []int{1, 64, 400}
	sizes       = []int{64, 512, 16 << 10}
	pipelines   = []int{1, 16}
)

// echoPlan is the plan of the table of echoes.
func echoPlan(s *settings) plan {
	switch {
	case s.smoke:
		return smokePlan(s.length(200 * time.Millisecond))
	case s.quick:
		return quickPlan(s.length(400 * time.Millisecond))
	}
	return fullPlan(s.length(time.Second))
}

// fullPlan is every load there is.
func fullPlan(duration time.Duration) plan {
	p := plan{Repeats: 5, Idle: 10_000, IdleRepeats: 3}
	for _, pipeline := range pipelines {
		for _, size := range sizes {
			for _, conns := range connections {
				p.Cells = append(p.Cells, echoCell(conns, size, pipeline, duration))
			}
		}
	}
	for _, conns := range connections {
		p.Cells = append(p.Cells, churnCell(conns, duration))
	}
	return p
}

// quickPlan is a selection that takes two or three minutes: each size, each
// number of connections, both pipelines.
func quickPlan(duration time.Duration) plan {
	return plan{
		Repeats: 5,
		Cells: []cell{
			echoCell(1, 64, 1, duration),
			echoCell(64, 64, 1, duration),
			echoCell(400, 64, 1, duration),
			echoCell(64, 512, 1, duration),
			echoCell(64, 16<<10, 1, duration),
			echoCell(64, 64, 16, duration),
			echoCell(64, 16<<10, 16, duration),
			churnCell(64, duration),
		},
		Idle:        10_000,
		IdleRepeats: 1,
	}
}

// smokePlan shows in a few seconds that everything works. Its figures mean
// nothing.
func smokePlan(duration time.Duration) plan {
	return plan{
		Repeats: 1,
		Cells: []cell{
			echoCell(4, 64, 1, duration),
			echoCell(4, 16<<10, 16, duration),
			churnCell(4, duration),
		},
		Idle:        200,
		IdleRepeats: 1,
	}
}

func echoCell(conns, size, pipeline int, d time.Duration) cell {
	warmup := d / 4
	if size*pipeline > 64<<10 {
		// The kernel takes its time to size the buffers of connections that
		// are full, and sometimes lets them all wait for a fifth of a second.
		warmup, d = 2*d, 2*d
	}
	return cell{
		Name: fmt.Sprintf("%d x %s, %d deep", conns, bytesName(size), pipeline),
		Job: load.Job{
			Kind: load.Echo, Conns: conns, Size: size, Pipeline: pipeline,
			Warmup: warmup, Duration: d, Timeout: 10 * time.Second,
		},
	}
}

func churnCell(conns int, d time.Duration) cell {
	return cell{
		Name: fmt.Sprintf("%d x connect-echo-close", conns),
		Job: load.Job{
			Kind: load.Churn, Conns: conns, Size: 64,
			Warmup: d / 4, Duration: d, Timeout: 10 * time.Second,
		},
	}
}

func bytesName(n int) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
