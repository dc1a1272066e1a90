package service

import (
	"log/slog"
	"time"

	"bulkhead/csa"
	"bulkhead/host/front"
	"bulkhead/host/handlers"

	"golang.org/x/sys/unix"
)

// A Server is a front.Site: its router's, and that of the router whose route it is.
var _ front.Site = (*Server)(nil)

// routeTo has a router give its connections to the servers of its routes, and with fallback to
// itself what no rule matches.
func (s *Server) routeTo(routes []*Server, fallback bool) {
	sites := make([]front.Site, len(routes))
	for i, to := range routes {
		sites[i] = to
		to.resume = func() { s.router.Resume(i) }
	}
	if accept := s.resume; fallback {
		s.resume = func() {
			s.router.ResumeFallback()
			accept()
		}
	}
	s.router = front.NewRouter(s, sites, fallback)
}

// RouteTimeout is how long a connection may be without a route.
func (s *Server) RouteTimeout() time.Duration { return s.terms.Load().routeTimeout }

// MostConnections is how many its tenant may have.
func (s *Server) MostConnections() int { return s.tenant.Config().Connections }

// Budget is its tenant's.
func (s *Server) Budget() csa.Budget { return s.tenant }

// SocketMemory is what its tenant's sockets may hold in the system.
func (s *Server) SocketMemory() csa.SocketShare { return s.tenant.SocketMemory }

// Enter has a connection of its listener's become its own, unless it has no place for it: then
// resume is called when it may have one, or after wait, in nanoseconds, it may.
func (s *Server) Enter(a handlers.Arrival) (ok bool, wait int64) {
	from := s.front
	if from == nil {
		from = s // it serves what no rule matches
	}
	at := s.provider.Reserve()
	if at < 0 {
		s.park(func() bool { return s.provider.Reserve() < 0 })
		return false, 0
	}
	if s.tenant != from.tenant {
		if !s.tenant.Connections.Take() {
			s.tenant.UDP.MakeRoom()
			s.park(s.tenant.Connections.Full)
			return false, 0
		}
		now := s.home.Now()
		if wait := s.tenant.Accepts.Spend(0, now); wait > 0 {
			s.tenant.Connections.Release()
			s.machine.Released()
			return false, wait
		}
		s.tenant.Accepts.Spend(1, now)
		from.tenant.Connections.Release()
		s.machine.Released()
	}
	if s != from {
		s.totals.accepted.Add(1)
		s.since.Came()
	}
	a.At = at
	s.machine.Loops[at].Connections.Add(1)
	s.provider.Assign(a)
	return true, 0
}

// CountRefused counts and logs the end of a connection that it has no place for.
func (s *Server) CountRefused(a *handlers.Arrival, why csa.Reason) {
	s.totals.Refused.Add(1)
	s.refused(a, why, "a connection was closed: ")
}

// CountUnrouted counts and logs the end of a connection that has no route.
func (s *Server) CountUnrouted(a *handlers.Arrival, why csa.Reason, args ...any) {
	s.totals.unrouted.Add(1)
	s.refused(a, why, "a connection was closed, and went nowhere: ", args...)
}

// refused counts and logs the end of a connection that never was a CSA.
func (s *Server) refused(a *handlers.Arrival, why csa.Reason, line string, args ...any) {
	s.writeRefused(a, why)
	s.totals.ended[why.Cause].Add(1)
	info := why.Cause.Info()
	lines := s.closes
	if info.Level >= slog.LevelWarn {
		lines = s.limited
	}
	if lines.May(info.Level) {
		if a.Number != 0 {
			args = append(args, "connection", a.Number)
		}
		lines.Write(info.Level, line+why.Why, append(args, "peer", a.Peer, "key", info.Key, "cause", info.Name)...)
	}
}

// Discard closes a connection that has gone nowhere, and gives its places back.
func (s *Server) Discard(a handlers.Arrival) {
	_ = unix.Close(a.FD)
	s.releaseSource(a.Source)
	s.PutBack()
	s.generation.leave()
}
