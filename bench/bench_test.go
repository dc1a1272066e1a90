package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/bench/internal/load"
	"bulkhead/bench/internal/proc"
)

// The harness starts its own program as the load generator, so the test's
// program has to be one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		main()
		return
	}
	os.Exit(m.Run())
}

// buildServer builds one of the Go servers into a folder, and returns that.
func buildServer(t *testing.T, names ...string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range names {
		out, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), "./servers/"+name).CombinedOutput()
		if err != nil {
			t.Fatalf("building %s: %v\n%s", name, err, out)
		}
	}
	return bin
}

// The whole harness, with Go's net alone.
func TestSmoke(t *testing.T) {
	bin, kept := buildServer(t, "gonet"), t.TempDir()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out, notes bytes.Buffer
	err := run([]string{"-smoke", "-servers", "go-net", "-bin", bin, "-results", kept, "-duration", "300ms", "-idle", "50"}, &out, &notes)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &notes)
	}
	for _, want := range []string{"No failures", "4 x 64 B, 1 deep", "4 x connect-echo-close", "Memory per idle connection, 50 open"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
	if notes.Len() != 0 {
		t.Errorf("not on a terminal, and yet: %q", &notes)
	}
	files, err := filepath.Glob(filepath.Join(kept, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("results: %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var res results
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Samples) != 3 || len(res.Idle) != 1 || res.Samples[0].Messages == 0 || res.Idle[0].Conns != 50 || res.Idle[0].Echoed.RSS == 0 {
		t.Errorf("the JSON file holds %+v", res)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A server that cannot start, or does wrong, costs its own figures and no
// others.
func TestBadServer(t *testing.T) {
	bin := buildServer(t, "gonet")
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script("netpoll", "echo no luck today >&2; exit 7\n")
	var out bytes.Buffer
	err := run([]string{"-smoke", "-servers", "go-net,netpoll,c-epoll", "-bin", bin, "-results", "", "-duration", "20ms", "-idle", "10"}, &out, io.Discard)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"4 failures", "no luck today", "exit status 7", "Skipped: c-epoll, as no C compiler"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "- go-net") {
		t.Errorf("go-net has failures too:\n%s", &out)
	}
}

// An interrupt ends the run soon, reports what there is, and leaves no process
// and no file.
func TestInterrupt(t *testing.T) {
	bin := buildServer(t, "gonet")
	exe := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tmp := t.TempDir()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(exe, "-servers", "go-net", "-bin", bin, "-results", "", "-duration", "1h", "-loads", "1 x 64 B, 1 deep")
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kids := await(t, func() []int {
			// They are the generator and the server.
			if kids := children(t, cmd.Process.Pid); len(kids) == 2 {
				return kids
			}
			return nil
		})
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out.String(), "Not everything was measured") {
			t.Errorf("%v: %v\n%s", sig, err, &out)
		}
		for _, pid := range kids {
			if runs(pid) {
				t.Errorf("%v: process %d is still there", sig, pid)
			}
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Even a SIGKILL leaves no process.
func TestKilled(t *testing.T) {
	bin := buildServer(t, "gonet")
	exe := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(exe, "-servers", "go-net", "-bin", bin, "-results", "", "-duration", "1h", "-loads", "1 x 64 B, 1 deep")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kids := await(t, func() []int {
		if kids := children(t, cmd.Process.Pid); len(kids) == 2 {
			return kids
		}
		return nil
	})
	cmd.Process.Kill()
	cmd.Wait()
	await(t, func() []int {
		for _, pid := range kids {
			if runs(pid) {
				return nil
			}
		}
		return kids
	})
}

// await asks again until it gets something, and fails after a minute.
func await(t *testing.T, ask func() []int) []int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got := ask(); got != nil {
			return got
		}
	}
	t.Fatal("nothing within a minute")
	return nil
}

// children lists the processes that pid has started, by looking at all.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		after := b[bytes.LastIndexByte(b, ')')+1:]
		if f := bytes.Fields(after); len(f) > 1 && string(f[1]) == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// runs reports whether there is a process pid that has not ended.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	return len(f) > 0 && string(f[0]) != "Z" && string(f[0]) != "X"
}

func TestPlans(t *testing.T) {
	full := fullPlan(time.Second)
	if n := len(full.Cells); n != 3*3*2+3 {
		t.Errorf("the full plan has %d loads", n)
	}
	names := map[string]bool{}
	for _, c := range full.Cells {
		if names[c.Name] {
			t.Errorf("two loads are called %q", c.Name)
		}
		names[c.Name] = true
	}
	for _, c := range quickPlan(time.Second).Cells {
		if !names[c.Name] {
			t.Errorf("the quick plan has %q, and the full one has not", c.Name)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, args := range [][]string{
		{"-repeats", "-1"}, {"-duration", "-1s"}, {"-limit", "0s"}, {"more"}, {"-nonsense"},
		{"-idle", "100001"}, {"-repeats", "1001"}, {"-loads", "nothing like it", "-idle", "0"}, {"-servers", "iis"},
		{"-servers", "go-net", "-bin", "/nonexistent"},
		{"-servers", "c-epoll", "-bin", "/nonexistent"},
	} {
		if err := run(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	var s settings
	if err := s.parse([]string{"-quick", "-loads", "64 x", "-repeats", "2", "-idle", "7", "-duration", "1ms"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	p, err := s.plan()
	if err != nil || p.Repeats != 2 || p.Idle != 7 || len(p.Cells) == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range p.Cells {
		if !strings.Contains(c.Name, "64 x") || c.Job.Duration < time.Millisecond || c.Job.Duration > 2*time.Millisecond {
			t.Errorf("%+v", c)
		}
	}
}

func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	args, err := guest{plugin: "echo.wasm", instance: "loop"}.run(place{dir: dir, address: "127.0.0.1:7001", backend: "127.0.0.1:7002"})
	if err != nil || len(args) != 3 || args[0] != "run" || args[1] != "--single" {
		t.Fatalf("%q, %v", args, err)
	}
	b, err := os.ReadFile(args[2])
	if err != nil {
		t.Fatal(err)
	}
	abs, _ := filepath.Abs("echo.wasm")
	for _, want := range []string{`address = "tcp://127.0.0.1:7001"`, `connect = ["127.0.0.1:7002"]`, `instance = "loop"`, `plugin = "` + abs + `"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
}

// made is a result with two servers, two rounds, and the second server half as
// dear as the first in each, while the rounds differ by a factor of ten.
func made() *results {
	r := &results{
		Plan:    plan{Repeats: 2, Cells: []cell{echoCell(1, 64, 1, time.Second)}, Idle: 10},
		Servers: []string{yardstick, "other", "dead"},
	}
	for round, cpu := range []time.Duration{time.Millisecond, 10 * time.Millisecond} {
		for i, server := range r.Servers[:2] {
			r.Samples = append(r.Samples, sample{
				Server: server, Cell: r.Plan.Cells[0].Name, Repeat: round,
				Result: load.Result{
					Messages: 1000, Elapsed: time.Second, ServerCPU: cpu >> i, LoadCPU: time.Second / 2,
					P50: time.Microsecond, P99: 2 * time.Microsecond, P999: 3 * time.Microsecond,
				},
			})
		}
		r.Samples = append(r.Samples, sample{Server: "dead", Cell: r.Plan.Cells[0].Name, Repeat: round, Error: "it\ndied"})
	}
	r.Idle = []idleSample{
		{Server: yardstick, Conns: 10, Empty: proc.Memory{RSS: 1000, PSS: 1000}, Open: proc.Memory{RSS: 21000, PSS: 21000}, Echoed: proc.Memory{RSS: 41000, PSS: 31000}},
		{Server: "other", Conns: 5, Open: proc.Memory{RSS: 5000}, Echoed: proc.Memory{RSS: 5000}, Failures: load.Failures{Connect: 5, First: "no room"}},
	}
	return r
}

func TestFigures(t *testing.T) {
	r := made()
	name := r.Plan.Cells[0].Name
	base, other, dead := r.figuresOf(yardstick, name), r.figuresOf("other", name), r.figuresOf("dead", name)
	if got := base.median(cpuOf); got != 5.5 {
		t.Errorf("CPU per message %v, want 5.5", got)
	}
	if got, ok := other.ratio(base, cpuOf); got != 0.5 || !ok {
		t.Errorf("the ratio is %v, %v; want 0.5, as in each round", got, ok)
	}
	if got, ok := dead.ratio(base, cpuOf); ok {
		t.Errorf("a server without figures has the ratio %v", got)
	}
	if dead.failed != 2 || dead.why != "it\ndied" {
		t.Errorf("failures of the dead: %d, %q", dead.failed, dead.why)
	}
	if m := r.memoryOf(yardstick); m.open != 2000 || m.echoed != 4000 || m.echoedPSS != 3000 {
		t.Errorf("memory: %+v", m)
	}
	if m := r.memoryOf("other"); m.open != 1000 || m.failed != 5 || m.conns != 5 {
		t.Errorf("memory: %+v", m)
	}
	r.trouble("once")
	r.trouble("once")
	if got := r.failures(); got != 2+5+1 {
		t.Errorf("%d failures, want 8", got)
	}
}

func TestReport(t *testing.T) {
	r := made()
	r.Skipped = []string{"c-epoll, as it is missing"}
	r.Stopped = "enough"
	r.trouble("other did not end")
	var b strings.Builder
	if err := r.report(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, want := range []string{
		"**Not everything was measured: enough.**",
		"**8 failures; they are listed at the end.**",
		"Skipped: c-epoll, as it is missing.",
		"| 1 x 64 B, 1 deep | 5.50 1.00x | 2.75 0.50x |    - |",
		"- dead, 1 x 64 B, 1 deep: 2, first: it died",
		"- other, idle connections: 5, first: no room",
		"- other did not end",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
	if err := r.report(broken{}); err == nil {
		t.Error("no error from a writer that fails")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }
