package config

import (
	"strings"
	"testing"
)

// FuzzValues gives one text to every parser of a value. What they take must
// come back the same from how it is written again; what they refuse they must
// explain in full.
func FuzzValues(f *testing.F) {
	for _, s := range []string{
		"", "64KiB", "10MiB/s", "5m", "1.5h", "tcp://127.0.0.1:7001", "tcp6://[fe80::1%eth0]:0", "tcp://:1", "unix://@a", "unix://a/../b",
		"fd://3", "fd://a", "127.0.0.1:1", "db.internal:5432", "10.0.0.0/8:443", "[2001:db8::/32]:443", "www-data:0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, problem := parseSize(s); problem == "" {
			if back, problem := parseSize(formatSize(n)); n < 0 || back != n || problem != "" {
				t.Errorf("size %q is %d and comes back as %d, %s", s, n, back, problem)
			}
			if rate, problem := parseRate(s + "/s"); rate != n || problem != "" {
				t.Errorf("rate %q/s is %d, %s; want %d", s, rate, problem, n)
			}
		}
		if d, problem := parseDuration(s); problem == "" {
			if back, problem := parseDuration(formatDuration(d)); d < 0 || back != d || problem != "" {
				t.Errorf("duration %q is %d and comes back as %d, %s", s, d, back, problem)
			}
		}
		a, fault := parseAddress(s, "/dir")
		if fault == nil {
			if back, f := parseAddress(a.String(), "/elsewhere"); f != nil || back != a {
				t.Errorf("address %q is %v and comes back as %v, %v", s, a, back, f)
			}
			if strings.ContainsRune(a.Host, 0) {
				t.Errorf("address %q has a NUL in it", s)
			}
		} else if fault.problem == "" || fault.mend == "" || a != (Address{}) {
			t.Errorf("address %q: %v, %+v", s, a, fault)
		}
		if goodOwner(s) && strings.ContainsAny(s, "/ \n") {
			t.Errorf("%q is taken for an owner", s)
		}
	})
}
