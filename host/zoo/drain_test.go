package zoo

import (
	"context"
	"io"
	"log/slog"
	"net"
	"regexp"
	"runtime"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// stayers keep a host from stopping, or try to.
var stayers = []struct {
	name  string
	guest func() []byte
	said  string // by the log; then its calls end in time to drain
	spins bool   // before the host stops
}{
	{"a busy csa_stop", starting("csa_stop", ":", w.Forever()), "call=csa_stop .*event_timeout", false},
	{"a trap in csa_stop", starting("csa_stop", ":", w.Unreachable), "call=csa_stop .*unreachable", false},
	{"a handler that spins when the host stops", func() []byte { return echo(just(w.Forever())).Bytes() }, "", true},
	{"a handler that sends when the host stops", func() []byte { return echo(just(sendWithoutEnd())).Bytes() }, "", true},
	{"a busy csa_closed when the host stops", starting("csa_closed", "ii:", w.Forever()), "", false},
}

// A host that drains while animals are at it stops in time.
func TestStopping(t *testing.T) {
	for _, s := range stayers {
		for _, mode := range handlers {
			t.Run(s.name+"/"+mode, func(t *testing.T) {
				l := newLineup(t, 2)
				// Either its calls end or the time to drain does.
				timeout, drain := `event_timeout = "1m"`, 100*time.Millisecond
				if s.said != "" {
					timeout, drain = `event_timeout = "10ms"`, time.Minute
				}
				l.add(&animal{guest: s.guest, listener: timeout}, "animal", mode)
				cfg, err := config.Load(hosttest.WriteConfig(t, l.toml.String()))
				if err != nil {
					t.Fatal(err)
				}
				goroutines := runtime.NumGoroutine()
				cfg.Host.Drain = drain
				log := &book{}
				h, err := host.New(cfg, host.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(h.Close)
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- h.Run(ctx) }()
				var conns []net.Conn
				for range 3 {
					conn := hosttest.Dial(t, h.Addr("animal"))
					hosttest.Say(t, conn, "x")
					hosttest.Hear(t, conn, "x")
					conns = append(conns, conn)
				}
				for _, conn := range conns {
					hosttest.Say(t, conn, "!")
				}
				if s.spins {
					hosttest.Eventually(t, "it spins", func() bool { return find(h.Stats(), "animal").Fuel > 200_000 })
				}
				began := time.Now()
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("it took %v to stop", took)
				}
				for _, conn := range conns {
					_, _ = io.Copy(io.Discard, conn)
				}
				if s.said != "" && !regexp.MustCompile(s.said).MatchString(log.about("animal")) {
					t.Errorf("the log does not say %s", s.said)
				}
				now := find(h.Stats(), "animal")
				if now.Connections != 0 || now.Memory != 0 || now.Timers != 0 || now.TenantStats.Instances != 0 || now.BackgroundRunning != 0 {
					t.Errorf("behind the end it is %+v", now)
				}
				hosttest.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
				if t.Failed() {
					t.Logf("%s", log)
				}
			})
		}
	}
}
