package service

import (
	"net/netip"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"
	"bulkhead/host/loader"

	"golang.org/x/sys/unix"
)

// A Server is whom its sockets accept for.
var _ accept.Server = (*Server)(nil)

// Options are what accepted connections get.
func (s *Server) Options() *listen.Options { return &s.terms.Load().tuning }

// Reserve takes the places that one more connection needs, on the home loop.
func (s *Server) Reserve(k *accept.Streams) (at int, next accept.Next) {
	if s.router == nil {
		if at = s.provider.Reserve(); at < 0 {
			s.park(func() bool { return s.provider.Reserve() < 0 })
			return at, accept.Wait
		}
	}
	if !s.tenant.Connections.Take() {
		s.tenant.UDP.MakeRoom()
		return at, s.full(k, s.tenant.Connections.Full)
	}
	if !s.machine.Connections.Take() {
		s.tenant.Connections.Release()
		return at, s.full(k, s.machine.Connections.Full)
	}
	if wait := max(s.tenant.Accepts.Spend(0, s.home.Now()), s.tenant.CPUWait()); wait > 0 {
		s.PutBack()
		k.AcceptIn(time.Duration(wait))
		return at, accept.Wait
	}
	return at, accept.Go
}

// full deals with a lack of places: its router makes one, or it parks.
func (s *Server) full(k *accept.Streams, still func() bool) accept.Next {
	if s.router != nil && s.router.Peeks() {
		switch {
		case !k.Queued():
			// Somebody may have to make room by the time that one comes.
			k.TellNext()
		case s.router.MakeRoom():
			return accept.Again
		default:
			k.AcceptIn(s.router.RoomIn())
		}
	}
	s.park(still)
	return accept.Wait
}

// Take has an accepted connection be the server's, on the home loop.
func (s *Server) Take(k *accept.Streams, fd int, peer netip.AddrPort, accepted int64, at int) {
	s.totals.accepted.Add(1)
	a := handlers.Arrival{FD: fd, Number: csa.NextNumber(), Peer: peer, Accepted: accepted}
	if s.Drained() {
		s.turnAway(a)
		return
	}
	s.since.Came()
	if !s.WantsProxyHeader(peer) && !s.TakeSource(&a, s.home.Now()) {
		// It is not one of the accepts a second, which are the others' too.
		_ = unix.Close(fd)
		s.PutBack()
		s.generation.leave()
		return
	}
	s.tenant.Accepts.Spend(1, s.home.Now())
	k.Tune(fd, s.Options())
	if s.router != nil {
		s.router.Take(a)
		return
	}
	a.At = at
	s.machine.Loops[at].Connections.Add(1)
	s.provider.Assign(a)
}

// Join counts a connection as its generation's.
func (s *Server) Join() { s.generation.join() }

// GiveUp counts one that has joined it and found no place.
func (s *Server) GiveUp(peer netip.AddrPort, accepted int64) {
	s.writeRefused(&handlers.Arrival{Number: csa.NextNumber(), Peer: peer, Accepted: accepted}, csa.HostStopped.Reason())
	s.totals.Refused.Add(1)
	s.totals.ended[csa.HostStopped].Add(1)
	s.generation.leave()
}

// CountShortage counts an accept that failed for want of descriptors or memory.
func (s *Server) CountShortage() int64 { return s.totals.shortages.Add(1) }

// HasRoutes reports whether its router finds out where connections belong.
func (s *Server) HasRoutes() bool { return s.router != nil }

// StopRouting closes the connections that have no route yet, on the home loop.
func (s *Server) StopRouting() {
	if s.router != nil {
		s.router.Stop()
	}
}

// open opens the sockets of the listener's address.
func (s *Server) open() (accept.Sockets, error) {
	at, o := accept.Address{Network: s.config.Address.Network, Host: s.config.Address.Host}, *s.Options()
	if !s.udp {
		k, err := accept.OpenStreams(s, s.home, at, o, &s.machine.Queued)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	n := len(s.machine.Loops)
	if s.config.Instance == "listener" {
		n = 1
	}
	d, err := accept.OpenDatagrams(s, s.machine.Loops, s.home, at, o, n, &s.tenant.UDP)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Ready reports whether peers over UDP can have handlers, or never will.
func (s *Server) Ready() bool {
	late, ok := s.provider.(*loader.Pending)
	if !ok || late.Settled() {
		return true
	}
	late.Want() // whether something waits is not known
	return false
}

// readLate reads datagrams when the plugin is loaded, if the host runs by then. Any goroutine may
// call it.
func (s *Server) readLate() {
	// Otherwise there is none yet, and it finds the plugin loaded.
	if d, ok := s.generation.sockets.(*accept.Datagrams); ok {
		d.Read()
	}
}

// Admit takes a new peer over UDP in, on its loop, if the budgets let it.
func (s *Server) Admit(peer netip.AddrPort, at int) (w csa.Wiring, answer csa.Admission) {
	l := s.machine.Loops[at]
	if s.Draining() || s.machine.Stopping.Load() || s.Drained() {
		return w, csa.TurnedAway
	}
	h := s.provider.Peer(at)
	if h == nil || s.tenant.Accepts.Spend(0, l.Now()) > 0 {
		return w, csa.TurnedAway
	}
	// A source that may have no more is not one for whom another makes room.
	a := handlers.Arrival{Peer: peer, Accepted: l.Now()}
	if !s.TakeSource(&a, l.Now()) {
		return w, csa.TurnedAway
	}
	if !s.tenant.Connections.Take() {
		s.perSource().Undo(a.Source, l.Now())
		return w, csa.Full
	}
	if !s.machine.Connections.Take() {
		s.tenant.Connections.Release()
		s.perSource().Undo(a.Source, l.Now())
		return w, csa.Full
	}
	s.generation.join()
	s.totals.accepted.Add(1)
	s.since.Came()
	s.tenant.Accepts.Spend(1, l.Now())
	l.Connections.Add(1)
	return csa.Wiring{Handler: h, Settings: &s.terms.Load().settings, Budget: s.tenant, Creator: s, Signal: s.signal(at, a.Source)}, csa.Admitted
}

// WantsProxyHeaders reports whether there are addresses from which connections begin with a PROXY
// header.
func (s *Server) WantsProxyHeaders() bool { return !s.terms.Load().sources.Empty() }
