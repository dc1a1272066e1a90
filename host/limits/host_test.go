package limits_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/billing"
	"bulkhead/host/config"
	"bulkhead/host/limits"
	"bulkhead/host/logqueue"
	"bulkhead/host/metrics"
	"bulkhead/host/stats"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/wasmtest"
)

// hostProof is how one line of docs/LIMITS.md is provoked that no tenant of the scene can, since
// the whole host comes up against it, or what a listener is to serve is refused.
type hostProof struct {
	line, key string
	// refused is the listener that is quarantined, and how the cause names the limit. Empty: the
	// row of limits.Host with the key counts it.
	refused, as string
	do          func(*wholeHost)
}

var hostProofs = []hostProof{
	{line: "memory of all tenants together", key: "memory", do: func(*wholeHost) {}},
	{line: "lines that wait for the log's reader", key: "log_queue", do: (*wholeHost).logMuch},
	{line: "files of what tenants have used", key: "usage_size", do: (*wholeHost).recordMuch},
	{line: "compiled code, and copies of modules", key: "code_cache", do: (*wholeHost).changePlugins},
	{line: "compiled code, and copies of modules", key: "module_cache", do: (*wholeHost).changePlugins},
	{line: "files of a script", key: "script_files", refused: "script", as: "script_files", do: func(*wholeHost) {}},
	{line: "size and shape of a module", refused: "large", as: "64 MiB", do: func(*wholeHost) {}},
}

// wholeHost is a host with little room.
type wholeHost struct {
	t       *testing.T
	h       *host.Host
	path    string // of its configuration
	plugin  string
	queue   *logqueue.Queue
	records *billing.Recorder
	scrapes http.Handler
	watcher *watcher
}

// stuck is a log that nobody reads before the test is over.
type stuck struct{ over chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.over
	return len(p), nil
}

