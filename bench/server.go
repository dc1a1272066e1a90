package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bulkhead/bench/internal/proc"
)

// server is one contestant.
type server struct {
	name string
	// program is the file in the bin folder that has to be there, and absent
	// why it may be missing without anything being wrong.
	program, absent string
	// arguments returns what to start the program with, so that it listens
	// on address. dir is a folder of the server's own that lasts as long as
	// the benchmark; it may leave files there.
	arguments func(dir, address string) ([]string, error)
}

// yardstick is the server that the others are put in ratio to.
const yardstick = "go-net"

// servers are all contestants. plugin is the path of the Wasm echo.
func servers(plugin string) []server {
	plain := func(_, address string) ([]string, error) { return []string{address}, nil }
	return []server{
		{name: yardstick, program: "gonet", arguments: plain},
		{name: "bulkhead-loop", program: "bulkhead", arguments: bulkhead(plugin, "loop", "run")},
		{name: "bulkhead-conn", program: "bulkhead", arguments: bulkhead(plugin, "connection", "run")},
		{name: "bulkhead-native", program: "native", arguments: bulkhead(plugin, "loop")},
		{name: "netpoll", program: "netpoll", arguments: plain},
		{name: "c-epoll", program: "cepoll", absent: "no C compiler was found when the servers were built", arguments: plain},
	}
}

// bulkhead writes a configuration with one instance per what, and puts its path
// behind the other arguments.
func bulkhead(plugin, instance string, before ...string) func(dir, address string) ([]string, error) {
	return func(dir, address string) ([]string, error) {
		path, err := filepath.Abs(plugin)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", plugin, err)
		}
		file := filepath.Join(dir, "bench.toml")
		if err := os.WriteFile(file, []byte(configuration(path, instance, address)), 0o600); err != nil {
			return nil, fmt.Errorf("writing the configuration of Bulkhead: %w", err)
		}
		return append(slices.Clone(before), file), nil
	}
}

// configuration is a Bulkhead file whose limits are out of the way: what is
// compared is the work, and not who is kept from working.
func configuration(plugin, instance, address string) string {
	return fmt.Sprintf(`[host]
state = "state"
drain = "1s"

[tenant.bench]
memory = "4GiB"
cpu = 1024
connections = 100000
accept_rate = 1000000
bandwidth = "10GiB/s"

[[listener]]
name = "echo"
tenant = "bench"
address = "tcp://%s"
plugin = %q
instance = %q
`, address, plugin, instance)
}

// running is a server that has been started and answers.
type running struct {
	p       *proc.Process
	address string
}

const (
	startTimeout = 60 * time.Second // compiling a plugin may take a while
	stopTimeout  = 10 * time.Second
)

// start starts s on a free port of 127.0.0.1, and returns when it has echoed a
// message. No cores means all.
func (s server) start(ctx context.Context, bin, dir string, cores []int) (*running, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", s.name, err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args, err := s.arguments(dir, address)
	if err != nil {
		return nil, err
	}
	var p *proc.Process
	err = proc.On(cores, func() (err error) {
		p, err = proc.Start(append([]string{filepath.Join(bin, s.program)}, args...), nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Nobody reads what a server prints there.
	go io.Copy(io.Discard, p.Stdout())
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := awaitEcho(ctx, p, address); err != nil {
		p.Stop(stopTimeout)
		return nil, fmt.Errorf("starting %s: %w: %s", s.name, err, p.Complaint())
	}
	return &running{p: p, address: address}, nil
}

// freeAddress finds a port that is free now. Another process may take it
// before the server does; then the server says so and does not start.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitEcho asks again and again until the server answers rightly, has ended,
// or ctx has.
func awaitEcho(ctx context.Context, p *proc.Process, address string) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		if last = echoOnce(ctx, address); last == nil {
			return nil
		}
		select {
		case <-p.Exited():
			return errors.Join(errors.New("it has ended before it answered"), p.Err())
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w: %w", ctx.Err(), last)
		case <-again.C:
		}
	}
}

func echoOnce(ctx context.Context, address string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	defer c.Close()
	// In case it accepts and never answers.
	c.SetDeadline(time.Now().Add(5 * time.Second))
	want := []byte("are you there?")
	if _, err := c.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("waiting for an echo: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("sent %q, got %q back", want, got)
	}
	return nil
}
