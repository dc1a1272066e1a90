// Reloads measures what a reload costs, and what clients notice of many in a row.
//
//	make -C bench reloads    about three minutes
//
// See README.md for how to read what it prints.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"bulkhead/bench/internal/daemon"
	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/table"
)

func main() { daemon.Main("reloads", run, serve) }

// settings are the command line's.
type settings struct {
	reloads, tenants, connections int
	quiet                         time.Duration
	echo                          string
}

func run(args []string, out io.Writer) error {
	var s settings
	f := flag.NewFlagSet("reloads", flag.ContinueOnError)
	f.IntVar(&s.reloads, "reloads", 1000, "reloads in a row under traffic; 0: leave this out")
	f.DurationVar(&s.quiet, "quiet", 10*time.Second, "how long the traffic is measured without reloads")
	f.IntVar(&s.tenants, "tenants", 1000, "tenants beside the one that changes; 0: leave this out")
	f.IntVar(&s.connections, "connections", 10_000, "connections to the tenant that changes")
	f.StringVar(&s.echo, "echo", "../examples/echo/echo.wasm", "the Wasm echo")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is nothing to do with %q", f.Arg(0))
	}
	if s.reloads < 0 || s.reloads > 0 && s.reloads < 20 || s.reloads > 100_000 || s.tenants < 0 || s.tenants > 10_000 || s.connections < 0 || s.connections > 25_000 || s.quiet <= 0 {
		return errors.New("-reloads has to be 0, or 20 to 100000, -tenants 0 to 10000, -connections 0 to 25000, and -quiet above 0")
	}
	var err error
	if s.echo, err = filepath.Abs(s.echo); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bulkhead-reloads-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.reloads > 0 {
		if err := s.underTraffic(dir, out); err != nil {
			return fmt.Errorf("reloads under traffic: %w", err)
		}
	}
	if s.tenants > 0 {
		if err := s.amongTenants(dir, out); err != nil {
			return fmt.Errorf("a reload among %d tenants: %w", s.tenants, err)
		}
	}
	return nil
}

// served is a daemon.
type served struct{ *daemon.Daemon }

func start(file string) (served, error) {
	d, err := daemon.Start(file)
	return served{d}, err
}

func (d served) stop() { d.Stop(20 * time.Second) }

func (d served) reload() (r reloaded, err error) {
	if err = d.Ask("reload", &r); err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return r, err
}

// held is what a daemon holds once no earlier generation is there.
type held struct {
	account
	memory proc.Memory
}

// settle waits until nothing is left of earlier generations, and of connections but so many.
func (d served) settle(connections int) (h held, err error) {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if err = d.Ask("settle", &h.account); err != nil {
			return h, err
		}
		if h.Retired == 0 && h.Connections <= connections {
			break
		}
		if time.Since(began) > time.Minute {
			return h, fmt.Errorf("%d connections and %d generations are left after a minute", h.Connections, h.Retired)
		}
	}
	time.Sleep(time.Second) // for what ends beside the loops
	if err = d.Ask("settle", &h.account); err == nil {
		h.memory, err = proc.MemoryOf(d.PID())
	}
	return h, err
}

func (h held) row(t *table.Table, when string) {
	t.Row(when, table.Figure(float64(h.memory.RSS)/(1<<20)), strconv.Itoa(h.Mappings), strconv.Itoa(h.Descriptors), strconv.Itoa(h.Goroutines),
		strconv.Itoa(h.Instances), strconv.FormatInt(h.Timers, 10), table.Figure(float64(h.Memory)/1024))
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func millis(d time.Duration) string { return table.Figure(float64(d) / float64(time.Millisecond)) }
