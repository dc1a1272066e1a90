package main

import (
	"io"
	"runtime/debug"

	"bulkhead/bench/internal/daemon"
	"bulkhead/host"
)

// serve is the daemon.
func serve(file string, in io.Reader, out io.Writer) error {
	return daemon.Serve(file, host.Options{LoadLate: true}, in, out, func(h *host.Host, line string) any {
		if line == "settle" {
			debug.FreeOSMemory() // garbage of loading is not what a tenant costs
			return nil
		}
		return accountOf(h)
	})
}

// accountOf is what the daemon holds now.
func accountOf(h *host.Host) account {
	a := account{Holds: daemon.HoldsNow()}
	for _, t := range h.Stats().Tenants {
		a.Memory += t.Memory
		if t.Memory > 0 {
			a.Loaded++
		}
	}
	return a
}
