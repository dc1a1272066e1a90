package host

import (
	"log/slog"
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/front"
	"bulkhead/host/handlers"

	"golang.org/x/sys/unix"
)

// A server is a front.Site: its router's, and that of the router whose route it is.
var _ front.Site = (*server)(nil)

// routeTo has a router give its connections to the servers of its routes, and with fallback to
// itself what no rule matches.
func (s *server) routeTo(routes []*server, fallback bool) {
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
func (s *server) RouteTimeout() time.Duration { return s.terms.Load().routeTimeout }

// MostConnections is how many its tenant may have.
func (s *server) MostConnections() int { return s.tenant.Config().Connections }

// Budget is its tenant's.
func (s *server) Budget() csa.Budget { return s.tenant }

// SocketMemory is what its tenant's sockets may hold in the system.
func (s *server) SocketMemory() csa.SocketShare { return s.tenant.SocketMemory }

// Enter has a connection of its listener's become its own, unless it has no place for it: then
// resume is called when it may have one, or after wait, in nanoseconds, it may.
func (s *server) Enter(a handlers.Arrival) (ok bool, wait int64) {
	from := s.front
	if from == nil {
		from = s // it serves what no rule matches
	}
	at := s.crew.Reserve()
	if at < 0 {
		s.park(func() bool { return s.crew.Reserve() < 0 })
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
			s.host.wake()
			return false, wait
		}
		s.tenant.Accepts.Spend(1, now)
		from.tenant.Connections.Release()
		s.host.wake()
	}
	if s != from {
		s.counters.accepted.Add(1)
		s.since.Came()
	}
	a.At = at
	s.host.loops[at].Connections.Add(1)
	s.crew.Assign(a)
	return true, 0
}

// CountRefused counts and logs the end of a connection that it has no place for.
func (s *server) CountRefused(peer netip.AddrPort, why csa.Reason) {
	s.counters.Refused.Add(1)
	s.refused(peer, why, "a connection was closed: ")
}

// CountUnrouted counts and logs the end of a connection that has no route.
func (s *server) CountUnrouted(peer netip.AddrPort, why csa.Reason, args ...any) {
	s.counters.unrouted.Add(1)
	s.refused(peer, why, "a connection was closed, and went nowhere: ", args...)
}

// refused counts and logs the end of a connection that never was a CSA.
func (s *server) refused(peer netip.AddrPort, why csa.Reason, line string, args ...any) {
	number := s.writeRefused(peer, why)
	s.counters.ended[why.Cause].Add(1)
	info := why.Cause.Info()
	lines := s.closes
	if info.Level >= slog.LevelWarn {
		lines = s.noisy
	}
	if lines.May(info.Level) {
		if number != 0 {
			args = append(args, "connection", number)
		}
		lines.Write(info.Level, line+why.Why, append(args, "peer", peer, "key", info.Key, "cause", info.Name)...)
	}
}

// Discard closes a connection that has gone nowhere, and gives its places back.
func (s *server) Discard(a handlers.Arrival) {
	_ = unix.Close(a.FD)
	s.releaseSource(a.Source)
	s.PutBack()
	s.gen.leave()
}
