// Metrics compares what an echo costs a host whose metrics somebody scrapes each second with what
// it costs one that is left alone: the CPU time of the same daemon, in short turns. How many echoes
// there are in a second says more of what else the machine does.
//
//	make -C bench metrics
//	make -C bench metrics ARGS='-rounds 60 -tenants 1000'
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bulkhead/bench/internal/daemon"
	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/stats"
	"bulkhead/host"
	"bulkhead/host/metrics"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		if err := load.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "metrics load:", err)
			os.Exit(1)
		}
		return
	}
	daemon.Main("metrics", run, serve)
}

// serve is the daemon. It answers each line with the address at which its metrics are.
func serve(file string, in io.Reader, out io.Writer) error {
	return daemon.Serve(file, host.Options{}, in, out, func(h *host.Host, _ string) any {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ""
		}
		// It serves until the process ends.
		go func() { _ = http.Serve(l, metrics.New(metrics.Source{Host: h})) }()
		return l.Addr().String()
	})
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("metrics", flag.ContinueOnError)
	rounds := f.Int("rounds", 20, "`times` that each of the two is measured")
	tenants := f.Int("tenants", 20, "`tenants`, with a listener each")
	conns := f.Int("connections", 64, "`connections` that echo, to one of them")
	duration := f.Duration("duration", 2*time.Second, "`time` of one measurement")
	plugin := f.String("plugin", "../examples/echo/echo.wasm", "`file` of the handler")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *tenants < 1 || *conns < 1 || *duration < time.Second {
		return errors.New("there have to be a round, a tenant, a connection and a second at least")
	}
	dir, err := os.MkdirTemp("", "bulkhead-metrics-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "bulkhead.toml")
	text, err := configuration(dir, *plugin, *tenants)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	d, err := daemon.Start(file)
	if err != nil {
		return err
	}
	defer d.Stop(20 * time.Second)
	var at string
	if err := d.Ask("metrics", &at); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	g, err := load.Start(self, "load")
	if err != nil {
		return err
	}
	defer g.Close()
	job := load.Job{Kind: load.Echo, Address: d.Addresses["l0"], PID: d.PID(), Conns: *conns, Size: 64, Pipeline: 1, Warmup: time.Second / 2, Duration: *duration, Timeout: 20 * time.Second}
	// Of each round the CPU time that an echo took, left alone and scraped, and by how much the
	// second was more.
	var costs [2][]float64
	var more []float64
	scrapes, bytes := 0, int64(0)
	for round := range *rounds {
		for turn := range 2 {
			scraped := (round + turn) % 2 // who comes first in one round comes later in the next
			stop := func() error { return nil }
			if scraped == 1 {
				stop = scrape("http://"+at+"/metrics", func(n int64) { scrapes++; bytes = n })
			}
			r, err := g.Run(job)
			if err = errors.Join(err, stop()); err != nil {
				return err
			}
			if r.Messages == 0 || r.Failures.First != "" {
				return fmt.Errorf("%d echoes were answered, and of others: %s", r.Messages, r.Failures.First)
			}
			costs[scraped] = append(costs[scraped], float64(r.ServerCPU.Nanoseconds())/float64(r.Messages))
		}
		more = append(more, costs[1][round]/costs[0][round]-1)
	}
	least, most := middle(more)
	fmt.Fprintf(out, "%d tenants, %d connections, %d rounds of %v; %d scrapes of %d bytes\n", *tenants, *conns, *rounds, *duration, scrapes, bytes)
	fmt.Fprintf(out, "left alone: %.0f ns of CPU time an echo\n", stats.Median(costs[0]))
	fmt.Fprintf(out, "scraped each second: %.0f ns, in the median of the rounds %+.2f %%, in the middle half of them %+.2f to %+.2f %%\n",
		stats.Median(costs[1]), 100*stats.Median(more), 100*least, 100*most)
	return nil
}

// middle are the least and the most of the middle half of some figures, of which there is one at
// least.
func middle(all []float64) (least, most float64) {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return sorted[n/4], sorted[n-1-n/4]
}

// scrape asks for the metrics each second until the function that it returns is called, which says
// why one could not be had. each gets how many bytes they were.
func scrape(url string, each func(n int64)) (stop func() error) {
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				done <- nil
				return
			case <-tick.C:
			}
			r, err := http.Get(url)
			if err != nil {
				done <- err
				return
			}
			n, err := io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if err != nil {
				done <- err
				return
			}
			each(n)
		}
	}()
	return func() error { close(over); return <-done }
}

// configuration is that of so many tenants, t0 and on, with a listener each, l0 and on.
func configuration(dir, plugin string, tenants int) (string, error) {
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[host]\nstate = %q\n", filepath.Join(dir, "state"))
	for i := range tenants {
		fmt.Fprintf(&b, "[tenant.t%d]\ncpu = 1024\naccept_rate = 100000\nbandwidth = \"100GiB/s\"\n[[listener]]\nname = \"l%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\ninstance = \"loop\"\n", i, i, i, plugin)
	}
	return b.String(), nil
}
