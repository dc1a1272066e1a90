// Neighbours measures what a tenant notices of another one whose handlers never come back: the echo
// of one, alone, beside connections of the other that spin for ever, and beside a process that uses
// as much.
//
//	make -C bench neighbours    about three minutes
//
// See README.md for how to read what it prints.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
)

func init() {
	// The kernel kills the daemon when the thread that started it ends, so that has to be one
	// that lasts.
	runtime.LockOSThread()
}

func main() {
	var err error
	if len(os.Args) == 5 && os.Args[1] == "daemon" {
		var collect time.Duration
		if collect, err = time.ParseDuration(os.Args[4]); err == nil {
			err = daemon(os.Args[2], os.Args[3], collect, os.Stdin, os.Stdout)
		}
	} else if len(os.Args) == 3 && os.Args[1] == "hog" {
		var share float64
		if share, err = strconv.ParseFloat(os.Args[2], 64); err == nil {
			err = hog(share, os.Stdin)
		}
	} else {
		err = run(os.Args[1:], os.Stdout)
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "neighbours:", err)
		os.Exit(1)
	}
}

// settings are the command line's.
type settings struct {
	echo     string
	cpu      float64
	spinners int
	rounds   int
	collect  time.Duration
	warmup   time.Duration
	duration time.Duration
}

var loads = []load{
	{"1 connection, each ms", 1, time.Millisecond},
	{"16 connections, each 4 ms", 16, 4 * time.Millisecond},
}

// company is what the quiet tenant has beside it.
type company int

// The kinds.
const (
	alone   company = iota
	beside          // the spinners
	process         // another process that uses as much as the spinners may
	companies
)

func (c company) String() string {
	return [...]string{"alone", "beside spinners", "beside a process"}[c]
}

// results are by company and load, one for each round.
type results [companies][2][]result

// result is one load in one round.
type result struct {
	latencies
	account
}

func run(args []string, out io.Writer) error {
	var s settings
	f := flag.NewFlagSet("neighbours", flag.ContinueOnError)
	f.StringVar(&s.echo, "echo", "../examples/echo/echo.wasm", "the neighbour's handler")
	f.Float64Var(&s.cpu, "cpu", 0.5, "the spinners' cpu, in cores")
	f.IntVar(&s.spinners, "spinners", 8, "connections that spin")
	f.IntVar(&s.rounds, "rounds", 5, "rounds, of which the medians are taken")
	f.DurationVar(&s.collect, "gc", 100*time.Millisecond, "how often the host is made to collect garbage; 0: when Go sees fit")
	f.DurationVar(&s.warmup, "warmup", time.Second, "how long they spin before they are measured")
	f.DurationVar(&s.duration, "duration", 4*time.Second, "how long each load is measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is nothing to do with %q", f.Arg(0))
	}
	if !(s.cpu >= 0.01 && s.cpu <= 1) {
		return errors.New("-cpu has to be 0.01 to 1")
	}
	if s.rounds < 1 || s.duration <= 0 || s.warmup < 0 || s.collect < 0 || s.spinners < 1 {
		return errors.New("-rounds, -duration and -spinners have to be above 0, and -warmup and -gc not below")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var all results
	for round := range s.rounds {
		for k := range companies {
			c := (k + company(round)) % companies
			rs, err := s.phase(ctx, c)
			if err != nil {
				return err
			}
			for i := range loads {
				all[c][i] = append(all[c][i], rs[i])
			}
		}
	}
	return s.print(out, &all)
}

