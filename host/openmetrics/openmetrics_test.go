package openmetrics

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var (
	requests = Family{Name: "a_requests_total", Kind: Counter, Help: `How many, "all" of them: C:\ and` + "\nmore."}
	memory   = Family{Name: "a_memory_bytes", Unit: "bytes", Help: "In use."}
	waits    = Family{Name: "a_wait_seconds", Kind: Histogram, Unit: "seconds", Help: "How long."}
	busy     = Family{Name: "a_busy_seconds_total", Kind: Counter, Unit: "seconds", Help: "How long."}
	build    = Family{Name: "a_build_info", Kind: Info, Help: "What it is."}
	none     = Family{Name: "a_none", Help: "It has no samples."}
	ratio    = Family{Name: "a_ratio", Help: "A part."}
)

// odd is a value with all that has to be escaped.
const odd = "a\\b\"c\nd,e}f\xff{é"

var buckets = NewBuckets([]time.Duration{20 * time.Microsecond, time.Millisecond, time.Second, 90 * time.Second})

func everything(w io.Writer, f Format) error {
	e := NewEncoder(w, f)
	name := AppendLabel(nil, "name", odd)
	e.Begin(&requests)
	e.Int(nil, 7)
	e.Int(name, -1<<63)
	e.Begin(&memory)
	e.Int(AppendLabel(AppendLabel(nil, "one", "1"), "two", "2"), 1<<40)
	e.Begin(&none)
	e.Begin(&waits)
	e.Histogram(nil, buckets, []int64{1, 0, 2, 3, 4}, 1500*time.Millisecond)
	e.Histogram(name, buckets, []int64{0, 0, 0, 0, 0}, 0)
	e.Begin(&busy)
	e.Seconds(name, 1234567890123456789)
	e.Begin(&build)
	e.Int(AppendLabel(nil, "version", "1.2"), 1)
	e.Begin(&ratio)
	e.Float(nil, 0.1)
	return e.End()
}

func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Prometheus' reader says %v of\n%s", err, text)
	}
	return all
}

// Prometheus' own reader reads the text as it was meant.
func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := everything(&b, Text); err != nil {
		t.Fatal(err)
	}
	all := parse(t, b.String())
	if len(all) != 6 {
		t.Errorf("%d families, want 6, since one has no samples", len(all))
	}
	r := all["a_requests_total"]
	if r.GetType() != dto.MetricType_COUNTER || r.GetHelp() != requests.Help {
		t.Errorf("it is a %v, %q", r.GetType(), r.GetHelp())
	}
	if got := r.Metric[1].Label[0].GetValue(); got != strings.ToValidUTF8(odd, "\uFFFD") {
		t.Errorf("the label is %q, want %q", got, odd)
	}
	if got := r.Metric[1].Counter.GetValue(); got != -1<<63 {
		t.Errorf("the count is %v", got)
	}
	if m := all["a_memory_bytes"].Metric[0]; len(m.Label) != 2 || m.Label[1].GetName() != "two" || m.Gauge.GetValue() != 1<<40 {
		t.Errorf("the memory is %v", m)
	}
	h := all["a_wait_seconds"].Metric[0].Histogram
	var have []uint64
	for _, b := range h.Bucket {
		have = append(have, b.GetCumulativeCount())
	}
	if !slices.Equal(have, []uint64{1, 1, 3, 6, 10}) || h.GetSampleCount() != 10 || h.GetSampleSum() != 1.5 || h.Bucket[0].GetUpperBound() != 20e-6 || h.Bucket[3].GetUpperBound() != 90 {
		t.Errorf("the histogram is %v", h)
	}
	if got := all["a_busy_seconds_total"].Metric[0].Counter.GetValue(); got != 1234567890.123456789 {
		t.Errorf("the time is %v", got)
	}
	if got := all["a_build_info"]; got.GetType() != dto.MetricType_GAUGE || got.Metric[0].Gauge.GetValue() != 1 {
		t.Errorf("the info is %v", got)
	}
	if got := all["a_ratio"].Metric[0].Gauge.GetValue(); got != 0.1 {
		t.Errorf("the part is %v", got)
	}
}

