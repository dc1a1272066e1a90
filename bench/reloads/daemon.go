package main

import (
	"context"
	"io"
	"runtime/debug"
	"syscall"
	"time"

	"bulkhead/bench/internal/daemon"
	"bulkhead/host"
	"bulkhead/host/config"
)

// reloaded is what a reload took. CPU is the daemon's without that of the compiler, which is a
// process of its own.
type reloaded struct {
	Error string
	Took  time.Duration
	CPU   time.Duration
}

// account is what a daemon holds when it is asked.
type account struct {
	daemon.Holds
	Connections, Retired, Instances int
	Timers, Memory                  int64
	LongestEvent                    time.Duration // of a loop since the start, in CPU time
}

// serve is the daemon.
func serve(file string, in io.Reader, out io.Writer) error {
	return daemon.Serve(file, host.Options{EventsByThread: true}, in, out, func(h *host.Host, line string) any {
		switch line {
		case "reload":
			return reload(h, file)
		case "settle":
			debug.FreeOSMemory() // garbage is not what a reload leaves
		}
		return accountOf(h)
	})
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
		Holds: daemon.HoldsNow(), Connections: st.Connections, Retired: st.RetiredGenerations, LongestEvent: st.LongestEvent,
	}
	for i := range st.Tenants {
		t := &st.Tenants[i]
		a.Instances += t.Instances
		a.Timers += t.Timers
		a.Memory += t.Memory
	}
	return a
}
