package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

// server is one contestant.
type server struct {
	name string
	// program is the file in the bin folder that has to be there, or a path, or, when
	// installed is set, what is looked for where the system has its programs; absent says
	// why it may be missing without anything being wrong.
	program, absent string
	installed       bool
	// arguments returns what to start the program with, for a place.
	arguments func(place) ([]string, error)
	// relays says that it connects to the place's backend, and answers nothing itself.
	relays bool
	// visit returns what a client says to it before its message, and the message; nil:
	// nothing, and bytes of the pattern.
	visit func(backend string) ([]load.Step, []byte)
	// asks is what it is asked to see that it answers, where it is no echo; nil: it is one.
	asks *load.Step
	// workers says that it works in processes that it starts.
	workers bool
	// secure says that it speaks TLS, and websocket that it speaks WebSocket at /echo.
	secure, websocket bool
	// idle is the most idle connections that it is given; 0: as many as the others.
	idle int
	// rests says that it lets go of memory when its connections have been idle for some
	// seconds, and is looked at then, too.
	rests bool
}

// place is where a server is to run.
type place struct {
	// dir is a folder of the server's own that lasts as long as the benchmark; it may
	// leave files there.
	dir     string
	address string // to listen on
	backend string // of those that relay
	cores   int    // that it has
}

// path is the program's.
func (s *server) path(bin string) string {
	if s.installed {
		return s.program
	}
	path, err := filepath.Abs(filepath.Join(bin, s.program))
	if err != nil { // there is no working folder
		return s.program
	}
	return path
}

// yardstick is the server of the table of echoes that the others are put in ratio to.
const yardstick = "go-net"

func plain(at place) ([]string, error) { return []string{at.address}, nil }

// echoServers are the contestants of the table of echoes.
func echoServers(s *settings) []server {
	echo := func(instance string) guest { return guest{plugin: s.plugin, instance: instance} }
	return []server{
		{name: yardstick, program: "gonet", arguments: plain},
		{name: "bulkhead-loop", program: "bulkhead", arguments: echo("loop").run},
		{name: "bulkhead-conn", program: "bulkhead", arguments: echo("connection").run},
		{name: "bulkhead-native", program: "native", arguments: echo("loop").serve},
		{name: "netpoll", program: "netpoll", arguments: plain},
		{name: "c-epoll", program: "cepoll", absent: "no C compiler was found when the servers were built", arguments: plain},
	}
}

// guest is a listener of Bulkhead's.
type guest struct {
	plugin   string
	instance string
	extra    string // further lines of the listener, such as [listener.tls]
	config   func(place) string
	over     string // how its address begins; "" is tcp
	path     string // and ends
}

// run and serve write a configuration; run has the daemon's command before its path: one process,
// whose CPU time is taken.
func (g guest) run(at place) ([]string, error) {
	args, err := g.serve(at)
	return append([]string{"run", "--single"}, args...), err
}

func (g guest) serve(at place) ([]string, error) {
	path, err := filepath.Abs(g.plugin)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", g.plugin, err)
	}
	more := g.extra
	if g.config != nil {
		more += g.config(at)
	}
	connect := "[]"
	if at.backend != "" {
		connect = fmt.Sprintf("[%q]", at.backend)
	}
	file := filepath.Join(at.dir, "bench.toml")
	if err := os.WriteFile(file, []byte(configuration(path, g.instance, cmp.Or(g.over, "tcp")+"://"+at.address+g.path, connect, more)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration of Bulkhead: %w", err)
	}
	return []string{file}, nil
}

// configuration is a Bulkhead file whose limits are out of the way: what is
// compared is the work, and not who is kept from working.
func configuration(plugin, instance, address, connect, more string) string {
	return fmt.Sprintf(`[host]
state = "state"
drain = "1s"

[tenant.bench]
memory = "64GiB"
cpu = 1024
connections = 100000
accept_rate = 1000000
bandwidth = "1024GiB/s"
dials = 100000
upstreams = 100000
connect = %s

[[listener]]
name = "echo"
tenant = "bench"
address = %q
plugin = %q
instance = %q
%s`, connect, address, plugin, instance, more)
}

// running is a server that has been started and answers.
type running struct {
	p       *proc.Process
	address string
	backend string // that it relays to, where nobody listens; "" when it does not
}

const (
	startTimeout = 60 * time.Second // compiling a plugin may take a while
	stopTimeout  = 10 * time.Second
)

// start starts s on a free port of 127.0.0.1, and returns when it has answered a
// message. No cores means all.
func (s server) start(ctx context.Context, bin, dir string, cores []int) (*running, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", s.name, err)
	}
	at := place{dir: dir, cores: len(cores)}
	if at.cores == 0 {
		at.cores = runtime.NumCPU()
	}
	var err error
	if s.relays {
		behind, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listening as what %s relays to: %w", s.name, err)
		}
		// The load generator listens there afterwards.
		defer behind.Close()
		go echoEach(behind)
		at.backend = behind.Addr().String()
	}
	if at.address, err = freeAddress(); err != nil {
		return nil, err
	}
	args, err := s.arguments(at)
	if err != nil {
		return nil, err
	}
	var p *proc.Process
	err = proc.On(cores, func() (err error) {
		p, err = proc.Start(append([]string{s.path(bin)}, args...), nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Nobody reads what a server prints there.
	go io.Copy(io.Discard, p.Stdout())
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	on := &running{p: p, address: at.address, backend: at.backend}
	if err := s.awaitEcho(ctx, on); err != nil {
		p.Stop(stopTimeout)
		return nil, fmt.Errorf("starting %s: %w: %s", s.name, err, p.Complaint())
	}
	return on, nil
}

// echoEach answers every connection until the listener is closed.
func echoEach(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(startTimeout))
			io.Copy(c, c)
		}()
	}
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
func (s server) awaitEcho(ctx context.Context, on *running) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		if last = s.echoOnce(ctx, on); last == nil {
			return nil
		}
		select {
		case <-on.p.Exited():
			return errors.Join(errors.New("it has ended before it answered"), on.p.Err())
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w: %w", ctx.Err(), last)
		case <-again.C:
		}
	}
}

func (s server) echoOnce(ctx context.Context, on *running) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", on.address)
	if err != nil {
		return err
	}
	defer c.Close()
	// In case it accepts and never answers.
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if s.secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if s.asks != nil {
		if _, err := c.Write(s.asks.Send); err != nil {
			return err
		}
		return expect(c, s.asks.Expect)
	}
	var steps []load.Step
	want := []byte("are you there?\n") // some answer whole lines alone
	if s.visit != nil {
		var message []byte
		if steps, message = s.visit(on.backend); len(message) > 0 {
			want = message
		}
	}
	for _, step := range steps {
		if _, err := c.Write(step.Send); err != nil {
			return err
		}
		if err := expect(c, step.Expect); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(step.Ignore)); err != nil {
			return err
		}
	}
	send := want
	if s.websocket {
		if err := load.Upgrade(c); err != nil {
			return err
		}
		send, want = load.Frame(want), load.Unframe(want)
	}
	if _, err := c.Write(send); err != nil {
		return err
	}
	return expect(c, want)
}

func expect(c net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("waiting for an answer: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("expected %q, got %q", want, got)
	}
	return nil
}