// The lines of OpenMetrics are those that Prometheus' own writer makes of the same figures, but for
// the info, which that does not know.
func TestOpenMetrics(t *testing.T) {
	var text, open bytes.Buffer
	if err := everything(&text, Text); err != nil {
		t.Fatal(err)
	}
	if err := everything(&open, OpenMetrics); err != nil {
		t.Fatal(err)
	}
	units := map[string]string{memory.Name: "bytes", waits.Name: "seconds", busy.Name: "seconds"}
	var theirs bytes.Buffer
	for name, f := range parse(t, text.String()) {
		if unit, has := units[name]; has {
			f.Unit = &unit
		}
		if _, err := expfmt.MetricFamilyToOpenMetrics(&theirs, f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := expfmt.FinalizeOpenMetrics(&theirs); err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		"# HELP a_build_info ", "# HELP a_build ", "# TYPE a_build_info gauge", "# TYPE a_build info",
	).Replace(theirs.String())
	lines := func(s string) (all []string) {
		for _, l := range strings.Split(s, "\n") {
			if !strings.HasPrefix(l, "#") { // they write numbers as floats
				l = strings.TrimSuffix(l, ".0")
				l = strings.NewReplacer("1.099511627776e+12", "1099511627776", "-9.223372036854775808e+18", "-9223372036854775808", "1.2345678901234567e+09", "1234567890.123456789",
					"-9.223372036854776e+18", "-9223372036854775808", `le="2e-05"`, `le="0.00002"`).Replace(l)
			}
			all = append(all, l)
		}
		slices.Sort(all)
		return all
	}
	a, b := lines(open.String()), lines(want)
	if !slices.Equal(a, b) {
		t.Errorf("the text is\n%s\nwant\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if !strings.HasSuffix(open.String(), "\n# EOF\n") {
		t.Errorf("it does not end with # EOF")
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 1: "0.000000001", -1: "-0.000000001", time.Second: "1", 1500 * time.Millisecond: "1.5", 90 * time.Second: "90",
		1<<63 - 1: "9223372036.854775807", -1 << 63: "-9223372036.854775808", 20 * time.Microsecond: "0.00002",
	} {
		if got := string(appendSeconds(nil, d)); got != want {
			t.Errorf("%d ns are %s s, want %s", d, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, f := range []Family{requests, memory, waits, busy, build, none, ratio} {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, f := range []Family{
		{}, {Name: "1a"}, {Name: "a-b"}, {Name: "a b"}, {Name: "é"}, {Name: "a", Kind: Counter}, {Name: "a_total"},
		{Name: "a", Unit: "bytes"}, {Name: "a_bytes_total", Kind: Counter, Unit: "seconds"}, {Name: "a", Kind: Info}, {Name: "bytes_info", Kind: Info, Unit: "bytes"},
	} {
		if f.Check() == nil {
			t.Errorf("%+v passes", f)
		}
	}
}

func TestNegotiate(t *testing.T) {
	const prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	for accept, want := range map[string]Format{
		"": Text, "*/*": Text, "text/html, */*;q=0.8": Text, "text/plain": Text, "text/plain; version=0.0.4": Text,
		prometheus: OpenMetrics, "application/openmetrics-text": OpenMetrics, "APPLICATION/OpenMetrics-Text ; version=1.0.0": OpenMetrics,
		"application/openmetrics-text; version=2.0.0": Text, "application/openmetrics-text;q=0": Text, "application/openmetrics-text;q=2": Text,
		"application/openmetrics-text;q=0.2,text/plain;q=0.3": Text, "application/openmetrics-text;q=0.4,text/plain;q=0.3": OpenMetrics,
		"nonsense;;;": Text, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": Text,
		strings.Repeat("a/b,", 1000) + "application/openmetrics-text": Text,
	} {
		if got := Negotiate(accept); got != want {
			t.Errorf("Accept: %s gives %s", accept, got.ContentType())
		}
	}
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP ;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "identity": false, "*": false, "x-gzip": true, "gzip;level=9": true,
	} {
		if got := TakesGzip(accept); got != want {
			t.Errorf("Accept-Encoding: %q takes gzip: %v", accept, got)
		}
	}
}

// What a header says makes neither a panic nor a format that there is not.
func FuzzNegotiate(f *testing.F) {
	f.Add("text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
	f.Add("application/openmetrics-text; version=1.0.0")
	f.Fuzz(func(t *testing.T, s string) {
		if f := Negotiate(s); f > OpenMetrics {
			t.Errorf("the format is %d", f)
		}
		TakesGzip(s)
	})
}

// Whatever a label's value is, Prometheus' reader finds it again.
func FuzzLabels(f *testing.F) {
	f.Add(odd)
	f.Fuzz(func(t *testing.T, value string) {
		var b bytes.Buffer
		e := NewEncoder(&b, Text)
		e.Begin(&memory)
		e.Int(AppendLabel(nil, "name", value), 1)
		if err := e.End(); err != nil {
			t.Fatal(err)
		}
		if got := parse(t, b.String())[memory.Name].Metric[0].Label[0].GetValue(); got != strings.ToValidUTF8(value, "\uFFFD") {
			t.Errorf("%q comes as %q", value, got)
		}
	})
}

// full takes nothing.
type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteFails(t *testing.T) {
	if err := everything(full{}, Text); !errors.Is(err, errFull) {
		t.Errorf("the error is %v", err)
	}
}

// Writing samples allocates nothing.
func TestNoAllocation(t *testing.T) {
	e := NewEncoder(io.Discard, OpenMetrics)
	labels := AppendLabel(nil, "a", "b")
	counts := []int64{1, 2, 3, 4, 5}
	if n := testing.AllocsPerRun(10, func() {
		e.Reset(io.Discard, OpenMetrics)
		e.Begin(&memory)
		for range 1000 {
			e.Int(labels, 12345)
		}
		e.Begin(&waits)
		e.Histogram(labels, buckets, counts, time.Second)
		if e.End() != nil {
			t.Error("an error")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkInt(b *testing.B) {
	e := NewEncoder(io.Discard, Text)
	e.Begin(&memory)
	labels := AppendLabel(AppendLabel(nil, "tenant", "some"), "listener", "one")
	for b.Loop() {
		e.Int(labels, 1234567)
	}
}
