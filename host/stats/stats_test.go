package stats

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each figure has a name as a metric, which is no other's, and ends as those of its kind do: a
// time with its unit, and what only grows with _total.
func TestFiguresAreNamedAsMetrics(t *testing.T) {
	form := regexp.MustCompile(`^bulkhead(_tenant|_listener)?(_[a-z]+)+$`)
	seen := make(map[string]string)
	for _, group := range []struct {
		of     any
		prefix string
	}{{Host{}, "bulkhead_"}, {Tenant{}, "bulkhead_tenant_"}, {Listener{}, "bulkhead_listener_"}} {
		typ := reflect.TypeOf(group.of)
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := f.Tag.Get("metric")
			counts := false // by something
			switch f.Type.Kind() {
			case reflect.Int, reflect.Int64:
			case reflect.Map:
				if counts = f.Name != "Counts"; !counts { // whose names are the guests' own
					continue
				}
			default:
				continue
			}
			where := typ.Name() + "." + f.Name
			if !form.MatchString(name) || !strings.HasPrefix(name, group.prefix) {
				t.Errorf("%s is called %q", where, name)
			}
			if other := seen[name]; other != "" {
				t.Errorf("%s and %s are both called %s", where, other, name)
			}
			seen[name] = where
			if f.Type == reflect.TypeFor[time.Duration]() && !strings.HasSuffix(strings.TrimSuffix(name, "_total"), "_seconds") {
				t.Errorf("%s is a time, and called %s", where, name)
			}
			for _, grows := range []string{"Refused", "Errors", "Failures", "Traps", "Stops", "Calls", "Deferred", "Dropped", "Bugs"} {
				if counts || strings.HasSuffix(f.Name, grows) {
					if !strings.HasSuffix(name, "_total") {
						t.Errorf("%s only grows, and is called %s", where, name)
					}
				}
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d figures have names", len(seen))
	}
}

// Figures are written by their names: durations in seconds, and nothing that has no name.
func TestMetricsOf(t *testing.T) {
	m := MetricsOf(Tenant{Name: "acme", Memory: 1 << 40, CPU: 1500 * time.Millisecond, Counts: map[string]int64{"a": 1}})
	for name, want := range map[string]json.Number{
		"bulkhead_tenant_memory_bytes": "1099511627776", "bulkhead_tenant_cpu_seconds_total": "1.5", "bulkhead_tenant_timers": "0",
	} {
		if m[name] != want {
			t.Errorf("%s is %q, want %q", name, m[name], want)
		}
	}
	if _, there := m[""]; there || m["Name"] != "" {
		t.Errorf("what is no figure is one: %v", m)
	}
	l := Listener{Name: "echo", Accepted: 3, Ended: map[string]int64{"orderly": 2}, Quarantine: &Quarantine{"it traps", 4, 90 * time.Second}}.Status()
	if q := l.Quarantine; l.Name != "echo" || l.Metrics["bulkhead_listener_connections_total"] != "3" || l.Ended["orderly"] != 2 || *q != (QuarantineStatus{"it traps", 4, 90}) {
		t.Errorf("a listener's status is %+v, %+v", l, q)
	}
}

// What a limit has ended or lost is counted by its key, whatever the cause is called; what no key
// sets is not.
func TestByKey(t *testing.T) {
	l := Listener{
		Name:          "mail",
		Ended:         map[string]int64{"slow_sender": 2, "slow_reader": 3, "idle_timeout": 1, "finished": 9, "source": 4, "unknown of": 1},
		DatagramsLost: map[string]int64{"kernel": 7, "too_long": 1},
	}
	want := map[string]int64{"min_rate": 5, "idle_timeout": 1, "per_source, per_source_rate": 4, "receive_buffer": 7}
	if have := l.ByKey(); !maps.Equal(have, want) {
		t.Errorf("by key they are %v, want %v", have, want)
	}
	if have := l.Status().ByKey; !maps.Equal(have, want) {
		t.Errorf("the status has %v, want %v", have, want)
	}
	if have := (&Listener{Ended: map[string]int64{"finished": 9}}).ByKey(); have != nil {
		t.Errorf("a listener without such ends has %v", have)
	}
}
