package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
)

// decision is one question, the answers to it, and the loads they are tried on.
type decision struct {
	name  string
	title string
	// pinned keeps the server to the first core and the load generator to
	// the last one, for figures that repeat; there is one loop then.
	pinned   bool
	variants []variant
	cells    []cell
}

// variant is one answer.
type variant struct {
	name string
	options
}

// cell is one load, and what it changes about the server.
type cell struct {
	name   string
	job    load.Job
	hogs   int
	sndbuf int
	// warmup is how long the load runs before it is measured; 0: a quarter of
	// the measurement. The kernel takes most of a second to size the buffers
	// of connections that are full.
	warmup time.Duration
	// held asks for the imbalance of that many long-lived connections; no
	// load is put on them.
	held int
}

func echo(conns, size, pipeline int) load.Job {
	return load.Job{Kind: load.Echo, Conns: conns, Size: size, Pipeline: pipeline}
}

func echoCells() []cell {
	var cells []cell
	for _, size := range []int{64, 512} {
		for _, conns := range []int{1, 64, 400} {
			cells = append(cells, cell{name: fmt.Sprintf("%d conns, %d B", conns, size), job: echo(conns, size, 1)})
		}
	}
	return cells
}

func churn(conns int) cell {
	return cell{
		name: fmt.Sprintf("connect-echo-close, %d at once", conns),
		job:  load.Job{Kind: load.Churn, Conns: conns, Size: 64},
	}
}

var triggers = []variant{
	{"level + MOD", options{Trigger: "level", Wait: "block", Accept: "one", Loops: 1}},
	{"one-shot, re-armed", options{Trigger: "oneshot", Wait: "block", Accept: "one", Loops: 1}},
	{"edge, armed once", options{Trigger: "edge", Wait: "block", Accept: "one", Loops: 1}},
}

func waits(loops int) []variant {
	var vs []variant
	for _, how := range []string{"block", "look+block", "looks+block", "park", "spin+block", "spin+park"} {
		vs = append(vs, variant{how, options{Trigger: "level", Wait: how, Accept: "one", Loops: loops}})
	}
	return vs
}

var decisions = []decision{
	{
		name:     "trigger",
		title:    "Trigger: how a connection is armed (1 loop on a core of its own, blocking wait)",
		pinned:   true,
		variants: triggers,
		cells: append(echoCells(),
			cell{name: "64 conns, 64 B, 16 deep", job: echo(64, 64, 16)},
			cell{name: "64 conns, 16 KiB, 16 deep, small send buffer", job: echo(64, 16<<10, 16), sndbuf: 16 << 10, warmup: time.Second}),
	},
	{
		name:     "wait",
		title:    "Wait: how a loop's goroutine waits (1 loop on a core of its own, level-triggered)",
		pinned:   true,
		variants: waits(1),
		cells:    echoCells(),
	},
	{
		name:     "wait",
		title:    "Wait: how a loop's goroutine waits (2 loops on 2 cores, shared with the load; level-triggered)",
		variants: waits(2),
		cells: append(echoCells(),
			cell{name: "1 conn, 64 B, CPU hog", job: echo(1, 64, 1), hogs: 1},
			cell{name: "64 conns, 64 B, CPU hog", job: echo(64, 64, 1), hogs: 1},
			cell{name: "400 conns, 64 B, CPU hog", job: echo(400, 64, 1), hogs: 1},
			cell{name: "1 conn, 64 B, 2 CPU hogs", job: echo(1, 64, 1), hogs: 2},
			cell{name: "64 conns, 64 B, 2 CPU hogs", job: echo(64, 64, 1), hogs: 2}),
	},
	{
		name:  "accept",
		title: "Acceptor: who accepts (2 loops on 2 cores, shared with the load; level-triggered, blocking wait)",
		variants: []variant{
			{"one, hands off", options{Trigger: "level", Wait: "block", Accept: "one", Loops: 2}},
			{"SO_REUSEPORT", options{Trigger: "level", Wait: "block", Accept: "reuseport", Loops: 2}},
		},
		cells: []cell{churn(1), churn(64), churn(400),
			{name: "400 long-lived connections", held: 400},
			{name: "20 long-lived connections", held: 20}},
	},
}

// bench runs decisions one after the other.
type bench struct {
	exe      string
	gen      *load.Generator // of the decision being measured
	stop     <-chan os.Signal
	loads    string // only loads whose name contains it
	repeats  int
	duration time.Duration
}

// sample is what one run of one variant under one load gave.
type sample struct {
	load.Result
	imbalance float64
	work      float64 // of the hogs, million turns a second
}

