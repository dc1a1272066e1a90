// Tenants measures what a tenant costs that has one listener and a module of its own: the time
// until all of them serve, with and without compiled modules from an earlier start, and what the
// daemon holds.
//
//	make -C bench tenants    about two minutes
//
// See README.md for how to read what it prints.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"bulkhead/bench/internal/daemon"
	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
)

func main() { daemon.Main("tenants", run, serve) }

// kind is what the tenants' handlers are.
type kind struct {
	name string
	// guest returns the module of tenant i, or the script, whose files end with ext.
	guest func(i int) ([]byte, error)
	ext   string
	// talk has one message answered.
	talk func(net.Conn) error
}

// account is what a daemon holds when it is asked.
type account struct {
	daemon.Holds
	Memory int64 // charged to all tenants
}

// result is one daemon.
type result struct {
	start, loaded     time.Duration // from exec until all listen, and until all plugins are loaded
	cpu               time.Duration // that the daemon has used until then
	idle, served      proc.Memory   // as they are then, and when each has served a connection, which has ended
	rest              proc.Memory   // some seconds later
	holds, afterwards account
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("tenants", flag.ContinueOnError)
	most := f.Int("tenants", 1000, "the most tenants that are tried")
	scripts := f.Int("scripts", 1000, "the most tenants with a script in JavaScript that are tried; 0: none")
	golang := f.Int("go", 100, "the most tenants with a Go guest that are tried; 0: none")
	rounds := f.Int("rounds", 3, "warm starts, of which the medians are taken")
	rest := f.Duration("rest", 5*time.Second, "how long after that connection memory at rest is looked at; 0: it is not")
	chat := f.String("chat", "../examples/chat/chat.wasm", "the Go guest")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is nothing to do with %q", f.Arg(0))
	}
	if *most < 20 || *most > 10_000 || *golang != 0 && *golang < 20 || *golang > 1000 || *scripts != 0 && *scripts < 20 || *scripts > 10_000 || *rounds < 1 {
		return errors.New("-tenants has to be 20 to 10000, -scripts 20 to 10000 or 0, -go 20 to 1000 or 0, and -rounds above 0")
	}
	dir, err := os.MkdirTemp("", "bulkhead-tenants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := table.New("tenants, a listener each", "", "cold start, s", "warm start, s", "loaded, s", "CPU until then, s", "RSS, KiB each", "after one served", "at rest then", "charged, KiB each", "descriptors each", "mappings each", "goroutines in all")
	for _, c := range []struct {
		kind
		counts []int
	}{
		{small, []int{10, min(100, *most), *most}},
		{script, []int{10, min(100, *scripts), *scripts}},
		{golangGuest(*chat), []int{10, *golang}},
	} {
		if c.counts[len(c.counts)-1] == 0 {
			continue
		}
		var base *result // of the fewest, which has what is there once
		fewest := 0
		for _, n := range slices.Compact(c.counts) {
			cold, warm, err := c.measure(filepath.Join(dir, c.name+strconv.Itoa(n)), n, *rounds, *rest)
			if err != nil {
				return fmt.Errorf("%d tenants, %s: %w", n, c.name, err)
			}
			if base == nil {
				base, fewest = warm, n
				t.Row(strconv.Itoa(n), c.name, seconds(cold.start), seconds(warm.start), seconds(warm.loaded), seconds(warm.cpu), "-", "-", "-",
					kib(warm.holds.Memory, n), "-", "-", strconv.Itoa(warm.holds.Goroutines))
				continue
			}
			more := n - fewest
			t.Row(strconv.Itoa(n), c.name, seconds(cold.start), seconds(warm.start), seconds(warm.loaded), seconds(warm.cpu),
				kib(warm.idle.RSS-base.idle.RSS, more), kib(warm.served.RSS-base.served.RSS, more), kib(warm.rest.RSS-base.rest.RSS, more),
				kib(warm.holds.Memory, n),
				table.Figure(float64(warm.holds.Descriptors-base.holds.Descriptors)/float64(more)),
				table.Figure(float64(warm.holds.Mappings-base.holds.Mappings)/float64(more)),
				strconv.Itoa(warm.holds.Goroutines))
		}
	}
	fmt.Fprintf(out, "\nTenants with a module and a listener each, instance = \"connection\" (%d cores; warm: medians of %d)\n\n", runtime.NumCPU(), *rounds)
	return t.Write(out)
}

func seconds(d time.Duration) string { return table.Figure(d.Seconds()) }

func kib(bytes int64, n int) string { return table.Figure(float64(bytes) / 1024 / float64(n)) }

// measure starts a daemon of n tenants for the first time, and then some times again.
func (k kind) measure(dir string, n, rounds int, rest time.Duration) (cold, warm *result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, err
	}
	file, err := k.configure(dir, n)
	if err != nil {
		return nil, nil, err
	}
	if cold, err = k.serve(file, 0); err != nil {
		return nil, nil, err
	}
	var starts, loads, cpus []float64
	for range rounds {
		if warm, err = k.serve(file, rest); err != nil {
			return nil, nil, err
		}
		starts, loads, cpus = append(starts, float64(warm.start)), append(loads, float64(warm.loaded)), append(cpus, float64(warm.cpu))
	}
	warm.start, warm.loaded, warm.cpu = time.Duration(stats.Median(starts)), time.Duration(stats.Median(loads)), time.Duration(stats.Median(cpus))
	return cold, warm, nil
}

// configure writes the modules and the configuration.
func (k kind) configure(dir string, n int) (string, error) {
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\n", filepath.Join(dir, "state"))
	for i := range n {
		code, err := k.guest(i)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, fmt.Sprintf("%d%s", i, k.ext))
		if err := os.WriteFile(path, code, 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&toml, "[tenant.t%d]\n[[listener]]\nname = \"l%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", i, i, i, path)
	}
	file := filepath.Join(dir, "bulkhead.toml")
	return file, os.WriteFile(file, []byte(toml.String()), 0o600)
}

// serve starts a daemon, looks at it, has each tenant serve a connection, and looks again.
func (k kind) serve(file string, rest time.Duration) (r *result, err error) {
	began := time.Now()
	d, err := daemon.Start(file)
	if err != nil {
		return nil, err
	}
	defer d.Stop(10 * time.Second)
	r = &result{start: time.Since(began)}
	look := func(m *proc.Memory, a *account) error {
		if err := d.Ask("", a); err != nil {
			return err
		}
		var err error
		*m, err = proc.MemoryOf(d.PID())
		return err
	}
	for loaded := 0; loaded < len(d.Addresses); {
		time.Sleep(max(25*time.Millisecond, time.Since(began)/20)) // the answer takes CPU, too
		if err := d.Ask("loaded", &loaded); err != nil {
			return nil, err
		}
	}
	r.loaded = time.Since(began)
	if r.cpu, err = proc.CPU(d.PID()); err != nil {
		return nil, err
	}
	if err := d.Tell("settle"); err != nil {
		return nil, err
	}
	if err := look(&r.idle, &r.holds); err != nil {
		return nil, err
	}
	for i := range len(d.Addresses) {
		if err := k.visit(d.Addresses[fmt.Sprint("l", i)]); err != nil {
			return nil, fmt.Errorf("%w; the daemon said: %s", err, d.Complaint())
		}
	}
	if err := look(&r.served, &r.afterwards); err != nil || rest == 0 {
		return r, err
	}
	time.Sleep(rest)
	if err := d.Tell("settle"); err != nil {
		return nil, err
	}
	return r, look(&r.rest, &r.afterwards)
}

func (k kind) visit(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	return k.talk(c)
}