// phase starts a daemon and puts the loads on its quiet tenant, one after the other.
func (s *settings) phase(ctx context.Context, c company) (rs []result, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	share := strconv.FormatFloat(s.cpu, 'f', -1, 64)
	p, err := proc.Start([]string{self, "daemon", s.echo, share, s.collect.String()}, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && p.Complaint() != "" {
			err = fmt.Errorf("%w; the daemon said: %s", err, p.Complaint())
		}
		p.Stop(10 * time.Second)
	}()
	read := json.NewDecoder(bufio.NewReader(p.Stdout()))
	var at addresses
	if err := read.Decode(&at); err != nil {
		return nil, fmt.Errorf("waiting for the daemon to listen: %w", err)
	}
	ask := func(a *account) error {
		if _, err := io.WriteString(p.Stdin(), "\n"); err != nil {
			return err
		}
		return read.Decode(a)
	}
	switch c {
	case process:
		other, err := proc.Start([]string{self, "hog", share}, nil)
		if err != nil {
			return nil, err
		}
		defer other.Kill()
	case beside:
		conns, err := spin(at.Spinner, s.spinners)
		for _, c := range conns {
			defer c.Close()
		}
		if err != nil {
			return nil, err
		}
	}
	for _, l := range loads {
		if _, err := l.echo(ctx, at.Quiet, s.warmup); err != nil {
			return nil, err
		}
		var r result
		if err := ask(&r.account); err != nil {
			return nil, err
		}
		lat, err := l.echo(ctx, at.Quiet, s.duration)
		if err != nil {
			return nil, err
		}
		if err := ask(&r.account); err != nil {
			return nil, err
		}
		r.latencies = *lat
		rs = append(rs, r)
	}
	return rs, nil
}

func (s *settings) print(out io.Writer, all *results) error {
	latency := table.New("the neighbour's echo", "", "p50, µs", "p99, µs", "to alone", "worst, ms")
	rest := table.New("the host", "", "cores in all", "collector's", "spinners'", "of their quota", "pauses", "p50, µs", "p99, µs", "longest, µs")
	for i, l := range loads {
		for c := range companies {
			rs := all[c][i]
			var ratios []float64
			var worst, longest time.Duration
			pauses := 0
			for k, r := range rs {
				ratios = append(ratios, float64(r.latencies.P99)/float64(all[alone][i][k].latencies.P99))
				worst = max(worst, r.latencies.Max)
				longest = max(longest, r.account.Max)
				pauses += r.Pauses
			}
			micros := func(of func(result) time.Duration) string {
				return table.Figure(median(rs, func(r result) float64 { return float64(of(r)) / 1e3 }))
			}
			cores := func(of func(result) time.Duration) float64 {
				return median(rs, func(r result) float64 { return float64(of(r)) / float64(r.Wall) })
			}
			latency.Row(l.name, c.String(),
				micros(func(r result) time.Duration { return r.latencies.P50 }),
				micros(func(r result) time.Duration { return r.latencies.P99 }),
				table.Ratio(stats.Median(ratios), 1), table.Figure(float64(worst)/1e6))
			spinners := cores(func(r result) time.Duration { return r.Spinner })
			quota := "-"
			if c == beside {
				quota = fmt.Sprintf("%.1f%%", 100*spinners/s.cpu)
			}
			rest.Row(l.name, c.String(),
				table.Figure(cores(func(r result) time.Duration { return r.Process })),
				table.Figure(cores(func(r result) time.Duration { return r.GC })),
				table.Figure(spinners), quota, strconv.Itoa(pauses),
				micros(func(r result) time.Duration { return r.account.P50 }),
				micros(func(r result) time.Duration { return r.account.P99 }),
				table.Figure(float64(longest)/1e3))
		}
	}
	_, err := fmt.Fprintf(out, "\nAn echo alone, beside %d connections of another tenant that spin for ever with cpu = %v, and beside a process that uses as much (%d cores, medians of %d rounds)\n\n",
		s.spinners, s.cpu, runtime.NumCPU(), s.rounds)
	if err == nil {
		err = latency.Write(out)
	}
	if err == nil {
		_, err = fmt.Fprintln(out)
	}
	return errors.Join(err, rest.Write(out))
}

func median(rs []result, of func(result) float64) float64 {
	vs := make([]float64, len(rs))
	for i, r := range rs {
		vs[i] = of(r)
	}
	return stats.Median(vs)
}
