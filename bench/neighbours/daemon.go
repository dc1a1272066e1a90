package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"

	"bulkhead/bench/guests"
	"bulkhead/bench/internal/proc"
	"bulkhead/host"
	"bulkhead/host/config"
)

// The tenants, and the names of their listeners.
const (
	quiet   = "quiet"
	spinner = "spinner"
)

// The daemon's command line is "daemon ECHO CPU GC": the path of the echo, the spinners' cpu, and
// how often to collect garbage. It prints where its listeners are, and then an account for each
// line that it reads.

// addresses is the first that the daemon prints.
type addresses struct{ Quiet, Spinner string }

// account is what the daemon has used since it was last asked.
type account struct {
	Wall    time.Duration
	Process time.Duration // CPU time of the daemon
	Spinner time.Duration // CPU time of the spinners, as the host has it
	GC      time.Duration // CPU time of the collector, as Go estimates it
	Pauses  int           // times that Go stopped the world
	P50     time.Duration // of the pauses: the upper ends of the buckets that they fell in
	P99     time.Duration
	Max     time.Duration
}

// configuration is that of the daemon. state is a folder for the compiled modules.
func configuration(state, echo, spin, cpu string) string {
	return fmt.Sprintf(`[host]
state = %q
drain = "1s"

[tenant.quiet]
accept_rate = 10000

[tenant.spinner]
cpu = %s
accept_rate = 10000

[[listener]]
name = "quiet"
tenant = "quiet"
address = "tcp://127.0.0.1:0"
plugin = %q

[[listener]]
name = "spinner"
tenant = "spinner"
address = "tcp://127.0.0.1:0"
plugin = %q
event_timeout = "1m"
`, state, cpu, echo, spin)
}

// daemon runs a host until its standard input ends or it is told to stop. It collects garbage every
// so often, as a busy host would; 0 leaves that to Go.
func daemon(echo, cpu string, collect time.Duration, in io.Reader, out io.Writer) error {
	dir, err := os.MkdirTemp("", "bulkhead-neighbours-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	code, err := guests.Code("spin")
	if err != nil {
		return err
	}
	spin := filepath.Join(dir, "spin.wasm")
	if err := os.WriteFile(spin, code, 0o600); err != nil {
		return err
	}
	if echo, err = filepath.Abs(echo); err != nil {
		return err
	}
	file := filepath.Join(dir, "bulkhead.toml")
	if err := os.WriteFile(file, []byte(configuration(filepath.Join(dir, "state"), echo, spin, cpu)), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	if collect > 0 {
		go func() {
			for range time.Tick(collect) {
				runtime.GC()
			}
		}()
	}
	w := json.NewEncoder(out)
	if err := w.Encode(addresses{h.Addr(quiet), h.Addr(spinner)}); err != nil {
		return err
	}
	asked := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			asked <- struct{}{}
		}
		cancel()
	}()
	var b books
	if _, err := b.account(h); err != nil {
		return err
	}
	for {
		select {
		case err := <-ran:
			return err
		case <-asked:
			a, err := b.account(h)
			if err != nil {
				return err
			}
			if err := w.Encode(a); err != nil {
				return err
			}
		}
	}
}

// books hold what had been used when the last account was given.
type books struct {
	time             time.Time
	process, spinner time.Duration
	gc               time.Duration
	pauses           []uint64
}

// account takes what has been used since the last one.
func (b *books) account(h *host.Host) (*account, error) {
	process, err := proc.CPU(os.Getpid())
	if err != nil {
		return nil, err
	}
	now := books{time: time.Now(), process: process}
	for _, t := range h.Stats().Tenants {
		if t.Name == spinner {
			now.spinner = t.CPU
		}
	}
	// Of the pauses this takes the whole: also how long it took until all had stopped.
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram || sample[1].Value.Kind() != metrics.KindFloat64 {
		return nil, fmt.Errorf("this Go does not have the metrics %s and %s", sample[0].Name, sample[1].Name)
	}
	pauses := sample[0].Value.Float64Histogram()
	now.pauses = append(now.pauses, pauses.Counts...)
	now.gc = time.Duration(sample[1].Value.Float64() * float64(time.Second))
	a := &account{
		Wall:    now.time.Sub(b.time),
		Process: now.process - b.process,
		Spinner: now.spinner - b.spinner,
		GC:      now.gc - b.gc,
	}
	fresh := now.pauses
	if b.pauses != nil {
		fresh = make([]uint64, len(now.pauses))
		for i := range fresh {
			fresh[i] = now.pauses[i] - b.pauses[i]
		}
	}
	for _, n := range fresh {
		a.Pauses += int(n)
	}
	a.P50 = quantile(fresh, pauses.Buckets, 0.5)
	a.P99 = quantile(fresh, pauses.Buckets, 0.99)
	a.Max = quantile(fresh, pauses.Buckets, 1)
	*b = now
	return a, nil
}

// quantile returns the upper end of the bucket that a share q of all counts does not exceed; bounds
// are the buckets', in seconds, one more than counts. Where that has no upper end it is the lower.
func quantile(counts []uint64, bounds []float64, q float64) time.Duration {
	var total, sum uint64
	for _, n := range counts {
		total += n
	}
	rank := uint64(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if sum += n; sum >= rank && n > 0 {
			end := bounds[i+1]
			if math.IsInf(end, 1) {
				end = bounds[i]
			}
			return time.Duration(end * float64(time.Second))
		}
	}
	return 0
}
