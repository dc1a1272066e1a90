package host_test

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// Connections that have nothing to say have instances that sleep, and are answered when
// they have.
func TestHandlersSleep(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	const connections = 50
	clock := &selector.Manual{}
	h := hosttest.Serve(t, echoConfig(t, "connection", ""), host.Options{Clock: clock, Log: slog.New(slog.DiscardHandler)})
	asleep := func() int { return h.Stats().Tenants[0].Asleep }
	for range connections {
		c := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, c, "one")
		hosttest.Hear(t, c, "one")
		defer func() {
			hosttest.Say(t, c, "two")
			hosttest.Hear(t, c, "two")
			c.Close()
		}()
	}
	passed := time.Duration(0)
	hosttest.Eventually(t, "all sleep", func() bool {
		if passed < time.Minute { // well before idle_timeout
			clock.Advance(100 * time.Millisecond)
			passed += 100 * time.Millisecond
			h.Refresh(t.Context()) // each loop has its turn
		}
		return asleep() == connections
	})
	c := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, c, "awake")
	hosttest.Hear(t, c, "awake")
	if n := asleep(); n != connections {
		t.Errorf("%d are asleep when another is served", n)
	}
}
