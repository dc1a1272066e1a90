package service

import (
	"path/filepath"
	"time"

	"bulkhead/csa"
	"bulkhead/host/access"
	"bulkhead/host/conns"
	"bulkhead/host/dial"
	"bulkhead/host/front"
	"bulkhead/host/handlers"
	"bulkhead/plugins"
)

// writeAccess writes a connection that has ended into the access log. It is called on its loop.
func (s *Server) writeAccess(c *csa.CSA, r csa.Reason) {
	dialled := s.dialer.TakeDialled(c)
	log := s.machine.Access
	if log == nil || !log.On() {
		return
	}
	e := s.lineOf(c)
	e.Upstreams, e.Reason = dialled, r
	log.Write(&e)
}

// writeOpen writes one that is open into the access log. It is called on its loop.
func (s *Server) writeOpen(c *csa.CSA) {
	e := s.lineOf(c)
	e.Open, e.Upstreams = true, s.dialer.DialledFor(c)
	s.machine.Access.Write(&e)
}

// lineOf is what the access log says of a connection, open or not.
func (s *Server) lineOf(c *csa.CSA) access.Line {
	e := access.Line{
		At: time.Now(), Transport: c.Transport(), Peer: c.PeerAddress(), Local: c.LocalAddress(),
		TLS: conns.TLSOf(c), Account: c.Account(),
	}
	e.Owner, e.Dialled = Whose(c)
	s.moduleOf(&e)
	if i, ok := front.HandlerOf(c).(*plugins.Instance); ok {
		e.PeakMemory = int64(i.PeakMemory())
	}
	return e
}

// writeRefused does so with one that has ended before it was a CSA. A datagram is none, and has no
// line. Any goroutine may call it.
func (s *Server) writeRefused(a *handlers.Arrival, r csa.Reason) {
	log := s.machine.Access
	if s.udp || log == nil || !log.On() {
		return
	}
	e := access.Line{At: time.Now(), Owner: s.owner, Transport: "tcp", Peer: a.Peer, Local: a.Local, Reason: r}
	e.Account = csa.Account{
		Number: a.Number, FirstIn: -1, FirstOut: -1, Proxied: a.Local.IsValid(),
		Age: time.Duration(max(s.machine.Clock.Now()-a.Accepted, 0)),
	}
	at := s
	if s.front != nil {
		at = s.front
	}
	if at.config.Address.Network == "unix" {
		e.Transport = "unix"
	}
	s.moduleOf(&e)
	log.Write(&e)
}

// moduleOf says which module a server's handlers are of.
func (s *Server) moduleOf(e *access.Line) {
	if sum := s.loaded.Load(); sum != nil {
		e.Module, e.Sum = filepath.Base(s.config.Plugin), (*[32]byte)(sum)
	}
}

// Whose is conns.Whose, for the connections of servers.
func Whose(c *csa.CSA) (o *conns.Owner, dialled bool) {
	switch of := c.Creator().(type) {
	case *Server:
		return of.owner, false
	case *dial.Upstream:
		return of.Site().(*Server).owner, true
	}
	return nil, false
}
