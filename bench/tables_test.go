package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

func TestTables(t *testing.T) {
	for name, c := range tables {
		full, quick, smoke := c.plan(&settings{}), c.plan(&settings{quick: true}), c.plan(&settings{smoke: true})
		seen := map[string]bool{}
		for _, one := range full.Cells {
			if seen[one.Name] {
				t.Errorf("%s: two loads are called %q", name, one.Name)
			}
			seen[one.Name] = true
		}
		for _, one := range quick.Cells {
			if !seen[one.Name] {
				t.Errorf("%s: the quick plan has %q, and the full one has not", name, one.Name)
			}
		}
		if len(smoke.Cells) == 0 || len(smoke.Cells) > len(full.Cells) {
			t.Errorf("%s: the smoke plan has %d loads", name, len(smoke.Cells))
		}
		all := c.servers(&settings{plugin: "echo.wasm"})
		if all[0].name != c.yardstick {
			t.Errorf("%s: the first server is %s, and the yardstick %s", name, all[0].name, c.yardstick)
		}
		var names []string
		for _, s := range all {
			if slices.Contains(names, s.name) {
				t.Errorf("%s: two servers are called %s", name, s.name)
			}
			names = append(names, s.name)
			args, err := s.arguments(place{dir: t.TempDir(), address: "127.0.0.1:1", backend: "127.0.0.1:2", cores: 1})
			if err != nil || len(args) == 0 {
				t.Errorf("%s, %s: %q, %v", name, s.name, args, err)
			}
		}
		if c.title == "" || len(c.goals) == 0 {
			t.Errorf("%s has no title, or no goals", name)
		}
	}
	s := settings{table: "relay", duration: 30 * time.Millisecond}
	if p, err := s.plan(); err != nil || p.Cells[0].Job.Duration != 30*time.Millisecond {
		t.Errorf("%+v, %v", p.Cells[0], err)
	}
}

// A SOCKS client and a TLS client say what they should.
func TestVisits(t *testing.T) {
	steps, message := socksVisit("127.0.0.1:258")
	if len(message) != 0 || len(steps) != 2 || string(steps[1].Send) != "\x05\x01\x00\x01\x7f\x00\x00\x01\x01\x02" {
		t.Errorf("%+v, %q", steps, message)
	}
	_, message = hello("")
	if len(message) < 200 || message[0] != 22 || !strings.Contains(string(message), routedName) {
		t.Errorf("a ClientHello of %d bytes, without the name", len(message))
	}
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"cert.pem": "CERTIFICATE", "key.pem": "PRIVATE KEY"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(b); block == nil || block.Type != kind {
			t.Errorf("%s holds %q", name, b)
		}
	}
	if writeCertificate("/nonexistent") == nil {
		t.Error("no error for a folder that is not there")
	}
}

// A goal goes by the worst load, and by the best of the others.
func TestGoals(t *testing.T) {
	r := &results{Plan: plan{Cells: []cell{
		{Name: "a", Job: load.Job{Kind: load.Stream}}, {Name: "b", Job: load.Job{Kind: load.Stream}}, {Name: "c", Job: load.Job{Kind: load.Echo}},
	}, Idle: 10}}
	add := func(server, cell string, cpu time.Duration, messages uint64) {
		r.Samples = append(r.Samples, sample{Server: server, Cell: cell, Result: load.Result{Messages: messages, Elapsed: time.Second, ServerCPU: cpu}})
	}
	for _, cell := range []string{"a", "b", "c"} {
		add("one", cell, 200, 10)
		add("two", cell, 100, 10)
	}
	add("ours", "a", 90, 20)
	add("ours", "b", 110, 10)
	add("ours", "c", 1000, 10)
	for _, want := range []struct {
		g      goal
		figure string
		good   bool
	}{
		{atMost("", 1, "ours", cpuOf, bulk, "one", "two"), "1.10x (b)", false},
		{atMost("", 1.1, "ours", cpuOf, bulk, "one", "two"), "1.10x (b)", true},
		{atMost("", 1, "ours", inverse(rateOf), bulk, "one", "two"), "1.00x (b)", true},
		{atMost("", 1, "ours", cpuOf, echoes, "one"), "5.00x (c)", false},
	} {
		if figure, good, ok := want.g.met(r); figure != want.figure || good != want.good || !ok {
			t.Errorf("%q, %v, %v; want %q, %v", figure, good, ok, want.figure, want.good)
		}
	}
	for _, g := range []goal{atMost("", 1, "ours", cpuOf, visits, "one"), atMost("", 1, "nobody", cpuOf, bulk, "one"), atMost("", 1, "ours", cpuOf, bulk, "nobody"),
		holds("", "ours", 1, echoedRSS), leaner("", "ours", "one", 1), served("", "ours")} {
		if figure, _, ok := g.met(r); ok {
			t.Errorf("nothing was measured, and the figure is %q", figure)
		}
	}
	r.Idle = []idleSample{
		{Server: "one", Conns: 10, Open: proc.Memory{RSS: 10 << 20}, Echoed: proc.Memory{RSS: 20 << 20}},
		{Server: "ours", Conns: 10, Open: proc.Memory{RSS: 6 << 20}, Echoed: proc.Memory{RSS: 10 << 20}},
	}
	if figure, good, ok := leaner("", "ours", "one", 0.5).met(r); figure != "0.60x" || good || !ok {
		t.Errorf("%q, %v, %v", figure, good, ok)
	}
	if figure, good, ok := holds("", "ours", 1<<20, echoedRSS).met(r); figure != "1024.0 KiB" || !good || !ok {
		t.Errorf("%q, %v, %v", figure, good, ok)
	}
	if figure, good, ok := served("", "ours").met(r); figure != "10" || !good || !ok {
		t.Errorf("%q, %v, %v", figure, good, ok)
	}
}
