package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bulkhead/host/admin"
	"bulkhead/internal/awaittest"
)

var deaths = flag.Int("deaths", 1, "how often the worker of a daemon is killed under load")

const oneEcho = `
[host]
state = "state"
[tenant.acme]
accept_rate = 10000
connections = 10000
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = "echo.wasm"
`

// While workers die, nobody is refused, and whoever connects then is served by the next worker.
func TestNobodyIsRefusedWhileWorkersDie(t *testing.T) {
	r, end := pipe(t)
	d := runDaemon(t, oneEcho, theirModules, r, end, 1)
	go func() { _, _ = io.Copy(io.Discard, d.lines) }()
	state := filepath.Join(filepath.Dir(d.cmd.Args[2]), "state")
	status := func() (st admin.Status, err error) {
		err = ask(state, "/v1/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&st) })
		return st, err
	}

	var clients sync.WaitGroup
	over := make(chan struct{})
	var served, cut, longest atomic.Int64
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				c, err := net.Dial("tcp", d.addrs["echo"])
				if errors.Is(err, syscall.ECONNREFUSED) {
					t.Error("a connection is refused")
					return
				}
				if err != nil {
					continue
				}
				_ = c.SetDeadline(awaittest.Deadline())
				b := []byte("hello")
				if _, err = c.Write(b); err == nil {
					_, err = io.ReadFull(c, b)
				}
				c.Close()
				// Those that the worker had accepted die with it.
				if err != nil {
					cut.Add(1)
					continue
				}
				served.Add(1)
				longest.Store(max(longest.Load(), int64(time.Since(began))))
			}
		})
	}
	for i := range *deaths {
		before := served.Load()
		awaittest.Until(t, "some clients are served", func() bool { return served.Load() > before+20 })
		var st admin.Status
		awaittest.Until(t, "the daemon says who serves", func() (ok bool) {
			var err error
			st, err = status()
			return err == nil && st.Worker != nil && st.Worker.Restarts == int64(i)
		})
		if err := syscall.Kill(st.Worker.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		awaittest.Until(t, "another worker serves", func() bool {
			now, err := status()
			return err == nil && now.Worker != nil && now.Worker.PID != st.Worker.PID && now.Worker.Restarts == int64(i+1) && now.PID == st.PID
		})
	}
	before := served.Load()
	awaittest.Until(t, "some clients are served", func() bool { return served.Load() > before+20 })
	close(over)
	clients.Wait()
	if lost, most := cut.Load(), int64(8**deaths); lost > most {
		t.Errorf("%d connections were cut by %d deaths; there were never more than 8", lost, *deaths)
	}
	t.Logf("%d connections served, %d cut, the longest took %v", served.Load(), cut.Load(), time.Duration(longest.Load()))
	d.signal(syscall.SIGTERM)
	d.ends(0)
}
