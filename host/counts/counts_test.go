package counts

import (
	"fmt"
	"sync"
	"testing"

	"bulkhead/abi"
)

func TestCounts(t *testing.T) {
	var m Counts
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2 * abi.MaxMetrics {
				name := fmt.Sprint("name_", i%abi.MaxMetrics)
				if code := m.Count([]byte(name), 1); code != abi.OK {
					t.Errorf("%s: %v", name, code)
				}
			}
		})
	}
	wg.Wait()
	if code := m.Count([]byte("one_more"), 1); code != abi.Quota {
		t.Errorf("one name too many: %v, want QUOTA", code)
	}
	if n := m.Refused(); n != 1 {
		t.Errorf("%d names were refused, want 1", n)
	}
	counts := m.All()
	if len(counts) != abi.MaxMetrics {
		t.Errorf("%d names, want %d", len(counts), abi.MaxMetrics)
	}
	for name, n := range counts {
		if n != 8 {
			t.Errorf("%s was counted %d times, want 8", name, n)
		}
	}
	known := []byte("name_1")
	if n := testing.AllocsPerRun(100, func() { m.Count(known, 1) }); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}