func newWholeHost(t *testing.T) *wholeHost {
	dir := t.TempDir()
	x := &wholeHost{t: t, plugin: filepath.Join(dir, "a.wasm"), records: billing.New(filepath.Join(dir, billing.Folder), slog.New(slog.DiscardHandler))}
	x.records.Set(billing.Settings{Interval: time.Hour, Size: 1 << 10, Keep: 24 * time.Hour})
	over := make(chan struct{})
	x.queue = logqueue.New(stuck{over}, logqueue.Options{})
	t.Cleanup(func() { close(over); x.queue.Close(time.Minute) })
	x.write(0)
	large, script := filepath.Join(dir, "large.wasm"), filepath.Join(dir, "script.js")
	for path, text := range map[string]string{large: "\x00asm\x01\x00\x00\x00", script: "import './other.js'\n", filepath.Join(dir, "other.js"): "export const a = 1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(large, 64<<20+1); err != nil {
		t.Fatal(err)
	}
	x.path = hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
code_cache = "1B"
module_cache = "1B"
[tenant.acme]
[[listener]]
name = "serves"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[[listener]]
name = "large"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[[listener]]
name = "script"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
script_files = 1
`, filepath.Join(dir, "state"), x.plugin, large, script))
	x.h = hosttest.ServeConfig(t, x.load(), host.Options{
		LoadLate: true, Usage: x.records, Log: x.queue.Logger(), LogLost: func() int64 { return x.queue.Stats().LeftOut },
	}, 1<<20)
	x.scrapes = metrics.New(metrics.Source{Host: x.h})
	x.watcher = watch(t, x.h)
	return x
}

// write has the plugin be another one.
func (x *wholeHost) write(number int) {
	m := wasmtest.Echo()
	m.Data(number, "x")
	if err := os.WriteFile(x.plugin, m.Bytes(), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

func (x *wholeHost) load() *config.Config {
	x.t.Helper()
	cfg, err := config.LoadToRun(x.path)
	if err != nil {
		x.t.Fatal(err)
	}
	return cfg
}

// logMuch logs more than may wait.
func (x *wholeHost) logMuch() {
	line := strings.Repeat("y", 1000)
	for range 4000 {
		x.queue.Logger().Info(line)
	}
}

// recordMuch has more files of records be written than there may be.
func (x *wholeHost) recordMuch() {
	c := hosttest.Dial(x.t, x.h.Addr("serves"))
	hosttest.Eventually(x.t, "a file of records is removed", func() bool {
		hosttest.Say(x.t, c, "y")
		hosttest.Hear(x.t, c, "y")
		x.h.Refresh(x.t.Context())
		return x.records.Record(x.t.Context(), x.h) && x.records.Stats().Removed > 0
	})
}

// changePlugins has the host load one plugin after the other, of which it can keep none that
// nobody uses.
func (x *wholeHost) changePlugins() {
	number := 0
	hosttest.Eventually(x.t, "code and a copy are removed", func() bool {
		number++
		x.write(number)
		if err := x.h.Reload(x.t.Context(), x.load()); err != nil {
			x.t.Fatal(err)
		}
		st := x.h.Stats()
		return st.CodeRemoved > 0 && st.ModulesRemoved > 0
	})
}

// Each limit of a whole host is provoked, and is seen by its key in the metrics, in the status and
// on the page. The access log has connections, and these limits end none.
func TestHostLimitsAreSeen(t *testing.T) {
	x := newWholeHost(t)
	for _, p := range hostProofs {
		p.do(x)
	}
	for _, p := range hostProofs {
		t.Run(p.refused+p.key, func(t *testing.T) {
			if p.refused != "" {
				x.refuses(t, &p)
			} else {
				x.counts(t, &p)
			}
		})
	}
}

func (x *wholeHost) refuses(t *testing.T, p *hostProof) {
	hosttest.Eventually(t, "the status says why", func() bool {
		return slices.ContainsFunc(x.h.Status().Listeners, func(l stats.ListenerStatus) bool {
			return l.Name == p.refused && l.Quarantine != nil && strings.Contains(l.Quarantine.Cause, p.as)
		})
	})
	hosttest.Eventually(t, "so does the page", func() bool { return strings.Contains(x.watcher.quarantined(p.refused), p.as) })
	for _, m := range scrape(t, x.scrapes, "")["bulkhead_listener_quarantined"].GetMetric() {
		for _, l := range m.Label {
			if l.GetValue() == p.refused && m.GetGauge().GetValue() != 1 {
				t.Errorf("the metrics have %v", m)
			}
		}
	}
}

func (x *wholeHost) counts(t *testing.T, p *hostProof) {
	i := slices.IndexFunc(limits.Host, func(l limits.Limit[stats.Host]) bool { return l.Key == p.key })
	if i < 0 {
		t.Fatalf("limits.Host has no row of %s", p.key)
	}
	row := &limits.Host[i]
	of := row.Used.Metric
	if of == "" {
		of = row.Over[0].Metric
	}
	families := scrape(t, x.scrapes, "")
	if m := families[of].GetMetric(); len(m) != 1 || m[0].GetGauge().GetValue()+m[0].GetCounter().GetValue() <= 0 {
		t.Errorf("the metrics have %v of %s", m, of)
	}
	if key := keyOfFamily(of); key != p.key {
		t.Errorf("%s is said to be about %q", of, key)
	}
	st := x.h.Status()
	if n := st.Metrics[of]; n == "" || n == "0" {
		t.Errorf("the status has %q of %s", n, of)
	}
	if row.Used.Metric == "" {
		hosttest.Eventually(t, "the page has it", func() bool { return x.watcher.waits(theHost)[p.key] > 0 })
		return
	}
	if u := st.Limits[p.key]; u.Used <= 0 || u.Limit <= 0 && runtime.GOOS == "linux" {
		t.Errorf("the status has %v", u)
	}
	hosttest.Eventually(t, "the page has it", func() bool { return x.watcher.uses(theHost, p.key) })
}
