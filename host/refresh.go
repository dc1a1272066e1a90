package host

import (
	"context"

	"bulkhead/csa"
	"bulkhead/host/service"
)

// Refresh has Stats know what the loops have counted of the connections that are open. It returns
// when all loops have shown it, or after a second, since a loop may stand still, or when ctx is
// done; the answer is whether all have. It may be called from any goroutine but a loop's, while the
// host runs and after.
func (h *Host) Refresh(ctx context.Context) bool {
	var all []*csa.Tallies
	seen := make(map[*service.Totals]bool)
	h.now.Load().each(func(s *service.Server) {
		if t := s.Totals(); !seen[t] {
			seen[t] = true
			tallies := t.Tallies()
			all = append(all, tallies[:]...)
		}
	})
	return h.refresher.Show(ctx, all)
}