// measure runs a decision, and prints its table.
func (b *bench) measure(d decision) error {
	var own, others []int
	if d.pinned {
		cores, err := proc.Cores()
		if err != nil {
			return err
		}
		own, others = cores[:1], cores[len(cores)-1:]
	}
	err := proc.On(others, func() (err error) {
		b.gen, err = load.Start(b.exe, "load")
		return err
	})
	if err != nil {
		return err
	}
	defer b.gen.Close()
	d.cells = slices.DeleteFunc(slices.Clone(d.cells), func(c cell) bool { return !strings.Contains(c.name, b.loads) })
	if len(d.cells) == 0 {
		return nil
	}
	got := make([][][]sample, len(d.cells)) // by cell, then variant
	for i := range got {
		got[i] = make([][]sample, len(d.variants))
	}
	for r := range b.repeats {
		for i, c := range d.cells {
			for k := range d.variants {
				// Whoever goes first in one repeat goes later in the next.
				v := (k + r) % len(d.variants)
				select {
				case s := <-b.stop:
					return fmt.Errorf("stopped by %v", s)
				default:
				}
				s, err := b.once(d.variants[v], c, own)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", d.variants[v].name, c.name, err)
				}
				got[i][v] = append(got[i][v], s)
			}
		}
	}
	fmt.Printf("## %s\n\n", d.title)
	t := table.New("load", "variant", "CPU µs/msg", "spread", "ratio", "msgs/s", "p50 µs", "p99 µs", "p99.9 µs", "hogs' Mturns/s", "max/min", "failed")
	for i, c := range d.cells {
		for k, v := range d.variants {
			row := []string{"", v.name}
			if k == 0 {
				row[0] = c.name
			}
			t.Row(append(row, c.row(got[i][k], got[i][0])...)...)
		}
	}
	if err := t.Write(os.Stdout); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	fmt.Println()
	return nil
}

// row sums up the samples of one variant, with those of the first one, taken at
// about the same times, for the ratio.
func (c cell) row(ss, first []sample) []string {
	median := func(f func(sample) float64) string {
		vs := make([]float64, len(ss))
		for i, s := range ss {
			vs[i] = f(s)
		}
		return table.Figure(stats.Median(vs))
	}
	var failed uint64
	cpus, ratios := make([]float64, len(ss)), make([]float64, len(ss))
	for i, s := range ss {
		failed += s.Failures.Total()
		cpus[i] = s.cpu()
		if base := first[i].cpu(); base > 0 {
			ratios[i] = cpus[i] / base
		}
	}
	row := make([]string, 10)
	row[9] = fmt.Sprint(failed)
	if c.held > 0 {
		row[8] = median(func(s sample) float64 { return s.imbalance })
		return row
	}
	if c.hogs > 0 {
		// The server's CPU time is mostly theirs.
		row[7] = median(func(s sample) float64 { return s.work })
	} else {
		row[0] = table.Figure(stats.Median(cpus))
		row[1] = fmt.Sprintf("%.0f%%", 100*stats.Spread(cpus))
		row[2] = fmt.Sprintf("%.2fx", stats.Median(ratios))
	}
	row[3] = median(func(s sample) float64 { return float64(s.Messages) / s.Elapsed.Seconds() })
	row[4] = median(func(s sample) float64 { return float64(s.P50) / 1e3 })
	row[5] = median(func(s sample) float64 { return float64(s.P99) / 1e3 })
	row[6] = median(func(s sample) float64 { return float64(s.P999) / 1e3 })
	return row
}

// cpu is the server's CPU time per message, in microseconds.
func (s sample) cpu() float64 { return float64(s.ServerCPU) / 1e3 / float64(max(s.Messages, 1)) }

// once starts the server on the given cores, puts the load on it, and stops it.
func (b *bench) once(v variant, c cell, cores []int) (sample, error) {
	o := v.options
	o.Hogs, o.SndBuf = c.hogs, c.sndbuf
	arg, err := json.Marshal(o)
	if err != nil {
		return sample{}, err
	}
	var p *proc.Process
	err = proc.On(cores, func() (err error) {
		p, err = proc.Start([]string{b.exe, "serve", string(arg)}, nil)
		return err
	})
	if err != nil {
		return sample{}, err
	}
	defer p.Stop(time.Second)
	in := json.NewDecoder(bufio.NewReader(p.Stdout()))
	var h hello
	if err := in.Decode(&h); err != nil {
		return sample{}, fmt.Errorf("waiting for the server's port: %w: %s", err, p.Complaint())
	}
	job := c.job
	job.PID = p.PID()
	job.Address = fmt.Sprintf("127.0.0.1:%d", h.Port)
	job.Timeout = 10 * time.Second
	job.Warmup, job.Duration = b.duration/4, b.duration
	if c.warmup > 0 {
		job.Warmup = c.warmup
	}
	if c.held > 0 {
		job.Kind, job.Conns = load.Idle, c.held
	}
	begun := time.Now()
	r, err := b.gen.Run(job)
	if err == nil && c.held > 0 {
		// An answer shows that the connection has been placed.
		r, err = b.gen.Run(load.Job{Kind: load.Touch, Size: 64, Timeout: job.Timeout})
	}
	if err != nil {
		return sample{}, err
	}
	st, err := ask(p, in)
	if err != nil {
		return sample{}, err
	}
	s := sample{Result: r, work: float64(st.Work) / 1e6 / time.Since(begun).Seconds()}
	if c.held > 0 {
		s.imbalance = float64(slices.Max(st.Conns)) / float64(max(slices.Min(st.Conns), 1))
		_, err = b.gen.Run(load.Job{Kind: load.Release})
	} else if r.Messages == 0 {
		err = errors.New("nothing was answered: " + r.Failures.First)
	}
	return s, err
}

// ask asks a server how it stands.
func ask(p *proc.Process, in *json.Decoder) (stand, error) {
	var st stand
	if _, err := p.Stdin().Write([]byte("\n")); err != nil {
		return st, fmt.Errorf("asking the server how it stands: %w", err)
	}
	if err := in.Decode(&st); err != nil {
		return st, fmt.Errorf("asking the server how it stands: %w", err)
	}
	return st, nil
}
