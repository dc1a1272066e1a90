// Choices measures the three decisions that the selector and the listener rest
// on, with servers that hold nothing but the decision: how epoll is armed, how
// a loop waits, and who accepts. It prints Markdown.
//
//	go run ./choices [-repeats 5] [-duration 600ms] [-only trigger|wait|accept] [-loads "64 B"]
//
// Each server runs as a process of its own, and so does the load generator.
// The variants take turns, and each figure is the median of the repeats.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"bulkhead/bench/internal/load"
)

func init() {
	// Children die with the thread that started them, which has to be one
	// that lasts.
	runtime.LockOSThread()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "choices:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "load":
			return load.Serve(os.Stdin, os.Stdout)
		case "serve":
			var o options
			if len(os.Args) != 3 {
				return errors.New("serve: want one argument, the options as JSON")
			}
			if err := json.Unmarshal([]byte(os.Args[2]), &o); err != nil {
				return fmt.Errorf("serve: options %q: %w", os.Args[2], err)
			}
			return serve(o, os.Stdin, os.Stdout)
		}
	}
	var b bench
	flag.IntVar(&b.repeats, "repeats", 5, "how often each figure is taken; the median counts")
	flag.DurationVar(&b.duration, "duration", 600*time.Millisecond, "how long one measurement lasts")
	flag.StringVar(&b.loads, "loads", "", "only loads whose name contains this")
	only := flag.String("only", "", "measure one decision alone: trigger, wait or accept")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("argument %q: this program takes flags only", flag.Arg(0))
	}
	if b.repeats < 1 || b.duration <= 0 {
		return fmt.Errorf("-repeats %d -duration %v: want both above zero", b.repeats, b.duration)
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("looking for this program, to start it as a server: %w", err)
	}
	b.exe = exe
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	b.stop = stop
	known := false
	for _, d := range decisions {
		if *only != "" && *only != d.name {
			continue
		}
		known = true
		if err := b.measure(d); err != nil {
			return err
		}
	}
	if !known {
		return fmt.Errorf("-only %q: want trigger, wait or accept", *only)
	}
	return nil
}
