package host

import (
	"context"
	"strings"

	"bulkhead/csa"
	"bulkhead/host/conns"
	"bulkhead/host/dial"
)

// Connections lists the connections that handlers have, or will have when a PROXY header or a
// TLS handshake is over; those that wait for a place or a route are none yet. It gives up when ctx
// is done, and fails on a host that has stopped. It is not called on a loop.
func (h *Host) Connections(ctx context.Context, q conns.Query) (conns.List, error) {
	return conns.Gather(ctx, h.loops, whose, q)
}

// Kill closes the connections that a filter means, with the cause operator_closed, and returns their
// numbers, sorted. It gives up when ctx is done, and then may close some yet. It is not called on a
// loop.
func (h *Host) Kill(ctx context.Context, f conns.Filter) (killed []uint64, err error) {
	return conns.Kill(ctx, h.loops, whose, f)
}

// whose is conns.Whose.
func whose(c *csa.CSA) (o *conns.Owner, dialled bool) {
	switch of := c.Creator().(type) {
	case *server:
		return of.owner, false
	case *dial.Upstream:
		return of.Site().(*server).owner, true
	}
	return nil, false
}

// newOwner says whose the server's connections are.
func (s *server) newOwner() *conns.Owner {
	o := &conns.Owner{Listener: s.config.Name, Tenant: s.config.Tenant, Generation: s.gen.number}
	if s.front != nil {
		o.Listener, o.Route, _ = strings.Cut(s.config.Name, "/")
	}
	return o
}
