package service

import (
	"net/netip"

	"bulkhead/csa"
	"bulkhead/host/budget"
	"bulkhead/host/handlers"
)

// perSource are the bounds of source addresses, a listener's also for its routes.
func (s *Server) perSource() *budget.Sources {
	if s.front != nil {
		return s.front.bySource
	}
	return s.bySource
}

// WantsProxyHeader reports whether connections from an address begin with a PROXY header, which
// says whose they are.
func (s *Server) WantsProxyHeader(peer netip.AddrPort) bool {
	sources := &s.terms.Load().sources
	return !sources.Empty() && sources.Has(peer.Addr())
}

// TakeSource takes a place for an arrival among those of its address, or counts and logs that
// there is none. Any goroutine may call it.
func (s *Server) TakeSource(a *handlers.Arrival, now int64) bool {
	var ok bool
	if a.Source, ok = s.perSource().Take(a.Peer.Addr(), now); !ok {
		s.CountRefused(a, csa.SourceFull.Reason())
	}
	return ok
}

// releaseSource gives the place back.
func (s *Server) releaseSource(source netip.Addr) {
	if source.IsValid() {
		s.perSource().Release(source, s.machine.Clock.Now())
	}
}

// sourceSignal is the box signal of a connection that has a place among those of its address, or
// will have when it is known.
type sourceSignal struct {
	*loopSignal
	source netip.Addr
}

// ShutdownCSA gives the connection's places back.
func (d *sourceSignal) ShutdownCSA(c *csa.CSA) {
	d.s.releaseSource(d.source)
	d.loopSignal.ShutdownCSA(c)
}

// signal is the box signal of a connection.
func (s *Server) signal(at int, source netip.Addr) csa.Signal {
	if !source.IsValid() && !s.perSource().Bounded() {
		return &s.signals[at]
	}
	return &sourceSignal{&s.signals[at], source}
}

// sourceOf takes a place for a connection of which a PROXY header says whose it is. It is
// called on the connection's loop.
func (s *Server) sourceOf(c *csa.CSA, peer netip.AddrPort) (ok bool) {
	d, bounded := c.Signal().(*sourceSignal)
	if !bounded {
		return true
	}
	if d.source, ok = s.perSource().Take(peer.Addr(), c.Loop().Now()); !ok {
		s.totals.Refused.Add(1)
	}
	return ok
}
