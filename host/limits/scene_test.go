package limits_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/config"
	"bulkhead/host/metrics"
	"bulkhead/host/page"
	"bulkhead/host/stats"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/wasmtest"
	"bulkhead/selector"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scene is a host with a tenant for each proof, and those who look at it.
type scene struct {
	h       *host.Host
	clock   *selector.Manual
	scrapes http.Handler
	log     *accessLog
	watcher *watcher
	path    string // of its configuration
	// plugin is guest's file, and relay that of relay.
	plugin, relay string
	upstream      string        // its address: it sends without an end
	looked        chan struct{} // closed when what connections do has been looked for
	over          chan struct{} // closed when the test is over
}

// place is where one proof is.
type place struct {
	*scene
	t    *testing.T
	name string
}

func newScene(t *testing.T) *scene {
	s := &scene{clock: &selector.Manual{}, path: filepath.Join(t.TempDir(), "bulkhead.toml"), plugin: filepath.Join(t.TempDir(), "guest.wasm"), relay: filepath.Join(t.TempDir(), "relay.wasm"), looked: make(chan struct{}), over: make(chan struct{})}
	for path, m := range map[string]*wasmtest.Module{s.plugin: guest(), s.relay: relay()} {
		if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.upstream = endless(t)
	s.log = &accessLog{path: filepath.Join(t.TempDir(), "access.log")}
	log := access.New(nil)
	t.Cleanup(log.Close)
	if err := log.Set(s.log.path, 1); err != nil {
		t.Fatal(err)
	}
	cfg := s.load(t, "")
	s.h = hosttest.ServeConfig(t, cfg, host.Options{Clock: s.clock, Access: log, Resolver: unknown{s.over}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, 1<<20)
	s.scrapes = metrics.New(metrics.Source{Host: s.h})
	ticked := make(chan struct{})
	go func() { // a guest that has used its part of a turn waits for the next
		defer close(ticked)
		for {
			select {
			case <-s.over:
				return
			case <-time.After(time.Millisecond):
				// Slowly: limits of seconds are looked at meanwhile.
				s.clock.Advance(100 * time.Microsecond)
			}
		}
	}()
	t.Cleanup(func() { close(s.over); <-ticked })
	s.watcher = watch(t, s.h)
	return s
}

// load writes the configuration, in which the listener of one tenant has another generation.
func (s *scene) load(t *testing.T, renewed string) *config.Config {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "[host]\nstate = %q\nloops = 2\ndrain = \"1s\"\npipes = 1\n", hosttest.State())
	for _, name := range slices.Sorted(maps.Keys(proofs)) {
		p := proofs[name]
		if !p.here() {
			continue
		}
		network, path, plugin := "tcp", "", s.plugin
		if p.relays {
			plugin = s.relay
		}
		switch {
		case p.udp:
			network = "udp"
		case p.ws:
			network, path = "ws", "/"
		}
		more := ""
		if name == renewed {
			more = "snapshot = false\n"
		}
		fmt.Fprintf(&text, "[tenant.%s]\n%s\n[[listener]]\nname = %q\ntenant = %q\naddress = \"%s://127.0.0.1:0%s\"\n", name, strings.ReplaceAll(p.tenant, "UPSTREAM", s.upstream), name, name, network, path)
		if !strings.Contains(p.listener, "idle_timeout") {
			text.WriteString("idle_timeout = \"720h\"\n")
		}
		if p.routes {
			fmt.Fprintf(&text, "%s\n[[listener.route]]\nname = \"r\"\nfirst = [\"AB\"]\nplugin = %q\n%s", p.listener, plugin, more)
		} else {
			fmt.Fprintf(&text, "plugin = %q\n%s%s\n", plugin, more, p.listener)
		}
	}
	if err := os.WriteFile(s.path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// endless listens, and sends to each who says something as long as that is taken.
func endless(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, err := io.ReadFull(c, make([]byte, 1))
				for bulk := make([]byte, 64<<10); err == nil; {
					_, err = c.Write(bulk)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// reload gives the place's listener another generation, and the next time the one before.
func (p *place) reload() {
	p.t.Helper()
	renewed := p.name
	if text, _ := os.ReadFile(p.path); strings.Contains(string(text), "snapshot = false") {
		renewed = ""
	}
	if err := p.h.Reload(p.t.Context(), p.load(p.t, renewed)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) dial() *net.TCPConn { return hosttest.Dial(p.t, p.h.Addr(p.name)) }

func (p *place) until(what string, cond func() bool) {
	p.t.Helper()
	hosttest.Eventually(p.t, p.name+": "+what, cond)
}

func (p *place) listener() *stats.Listener {
	all := p.h.Stats().Listeners
	return &all[slices.IndexFunc(all, func(l stats.Listener) bool { return l.Name == p.name })]
}

func (p *place) tenant() *stats.Tenant {
	all := p.h.Stats().Tenants
	return &all[slices.IndexFunc(all, func(l stats.Tenant) bool { return l.Name == p.name })]
}

// keyOf is the whole key as listeners count by it, of which a proof's may be one of several.
func (p *place) keyOf(want *proof) string {
	for key := range p.listener().ByKey() {
		if slices.Contains(strings.Split(key, ", "), want.key) {
			return key
		}
	}
	return want.key
}

// scrape is the sum of a metric's samples of the place's tenant, and of a limit's key where it has
// that label.
func (p *place) scrape(name, key string) (sum float64) {
	p.t.Helper()
	for _, m := range scrape(p.t, p.scrapes, "?tenant="+p.name)[name].GetMetric() {
		labels := make(map[string]string)
		for _, l := range m.Label {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["tenant"] == p.name && (key == "" || slices.Contains(strings.Split(labels["key"], ", "), key)) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// scrape is an answer of /metrics.
func scrape(t *testing.T, scrapes http.Handler, query string) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	scrapes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics"+query, nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// keyOfFamily is what docs/METRICS.md has as the key of a metric.
func keyOfFamily(name string) string {
	for _, f := range metrics.Families() {
		if f.Name == name {
			return f.Key
		}
	}
	return ""
}

// accessLog reads an access log.
type accessLog struct{ path string }

// has reports whether a connection of a listener has ended by a key. "": by no key.
func (l *accessLog) has(listener, key string) bool {
	text, _ := os.ReadFile(l.path)
	for line := range strings.Lines(string(text)) {
		var one struct{ Listener, Key string }
		if json.Unmarshal([]byte(line), &one) == nil && one.Listener == listener && slices.Contains(strings.Split(one.Key, ", "), key) {
			return true
		}
	}
	return false
}

// watcher watches the page's events, and keeps what was ever said.
type watcher struct {
	mu      sync.Mutex
	waited  map[string]map[string]int64
	used    map[string]map[string]bool
	limited map[string]map[string]int64
	did     map[string]string // by tenant, what its connections ever did or waited for
	// By listener.
	failures   map[string]int64
	quarantine map[string]string
}

// theHost is the name under which a watcher keeps what the host uses and waits for.
const theHost = " host"

// waitedBy is what somebody ever waited for. The lock is held.
func (w *watcher) waitedBy(name string) map[string]int64 {
	if w.waited[name] == nil {
		w.waited[name] = make(map[string]int64)
	}
	return w.waited[name]
}

// frame is the time from one frame of the page to the next.
const frame = 20 * time.Millisecond

// watch has a frame made each time when the one before is read, so that none is ever missed.
func watch(t *testing.T, h *host.Host) *watcher {
	t.Helper()
	ticks := make(chan time.Time)
	w := &watcher{waited: make(map[string]map[string]int64), used: make(map[string]map[string]bool), limited: make(map[string]map[string]int64), did: make(map[string]string), failures: make(map[string]int64), quarantine: make(map[string]string)}
	server := httptest.NewServer(page.NewFeed(page.Source{Host: h, Ticks: ticks}))
	got, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	first, leave, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		lines := bufio.NewReader(got.Body)
		for n := 0; ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			if text, is := strings.CutPrefix(string(line), "data: "); is {
				w.take(t, text)
				if n++; n == 1 {
					close(first)
				}
				time.Sleep(frame)
				select {
				case ticks <- time.Now():
				case <-leave:
					return
				}
			}
		}
	}()
	<-first
	t.Cleanup(func() {
		close(leave)
		server.CloseClientConnections()
		server.Close()
		got.Body.Close()
		<-over
	})
	return w
}

func (w *watcher) take(t *testing.T, text string) {
	var body struct {
		Host struct {
			Uses  map[string][2]float64
			Waits map[string]int64
		}
		Tenants []struct {
			Name  string
			Uses  map[string][2]float64
			Waits map[string]int64
		}
		Listeners []struct {
			Name          string
			Limits, Waits map[string]int64
			Quarantine    string
			Failures      int64
		}
		Connections []struct {
			Tenant       string
			State, Waits []string
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Errorf("an event cannot be read: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range body.Tenants {
		if w.used[one.Name] == nil {
			w.used[one.Name] = make(map[string]bool)
		}
		for key, u := range one.Uses {
			if u[1] > 0 && u[0] >= u[1] {
				w.used[one.Name][key] = true
			}
		}
		maps.Copy(w.waitedBy(one.Name), one.Waits)
	}
	for _, one := range body.Listeners {
		w.limited[one.Name] = one.Limits
		maps.Copy(w.waitedBy(one.Name), one.Waits)
		w.failures[one.Name], w.quarantine[one.Name] = one.Failures, one.Quarantine
	}
	maps.Copy(w.waitedBy(theHost), body.Host.Waits)
	if w.used[theHost] == nil {
		w.used[theHost] = make(map[string]bool)
	}
	for key, u := range body.Host.Uses {
		w.used[theHost][key] = u[0] > 0
	}
	for _, one := range body.Connections {
		for _, word := range slices.Concat(one.State, one.Waits) {
			if !strings.Contains(w.did[one.Tenant], word) {
				w.did[one.Tenant] += " " + word
			}
		}
	}
}

// uses reports whether a tenant has ever used up a limit.
func (w *watcher) uses(tenant, key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.used[tenant][key]
}

// waits are the limits that a tenant has ever waited for.
func (w *watcher) waits(tenant string) map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.waited[tenant])
}

// limits are those that a listener counts, by key.
func (w *watcher) limits(listener string) map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.limited[listener])
}

// words are what a tenant's connections ever did, or waited for.
func (w *watcher) words(tenant string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.did[tenant]
}

// failed is how many handlers of a listener have failed.
func (w *watcher) failed(listener string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures[listener]
}

// quarantined is why a listener serves nobody; "": it does.
func (w *watcher) quarantined(listener string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quarantine[listener]
}
