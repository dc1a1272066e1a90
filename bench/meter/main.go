// Meter measures what metering costs: real guests as they are, rewritten by the meter, and under
// wazero's own WithCloseOnContextDone, by turns in one process.
//
//	make -C bench meter     the table, about a minute
//	make -C bench gcwait    how long a garbage collection waits for a guest in a long call
//
// See README.md for how to read what it prints.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"bulkhead/bench/internal/table"
)

// settings are the command line's.
type settings struct {
	examples string
	match    string
	json     string
	repeats  int
	compiles int
	least    time.Duration
	spin     time.Duration
	check    bool
}

// The targets, of metered to plain.
const (
	wantedMean  = 1.25
	wantedWorst = 1.6
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "meter:", err)
		os.Exit(1)
	}
}

// report is what there is to tell, and what -json writes.
type report struct {
	Time  time.Time
	Go    string
	Rows  []*row `json:",omitempty"`
	Mean  [modes]float64
	Waits []wait `json:",omitempty"`
}

func run(args []string, out io.Writer) error {
	var s settings
	var waits bool
	f := flag.NewFlagSet("meter", flag.ContinueOnError)
	f.StringVar(&s.examples, "examples", "../examples", "folder of the examples, for the echo and the chat")
	f.StringVar(&s.match, "guests", "", "only guests whose name contains this, such as \"json\"")
	f.StringVar(&s.json, "json", "", "file for the figures as JSON; empty: none")
	f.IntVar(&s.repeats, "repeats", 25, "repetitions, of which the medians are taken")
	f.IntVar(&s.compiles, "compiles", 9, "compilations of each guest both ways; 0: none")
	f.DurationVar(&s.least, "least", 20*time.Millisecond, "how long each repetition takes at least, in CPU time")
	f.DurationVar(&s.spin, "spin", time.Second, "with -gcwait, how long the guest is busy")
	f.BoolVar(&waits, "gcwait", false, "measure how long a garbage collection waits instead")
	f.BoolVar(&s.check, "check", false, fmt.Sprintf("fail when the mean is above %v or a guest above %v", wantedMean, wantedWorst))
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is nothing to do with %q; the guests are chosen with -guests", f.Arg(0))
	}
	if s.repeats < 1 || s.least <= 0 || s.spin <= 0 {
		return errors.New("-repeats, -least and -spin have to be above 0")
	}
	r := &report{Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version()}
	if waits {
		var err error
		if r.Waits, err = gcWaits(s.spin); err != nil {
			return err
		}
		return errors.Join(printWaits(out, r.Waits), r.save(s.json))
	}
	for i := range subjects {
		sub := &subjects[i]
		if !strings.Contains(sub.name, s.match) {
			continue
		}
		row, err := measure(&s, sub)
		if err != nil {
			return fmt.Errorf("%s: %w", sub.name, err)
		}
		r.Rows = append(r.Rows, row)
	}
	if len(r.Rows) == 0 {
		return fmt.Errorf("no guest has %q in its name", s.match)
	}
	worst := r.sumUp()
	if err := errors.Join(r.print(out, worst), r.save(s.json)); err != nil {
		return err
	}
	if s.check && worst != nil && (r.Mean[metered] > wantedMean || worst.Ratio[metered] > wantedWorst) {
		return fmt.Errorf("the mean is %.3f and %s %.3f; wanted are at most %v and %v",
			r.Mean[metered], worst.Name, worst.Ratio[metered], wantedMean, wantedWorst)
	}
	return nil
}

// sumUp finds the geometric means, and the guest that the meter costs most. It is nil when
// only micro rows were measured.
func (r *report) sumUp() (worst *row) {
	var logs [modes]float64
	n := 0
	for _, row := range r.Rows {
		if row.Micro {
			continue
		}
		n++
		for m := range modes {
			logs[m] += math.Log(row.Ratio[m])
		}
		if worst == nil || row.Ratio[metered] > worst.Ratio[metered] {
			worst = row
		}
	}
	for m := range modes {
		r.Mean[m] = math.Exp(logs[m] / float64(max(n, 1)))
	}
	return worst
}

func (r *report) print(out io.Writer, worst *row) error {
	t := table.New("guest", "a turn", "plain ns", "metered ns", "ContextDone ns", "metered", "spread", "ContextDone", "units", "ns/unit", "wasm", "machine code", "compile", "rewriting")
	for _, w := range r.Rows {
		cells := []string{w.Name, w.What,
			table.Figure(w.Nanos[plain]), table.Figure(w.Nanos[metered]), table.Figure(w.Nanos[done]),
			fmt.Sprintf("%.3f", w.Ratio[metered]), fmt.Sprintf("%.0f%%", 100*w.Spread), fmt.Sprintf("%.2f", w.Ratio[done]),
			table.Figure(w.Units), table.Figure(w.perUnit())}
		if w.Sizes != (sizes{}) {
			cells = append(cells, fmt.Sprintf("%.2f", w.Sizes.Wasm), fmt.Sprintf("%.2f", w.Sizes.Machine), fmt.Sprintf("%.2f", w.Sizes.Compile), fmt.Sprintf("%.1f%%", 100*w.Sizes.Rewrite))
		}
		t.Row(cells...)
	}
	if _, err := fmt.Fprint(out, "\nCPU time of guests, and ratios to running plain\n\n"); err != nil {
		return err
	}
	if err := t.Write(out); err != nil || worst == nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nGeometric mean of the guests, without the micro rows: metered %.3f, ContextDone %.2f. Worst metered: %s, %.3f.\n",
		r.Mean[metered], r.Mean[done], worst.Name, worst.Ratio[metered])
	return err
}

// save writes the report as JSON.
func (r *report) save(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
