// Bench puts servers side by side under one load generator: Bulkhead with a Wasm
// handler and with a native one, Go's net, rivals and bare C. It has several tables.
//
//	make bench               echo, everything, about 20 minutes
//	make bench QUICK=1       a selection, two or three minutes
//	make -C bench relay      relaying, beside HAProxy; also routing, tls, instances
//	make -C bench smoke      does it work at all, a few seconds
//
// See README.md for how to read what it prints, and what is unfair about it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

func init() {
	// The kernel kills our children when the thread that started them ends,
	// so that has to be one that lasts.
	runtime.LockOSThread()
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		if err := load.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench load:", err)
			os.Exit(1)
		}
		return
	}
	ownThread = true
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// ownThread says that run is called on the program's first thread, which is locked, and
// not by a test.
var ownThread bool

// settings are the command line's.
type settings struct {
	quick, smoke     bool
	pin, network     bool
	bin, plugin, out string
	table            string
	names            string
	match            string
	repeats, idle    int
	duration, limit  time.Duration
}

func (s *settings) parse(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&s.quick, "quick", false, "a selection of the loads, two or three minutes")
	f.BoolVar(&s.smoke, "smoke", false, "a few seconds, to see that it works; the figures mean nothing")
	f.BoolVar(&s.pin, "pin", true, "keep the load generator to the last core and the servers to the others, for figures that repeat")
	f.BoolVar(&s.network, "network", ownThread, "have a network of their own, where that is allowed")
	f.StringVar(&s.table, "table", "echo", "what to measure: "+tableNames())
	f.StringVar(&s.bin, "bin", "bin", "folder of the servers' programs")
	f.StringVar(&s.plugin, "plugin", "../examples/echo/echo.wasm", "the Wasm echo")
	f.StringVar(&s.out, "results", "results", "folder for the results as JSON and Markdown; empty: none are kept")
	f.StringVar(&s.names, "servers", "", "comma-separated names of the servers to compare; empty: all")
	f.StringVar(&s.match, "loads", "", "only loads whose name contains this, such as \"64 x\" or \"close\"")
	f.IntVar(&s.repeats, "repeats", 0, "rounds; 0: as many as the mode has")
	f.IntVar(&s.idle, "idle", -1, "idle connections; 0: leave them out; less: as many as the mode has")
	f.DurationVar(&s.duration, "duration", 0, "how long one measurement lasts; 0: as long as in the mode")
	f.DurationVar(&s.limit, "limit", time.Hour, "stop after this long, and report what there is")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("argument %q: bench takes flags only; bench -h lists them", f.Arg(0))
	case s.repeats < 0 || s.duration < 0 || s.limit <= 0:
		return fmt.Errorf("-repeats %d -duration %v -limit %v: want none negative, and a limit", s.repeats, s.duration, s.limit)
	case tables[s.table] == nil:
		return fmt.Errorf("-table %q: there are %s", s.table, tableNames())
	case s.idle > 100_000 || s.repeats > 1000:
		return fmt.Errorf("-idle %d -repeats %d: want at most 100000 and 1000", s.idle, s.repeats)
	}
	return nil
}

// plan is the table's plan for the mode, with the command line's changes.
func (s *settings) plan() (plan, error) {
	p := tables[s.table].plan(s)
	if s.repeats > 0 {
		p.Repeats = s.repeats
	}
	if s.idle >= 0 {
		p.Idle = s.idle
	}
	p.Cells = slices.DeleteFunc(p.Cells, func(c cell) bool { return !strings.Contains(c.Name, s.match) })
	if len(p.Cells) == 0 && p.Idle == 0 {
		return p, fmt.Errorf("-loads %q: no load of this mode has that in its name", s.match)
	}
	return p, nil
}

