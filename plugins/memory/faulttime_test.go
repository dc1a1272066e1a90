package memory

import "testing"

// What costs each tenant something is not decided by the one that ran first.
func TestMeasuredOnceForAll(t *testing.T) {
	measuredFault.Store(0)
	if ns := FaultTime(); ns < leastFault || ns > mostFault || measuredFault.Load() != ns {
		t.Errorf("a fault is taken to cost %d ns, and %d is kept", ns, measuredFault.Load())
	}
}
