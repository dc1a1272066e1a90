package host

import (
	"errors"
	"log/slog"
	"net/netip"

	"bulkhead/csa"
	"bulkhead/host/crew"
	"bulkhead/host/listen"
	"bulkhead/host/proxy"
)

// peers is what a UDP listener has on one loop: a socket, whose peers it takes in as the
// server of a TCP listener takes connections. But a datagram that is over a limit cannot
// wait: it is lost.
type peers struct {
	s      *server
	at     int            // the loop's index
	first  bool           // of the sockets that are bound to the same address
	bound  *listen.Socket // until socket has it
	socket *csa.DatagramSocket
	logged [csa.Losses]int64 // when, on the loop's clock

	// What was wrong with the last header that was, and who had sent it.
	badHeader error
	badSender netip.AddrPort
}

// Introduced reads the PROXY header of a datagram, if its sender is one of those who write it.
func (p *peers) Introduced(sender netip.AddrPort, b []byte) (n int, from, to netip.AddrPort, ok bool) {
	if !p.s.introduces(sender) {
		return 0, from, to, true
	}
	h, n, err := proxy.ParseDatagram(b)
	if err != nil {
		p.badHeader, p.badSender = err, sender
		return 0, from, to, false
	}
	if h.Local || h.Source.Addr().IsUnspecified() { // which says as little
		return n, from, to, true
	}
	return n, h.Source, h.Destination, true
}

// openUDP binds the listener's sockets: one for each loop, or only one where there is one
// instance for all.
func (s *server) openUDP() error {
	n := len(s.host.loops)
	if s.config.Instance == "listener" {
		n = 1
	}
	all, err := listen.OpenAllUDP(s.config.Address.Network, s.config.Address.Host, n, s.tuning)
	if err != nil {
		return err
	}
	for _, sockets := range all {
		for at, l := range s.host.loops {
			switch {
			case len(sockets) > 1:
				s.peers = append(s.peers, &peers{s: s, at: at, first: at == 0, bound: sockets[at]})
			case l == s.home:
				s.peers = append(s.peers, &peers{s: s, at: at, first: true, bound: sockets[0]})
			}
		}
		s.listensAt(sockets[0])
	}
	s.tenant.peers = append(s.tenant.peers, s.peers...)
	return nil
}

// listenUDP starts to read, or has readLate do so: nothing is read for a plugin that is
// not loaded yet.
func (s *server) listenUDP() (err error) {
	s.serving.Store(true)
	if late, ok := s.crew.(*lateCrew); ok && !late.settled() {
		late.wanted.Store(true) // whether something waits is not known
		return nil
	}
	for _, p := range s.peers {
		s.host.loops[p.at].Call(func() { err = errors.Join(err, p.read()) })
	}
	return err
}

// readLate starts to read when the plugin is loaded, if the host runs by then. Any
// goroutine may call it.
func (s *server) readLate() {
	if !s.serving.Load() {
		return
	}
	for _, p := range s.peers {
		s.host.loops[p.at].Post(func() {
			if err := p.read(); err != nil {
				p.Broken(err)
			}
		})
	}
}

// read starts to read, once, on the loop.
func (p *peers) read() (err error) {
	if p.bound == nil {
		return nil // it does, or the host has been closed
	}
	fd := p.bound.FD
	p.bound = nil // closed, if it cannot be read from
	if p.socket, err = p.s.host.loops[p.at].NewDatagramSocket(fd, p, p.s.tenant); err != nil {
		p.socket = nil
		return err
	}
	if !p.first {
		p.socket.OwnOnly()
	}
	if !p.s.sources.Empty() {
		p.socket.IntroduceBy(p)
	}
	return nil
}

// closeUDP closes the sockets. It is not called on a loop.
func (s *server) closeUDP(why csa.Reason) {
	for _, p := range s.peers {
		s.host.loops[p.at].Call(func() {
			switch {
			case p.socket != nil:
				p.socket.Close(why)
			case p.bound != nil:
				_ = p.bound.Close()
				p.bound = nil
			}
		})
	}
}

// Admit takes a new peer in, if the budgets let it.
func (p *peers) Admit(peer netip.AddrPort) (w csa.Wiring, answer csa.Admission) {
	s, l := p.s, p.s.host.loops[p.at]
	if s.host.draining.Load() || s.host.stopping.Load() {
		return w, csa.TurnedAway
	}
	h := s.crew.Peer(p.at)
	if h == nil || s.tenant.accepts.Spend(0, l.Now()) > 0 {
		return w, csa.TurnedAway
	}
	// A source that may have no more is not one for whom another makes room.
	a := crew.Arrival{Peer: peer}
	if !s.takeSource(&a, l.Now()) {
		return w, csa.TurnedAway
	}
	if !s.tenant.connections.Take() {
		s.perSource().Undo(a.Source, l.Now())
		return w, csa.Full
	}
	if !s.host.connections.Take() {
		s.tenant.connections.Release()
		s.perSource().Undo(a.Source, l.Now())
		return w, csa.Full
	}
	s.counters.accepted.Add(1)
	s.tenant.accepts.Spend(1, l.Now())
	l.Connections.Add(1)
	return csa.Wiring{Handler: h, Settings: &s.settings, Budget: s.tenant, Creator: s, Signal: s.signal(p.at, a.Source)}, csa.Admitted
}

// Lost counts datagrams that were lost, and logs it now and then.
func (p *peers) Lost(why csa.Loss, n int) {
	if why == csa.LostConnections {
		p.s.tenant.makeRoom() // at another of its sockets; the next may find a place
	}
	lost := p.s.counters.lost[why].Add(int64(n))
	now := p.s.host.loops[p.at].Now()
	if at := p.logged[why]; at == 0 || now-at >= int64(shortageLogEvery) {
		p.logged[why] = max(now, 1)
		info := why.Info()
		more := []any{"lost_so_far", lost, "key", info.Key, "cause", info.Name}
		if why == csa.LostHeader {
			more = append(more, "sender", p.badSender, "error", p.badHeader)
		}
		p.s.noisy.event(slog.LevelWarn, "datagrams are lost: "+info.Words, more...)
	}
}

// Broken logs that nothing comes any more.
func (p *peers) Broken(err error) {
	p.s.log.Error("a datagram socket is broken; nothing more is read from it", "error", err)
}

// makeRoom has a peer over UDP whose place is no more than a guess give it up, if the tenant has
// one: they have sent one datagram only, and perhaps not even that. It is for connections that find the
// tenant's taken, and does not wait. Any goroutine may call it.
func (t *tenant) makeRoom() {
	if len(t.peers) > 0 && t.making.CompareAndSwap(false, true) {
		t.ask(int(t.asked.Add(1)), 0)
	}
}

// ask asks the tenant's sockets in turn, each on its loop, beginning with one.
func (t *tenant) ask(first, n int) {
	if n == len(t.peers) {
		t.making.Store(false)
		return
	}
	p := t.peers[(first+n)%len(t.peers)]
	posted := p.s.host.loops[p.at].Post(func() {
		if p.socket == nil || !p.socket.MakeRoom() {
			t.ask(first, n+1)
			return
		}
		t.making.Store(false)
	})
	if !posted {
		t.making.Store(false)
	}
}

// lostBy counts the datagrams that were lost, by the names of the reasons.
func (c *counters) lostBy() map[string]int64 {
	by := make(map[string]int64)
	for why := range c.lost {
		if n := c.lost[why].Load(); n > 0 {
			by[csa.Loss(why).Info().Name] = n
		}
	}
	return by
}
