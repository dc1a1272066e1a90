package main

import (
	"io"
	"runtime/debug"

	"bulkhead/bench/internal/daemon"
	"bulkhead/host"
)

// serve is the daemon.
func serve(file string, in io.Reader, out io.Writer) error {
	var st host.Stats
	return daemon.Serve(file, host.Options{LoadLate: true}, in, out, func(h *host.Host, line string) any {
		switch line {
		case "settle":
			debug.FreeOSMemory() // garbage of loading is not what a tenant costs
			return nil
		case "loaded":
			h.FillStats(&st) // in the same memory each time: what is asked for is to cost little
			return loadedIn(&st)
		}
		return accountOf(h)
	})
}

// accountOf is what the daemon holds now.
func accountOf(h *host.Host) account {
	a := account{Holds: daemon.HoldsNow()}
	for _, t := range h.Stats().Tenants {
		a.Memory += t.Memory
	}
	return a
}

// loadedIn is how many tenants' plugins are there.
func loadedIn(st *host.Stats) (n int) {
	for i := range st.Tenants {
		if st.Tenants[i].Memory > 0 {
			n++
		}
	}
	return n
}
