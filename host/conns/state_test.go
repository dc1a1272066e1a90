package conns

import (
	"slices"
	"testing"

	"bulkhead/csa"
)

// Each thing that a connection does has its word, in a fixed order, and each limit that it waits
// for its key.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		s         csa.State
		d         doing
		state, by []string
	}{
		{0, takesEvents, []string{"open"}, nil},
		{csa.Shaking, takesEvents, []string{"handshake"}, nil},
		{csa.Shaking | csa.Computing, takesEvents, []string{"handshake", "computing"}, nil},
		{csa.Relayed | csa.Blocked, takesEvents, []string{"relay", "blocked"}, nil},
		{csa.Paused | csa.Ended | csa.Finishing, takesEvents, []string{"paused", "peer-finished", "finishing"}, nil},
		{0, awaitsProxyHeader, []string{"awaits-proxy-header"}, nil},
		{csa.Ended, awaitsRequest, []string{"peer-finished", "awaits-request"}, nil},
		{0, asleep, []string{"asleep"}, nil},
		{csa.Paused, background, []string{"paused", "background"}, nil},
		{csa.Paused, backgroundWaits, []string{"paused", "background", "throttled"}, []string{"cpu"}},
		{csa.ThrottledIn, takesEvents, []string{"throttled"}, []string{"bandwidth"}},
		{csa.ThrottledOut | csa.Blocked, waitsForCPU, []string{"blocked", "throttled"}, []string{"bandwidth", "cpu"}},
		{0, waitsForCPU, []string{"throttled"}, []string{"cpu"}},
		{0, waitsForMemory, []string{"throttled"}, []string{"memory"}},
		{0, waitsForMappings, []string{"throttled"}, []string{"mappings"}},
		{0, waitsForInstance, []string{"throttled"}, []string{"instances, memory, mappings"}},
	} {
		if state, by := words(c.s, c.d); !slices.Equal(state, c.state) || !slices.Equal(by, c.by) {
			t.Errorf("%b, %d: %q by %q, want %q by %q", c.s, c.d, state, by, c.state, c.by)
		}
	}
}
