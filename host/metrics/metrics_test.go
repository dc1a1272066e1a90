package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/openmetrics"
	"bulkhead/host/stats"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// host has figures that somebody has set.
type host struct {
	stats     stats.Host
	refreshed int
}

func (h *host) FillStats(st *stats.Host) { *st = h.stats }

func (h *host) Refresh(context.Context) bool {
	h.refreshed++
	return true
}

// figures gives each field that is named as a metric another value, from *next on.
func figures(of any, next *int64) {
	v := reflect.ValueOf(of).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if v.Type().Field(i).Tag.Get("metric") == "" {
			continue
		}
		*next++
		switch {
		case f.CanInt():
			f.SetInt(*next)
		case f.CanFloat():
			f.SetFloat(float64(*next))
		}
	}
}

// odd is a name that has to be escaped.
const odd = "a\"b\\c\nd"

func newHost(tenants int) *host {
	h := new(host)
	next := int64(0)
	figures(&h.stats, &next)
	h.stats.Began, h.stats.InForce = time.Unix(1000, 5), time.Unix(2000, 0)
	h.stats.Loops = make([]stats.Loop, 2)
	for i := range h.stats.Loops {
		figures(&h.stats.Loops[i], &next)
	}
	for i := range tenants {
		name := fmt.Sprint("tenant-", i)
		if i == 1 {
			name = odd
		}
		t := stats.Tenant{Name: name, Counts: map[string]int64{"logins": 7, "depth": -3}}
		figures(&t, &next)
		h.stats.Tenants = append(h.stats.Tenants, t)
		l := stats.Listener{
			Name: "listener-" + name, Tenant: name, CertificateEnds: time.Unix(4000, 0),
			Ended:         map[string]int64{csa.Finished.Info().Name: 5, csa.IdleTimeout.Info().Name: 6, csa.HandshakeFailed.Info().Name: 7},
			Dials:         map[string]int64{stats.DialConnected.String(): 9, stats.DialRefused.String(): 10},
			DatagramsLost: map[string]int64{csa.LostWaiting.Info().Name: 8},
		}
		figures(&l, &next)
		l.Events.Observe(50 * time.Microsecond)
		l.FirstByte.Observe(time.Minute)
		h.stats.Listeners = append(h.stats.Listeners, l)
		g := stats.Generation{Listener: l.Name, Tenant: name, Number: 3, Retired: i == 1}
		figures(&g, &next)
		h.stats.Generations = append(h.stats.Generations, g)
	}
	return h
}

func (h *host) serve() *Handler {
	return New(Source{Host: h, Version: "one \"two\"", LastReload: func() (time.Time, bool) { return time.Unix(3000, 0), true }, Refused: func() map[string]int64 { return map[string]int64{"host": 3, "token": 0} }, WorkerRestarts: 2})
}

func get(t *testing.T, h http.Handler, query string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics"+query, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Prometheus' reader says %v of\n%s", err, text)
	}
	return all
}

// value is that of a family's sample whose labels have all of these values.
func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	for _, m := range f.GetMetric() {
		if !slices.ContainsFunc(labels, func(want string) bool {
			return !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == want })
		}) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Errorf("%s has no sample with %q", f.GetName(), labels)
	return 0
}

