package shares

import (
	"strings"
	"testing"

	"bulkhead/host/config"
)

// What the system gives is told of with its limit and the mend where it is too little.
func TestDescriptorsSaid(t *testing.T) {
	cfg := &config.Config{Tenants: []config.Tenant{config.DefaultTenant("a"), config.DefaultTenant("b")}}
	for _, one := range []struct {
		connections, limit, room int
		want                     []string
	}{
		{0, 1024, 800, []string{"RLIMIT_NOFILE is 1024", "room for 800", "LESS than the 2000 that all tenants", "LimitNOFILE=", "ulimit -n"}},
		{700, 1024, 800, []string{"the 700 of [host] connections fit"}},
		{900, 1024, 800, []string{"LESS than the 900 of [host] connections"}},
		{0, 1 << 20, 1 << 19, []string{"the 2000 that all tenants may have together fit"}},
		{0, 1 << 30, 1 << 30, []string{"does not bound them"}},
	} {
		cfg.Host.Connections = one.connections
		said := descriptorsSaid(cfg, one.limit, one.room)
		for _, want := range one.want {
			if !strings.Contains(said, want) {
				t.Errorf("of %d descriptors it says %q, and not %q", one.limit, said, want)
			}
		}
	}
}

// Threads likewise.
func TestThreadsSaid(t *testing.T) {
	for _, one := range []struct {
		most    int64
		bounded bool
		want    string
	}{
		{63, true, "pids.max allows 63, LESS than the 64 that may be needed"},
		{64, true, "pids.max allows 64; 64 may be needed"},
		{0, false, "does not bound them"},
	} {
		if said := threadsSaid(one.most, "pids.max", one.bounded, 2); !strings.Contains(said, one.want) {
			t.Errorf("of %d threads it says %q, and not %q", one.most, said, one.want)
		}
	}
}
