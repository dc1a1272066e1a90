package host_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// lines is a guest that sends back what it gets once it is whole lines, and a dot when it is
// not.
func lines() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Data(100, ".")
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(1), w.I32Const(w.WindowAt-1), w.I32Add, w.I32Load8U(0), w.I32Const('\n'), w.I32Eq,
		w.IfElse('i',
			w.Cat(w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0])),
			w.Cat(w.LocalGet(0), w.I32Const(100), w.I32Const(1), w.Call(f[0]), w.Drop, w.I32Const(0))))
	return m
}

// A thousand peers who send a byte now and then, and some who send none, are all cut in
// little more than a minute, while a client who speaks slowly but in whole lines is served
// all along.
func TestTricklers(t *testing.T) {
	n := 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n = min(n, int(limit.Cur)/2-100)
	plugin := writeModule(t, lines())
	for _, instance := range []string{"connection", "loop"} {
		t.Run(instance, func(t *testing.T) {
			clock := &selector.Manual{}
			h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connections = 2000
accept_rate = 1000000
[[listener]]
name = "lines"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = %q
`, hosttest.State(), plugin, instance), host.Options{Clock: clock, Log: slog.New(slog.DiscardHandler)})
			addr := h.Addr("lines")
			all := make([]net.Conn, n)
			var wg sync.WaitGroup
			for part := range 8 {
				wg.Go(func() {
					for i := part; i < n; i += 8 {
						conn, err := net.Dial("tcp", addr)
						if err != nil {
							t.Error(err)
							return
						}
						t.Cleanup(func() { conn.Close() })
						_ = conn.SetDeadline(awaittest.Deadline())
						all[i] = conn
						if i%10 == 0 {
							continue // this one says nothing at all
						}
						_, _ = io.WriteString(conn, "x")
						hosttest.HearOrError(t, conn, ".")
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			good := hosttest.Dial(t, addr)
			var served atomic.Int64
			done := make(chan struct{})
			wg.Go(func() {
				for !t.Failed() {
					select {
					case <-done:
						return
					default:
						hosttest.HearOrError(t, &says{good, "ping\n"}, "ping\n")
						served.Add(1)
					}
				}
			})
			hosttest.Eventually(t, "all are open", func() bool { return h.Stats().Connections == n+1 })
			for passed := 5 * time.Second; passed <= 65*time.Second; passed += 5 * time.Second {
				if open := h.Stats().Connections; passed < 60*time.Second && open != n+1 {
					t.Errorf("after %v of %d connections %d are open", passed, n+1, open)
				}
				for i, conn := range all {
					if i%10 != 0 {
						_, _ = io.WriteString(conn, "x")
					}
				}
				// Time must not go by while the host has bytes that it has not come to: that
				// would not be counted.
				for i, conn := range all {
					if i%10 != 0 {
						hosttest.HearOrError(t, conn, ".")
					}
				}
				before := served.Load()
				clock.Advance(5 * time.Second)
				hosttest.Eventually(t, "the good client is served", func() bool { return served.Load() > before+1 || t.Failed() })
			}
			// A call that was moved off its loop may have ended after its answer, and then the
			// clock stood still for a step. There is no other limit before five minutes.
			for steps := 0; steps < 12 && h.Stats().Connections > 1 && !t.Failed(); steps++ {
				before := served.Load()
				clock.Advance(5 * time.Second)
				hosttest.Eventually(t, "the good client is served", func() bool { return served.Load() > before+1 || t.Failed() })
			}
			hosttest.Eventually(t, "all but the good client are cut", func() bool { return h.Stats().Connections == 1 || t.Failed() })
			close(done)
			wg.Wait()
			t.Logf("%d requests of the good client were served", served.Load())
			_ = good.Close()
		})
	}
}

// says sends a text before each read.
type says struct {
	net.Conn
	text string
}

func (s *says) Read(p []byte) (int, error) {
	if _, err := io.WriteString(s.Conn, s.text); err != nil {
		return 0, err
	}
	return s.Conn.Read(p)
}

// The times hold for commands, too, which are on goroutines of their own.
func TestTimesOfCommands(t *testing.T) {
	clock := &selector.Manual{}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
[[listener]]
name = "rot13"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
shape = "stdio"
idle_timeout = "24h"
lifetime = "20h"
`, hosttest.State(), plugin(t, "rot13-stdio/rot13.wasm")), host.Options{Clock: clock})
	silent := hosttest.Dial(t, h.Addr("rot13"))
	speaks := hosttest.Dial(t, h.Addr("rot13"))
	hosttest.Say(t, speaks, "Hello\n")
	hosttest.Hear(t, speaks, "Uryyb\n")
	hosttest.Eventually(t, "both are there", func() bool { return h.Stats().Connections == 2 })
	var gone time.Duration
	advance := func(d time.Duration) {
		clock.Advance(d)
		gone += d
	}
	closed := make(chan struct{})
	go func() { _, _ = io.ReadAll(silent); close(closed) }()
	// Its time begins when its program waits for it, which is some time after it has come: on a
	// busy machine hours of this clock.
	hosttest.Eventually(t, "the silent one is closed", func() bool {
		select {
		case <-closed:
			return true
		default:
			if gone < 18*time.Hour {
				advance(time.Second)
			}
			return false
		}
	})
	if gone < time.Minute {
		t.Errorf("the silent one was closed after %v", gone)
	}
	const age = 20 * time.Hour
	for gone < age-time.Second {
		hosttest.Say(t, speaks, "Hello\n")
		hosttest.Hear(t, speaks, "Uryyb\n")
		advance(min(8*time.Hour, age-time.Second-gone))
	}
	hosttest.Say(t, speaks, "Hello\n")
	hosttest.Hear(t, speaks, "Uryyb\n")
	advance(3 * time.Second)
	_, _ = io.ReadAll(speaks)
	hosttest.Eventually(t, "nobody is left", func() bool { return h.Stats().Connections == 0 })
}

// A client behind a load balancer has its time for the first byte when the header is there.
func TestFirstByteBehindAProxyHeader(t *testing.T) {
	clock, log := &selector.Manual{}, &logBook{}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
[tenant.acme]
[[listener]]
name = "lines"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
proxy_from = ["127.0.0.1"]
first_byte_timeout = "10s"
`, hosttest.State(), writeModule(t, lines())), host.Options{Clock: clock, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	silent := hosttest.Dial(t, h.Addr("lines"))
	hosttest.Eventually(t, "it is there", func() bool { return h.Stats().Connections == 1 })
	clock.Advance(4 * time.Second)
	hosttest.Say(t, silent, header)
	other := hosttest.Dial(t, h.Addr("lines"))
	hosttest.Say(t, other, header+"x\n")
	hosttest.Hear(t, other, "x\n") // by now the loop has read the first one's header, too
	clock.Advance(9 * time.Second)
	hosttest.Say(t, other, "x\n")
	hosttest.Hear(t, other, "x\n")
	if open := h.Stats().Connections; open != 2 {
		t.Errorf("%d connections are open; want 2", open)
	}
	clock.Advance(time.Second)
	_, _ = io.ReadAll(silent)
	hosttest.Eventually(t, "it is said why", func() bool { return strings.Contains(log.String(), "has not sent its first byte in time") })
	hosttest.Say(t, other, "x\n")
	hosttest.Hear(t, other, "x\n")
	_ = other.Close()
}