// Every figure that has a name as a metric is read back by it, from whose it is.
func TestEveryFigureIsServed(t *testing.T) {
	h := newHost(3)
	r := get(t, h.serve(), "")
	if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("the answer is %s, of %s", r.Status, got)
	}
	if h.refreshed != 1 {
		t.Errorf("the host was refreshed %d times", h.refreshed)
	}
	all := families(t, text(t, r.Body))
	check := func(of any, labels ...string) {
		v := reflect.ValueOf(of)
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("metric")
			if name == "" {
				continue
			}
			if all[name] == nil {
				t.Errorf("%s is not there", name)
				continue
			}
			switch f := v.Field(i); {
			case f.Type() == reflect.TypeFor[time.Duration]():
				if got := value(t, all[name], labels...); got != time.Duration(f.Int()).Seconds() {
					t.Errorf("%s of %q is %v, want %v ns", name, labels, got, f.Int())
				}
			case f.CanInt():
				if got := value(t, all[name], labels...); got != float64(f.Int()) {
					t.Errorf("%s of %q is %v, want %v", name, labels, got, f.Int())
				}
			case f.CanFloat():
				if got := value(t, all[name], labels...); got != f.Float() {
					t.Errorf("%s of %q is %v, want %v", name, labels, got, f.Float())
				}
			}
		}
	}
	check(h.stats)
	for i, l := range h.stats.Loops {
		check(l, fmt.Sprint(i))
	}
	for i := range h.stats.Tenants {
		check(h.stats.Tenants[i], h.stats.Tenants[i].Name)
		check(h.stats.Listeners[i], h.stats.Tenants[i].Name, h.stats.Listeners[i].Name)
		check(h.stats.Generations[i], h.stats.Tenants[i].Name, h.stats.Listeners[i].Name, "3")
	}
	for _, one := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"bulkhead_build_info", []string{"one \"two\"", runtime.Version()}, 1},
		{"bulkhead_config_last_reload_successful", nil, 1},
		{"bulkhead_worker_restarts_total", nil, 2},
		{"bulkhead_config_last_reload_timestamp_seconds", nil, 3000},
		{"bulkhead_config_in_force_timestamp_seconds", nil, 2000},
		{"process_start_time_seconds", nil, 1000.000000005},
		{"bulkhead_tenant_counted", []string{odd, "depth"}, -3},
		{"bulkhead_listener_ended_total", []string{odd, "idle_timeout", "limit"}, 6},
		{"bulkhead_listener_ended_total", []string{odd, "finished", "both"}, 5},
		{"bulkhead_listener_handshakes_failed_total", []string{odd, "handshake_failed"}, 7},
		{"bulkhead_listener_datagrams_lost_total", []string{odd, "waiting"}, 8},
		{"bulkhead_listener_certificate_expiry_timestamp_seconds", []string{odd}, 4000},
		{"bulkhead_generation_retired", []string{odd}, 1},
		{"bulkhead_listener_quarantined", []string{odd}, 0},
	} {
		if got := value(t, all[one.name], one.labels...); got != one.want {
			t.Errorf("%s of %q is %v, want %v", one.name, one.labels, got, one.want)
		}
	}
	if got := all["bulkhead_listener_first_byte_seconds"].GetMetric()[0].Histogram; got.GetSampleSum() != 60 || got.GetSampleCount() != 1 || got.Bucket[len(got.Bucket)-2].GetCumulativeCount() != 0 {
		t.Errorf("the first byte is %v", got)
	}
}

// What Prometheus' lint says is a fault is one, but for what is said here.
func TestLint(t *testing.T) {
	body := text(t, get(t, newHost(2).serve(), "").Body)
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Log("there is no promtool to ask, too")
		return
	}
	tool := exec.Command("promtool", "check", "metrics")
	tool.Stdin = strings.NewReader(body)
	if said, err := tool.CombinedOutput(); err != nil {
		t.Errorf("promtool says %v: %s", err, said)
	}
}

// The table has each name once, in a form that both formats allow, and families have the labels
// that it says.
func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Families() {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if len(f.Help) < 10 || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s is explained by %q", f.Name, f.Help)
		}
	}
	missing := maps.Clone(seen)
	for name, f := range families(t, text(t, get(t, newHost(1).serve(), "").Body)) {
		delete(missing, name)
		i := slices.IndexFunc(table, func(of family) bool { return of.Name == name })
		if i < 0 {
			t.Errorf("%s is served, and not in the table", name)
			continue
		}
		for _, m := range f.Metric {
			var have []string
			for _, l := range m.Label {
				have = append(have, l.GetName())
			}
			want := slices.Sorted(slices.Values(table[i].Labels))
			if slices.Sort(have); !slices.Equal(have, want) {
				t.Errorf("%s has the labels %v, and the table says %v", name, have, want)
			}
		}
		if want := strings.ToUpper(table[i].Kind.String()); f.GetType().String() != want && want != "INFO" {
			t.Errorf("%s is a %v, and the table says %v", name, f.GetType(), want)
		}
	}
	for name := range missing {
		// An older kernel does not know process_open_fds.
		if runtime.GOOS == "linux" && name != "process_open_fds" {
			t.Errorf("%s is in the table, and not served", name)
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	r := get(t, newHost(2).serve(), "", "Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	body := text(t, r.Body)
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(body, "\n# EOF\n") {
		t.Errorf("it is %s, and ends with %q", got, body[max(len(body)-20, 0):])
	}
	for _, line := range []string{"# TYPE bulkhead_tenant_cpu_seconds counter", "# UNIT bulkhead_tenant_cpu_seconds seconds", "# TYPE bulkhead_build info", "# TYPE bulkhead_listener_event_seconds histogram"} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("there is no line %q", line)
		}
	}
}

