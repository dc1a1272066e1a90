package host

import (
	"errors"
	"log/slog"
	"net/netip"

	"bulkhead/csa"
	"bulkhead/host/handlers"
	"bulkhead/host/listen"
	"bulkhead/host/proxy"
)

// peers is what a UDP listener has on one loop: a socket, whose peers it takes in as the
// server of a TCP listener takes connections. But a datagram that is over a limit cannot
// wait: it is lost.
type peers struct {
	k      *acceptor
	at     int     // the loop's index
	first  bool    // of the sockets that are bound to the same address
	tenant *tenant // whose the sockets are

	// The rest is the loop's, when it serves.
	s       *server        // whose the next peer is
	serving bool           // it is to be read as soon as there is a handler
	bound   *listen.Socket // until socket has it
	socket  *csa.DatagramSocket
	logged  [csa.Losses]int64 // when, on the loop's clock

	// What was wrong with the last header that was, and who had sent it.
	badHeader error
	badSender netip.AddrPort
}

// Introduced reads the PROXY header of a datagram, if its sender is one of those who write it.
func (p *peers) Introduced(sender netip.AddrPort, b []byte) (n int, from, to netip.AddrPort, ok bool) {
	if !p.s.WantsProxyHeader(sender) {
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

// openUDP binds the sockets: one for each loop, or only one where there is one instance for
// all. The error leaves none open.
func (k *acceptor) openUDP() error {
	s, n := k.s, len(k.host.loops)
	if s.config.Instance == "listener" {
		n = 1
	}
	all, err := listen.OpenAllUDP(k.by.network, k.by.host, n, s.terms.Load().tuning)
	if err != nil {
		return err
	}
	for _, sockets := range all {
		for at, l := range k.host.loops {
			switch {
			case len(sockets) > 1:
				k.peers = append(k.peers, &peers{k: k, s: s, tenant: s.tenant, at: at, first: at == 0, bound: sockets[at]})
			case l == k.home:
				k.peers = append(k.peers, &peers{k: k, s: s, tenant: s.tenant, at: at, first: true, bound: sockets[0]})
			}
		}
		k.listensAt(sockets[0])
	}
	return nil
}

// beginUDP starts to read, or leaves that to readLate: nothing is read for a plugin that is
// not loaded yet.
func (k *acceptor) beginUDP() (err error) {
	for _, p := range k.peers {
		k.host.loops[p.at].Call(func() { err = errors.Join(err, p.begin()) })
	}
	return err
}

// serveUDP has all peers that are new from now on be a server's.
func (k *acceptor) serveUDP(s *server) {
	for _, p := range k.peers {
		k.host.loops[p.at].Call(func() {
			p.s = s
			if p.socket != nil && !s.terms.Load().sources.Empty() {
				p.socket.IntroduceBy(p)
			}
			if err := p.begin(); err != nil {
				p.Broken(err)
			}
		})
	}
}

// begin starts to read, on the loop, or leaves that to readLate.
func (p *peers) begin() error {
	p.serving = true
	if late, ok := p.s.crew.(*lateCrew); ok && !late.settled() {
		late.wanted.Store(true) // whether something waits is not known
		return nil
	}
	return p.read()
}

// readLate starts to read when the plugin is loaded, if the host runs by then. Any
// goroutine may call it.
func (s *server) readLate() {
	if s.socket == nil {
		return // there is none yet, and it finds the plugin loaded
	}
	for _, p := range s.socket.peers {
		s.host.loops[p.at].Post(p.readNow)
	}
}

// readNow starts to read, if that was to begin.
func (p *peers) readNow() {
	if !p.serving {
		return
	}
	if err := p.read(); err != nil {
		p.Broken(err)
	}
}

// read starts to read, once, on the loop.
func (p *peers) read() (err error) {
	if p.bound == nil {
		return nil // it does, or the host has been closed
	}
	fd := p.bound.FD
	p.bound = nil // closed, if it cannot be read from
	if p.socket, err = p.k.host.loops[p.at].NewDatagramSocket(fd, p, p.s.tenant); err != nil {
		p.socket = nil
		return err
	}
	if !p.first {
		p.socket.OwnOnly()
	}
	if !p.s.terms.Load().sources.Empty() {
		p.socket.IntroduceBy(p)
	}
	return nil
}

// closeUDP closes the sockets. It is not called on a loop.
func (k *acceptor) closeUDP(why csa.Reason) {
	for _, p := range k.peers {
		k.host.loops[p.at].Call(func() {
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
	if s.Draining() || s.host.stopping.Load() {
		return w, csa.TurnedAway
	}
	h := s.crew.Peer(p.at)
	if h == nil || s.tenant.accepts.Spend(0, l.Now()) > 0 {
		return w, csa.TurnedAway
	}
	// A source that may have no more is not one for whom another makes room.
	a := handlers.Arrival{Peer: peer}
	if !s.TakeSource(&a, l.Now()) {
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
	s.gen.join()
	s.counters.accepted.Add(1)
	s.since.Came()
	s.tenant.accepts.Spend(1, l.Now())
	l.Connections.Add(1)
	return csa.Wiring{Handler: h, Settings: &s.terms.Load().settings, Budget: s.tenant, Creator: s, Signal: s.signal(p.at, a.Source)}, csa.Admitted
}

// Lost counts datagrams that were lost, and logs it now and then.
func (p *peers) Lost(why csa.Loss, n int) {
	if why == csa.LostConnections {
		p.s.tenant.makeRoom() // at another of its sockets; the next may find a place
	}
	lost := p.s.counters.lost[why].Add(int64(n))
	now := p.k.host.loops[p.at].Now()
	if at := p.logged[why]; at == 0 || now-at >= int64(shortageLogEvery) {
		p.logged[why] = max(now, 1)
		info := why.Info()
		more := []any{"lost_so_far", lost, "key", info.Key, "cause", info.Name}
		if why == csa.LostHeader {
			more = append(more, "sender", p.badSender, "error", p.badHeader)
		}
		p.s.noisy.Event(slog.LevelWarn, "datagrams are lost: "+info.Words, more...)
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
	all := t.peers.Load()
	if all != nil && len(*all) > 0 && t.making.CompareAndSwap(false, true) {
		t.ask(*all, int(t.asked.Add(1)), 0)
	}
}

// ask asks the tenant's sockets in turn, each on its loop, beginning with one.
func (t *tenant) ask(all []*peers, first, n int) {
	if n == len(all) {
		t.making.Store(false)
		return
	}
	p := all[(first+n)%len(all)]
	posted := p.k.host.loops[p.at].Post(func() {
		if p.socket == nil || !p.socket.MakeRoom() {
			t.ask(all, first, n+1)
			return
		}
		t.making.Store(false)
	})
	if !posted {
		t.making.Store(false)
	}
}
