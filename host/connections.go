package host

import (
	"context"

	"bulkhead/host/conns"
	"bulkhead/host/service"
)

// Connections lists the connections that were accepted: those of handlers, and those that wait for
// a PROXY header, for TLS, for their route or for a place there. It gives up when ctx is done, and
// fails on a host that has stopped. It is not called on a loop.
func (h *Host) Connections(ctx context.Context, q conns.Query) (conns.List, error) {
	return conns.Gather(ctx, h.machine.Loops, service.Whose, q)
}

// Kill closes the connections that a filter means, with the cause operator_closed, and returns
// their numbers, sorted. It gives up when ctx is done, and then may close some yet. It is not
// called on a loop.
func (h *Host) Kill(ctx context.Context, f conns.Filter) (killed []uint64, err error) {
	return conns.Kill(ctx, h.machine.Loops, service.Whose, f)
}