func TestGzip(t *testing.T) {
	h := newHost(2).serve()
	plain := text(t, get(t, h, "?name[]=bulkhead_tenant_connections").Body)
	for range 2 {
		r := get(t, h, "?name[]=bulkhead_tenant_connections", "Accept-Encoding", "gzip")
		if got := r.Header.Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("the encoding is %q", got)
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, z); got != plain || !strings.Contains(got, "\n") {
			t.Errorf("unpacked it is %q, want %q", got, plain)
		}
	}
}

func TestFilters(t *testing.T) {
	h := newHost(3).serve()
	all := families(t, text(t, get(t, h, "?tenant=tenant-0&tenant=tenant-2").Body))
	if all["bulkhead_connections"] != nil {
		t.Error("what is not of a tenant is there, too")
	}
	for name, f := range all {
		for _, m := range f.Metric {
			if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool {
				return l.GetName() == "tenant" && (l.GetValue() == "tenant-0" || l.GetValue() == "tenant-2")
			}) {
				t.Errorf("%s has %v", name, m.Label)
			}
		}
	}
	if n := len(all["bulkhead_listener_sent_bytes_total"].GetMetric()); n != 2 {
		t.Errorf("%d listeners, want 2", n)
	}
	all = families(t, text(t, get(t, h, "?tenant=tenant-0&name[]=bulkhead_tenant_memory_bytes&name[]=bulkhead_build_info").Body))
	if len(all) != 1 || len(all["bulkhead_tenant_memory_bytes"].GetMetric()) != 1 {
		t.Errorf("the families are %v", all)
	}
	if body := text(t, get(t, h, "?tenant=nobody").Body); body != "" {
		t.Errorf("of nobody there is %q", body)
	}
	for _, query := range []string{"?tenants=acme", "?name=a", "?tenant=" + strings.Repeat("a&tenant=", mostWanted+1)} {
		if r := get(t, h, query); r.StatusCode != http.StatusBadRequest || text(t, r.Body) == "" {
			t.Errorf("%.40s: %s", query, r.Status)
		}
	}
}

var update = flag.Bool("update", false, "write the table of docs/METRICS.md anew")

// The page has the table.
func TestThePageHasTheTable(t *testing.T) {
	const page, head = "../../docs/METRICS.md", "| name | type | labels | key | what it is |\n|---|---|---|---|---|\n"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(b), head)
	if !found {
		t.Fatalf("%s has no table with the head %q", page, head)
	}
	var want strings.Builder
	want.WriteString(before + head)
	code := func(all []string) string {
		if len(all) == 0 {
			return ""
		}
		return "`" + strings.Join(all, "`, `") + "`"
	}
	for _, f := range Families() {
		var keys []string
		if f.Key != "" {
			keys = strings.Split(f.Key, ", ")
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Kind, code(f.Labels), code(keys), f.Help)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want.String() {
		t.Errorf("%s has not what the table says; go test ./host/metrics -run Page -update writes it", page)
	}
}

// A scrape leaves little to collect: what it needs it has from the one before.
func TestLittleGarbage(t *testing.T) {
	s := &scrape{source: &Source{Host: newHost(1000)}, e: openmetrics.NewEncoder(nil, openmetrics.Text)}
	scrape := func() {
		if err := s.write(io.Discard, openmetrics.Text, false, query{}); err != nil {
			t.Fatal(err)
		}
	}
	scrape()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	scrape()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("a scrape of 1000 tenants allocates %d bytes", n)
	}
}

// BenchmarkWrite writes what a thousand tenants with a listener each have. cpu-ms/op is the
// processor time of it, whatever else the machine does.
func BenchmarkWrite(b *testing.B) {
	for _, zipped := range []bool{false, true} {
		b.Run(fmt.Sprintf("gzip=%v", zipped), func(b *testing.B) {
			s := &scrape{source: &Source{Host: newHost(1000)}, e: openmetrics.NewEncoder(nil, openmetrics.Text)}
			var text bytes.Buffer
			if err := s.write(&text, openmetrics.Text, false, query{}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			began := cpu()
			for b.Loop() {
				_ = s.write(io.Discard, openmetrics.Text, zipped, query{})
			}
			b.ReportMetric((cpu()-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(bytes.Count(text.Bytes(), []byte("\n"))), "lines")
			b.ReportMetric(float64(text.Len()), "text-bytes")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
