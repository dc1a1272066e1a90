package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

// tool is a load generator of others, for protocols that ours does not speak.
type tool struct {
	program string
	// arguments are those for one load on the server at an address.
	arguments func(c cell, address string) []string
	// read takes what was measured out of what it prints: messages, the time they took, latencies
	// and failures.
	read func(c cell, printed string) (load.Result, error)
}

// there reports whether the system has the program, as an error if not.
func (t *tool) there() error {
	if _, err := exec.LookPath(t.program); err != nil {
		return errors.New(absent(t.program))
	}
	return nil
}

// toolTime bounds one run of a tool, besides what the load is to last.
const toolTime = 2 * time.Minute

// drive has a tool put a load on a server. The server's CPU time is that of the whole run, in which
// it also gets its connections.
func (r *runner) drive(t *tool, c cell, s server, on *running) (load.Result, error) {
	before, err := s.used(on.p.PID())
	if err != nil {
		return load.Result{}, err
	}
	var p *proc.Process
	err = proc.On(r.loadCores, func() (err error) {
		p, err = proc.Start(append([]string{t.program}, t.arguments(c, on.address)...), nil)
		return err
	})
	if err != nil {
		return load.Result{}, err
	}
	defer p.Stop(0)
	ctx, cancel := context.WithTimeout(r.ctx, c.Job.Duration+toolTime)
	defer cancel()
	defer context.AfterFunc(ctx, p.Kill)()
	printed, err := io.ReadAll(p.Stdout())
	<-p.Exited()
	if err := errors.Join(ctx.Err(), err, p.Err()); err != nil {
		return load.Result{}, fmt.Errorf("%s: %w: %s", t.program, err, printed)
	}
	after, err := s.used(on.p.PID())
	if err != nil {
		return load.Result{}, err
	}
	result, err := t.read(c, string(printed))
	if err != nil {
		return load.Result{}, fmt.Errorf("%s: %w: %s", t.program, err, printed)
	}
	result.ServerCPU, result.LoadCPU, result.Conns = after-before, p.CPU(), c.Job.Conns
	return result, nil
}

// used is the CPU time that a server has used.
func (s *server) used(pid int) (time.Duration, error) {
	if s.workers {
		return proc.TreeCPU(pid)
	}
	return proc.CPU(pid)
}

// Loads by tools: commands one at a time a connection, commands in pipelines, requests of HTTP.
const (
	commands  load.Kind = "commands"
	pipelined load.Kind = "pipelined"
	requests  load.Kind = "requests"
)

// redisBenchmark is the load generator that comes with Redis.
var redisBenchmark = &tool{
	program: "redis-benchmark",
	arguments: func(c cell, address string) []string {
		host, port, _ := strings.Cut(address, ":")
		return append([]string{"-h", host, "-p", port, "-c", fmt.Sprint(c.Job.Conns), "-P", fmt.Sprint(c.Job.Pipeline), "-n", fmt.Sprint(c.Count), "--csv"}, c.Args...)
	},
	read: readRedisBenchmark,
}

// readRedisBenchmark reads the line of its one test, which is behind a line of names.
func readRedisBenchmark(c cell, printed string) (r load.Result, err error) {
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	last := strings.Split(strings.ReplaceAll(lines[len(lines)-1], `"`, ""), ",")
	if len(lines) < 2 || len(last) != 8 {
		return r, errors.New("it has printed no line of 8 figures")
	}
	var n [8]float64
	for i := 1; i < len(n); i++ {
		if n[i], err = strconv.ParseFloat(last[i], 64); err != nil || n[i] < 0 {
			return r, fmt.Errorf("figure %d is %q", i, last[i])
		}
	}
	if n[1] == 0 {
		return r, errors.New("nothing was answered")
	}
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	r.Messages, r.Elapsed = uint64(c.Count), time.Duration(float64(c.Count)/n[1]*float64(time.Second))
	r.P50, r.P99, r.Max = ms(n[4]), ms(n[6]), ms(n[7])
	return r, nil
}

// wrk is a load generator for HTTP.
var wrk = &tool{
	program: "wrk",
	arguments: func(c cell, address string) []string {
		// It takes no parts of a second.
		seconds := max(1, int(c.Job.Duration.Round(time.Second)/time.Second))
		args := []string{"-t", "1", "-c", fmt.Sprint(c.Job.Conns), "-d", fmt.Sprintf("%ds", seconds), "--timeout", "30s", "--latency"}
		return append(append(args, c.Args...), "http://"+address+"/")
	},
	read: readWrk,
}

var (
	wrkDone    = regexp.MustCompile(`(?m)^ +([0-9]+) requests in ([0-9.]+(?:us|ms|s|m|h)), `)
	wrkQuarter = regexp.MustCompile(`(?m)^ +(50|99)% +([0-9.]+(?:us|ms|s|m|h))$`)
	wrkErrors  = regexp.MustCompile(`(?m)^ +Socket errors: connect ([0-9]+), read ([0-9]+), write ([0-9]+), timeout ([0-9]+)$`)
	wrkRefused = regexp.MustCompile(`(?m)^ +Non-2xx or 3xx responses: ([0-9]+)$`)
)

// readWrk reads how many requests there were, their latencies, and what went wrong.
func readWrk(_ cell, printed string) (r load.Result, err error) {
	found := wrkDone.FindStringSubmatch(printed)
	if found == nil {
		return r, errors.New("it has not printed how many requests there were")
	}
	if r.Messages, err = strconv.ParseUint(found[1], 10, 64); err != nil {
		return r, err
	}
	if r.Elapsed, err = time.ParseDuration(found[2]); err != nil {
		return r, err
	}
	for _, q := range wrkQuarter.FindAllStringSubmatch(printed, -1) {
		d, err := time.ParseDuration(q[2])
		if err != nil {
			return r, err
		}
		if q[1] == "50" {
			r.P50 = d
		} else {
			r.P99 = d
		}
	}
	if e := wrkErrors.FindStringSubmatch(printed); e != nil {
		r.Failures.Connect, _ = strconv.Atoi(e[1])
		for _, cut := range e[2:4] {
			n, _ := strconv.Atoi(cut)
			r.Failures.Cut += n
		}
		r.Failures.Unanswered, _ = strconv.ParseUint(e[4], 10, 64)
		r.Failures.First = strings.TrimSpace(e[0])
	}
	if e := wrkRefused.FindStringSubmatch(printed); e != nil {
		r.Failures.Wrong, _ = strconv.Atoi(e[1])
		r.Failures.First = strings.TrimSpace(e[0])
	}
	return r, nil
}