// choose returns the servers to compare, and a line for each that cannot be.
func (s *settings) choose() (chosen []server, skipped []string, err error) {
	all := tables[s.table].servers(s)
	wanted := map[string]bool{}
	if s.names != "" {
		for name := range strings.SplitSeq(s.names, ",") {
			if !slices.ContainsFunc(all, func(s server) bool { return s.name == name }) {
				return nil, nil, fmt.Errorf("-servers: no server %q; there are %s", name, namesOf(all))
			}
			wanted[name] = true
		}
	}
	for _, one := range all {
		if len(wanted) > 0 && !wanted[one.name] {
			continue
		}
		if _, err := exec.LookPath(one.path(s.bin)); err != nil {
			if one.absent == "" {
				return nil, nil, fmt.Errorf("%s: %w: build it with make -C bench build", one.name, err)
			}
			skipped = append(skipped, one.name+", as "+one.absent)
			continue
		}
		chosen = append(chosen, one)
	}
	if len(chosen) == 0 {
		return nil, nil, errors.New("no server is left to measure: " + strings.Join(skipped, "; "))
	}
	return chosen, skipped, nil
}

func namesOf(all []server) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	return strings.Join(names, ", ")
}

func run(args []string, stdout, stderr io.Writer) (err error) {
	var s settings
	if err := s.parse(args, stderr); err != nil {
		return err
	}
	p, err := s.plan()
	if err != nil {
		return err
	}
	chosen, skipped, err := s.choose()
	if err != nil {
		return err
	}
	if t := tables[s.table].tool; t != nil {
		if err := t.there(); err != nil {
			return fmt.Errorf("-table %s: %w", s.table, err)
		}
	}
	res := &results{Machine: thisMachine(), Table: s.table, Plan: p, Skipped: skipped}
	for _, one := range chosen {
		res.Servers = append(res.Servers, one.name)
	}
	if need := uint64(p.Idle) + 100; p.Idle > 0 && res.Machine.Files < need {
		return fmt.Errorf("%d idle connections need %d descriptors, and the limit is %d: raise it (ulimit -n), or ask for fewer with -idle", p.Idle, need, res.Machine.Files)
	}
	work, err := os.MkdirTemp("", "bulkhead-bench-")
	if err != nil {
		return fmt.Errorf("making a folder for the servers: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(work); e != nil && err == nil {
			err = fmt.Errorf("clearing up after the servers: %w", e)
		}
	}()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("the limit of %v is reached", s.limit))
	defer cancel()

	res.Network = "the machine's loopback, with congestion control " + congestion()
	if s.network {
		res.Network = ownNetwork()
	}
	r := &runner{ctx: ctx, bin: s.bin, work: work, servers: chosen, plan: p, note: note{stderr}, res: res}
	if s.pin {
		cores, err := proc.Cores()
		if err != nil {
			return err
		}
		if last := len(cores) - 1; last > 0 { // on a single core there is nothing to choose
			r.serverCores, r.loadCores = cores[:last], cores[last:]
			res.Pinned = fmt.Sprintf("the servers had %d of the cores, the load generator another", last)
		}
	}
	stopped := r.run()
	r.note.say("")
	if stopped != nil {
		res.Stopped = stopped.Error()
	}
	if err := res.report(stdout); err != nil {
		return fmt.Errorf("printing the results: %w", err)
	}
	if s.out != "" {
		if err := res.keep(s.out); err != nil {
			return err
		}
	}
	switch n := res.failures(); {
	case stopped != nil:
		return fmt.Errorf("not everything was measured: %w", stopped)
	case n > 0:
		return fmt.Errorf("%d failures, listed above", n)
	}
	return nil
}

// note is one line on a terminal that says what is being done. Elsewhere it is
// nothing.
type note struct{ to io.Writer }

func (n note) say(format string, a ...any) {
	f, ok := n.to.(*os.File)
	if !ok {
		return
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
		fmt.Fprintf(f, "\r\x1b[K"+format, a...)
	}
}

// keep writes the results into folder dir, named after the time they were
// begun at: the samples as JSON, the report as Markdown.
func (r *results) keep(dir string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("writing the results as JSON: %w", err)
	}
	var md strings.Builder
	if err := r.report(&md); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder for the results: %w", err)
	}
	stem := filepath.Join(dir, r.Machine.Time.Format("20060102-150405-")+r.Table)
	if err := os.WriteFile(stem+".json", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("keeping the results: %w", err)
	}
	if err := os.WriteFile(stem+".md", []byte(md.String()), 0o644); err != nil {
		return fmt.Errorf("keeping the report: %w", err)
	}
	return nil
}
