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
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
)

// reloaded is what a reload took. CPU is the daemon's without that of the compiler, which is a process
// of its own.
type reloaded struct {
	Error string
	Took  time.Duration
	CPU   time.Duration
}

// account is what a daemon holds when it is asked.
type account struct {
	Connections, Retired, Instances   int
	Goroutines, Descriptors, Mappings int
	Timers, Memory                    int64
	LongestEvent                      time.Duration // of a loop since the start, in CPU time
}

// daemon runs a host until its standard input ends or it is told to stop. It prints where its listeners
// are, and then an answer for each line that it reads.
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
		Log:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Compiler:       []string{self, "compile"},
		EventsByThread: true,
	})
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	w := json.NewEncoder(out)
	if err := w.Encode(addressesOf(h, cfg)); err != nil {
		return err
	}
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			var answer any
			switch lines.Text() {
			case "reload":
				answer = reload(h, file)
			case "settle":
				debug.FreeOSMemory() // garbage is not what a reload leaves
				answer = accountOf(h)
			default:
				answer = accountOf(h)
			}
			if w.Encode(answer) != nil {
				return
			}
		}
	}()
	return h.Run(ctx)
}

func addressesOf(h *host.Host, cfg *config.Config) map[string]string {
	all := make(map[string]string)
	for i := range cfg.Listeners {
		all[cfg.Listeners[i].Name] = h.Addr(cfg.Listeners[i].Name)
	}
	return all
}

func reload(h *host.Host, file string) (r reloaded) {
	began, before := time.Now(), cpu()
	cfg, err := config.Load(file)
	if err == nil {
		err = h.Reload(context.Background(), cfg)
	}
	r.Took, r.CPU = time.Since(began), cpu()-before
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// cpu is the processor time of this process, without its children's.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func accountOf(h *host.Host) account {
	st := h.Stats()
	a := account{
		Connections: st.Connections, Retired: st.RetiredGenerations,
		Goroutines: runtime.NumGoroutine(), LongestEvent: st.LongestEvent,
	}
	for i := range st.Tenants {
		t := &st.Tenants[i]
		a.Instances += t.Instances
		a.Timers += t.Timers
		a.Memory += t.Memory
	}
	list, _ := os.ReadDir("/proc/self/fd")
	a.Descriptors = len(list)
	maps, _ := os.ReadFile("/proc/self/maps")
	a.Mappings = bytes.Count(maps, []byte("\n"))
	return a
}
