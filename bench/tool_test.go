package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/bench/internal/load"
)

func TestReadRedisBenchmark(t *testing.T) {
	const head = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	got, err := readRedisBenchmark(cell{Count: 1000}, head+`"GET","500.00","0.5","0.1","0.391","0.7","0.855","1.9"`+"\n")
	want := load.Result{Messages: 1000, Elapsed: 2 * time.Second, P50: 391 * time.Microsecond, P99: 855 * time.Microsecond, Max: 1900 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, wrong := range []string{"", head, "GET: 500 requests per second", head + `"GET","0","1","1","1","1","1","1"`, head + `"GET","x","1","1","1","1","1","1"`, head + `"GET","-1","1","1","1","1","1","1"`} {
		if got, err := readRedisBenchmark(cell{Count: 1}, wrong); err == nil {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
}

func TestReadWrk(t *testing.T) {
	const well = `Running 1s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.21ms  355.29us   9.19ms   92.45%
    Req/Sec    53.06k     3.08k   57.98k    63.64%
  Latency Distribution
     50%    1.16ms
     75%    1.25ms
     90%    1.46ms
     99%  950.00us
  58050 requests in 1.10s, 73.19MB read
`
	got, err := readWrk(cell{}, well+"Requests/sec:  52773.48\nTransfer/sec:     66.53MB\n")
	want := load.Result{Messages: 58050, Elapsed: 1100 * time.Millisecond, P50: 1160 * time.Microsecond, P99: 950 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	got, err = readWrk(cell{}, well+"  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n")
	if f := got.Failures; err != nil || f.Connect != 1 || f.Cut != 5 || f.Unanswered != 4 || f.Wrong != 5 || f.First == "" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{"", "unable to connect to 127.0.0.1:1 Connection refused", "  5 requests in a while, 1MB read", "  99999999999999999999 requests in 1.00s, 1MB read"} {
		if got, err := readWrk(cell{}, wrong); err == nil {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
}

// A tool is told where the server is, what it prints is read, and it ends with the run.
func TestDrive(t *testing.T) {
	bin := buildServer(t, "gonet")
	hammer := filepath.Join(t.TempDir(), "hammer")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &runner{ctx: ctx, bin: bin, work: t.TempDir(), res: &results{}}
	s := server{name: yardstick, program: "gonet", arguments: plain}
	drive := func(script string) (result load.Result, err error) {
		t.Helper()
		if err := os.WriteFile(hammer, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
		read := func(c cell, printed string) (load.Result, error) {
			return load.Result{Messages: uint64(len(printed))}, nil
		}
		at := ""
		arguments := func(c cell, address string) []string {
			at = address
			if strings.HasPrefix(script, "sleep") {
				time.AfterFunc(10*time.Millisecond, cancel)
			}
			return append([]string{address}, c.Args...)
		}
		err = r.with(s, func(on *running) (err error) {
			result, err = r.drive(&tool{hammer, arguments, read}, cell{Args: []string{"more"}, Job: load.Job{Conns: 3}}, s, on)
			if at != on.address {
				t.Errorf("it is told %s, and the server is at %s", at, on.address)
			}
			return err
		})
		return result, err
	}
	// The server has worked for its first answer before the tool began.
	result, err := drive("test $# = 2 && echo $2\n")
	if err != nil || result.Messages != uint64(len("more\n")) || result.Conns != 3 || result.LoadCPU <= 0 || result.ServerCPU < 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := drive("echo no luck today >&2; exit 7\n"); err == nil || !strings.Contains(err.Error(), "no luck today") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("a tool that fails: %v", err)
	}
	if _, err := drive("sleep 1000\n"); err == nil {
		t.Error("a tool that is stopped has no error")
	}
	if err := (&tool{program: "redis-benchmark"}).there(); err != nil && !strings.Contains(err.Error(), "apt-get install redis-tools") {
		t.Error(err)
	}
}
