package shares

import (
	"strings"
	"testing"

	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// The budgets are set against what there is; Go's heap gets what they leave, and never nothing.
func TestPlanMemory(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, test := range []struct {
		tenants []int64
		have    int64
		heap    int64
		fits    bool
		says    []string
	}{
		{[]int64{gib, gib}, 16 * gib, 13 * gib, true, []string{"budgets of all tenants (2) are 2GiB together, of 16GiB (memory.max)", "limit of 13GiB"}},
		{[]int64{8 * gib, 7 * gib}, 16 * gib, 4 * gib, true, []string{"of 16GiB", "limit of 4GiB"}},
		{[]int64{16 * gib}, 16 * gib, 4 * gib, true, []string{"16GiB together, of 16GiB"}},
		{[]int64{16 * gib, 1}, 16 * gib, 4 * gib, false, []string{"MORE than the 16GiB", "lower memory in [tenant.NAME]", "limit of 4GiB"}},
		{[]int64{100 * mib}, 0, 0, true, []string{"100MiB together; how much there is the system does not tell"}},
		{nil, 512 * mib, 480 * mib, true, []string{"(0) are 0B together, of 512MiB"}},
	} {
		cfg := &config.Config{}
		for _, n := range test.tenants {
			tenant := config.DefaultTenant("t")
			tenant.Memory, tenant.SocketMemory = n-n/4, n/4
			cfg.Tenants = append(cfg.Tenants, tenant)
		}
		p := planMemory(cfg, machine.Memory{Bytes: test.have, Source: "memory.max"})
		if p.Heap != test.heap || p.Fits() != test.fits {
			t.Errorf("%v of %d: heap %d, fits %v; want %d, %v", test.tenants, test.have, p.Heap, p.Fits(), test.heap, test.fits)
		}
		for _, want := range test.says {
			if !strings.Contains(p.String(), want) {
				t.Errorf("%q does not say %q", p, want)
			}
		}
		if strings.Contains(p.String(), "\n") {
			t.Errorf("%q is more than a line", p)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1 << 10: "1KiB", 1536 << 10: "1.5MiB", 8_140_000_000: "7.6GiB", 1 << 60: "1048576TiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d is %q, not %q", n, got, want)
		}
	}
}
