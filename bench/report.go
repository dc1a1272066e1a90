package main

import (
	"fmt"
	"io"
	"strings"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
)

// report writes the results to w as Markdown: what to doubt first, then the
// overview, then everything.
func (r *results) report(w io.Writer) error {
	out := &printer{w: w}
	r.preface(out)
	r.goalTable(out)
	r.overview(out)
	r.idleTable(out)
	for _, c := range r.Plan.Cells {
		r.cellTable(out, c)
	}
	r.failed(out)
	return out.err
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}

func (p *printer) table(t *table.Table) {
	if p.err == nil {
		p.err = t.Write(p.w)
	}
	p.printf("\n")
}

func (r *results) preface(out *printer) {
	m := r.Machine
	out.printf("# Bulkhead: %s\n\n", r.of().title)
	out.printf("%s; %s, %d cores; Linux %s; %s; load average at the start: %s.\n",
		m.Time.Format("2006-01-02 15:04 UTC"), m.CPU, m.Cores, m.Kernel, m.Go, m.Load)
	out.printf("Medians of %d rounds in which the servers take turns; a ratio is the median of the ratios within a round.\n", r.Plan.Repeats)
	if r.Pinned != "" {
		out.printf("%s.\n\n", upper(r.Network+"; "+r.Pinned))
	} else {
		out.printf("%s; server and load generator share the cores.\n\n", upper(r.Network))
	}
	if r.Stopped != "" {
		out.printf("**Not everything was measured: %s.**\n\n", r.Stopped)
	}
	if n := r.failures(); n > 0 {
		out.printf("**%d failures; they are listed at the end.**\n\n", n)
	} else if t := r.of().tool; t != nil {
		out.printf("No failures that %s has seen.\n\n", t.program)
	} else {
		out.printf("No failures: every answer was compared with what was sent, byte for byte.\n\n")
	}
	for _, s := range r.Skipped {
		out.printf("Skipped: %s.\n\n", s)
	}
}

func cpuOf(p point) float64  { return p.cpu }
func rateOf(p point) float64 { return p.rate }
func p99Of(p point) float64  { return p.p99 }

// goalTable says what was promised, and what has come of it.
func (r *results) goalTable(out *printer) {
	t := table.New("goal", "figure", "met")
	rows := 0
	for _, g := range r.of().goals {
		figure, good, ok := g.met(r)
		if !ok {
			continue
		}
		rows++
		met := "**no**"
		switch {
		case g.aside:
			met = ""
		case good:
			met = "yes"
		}
		t.Row(g.what, figure, met)
	}
	if rows > 0 {
		out.printf("## Goals, by the worst load of each; those without an answer are only to be looked at\n\n")
		out.table(t)
	}
}

// overview is one table of CPU time per message, all loads by all servers.
func (r *results) overview(out *printer) {
	out.printf("## Server CPU per message (per connection where they are opened and closed, per MB where bytes stream), µs, and its ratio to %s\n\n", r.of().yardstick)
	t := table.New(append([]string{"load"}, r.Servers...)...)
	for _, c := range r.Plan.Cells {
		row := []string{c.Name}
		base := r.figuresOf(r.of().yardstick, c.Name)
		for _, s := range r.Servers {
			f := r.figuresOf(s, c.Name)
			if len(f.points) == 0 {
				row = append(row, "-")
				continue
			}
			row = append(row, table.Figure(f.median(cpuOf))+" "+ratio(f, base, cpuOf))
		}
		t.Row(row...)
	}
	out.table(t)
}

// ratio writes a ratio as "1.24x", and "-" where there is none.
func ratio(f, base figures, of func(point) float64) string {
	v, ok := f.ratio(base, of)
	if !ok {
		return "-"
	}
	return table.Ratio(v, 1)
}

func (r *results) cellTable(out *printer, c cell) {
	each := "msg"
	switch c.Job.Kind {
	case load.Churn, load.Handshakes:
		each = "conn"
	case load.Stream:
		each = "MB"
	}
	out.printf("## %s\n\n", c.Name)
	t := table.New("server", "CPU µs/"+each, "ratio", "spread", each+"s/s", "ratio", "p50 µs", "p99 µs", "ratio", "p99.9 µs", "cores", "load's cores", "failed")
	base := r.figuresOf(r.of().yardstick, c.Name)
	for _, s := range r.Servers {
		if !c.isFor(s) {
			continue
		}
		f := r.figuresOf(s, c.Name)
		if len(f.points) == 0 {
			t.Row(s, "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", fmt.Sprint(f.failed))
			continue
		}
		t.Row(s,
			table.Figure(f.median(cpuOf)), ratio(f, base, cpuOf),
			fmt.Sprintf("%.0f%%", 100*stats.Spread(f.all(cpuOf))),
			table.Figure(f.median(rateOf)), ratio(f, base, rateOf),
			table.Figure(f.median(func(p point) float64 { return p.p50 })),
			table.Figure(f.median(p99Of)), ratio(f, base, p99Of),
			known(f.median(func(p point) float64 { return p.p999 })),
			fmt.Sprintf("%.2f", f.median(func(p point) float64 { return p.serverCPU })),
			fmt.Sprintf("%.2f", f.median(func(p point) float64 { return p.loadCPU })),
			fmt.Sprint(f.failed))
	}
	out.table(t)
}

// known writes a figure; what a tool does not say is 0.
func known(v float64) string {
	if v == 0 {
		return "-"
	}
	return table.Figure(v)
}

func (r *results) idleTable(out *printer) {
	if r.Plan.Idle == 0 {
		return
	}
	out.printf("## Memory per idle connection, %d open, the empty server taken off\n\n", r.Plan.Idle)
	t := table.New("server", "empty, MiB", "RSS, B", "ratio", "after an echo each, B", "ratio", "asleep, B", "PSS, B", "after an echo each, B", "open", "failed")
	base := r.memoryOf(r.of().yardstick)
	for _, s := range r.Servers {
		m := r.memoryOf(s)
		if m.samples == 0 {
			t.Row(s, "-", "-", "-", "-", "-", "-", "-", "-", "-", fmt.Sprint(m.failed))
			continue
		}
		rested := "-"
		if m.rested > 0 {
			rested = fmt.Sprintf("%.0f", m.rested)
		}
		t.Row(s,
			table.Figure(m.empty/(1<<20)),
			fmt.Sprintf("%.0f", m.open), table.Ratio(m.open, base.open),
			fmt.Sprintf("%.0f", m.echoed), table.Ratio(m.echoed, base.echoed),
			rested,
			fmt.Sprintf("%.0f", m.openPSS), fmt.Sprintf("%.0f", m.echoedPSS),
			fmt.Sprint(m.conns), fmt.Sprint(m.failed))
	}
	out.table(t)
}

// failed lists the first failure of each kind that there were.
func (r *results) failed(out *printer) {
	if r.failures() == 0 {
		return
	}
	out.printf("## Failures\n\n")
	for _, c := range r.Plan.Cells {
		for _, s := range r.Servers {
			if f := r.figuresOf(s, c.Name); f.failed > 0 {
				out.printf("- %s, %s: %d, first: %s\n", s, c.Name, f.failed, oneLine(f.why))
			}
		}
	}
	for _, s := range r.Servers {
		if m := r.memoryOf(s); m.failed > 0 {
			out.printf("- %s, idle connections: %d, first: %s\n", s, m.failed, oneLine(m.why))
		}
	}
	for _, line := range r.Trouble {
		out.printf("- %s\n", oneLine(line))
	}
	out.printf("\n")
}

// upper makes a sentence of a clause.
func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
