package host

import (
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
	}{{Stats{}, "bulkhead_"}, {TenantStats{}, "bulkhead_tenant_"}, {ListenerStats{}, "bulkhead_listener_"}} {
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
