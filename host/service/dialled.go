package service

import (
	"time"

	"bulkhead/csa"
	"bulkhead/host/dial"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/stats"
	"bulkhead/plugins"
)

// A Server is the dial.Site of its dialer.
var _ dial.Site = (*Server)(nil)

// Of is whose connection one is, also if it was dialled; nil: it is no server's.
func Of(c *csa.CSA) *Server {
	switch of := c.Creator().(type) {
	case *Server:
		return of
	case *dial.Upstream:
		return of.Site().(*Server)
	}
	return nil
}

// Policy is whom its tenant's handlers may dial.
func (s *Server) Policy() *egress.Policy { return s.tenant.Policy() }

// ConnectTimeout is how long connecting may take.
func (s *Server) ConnectTimeout() time.Duration { return s.terms.Load().connectTimeout }

// Resolver is its tenant's part of the host's.
func (s *Server) Resolver() egress.Resolver { return s.tenant.Resolver() }

// Redirect is the machine's.
func (s *Server) Redirect() func(egress.Target) (csa.Address, error) { return s.machine.Redirect }

// DialledSettings are those of connections that its handlers have dialled.
func (s *Server) DialledSettings() *csa.Settings { return &s.terms.Load().dialled }

// DialledTuning is what sockets over TCP get that its handlers have dialled.
func (s *Server) DialledTuning() listen.Options {
	o := s.terms.Load().tuning
	if s.udp {
		o.SendBuffer = 0 // it is for datagrams
	}
	return o
}

// ClientHandshake is the host's part of TLS when the peer is a server of this name.
func (s *Server) ClientHandshake(name string, timeout time.Duration) csa.Handshake {
	return csa.Handshake{Config: s.tenant.ClientTLS(name), Client: true, Timeout: timeout, Share: s.tenant.Handshakes}
}

// Stopping reports whether no connection is made any more.
func (s *Server) Stopping() bool { return s.machine.Stopping.Load() }

// TakeDial takes what a connection that is dialled needs of the budgets, or reports false.
func (s *Server) TakeDial() bool {
	if !s.tenant.TakeDial() {
		return false
	}
	if !s.machine.Connections.Take() {
		s.tenant.ReleaseDial()
		s.tenant.ReleaseUpstream()
		return false
	}
	s.generation.join()
	return true
}

// DialOver gives back what a connection holds until it is there, or will not be.
func (s *Server) DialOver() { s.tenant.ReleaseDial() }

// ReleaseUpstream gives back what it holds until it is over, or will not be.
func (s *Server) ReleaseUpstream() {
	s.tenant.ReleaseUpstream()
	s.machine.Connections.Release()
	s.machine.Released()
}

// Leave says that nothing is done with the server any more on a connection's account.
func (s *Server) Leave() { s.generation.leave() }

// Retain says that n connections more, or less, that were dialled keep the instance alive.
func (s *Server) Retain(i *plugins.Instance, n int) { s.provider.Retain(i, n) }

// CountDial counts what has become of a dial.
func (s *Server) CountDial(o stats.DialOutcome) { s.totals.dials[o].Add(1) }

// Ended counts and logs how a connection that was dialled has ended.
func (s *Server) Ended(c *csa.CSA, r csa.Reason) { s.writeDown(c, r, "upstream closed") }

// CountLost counts datagrams of such a connection that were lost.
func (s *Server) CountLost(why csa.Loss, n int) int64 { return s.totals.lost[why].Add(int64(n)) }
