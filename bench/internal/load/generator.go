package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bulkhead/bench/internal/proc"
)

// Generator is a load generator's process. One goroutine at a time may use it.
type Generator struct {
	p    *proc.Process
	in   *json.Encoder
	outs chan answer
	err  error // it has failed, and takes no more jobs
}

// Start starts argv as a load generator: a program that runs Serve on its
// standard input and output. The caller must Close it.
func Start(argv ...string) (*Generator, error) {
	p, err := proc.Start(argv, nil)
	if err != nil {
		return nil, err
	}
	g := &Generator{p: p, in: json.NewEncoder(p.Stdin()), outs: make(chan answer)}
	go func() {
		defer close(g.outs)
		d := json.NewDecoder(p.Stdout())
		for {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			g.outs <- a
		}
	}()
	return g, nil
}

// Run runs a job and returns what it measured. An error means that there is no
// measurement: the job was refused, the server's process is gone, or the
// generator itself is, after which every Run fails. Failed connections are no
// error; the result counts them.
func (g *Generator) Run(job Job) (Result, error) {
	if g.err != nil {
		return Result{}, g.err
	}
	if err := g.in.Encode(job); err != nil {
		g.err = fmt.Errorf("handing a job to the load generator: %w", errors.Join(err, g.p.Err()))
		return Result{}, g.err
	}
	t := time.NewTimer(job.bound())
	defer t.Stop()
	select {
	case a, ok := <-g.outs:
		if !ok {
			g.p.Stop(time.Second)
			g.err = fmt.Errorf("the load generator ended in the middle of a job: %w", g.p.Err())
			return Result{}, g.err
		}
		if a.Error != "" {
			return Result{}, errors.New(a.Error)
		}
		return a.Result, nil
	case <-t.C:
		g.err = fmt.Errorf("the load generator did not answer within %v", job.bound())
		return Result{}, g.err
	}
}

// Err returns why the generator takes no more jobs; nil while it does.
func (g *Generator) Err() error { return g.err }

// Kill ends the process at once, which fails a Run under way. Any goroutine
// may call it, any number of times.
func (g *Generator) Kill() { g.p.Kill() }

// Close ends the process.
func (g *Generator) Close() {
	g.p.Stop(2 * time.Second)
	for range g.outs { // an answer nobody waited for
	}
}
