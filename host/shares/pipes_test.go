package shares

import (
	"testing"

	"bulkhead/csa"
)

// Pipes take less than a tenth of the descriptors, however many are wanted and loops there are.
func TestPipeLimits(t *testing.T) {
	if csa.PipeDescriptors == 0 {
		if held, idle := pipeLimits(100, 1<<20, 2); held != 0 || idle != 0 {
			t.Errorf("%d and %d, where there are none", held, idle)
		}
		return
	}
	for _, test := range []struct{ want, descriptors, loops, held, idle int }{
		{0, 1 << 20, 2, 1024, 64},
		{1024, 1 << 20, 64, 1024, 8},
		{1024, 1024, 2, 32, 8},
		{1024, 64, 2, 2, 0},
		{1024, 8, 1, 0, 0},
		{3, 1 << 20, 2, 3, 0},
		{1_000_000, 1 << 20, 1, 32768, 64},
	} {
		held, idle := pipeLimits(test.want, test.descriptors, test.loops)
		if held != test.held || idle != test.idle {
			t.Errorf("%d of %d descriptors on %d loops: %d held, %d idle; want %d, %d", test.want, test.descriptors, test.loops, held, idle, test.held, test.idle)
		}
		if used := (held + idle*test.loops) * csa.PipeDescriptors; used*10 > test.descriptors {
			t.Errorf("%d of %d descriptors", used, test.descriptors)
		}
	}
}
