package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

// runner carries a plan out.
type runner struct {
	ctx     context.Context // its end stops everything, soon
	bin     string          // folder of the servers' programs
	work    string          // folder for what servers leave behind
	servers []server
	plan    plan
	gen     *load.Generator
	note    note // what it is doing, for someone who waits
	res     *results
	// Cores the server and the load generator are kept to; none means all.
	serverCores, loadCores []int

	mu  sync.Mutex
	now *running // the server under load, for the end of ctx
}

// run measures everything. It returns an error only when it cannot go on; what
// was measured until then is in res.
func (r *runner) run() error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("looking for this program, to start it as load generator: %w", err)
	}
	err = proc.On(r.loadCores, func() (err error) {
		r.gen, err = load.Start(exe, "load")
		return err
	})
	if err != nil {
		return err
	}
	defer r.gen.Close()
	// Whatever is waited for then fails at once.
	defer context.AfterFunc(r.ctx, func() {
		r.gen.Kill()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.now != nil {
			r.now.p.Kill()
		}
	})()
	for rep := range r.plan.Repeats {
		for i, c := range r.plan.Cells {
			r.note.say("round %d of %d, load %d of %d: %s", rep+1, r.plan.Repeats, i+1, len(r.plan.Cells), c.Name)
			for k := range r.servers {
				// Whoever goes first in one round goes later in the next.
				s := r.servers[(k+rep)%len(r.servers)]
				if !c.isFor(s.name) {
					continue
				}
				if err := r.load(s, c, rep); err != nil {
					return err
				}
			}
		}
		if rep >= r.plan.IdleRepeats || r.plan.Idle == 0 {
			continue
		}
		r.note.say("round %d of %d, %d idle connections", rep+1, r.plan.Repeats, r.plan.Idle)
		for k := range r.servers {
			if err := r.idle(r.servers[(k+rep)%len(r.servers)], rep); err != nil {
				return err
			}
		}
	}
	return nil
}

// load puts one load on one server.
func (r *runner) load(s server, c cell, rep int) error {
	out := sample{Server: s.name, Cell: c.Name, Repeat: rep}
	err := r.with(s, func(on *running) (err error) {
		if t := r.res.of().tool; t != nil {
			out.Result, err = r.drive(t, c, s, on)
			return err
		}
		job := c.Job
		job.Address, job.PID, job.Backend = on.address, on.p.PID(), on.backend
		job.WebSocket = s.websocket
		if job.Kind == load.Churn && s.visit != nil {
			job.Steps, job.Message = s.visit(on.backend)
		}
		if out.Result, err = r.gen.Run(job); err == nil && out.Messages == 0 && !out.Failures.Any() {
			err = errors.New("nothing was answered in the measured time")
		}
		return err
	})
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	if err != nil {
		out.Error = err.Error()
	}
	r.res.Samples = append(r.res.Samples, out)
	return r.gen.Err()
}

// idle measures what idle connections cost one server.
func (r *runner) idle(s server, rep int) error {
	out := idleSample{Server: s.name, Repeat: rep}
	err := r.with(s, func(on *running) (err error) {
		pid := on.p.PID()
		if err = r.quiet(pid); err != nil {
			return err
		}
		if out.Empty, err = proc.MemoryOf(pid); err != nil {
			return err
		}
		job := load.Job{Kind: load.Idle, Address: on.address, Conns: r.plan.Idle, Lines: r.plan.Lines, WebSocket: s.websocket, Timeout: 60 * time.Second}
		if r.plan.Secure {
			job.Kind = load.SecureIdle
		}
		if s.idle > 0 {
			job.Conns = min(job.Conns, s.idle)
		}
		res, err := r.gen.Run(job)
		if err != nil {
			return err
		}
		out.Conns, out.Failures = res.Conns, res.Failures
		// The kernel has accepted them all; the server may have some to go.
		if err = r.quiet(pid); err != nil {
			return err
		}
		if out.Open, err = proc.MemoryOf(pid); err != nil {
			return err
		}
		// The same connections again, with a byte of traffic on each: a server
		// may put off most of the cost until then.
		if res, err = r.gen.Run(load.Job{Kind: load.Touch, Size: 64, Lines: r.plan.Lines, Timeout: 60 * time.Second}); err != nil {
			return err
		}
		if !out.Failures.Any() {
			out.Failures = res.Failures
		}
		if err = r.quiet(pid); err != nil {
			return err
		}
		if out.Echoed, err = proc.MemoryOf(pid); err != nil {
			return err
		}
		if s.rests {
			if err = r.rested(pid, &out); err != nil {
				return err
			}
		}
		_, err = r.gen.Run(load.Job{Kind: load.Release})
		return err
	})
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if err != nil {
		out.Error = err.Error()
	}
	r.res.Idle = append(r.res.Idle, out)
	return r.gen.Err()
}

// restTime is how long a server's connections are left alone for it to let go of what they do not
// need, and mostRest how long it may go on with that. restStep is how often it is looked at then.
const restTime, restStep, mostRest = 6 * time.Second, 2 * time.Second, time.Minute

// rested looks at a server whose connections have been idle for a while, when its memory shrinks
// no more, and has each of them answer once more.
func (r *runner) rested(pid int, out *idleSample) error {
	began, wait := time.Now(), restTime
	for {
		select {
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		case <-time.After(wait):
		}
		if err := r.quiet(pid); err != nil {
			return err
		}
		before := out.Rested.RSS
		var err error
		if out.Rested, err = proc.MemoryOf(pid); err != nil {
			return err
		}
		if wait == restStep && shrinksNoMore(before, out.Rested.RSS) || time.Since(began) > mostRest {
			break
		}
		wait = restStep
	}
	res, err := r.gen.Run(load.Job{Kind: load.Touch, Size: 64, Lines: r.plan.Lines, Timeout: 60 * time.Second})
	if err == nil && !out.Failures.Any() {
		out.Failures = res.Failures
	}
	return err
}

// shrinksNoMore reports whether memory is about what it was before: less by a hundredth at most.
func shrinksNoMore(before, now int64) bool { return now >= before-before/100 }

// with starts a server, calls f, and stops it again. A server that does not
// stop when told is trouble, and not an error.
func (r *runner) with(s server, f func(*running) error) error {
	on, err := s.start(r.ctx, r.bin, filepath.Join(r.work, s.name), r.serverCores)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.now = on
	r.mu.Unlock()
	err = f(on)
	if err != nil {
		select {
		case <-on.p.Exited():
			err = errors.Join(err, errors.New("the server has ended"), on.p.Err())
		default:
		}
	}
	r.mu.Lock()
	r.now = nil
	r.mu.Unlock()
	if !on.p.Stop(stopTimeout) {
		r.res.trouble(fmt.Sprintf("%s did not end within %v of SIGTERM and was killed", s.name, stopTimeout))
	}
	return err
}

// quiet waits until a process has used no more than a hundredth of a core for
// a fifth of a second: until it has finished what it was at.
func (r *runner) quiet(pid int) error {
	const (
		look  = 200 * time.Millisecond
		still = look / 100
		limit = 20 * time.Second
	)
	again := time.NewTicker(look)
	defer again.Stop()
	before, err := proc.CPU(pid)
	if err != nil {
		return err
	}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		select {
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		case <-again.C:
		}
		after, err := proc.CPU(pid)
		if err != nil {
			return err
		}
		if after-before <= still {
			return nil
		}
		before = after
	}
	return fmt.Errorf("the server is still at work %v after its connections have gone idle", limit)
}
