package host_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// turnsOf counts in which turn of its loop each connection ends.
type turnsOf struct {
	hosttest.Echo
	mu   *sync.Mutex
	ends map[string]int
	loop string
}

func (h *turnsOf) Closed(c *csa.CSA, _ csa.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends[fmt.Sprintf("%s, turn %d", h.loop, c.Loop().Turn())]++
}

// When all connections of a generation, or of the host, are closed at once, a loop closes some in
// each turn, and does something else in between. A host that was closed did so to all in one turn.
func TestALoopClosesSomeInEachTurn(t *testing.T) {
	const connections, most = 120, 16
	const hostCloses = -1
	for _, old := range []time.Duration{0, time.Hour, hostCloses} {
		cfg := func(version string) *config.Config {
			c := nativeConfig(anyPort)
			c.Host.Drain = time.Millisecond
			l := &c.Listeners[0]
			l.OldFor, l.FirstByteTimeout, l.IdleTimeout, l.Generations, l.PerSource = max(old, 0), 0, 720*time.Hour, 3, 0
			l.Config = json.RawMessage(version)
			return c
		}
		clock := &selector.Manual{}
		var mu sync.Mutex
		ends := make(map[string]int)
		h := hosttest.ServeConfig(t, cfg(`{"version":1}`), host.Options{Log: slog.New(slog.DiscardHandler), Clock: clock, Native: map[string]host.Native{"echo": func(l *csa.Loop) csa.Handler {
			return &turnsOf{Echo: hosttest.Echo{Buffer: make([]byte, 64)}, mu: &mu, ends: ends, loop: fmt.Sprintf("%p", l)}
		}}}, runtime.NumGoroutine())
		var all []net.Conn
		for range connections {
			c := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, c, "x")
			hosttest.Hear(t, c, "x")
			all = append(all, c)
		}
		if old == hostCloses {
			h.Close()
		} else if err := h.Reload(t.Context(), cfg(`{"version":2}`)); err != nil {
			t.Fatal(err)
		} else {
			clock.Advance(old)
		}
		hosttest.Eventually(t, "all are closed", func() bool {
			if old != hostCloses {
				clock.Advance(time.Second) // drain is over as well
			}
			mu.Lock()
			defer mu.Unlock()
			sum := 0
			for _, n := range ends {
				sum += n
			}
			return sum == connections
		})
		for _, c := range all {
			hosttest.HearEnd(t, c)
		}
		for turn, n := range ends {
			if n > most {
				t.Errorf("after %v: in %s %d connections were closed; want at most %d", old, turn, n, most)
			}
		}
	}
}
