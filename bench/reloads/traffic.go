package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bulkhead/bench/internal/table"
	"bulkhead/internal/traffictest"
)

// plugins is how many there are, of which each reload changes one: 18 over TCP, one over UDP and
// one over TLS.
const plugins = 20

// underTraffic reloads a daemon under traffic.
func (s *settings) underTraffic(dir string, out io.Writer) error {
	file := filepath.Join(dir, "traffic.toml")
	at := func(n int) string { return filepath.Join(dir, strconv.Itoa(n)+".wasm") }
	configure := func(reloads int, idle string) error {
		var toml strings.Builder
		fmt.Fprintf(&toml, "[host]\nstate = %q\n[tenant.acme]\naccept_rate = 100000\nconnections = 1000\n", filepath.Join(dir, "state"))
		listener := func(name, address, plugin, more string) {
			fmt.Fprintf(&toml, "[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"%s://127.0.0.1:0\"\nplugin = %q\nper_source = 0\nper_source_rate = 0\n%s\n", name, address, plugin, more)
		}
		listener("echo", "tcp", s.echo, fmt.Sprintf("idle_timeout = \"%dm\"", 5+reloads%100))
		for n := range plugins {
			address, more := "tcp", ""
			switch n {
			case plugins - 2:
				address, more = "udp4", fmt.Sprintf("idle_timeout = %q", idle)
			case plugins - 1:
				more = "[listener.tls]\nself_signed = [\"a.test\"]\n"
			}
			listener("it"+strconv.Itoa(n), address, at(n), more)
		}
		return os.WriteFile(file, []byte(toml.String()), 0o600)
	}
	plugin := func(n, version int) error {
		if err := os.WriteFile(at(n)+".new", traffictest.Handler(version), 0o600); err != nil {
			return err
		}
		return os.Rename(at(n)+".new", at(n))
	}
	for n := range plugins {
		if err := plugin(n, 0); err != nil {
			return err
		}
	}
	if err := configure(0, "10m"); err != nil {
		return err
	}
	d, err := start(file)
	if err != nil {
		return err
	}
	defer d.stop()
	var it []*traffictest.Versioned
	for n := range plugins {
		it = append(it, &traffictest.Versioned{Address: d.Addresses["it"+strconv.Itoa(n)]})
	}
	var took, cpu []time.Duration
	version := 0
	under := func(reloads int) (quiet, busy traffictest.Heard, h held, err error) {
		traffic, err := traffictest.Start(traffictest.Clients{
			Echo: d.Addresses["echo"], Echoing: 64, Visited: it[:plugins-2], Visiting: 64, Datagrams: it[plugins-2], Secure: it[plugins-1],
			EchoPause: 5 * time.Millisecond, Pause: 20 * time.Millisecond, DatagramIsLostBeyond: 5 * time.Second,
		})
		if err != nil {
			return quiet, busy, h, err
		}
		time.Sleep(s.quiet / 10)
		traffic.Take() // what comes first is slower
		time.Sleep(s.quiet)
		quiet = traffic.Take()
		for range reloads {
			version++
			n := version % plugins
			if err = plugin(n, version); err == nil {
				it[n].Changes(version)
				err = configure(version, "10m")
			}
			var r reloaded
			if err == nil {
				r, err = d.reload()
			}
			if err != nil {
				break
			}
			it[n].Changed()
			took, cpu = append(took, r.Took), append(cpu, r.CPU)
		}
		busy = traffic.Stop()
		if err == nil { // UDP's peers end
			err = configure(version, "10ms")
		}
		if err == nil {
			_, err = d.reload()
		}
		if err == nil {
			h, err = d.settle(0)
		}
		if err == nil {
			err = configure(version, "10m")
		}
		if err == nil {
			_, err = d.reload()
		}
		return quiet, busy, h, err
	}
	_, early, tenth, err := under(10)
	if err != nil {
		return err
	}
	took, cpu = nil, nil
	began := time.Now()
	quiet, busy, last, err := under(s.reloads - 10)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d reloads in %v, each of one plugin of %d and one limit; median %s ms, of which %s ms are CPU time of the daemon with its traffic\n\n",
		len(took), time.Since(began).Round(time.Second), plugins, millis(median(took)), millis(median(cpu)))
	t := table.New("traffic", "echo p50, µs", "p99, µs", "ratio", "longest, ms", "echoes", "visits", "over TLS", "datagrams", "lost", "failed")
	for _, one := range []struct {
		what string
		h    *traffictest.Heard
	}{{"without reloads", &quiet}, {"under reloads", &busy}} {
		t.Row(one.what, table.Micros(one.h.P50), table.Micros(one.h.P99), table.Ratio(float64(one.h.P99), float64(quiet.P99)), millis(one.h.Longest),
			strconv.FormatInt(one.h.Echoes, 10), strconv.FormatInt(one.h.Visits, 10), strconv.FormatInt(one.h.Secure, 10),
			strconv.FormatInt(one.h.Datagrams, 10), strconv.FormatInt(one.h.Lost, 10), strconv.FormatInt(one.h.Failed, 10))
	}
	if err := t.Write(out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	t = table.New("the daemon holds", "RSS, MiB", "mappings", "descriptors", "goroutines", "instances", "timers", "charged, KiB")
	tenth.row(t, "after 10")
	last.row(t, "after "+strconv.Itoa(s.reloads))
	if err := t.Write(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe longest event of a loop took %s ms of CPU time.\n", millis(last.LongestEvent))
	for _, h := range []*traffictest.Heard{&early, &quiet, &busy} {
		if h.Failed+h.Lost > 0 {
			return fmt.Errorf("%d exchanges failed and %d datagrams were lost: %q", h.Failed, h.Lost, h.Failures)
		}
	}
	return nil
}
