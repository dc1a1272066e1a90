package host_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// besieged is a host whose TLS listener is flooded with handshakes that do not end.
type besieged struct {
	*host.Host
	t      testing.TB
	config *tls.Config // of good clients
	good   *tls.Conn   // one that was there before
	hello  []byte      // the beginning of a handshake
}

func besiege(t testing.TB, clock selector.Clock) *besieged {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	cfg, err := config.Load(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
connections = 20000
[tenant.acme]
memory = "2GiB"
connections = 20000
accept_rate = 100000
[[listener]]
name = "tls"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
backlog = 4096
[listener.tls]
cert = %q
key = %q
handshake_timeout = "2s"
`, hosttest.State(), writeModule(t, w.Echo()), cert, key)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	b := &besieged{Host: h, t: t, config: &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"}}
	b.hello = helloOf(t)
	b.good = tls.Client(hosttest.Dial(t, h.Addr("tls")), b.config)
	b.echo(b.good)
	return b
}

// helloOf is a ClientHello as crypto/tls sends it.
func helloOf(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: "host.test"}).Handshake(); near.Close() }()
	p := make([]byte, 16<<10)
	n, err := far.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}

func (b *besieged) echo(c net.Conn) {
	_ = c.SetDeadline(awaittest.Deadline())
	if _, err := io.WriteString(c, "hello"); err != nil {
		b.t.Error(err)
	}
	hosttest.HearOrError(b.t, c, "hello")
}

// flood has n clients begin handshakes and not end them, until stop is called: a third
// says nothing, a third trickles its ClientHello, and a third sends all of it, so that the
// host has to compute, and no more. Whoever is closed comes again. It returns when all are
// there.
func (b *besieged) flood(n int) (stop func()) {
	var all sync.WaitGroup
	var there atomic.Int64
	over := make(chan struct{})
	addr := b.Addr("tls")
	for i := range n {
		all.Go(func() {
			for first := true; ; first = false {
				select {
				case <-over:
					return
				default:
				}
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.t.Error(err)
					return
				}
				if i%3 == 2 {
					_, _ = c.Write(b.hello)
				}
				if first {
					there.Add(1)
				}
				if i%3 == 1 {
					_, _ = c.Write(b.hello[:100])
					for _, x := range b.hello[100:] {
						select {
						case <-over:
						case <-time.After(100 * time.Millisecond):
							if _, err := c.Write([]byte{x}); err == nil {
								continue
							}
						}
						break
					}
				} else {
					ended := make(chan struct{})
					go func() { _, _ = io.Copy(io.Discard, c); close(ended) }()
					select {
					case <-over:
					case <-ended:
					}
					c.Close()
					<-ended
				}
				c.Close()
			}
		})
	}
	hosttest.Eventually(b.t, "all are there", func() bool { return there.Load() == int64(n) && b.Stats().Connections > n*9/10 })
	return func() { close(over); all.Wait() }
}

// times are sorted.
type times []time.Duration

func (t times) at(p float64) time.Duration { return t[min(len(t)-1, int(float64(len(t))*p))] }

// measure does something n times at least, and for so long.
func measure(n int, d time.Duration, do func()) times {
	var all times
	for began := time.Now(); len(all) < n || time.Since(began) < d; {
		now := time.Now()
		do()
		all = append(all, time.Since(now))
	}
	slices.Sort(all)
	return all
}

// messages are round trips on the connection that was there before.
func (b *besieged) messages(n int, d time.Duration) times {
	return measure(n, d, func() { b.echo(b.good) })
}

// handshakes are of clients who come, say hello and go.
func (b *besieged) handshakes(n int, d time.Duration) times {
	addr := b.Addr("tls")
	return measure(n, d, func() {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			b.t.Error(err)
			return
		}
		defer raw.Close()
		b.echo(tls.Client(raw, b.config))
	})
}

// room is n, or fewer where this process may not have so many descriptors.
func room(t testing.TB, n int) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if free := (int(min(uint64(limit.Cur), 1<<20)) - 200) / 2; free < n {
		n = max(30, free)
	}
	return n
}

// Clients whose handshakes do not end keep nobody out. The clock stands still, so that none of them
// is ever closed for its time: if one held a loop, or a place among those that compute, the good
// clients would wait for ever. How long they wait is what BenchmarkHandshakeFlood measures.
func TestHandshakeFlood(t *testing.T) {
	before := runtime.NumGoroutine()
	b := besiege(t, &selector.Manual{})
	n := room(t, 900)
	if raceEnabled {
		n /= 3
	}
	stop := b.flood(n)
	b.messages(200, 0)
	b.handshakes(20, 0)
	if open := b.Stats().Connections; open < n {
		t.Errorf("of %d handshakes that do not end, %d are there at the end", n, open)
	}
	stop()
	_ = b.good.Close()
	hosttest.Eventually(t, "all are gone", func() bool { return b.Stats().Connections == 0 })
	b.Close()
	hosttest.Eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// BenchmarkHandshakeFlood measures a good client alone and beside 1000 handshakes that do
// not end: of messages on a connection that is up, and of new connections. Compare the
// p99s; beside must be under twice alone.
func BenchmarkHandshakeFlood(b *testing.B) {
	for _, what := range []string{"message", "connection"} {
		b.Run(what, func(b *testing.B) {
			s := besiege(b, nil)
			run := s.messages
			if what == "connection" {
				run = s.handshakes
			}
			run(100, 0)
			b.ResetTimer()
			alone := run(b.N, 0)
			b.StopTimer()
			stop := s.flood(room(b, 1000))
			run(100, 0)
			beside := run(b.N, 0)
			stop()
			us := func(t time.Duration) float64 { return float64(t) / 1e3 }
			b.ReportMetric(us(alone.at(.5)), "µs-p50-alone")
			b.ReportMetric(us(beside.at(.5)), "µs-p50-beside")
			b.ReportMetric(us(alone.at(.99)), "µs-p99-alone")
			b.ReportMetric(us(beside.at(.99)), "µs-p99-beside")
			b.ReportMetric(float64(beside.at(.99))/float64(alone.at(.99)), "beside/alone")
		})
	}
}
