package limits_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"bulkhead/host/config"
	"bulkhead/host/limits"
	"bulkhead/host/stats"
	"bulkhead/internal/hosttest"
)

// Each row is of a line of docs/LIMITS.md and has a key, which bulkhead check prints in its table
// unless no key sets the limit. Its figures are those that the status has by the same names.
func TestTable(t *testing.T) {
	cfg, err := config.LoadNative(hosttest.WriteConfig(t, "[tenant.acme]\n[[listener]]\nname = \"a\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\n"), "a")
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := cfg.WriteLimits(&printed); err != nil {
		t.Fatal(err)
	}
	table := func(head, next string) string {
		_, rest, found := strings.Cut(printed.String(), head)
		if !found {
			t.Fatalf("check prints no %s", head)
		}
		table, _, _ := strings.Cut(rest, next)
		return table
	}
	checkTable(t, limits.Host, table("\n[host]\n", "\n[tenant"))
	// The host's pipes are shared out to the tenants.
	checkTable(t, limits.Tenants, table("\n[host]\n", "\n[[listener]]\n"))
	checkTable(t, limits.Listeners, table("\n[[listener]]\n", "\n["))
}

func checkTable[T any](t *testing.T, rows []limits.Limit[T], printed string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/LIMITS.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]int) // by metric
	of := reflect.TypeFor[T]()
	for i := range of.NumField() {
		if name := of.Field(i).Tag.Get("metric"); name != "" {
			fields[name] = i
		}
	}
	seen := make(map[string]bool)
	for _, l := range rows {
		if seen[l.Key] || l.Key == "" {
			t.Errorf("%s has %q twice, or no key", of, l.Key)
		}
		seen[l.Key] = true
		if l.Line == "" || !strings.Contains(string(page), "\n| "+l.Line) {
			t.Errorf("no line of docs/LIMITS.md begins with %q, as %s of %s says", l.Line, l.Key, of)
		}
		for key := range strings.SplitSeq(l.Key, ", ") {
			if is := regexp.MustCompile(`(?m)^` + key + ` = `).MatchString(printed); is == l.Keyless {
				t.Errorf("%s of %s: that check prints the key is %v", key, of, is)
			}
		}
		if l.Used.Of == nil && l.Rate == nil && l.Over == nil && l.Beside == nil {
			t.Errorf("%s of %s counts nothing", l.Key, of)
		}
		if (l.Over != nil) != (l.What != "") {
			t.Errorf("%s of %s does not say what it counts, or counts nothing", l.Key, of)
		}
		for _, f := range append([]limits.Figure[T]{l.Used, l.Most}, append(l.Beside, l.Over...)...) {
			if f.Metric == "" {
				continue
			}
			at, is := fields[f.Metric]
			if !is {
				t.Errorf("%s has no figure with the tag %s", of, f.Metric)
				continue
			}
			if seen[f.Metric] {
				t.Errorf("%s is there twice", f.Metric)
			}
			seen[f.Metric] = true
			var one T
			switch v := reflect.ValueOf(&one).Elem().Field(at); {
			case v.CanInt():
				v.SetInt(7)
			case v.CanFloat():
				v.SetFloat(7)
			}
			if got := f.Of(&one); got != 7 {
				t.Errorf("%s is another figure than that of its tag", f.Metric)
			}
		}
	}
}

// What is used, what may be had a second, and how often that was not enough, by key.
func TestByKey(t *testing.T) {
	of := stats.Tenant{Timers: 3, TimerLimit: 9, Pipes: 2, AcceptRate: 0.5, ReceiveWaits: 4, SendWaits: 5}
	uses, rates := limits.Uses(limits.Tenants, &of), limits.Rates(limits.Tenants, &of)
	if uses["timers"] != (stats.Use{Used: 3, Limit: 9}) || uses["pipes"] != (stats.Use{Used: 2}) || rates["accept_rate"] != 0.5 {
		t.Errorf("uses are %v, and rates %v", uses, rates)
	}
	if _, is := uses["accept_rate"]; is || len(rates) < 5 {
		t.Errorf("uses are %v, and rates %v", uses, rates)
	}
	for _, l := range limits.Tenants {
		want := map[string]int64{"bandwidth": 9}[l.Key]
		if got := l.Total(&of); got != want {
			t.Errorf("%s is %d over, want %d", l.Key, got, want)
		}
	}
}
