package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/metrics"
	"bulkhead/internal/hosttest"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// newEcho makes a small one: there are thousands.
func newEcho(*csa.Loop) csa.Handler { return &hosttest.Echo{Buffer: make([]byte, 4096)} }

// patient waits for the loops for as long as it takes, as the machine may be busy.
type patient struct{ *host.Host }

func (p patient) Refresh(ctx context.Context) bool {
	for !p.Host.Refresh(ctx) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return true
}

// totals are the samples of a scrape whose values only grow, by name and labels. Any goroutine of
// the test may call it.
func totals(t *testing.T, h http.Handler) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Errorf("a scrape cannot be read: %v", err)
	}
	all := make(map[string]float64)
	for name, f := range families {
		for _, m := range f.Metric {
			key := name + fmt.Sprint(m.Label)
			switch {
			case m.Counter != nil:
				all[key] = m.Counter.GetValue()
			case m.Histogram != nil:
				all[key+" sum"] = m.Histogram.GetSampleSum()
				for _, b := range m.Histogram.Bucket {
					all[fmt.Sprint(key, b.GetUpperBound())] = float64(b.GetCumulativeCount())
				}
			}
		}
	}
	return all
}

func find(all map[string]float64, name string, labels ...string) (v float64) {
	for key, n := range all {
		if strings.HasPrefix(key, name+"[") {
			found := true
			for _, l := range labels {
				found = found && strings.Contains(key, `value:"`+l+`"`)
			}
			if found {
				v += n
			}
		}
	}
	return v
}

// No total falls over a hundred reloads that replace, change in place, remove and bring back the
// listeners of open connections, whenever somebody looks meanwhile; and in the end they are what
// the clients have counted.
func TestTotalsNeverFall(t *testing.T) {
	const one, two, reloads = "one", "two", 100
	state := t.TempDir()
	toml := func(listeners ...string) string {
		text := fmt.Sprintf("[host]\nloops = 2\nstate = %q\n", state) + "[tenant.acme]\naccept_rate = 100000\n[[listener]]\nname = \"rest\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\n"
		for i := 0; i < len(listeners); i += 2 {
			text += fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\ngenerations = 100\n%s\n", listeners[i], listeners[i+1])
		}
		return text
	}
	load := func(text string) *config.Config {
		cfg, err := config.LoadNative(hosttest.WriteConfig(t, text), "rest", one, two)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	goroutines := runtime.NumGoroutine()
	h := hosttest.ServeConfig(t, load(toml(one, "", two, "")), host.Options{
		Native: map[string]host.Native{"rest": newEcho, one: newEcho, two: newEcho}, Log: slog.New(slog.DiscardHandler),
	}, goroutines)
	scrapes := metrics.New(metrics.Source{Host: patient{h}})
	var open []io.ReadWriteCloser
	sent, came := 0, 0
	dial := func(name string) {
		open = append(open, hosttest.Dial(t, h.Addr(name)))
		if name == one {
			came++
		}
	}
	dial(one)
	dial(two)
	before := totals(t, scrapes)
	var looking sync.Mutex
	looks := 0
	look := func(when string) {
		t.Helper()
		looking.Lock()
		defer looking.Unlock()
		looks++
		now := totals(t, scrapes)
		for key, n := range before {
			if m, is := now[key]; m < n || !is {
				t.Errorf("%s: %s was %v, and is %v", when, key, n, m)
			}
		}
		before = now
	}
	steps := []string{
		toml(one, "snapshot = false", two, ""), toml(one, "snapshot = false\nidle_timeout = \"9m\"", two, ""), toml(two, ""),
		toml(one, "", two, ""), toml(one, ""), toml(one, "inbox = \"32KiB\"", two, "snapshot = false"),
	}
	over := make(chan struct{})
	var scraper sync.WaitGroup
	scraper.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
				look("at some time")
			}
		}
	})
	stop := sync.OnceFunc(func() { close(over); scraper.Wait() })
	defer stop()
	for i := range reloads {
		if err := h.Reload(t.Context(), load(steps[i%len(steps)])); err != nil {
			t.Fatal(err)
		}
		look(fmt.Sprint("after reload ", i))
		for _, c := range open {
			hosttest.Say(t, c, "ping")
			hosttest.Hear(t, c, "ping")
			sent += 4
		}
		look(fmt.Sprint("after the words behind reload ", i))
		if i%5 < 2 && h.Addr(one) != "" {
			dial(one)
		}
	}
	stop()
	t.Logf("%d scrapes", looks)
	if n := find(before, "bulkhead_listener_received_bytes_total"); n != float64(sent) {
		t.Errorf("with all connections open, %v bytes have come, and clients have sent %d", n, sent)
	}
	if n := find(before, "bulkhead_listener_sent_bytes_total"); n != float64(sent) {
		t.Errorf("with all connections open, %v bytes were sent, and clients have got %d", n, sent)
	}
	for _, c := range open[1:] {
		c.Close()
	}
	hosttest.Eventually(t, "all but one are gone", func() bool { return h.Stats().Connections == 1 })
	look("when they are gone")
	if n := find(before, "bulkhead_listener_connections_total", one); n != float64(came) {
		t.Errorf("%v connections have come to it, want %d", n, came)
	}
	if n := find(before, "bulkhead_listener_ended_total", one, "finished", "both"); n != float64(came-1) {
		t.Errorf("%v of its connections are finished, want %d", n, came-1)
	}
	if n := find(before, "bulkhead_listener_first_byte_seconds", one); n == 0 {
		t.Error("no first byte of it is counted")
	}
}

// BenchmarkScrape scrapes a host of a thousand tenants with a listener each. cpu-ms/op is the
// processor time of all the process, and longest-loop-ms how long a loop stood still for it at
// most.
func BenchmarkScrape(b *testing.B) {
	cfg, native := hosttest.Tenants(b, 1000, "[host]\nloops = 2\n", newEcho)
	h, err := host.New(cfg, host.Options{Native: native, Log: slog.New(slog.DiscardHandler), EventsByThread: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	defer func() {
		stop()
		h.Close()
		<-done
	}()
	for name := range native { // so that all loops have something to show of all
		for range 2 {
			c := hosttest.Dial(b, h.Addr(name))
			hosttest.Say(b, c, "ping")
			hosttest.Hear(b, c, "ping")
			defer c.Close()
		}
	}
	scrapes := metrics.New(metrics.Source{Host: h})
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	b.ReportAllocs()
	began := cpu()
	for b.Loop() {
		scrapes.ServeHTTP(nowhere{}, r)
	}
	b.ReportMetric((cpu()-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(h.Stats().LongestEvent.Seconds()*1000, "longest-loop-ms")
}

// nowhere is a writer of an answer that nobody reads.
type nowhere struct{}

func (nowhere) Header() http.Header         { return make(http.Header) }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
