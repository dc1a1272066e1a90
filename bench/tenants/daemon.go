package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"bulkhead/host"
	"bulkhead/host/config"
)

// daemon runs a host until its standard input ends or it is told to stop. It prints where its listeners are, and
// then an account for each line that it reads.
func daemon(file string, in io.Reader, out io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	h, err := host.New(cfg, host.Options{
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Compiler: []string{self, "compile"},
		LoadLate: true,
	})
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var addresses []string
	for i := range cfg.Listeners {
		addresses = append(addresses, h.Addr(cfg.Listeners[i].Name))
	}
	w := json.NewEncoder(out)
	if err := w.Encode(addresses); err != nil {
		return err
	}
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			if lines.Text() == "settle" {
				debug.FreeOSMemory() // garbage of loading is not what a tenant costs
				continue
			}
			if w.Encode(accountOf(h)) != nil {
				return
			}
		}
	}()
	return h.Run(ctx)
}

// accountOf is what the daemon holds now.
func accountOf(h *host.Host) account {
	a := account{Goroutines: runtime.NumGoroutine()}
	for _, t := range h.Stats().Tenants {
		a.Memory += t.Memory
		if t.Memory > 0 {
			a.Loaded++
		}
	}
	list, _ := os.ReadDir("/proc/self/fd")
	a.Descriptors = len(list)
	maps, _ := os.ReadFile("/proc/self/maps")
	a.Mappings = bytes.Count(maps, []byte("\n"))
	return a
}
