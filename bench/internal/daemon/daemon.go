// Package daemon is for benchmarks whose daemon is their own program, started again: it can be
// asked for what no client sees.
package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"bulkhead/bench/internal/proc"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/plugins/compiler"
)

// Again reports whether the program was started as its own daemon, or as the compiler.
func Again() bool {
	return len(os.Args) > 1 && (os.Args[1] == "daemon" || os.Args[1] == "compile")
}

// Main is the main function of a benchmark with this name: run is what it does, with the command
// line's arguments, and serve what its daemon does, of which Serve is the most.
func Main(name string, run func(args []string, out io.Writer) error, serve func(file string, in io.Reader, out io.Writer) error) {
	// The kernel kills the daemon when the thread that started it ends, so that has to be one
	// that lasts.
	runtime.LockOSThread()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "compile":
		os.Exit(compiler.Main(os.Args[2:]))
	case len(os.Args) == 3 && os.Args[1] == "daemon":
		err = serve(os.Args[2], os.Stdin, os.Stdout)
	default:
		err = run(os.Args[1:], os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Serve runs a host of a configuration file until its input ends or it is told to stop. It prints
// where its listeners are, by their names, and then what answer returns for each line that it
// reads, unless that is nil. Of o it sets the log and the compiler.
func Serve(file string, o host.Options, in io.Reader, out io.Writer, answer func(h *host.Host, line string) any) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.Compiler = []string{self, "compile"}
	h, err := host.New(cfg, o)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	addresses := make(map[string]string)
	for i := range cfg.Listeners {
		addresses[cfg.Listeners[i].Name] = h.Addr(cfg.Listeners[i].Name)
	}
	w := json.NewEncoder(out)
	if err := w.Encode(addresses); err != nil {
		return err
	}
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			if a := answer(h, lines.Text()); a != nil && w.Encode(a) != nil {
				return
			}
		}
	}()
	return h.Run(ctx)
}

// Holds is what a process holds.
type Holds struct{ Goroutines, Descriptors, Mappings int }

// HoldsNow is what this process holds.
func HoldsNow() Holds {
	h := Holds{Goroutines: runtime.NumGoroutine()}
	list, _ := os.ReadDir("/proc/self/fd")
	h.Descriptors = len(list)
	maps, _ := os.ReadFile("/proc/self/maps")
	h.Mappings = bytes.Count(maps, []byte("\n"))
	return h
}

// Daemon is one that was started. Whoever has it stops it.
type Daemon struct {
	*proc.Process
	// Addresses are where its listeners are, by name.
	Addresses map[string]string
	read      *json.Decoder
}

// Start starts the program as the daemon of a file, and returns when its listeners are open.
func Start(file string) (*Daemon, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := proc.Start([]string{self, "daemon", file}, nil)
	if err != nil {
		return nil, err
	}
	d := &Daemon{Process: p, read: json.NewDecoder(bufio.NewReader(p.Stdout()))}
	if err := d.read.Decode(&d.Addresses); err != nil {
		p.Stop(20 * time.Second)
		return nil, d.complain("waiting for the daemon to listen", err)
	}
	return d, nil
}

// Tell sends the daemon a line that it does not answer.
func (d *Daemon) Tell(line string) error {
	_, err := io.WriteString(d.Stdin(), line+"\n")
	return err
}

// Ask sends it a line, and reads the answer.
func (d *Daemon) Ask(line string, answer any) error {
	if err := d.Tell(line); err != nil {
		return err
	}
	if err := d.read.Decode(answer); err != nil {
		return d.complain(fmt.Sprintf("asking the daemon %q", line), err)
	}
	return nil
}

func (d *Daemon) complain(doing string, err error) error {
	return fmt.Errorf("%s: %w; it said: %s", doing, err, d.Complaint())
}
