package accept

import (
	"errors"
	"log/slog"
	"net/netip"

	"bulkhead/csa"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/host/proxy"
)

// Datagrams are UDP sockets of one address: one for each loop, or one on the home loop.
type Datagrams struct {
	loops     []*loops.Loop
	home      *loops.Loop
	address   Address
	listening []string
	options   listen.Options // what the sockets have; of who has the right to reload
	tenant    *UDPSockets
	budget    csa.Budget
	sockets   []*udpSocket
}

var _ Sockets = (*Datagrams)(nil)

// udpSocket is a socket on one loop, whose peers it takes in as Streams take connections. But a
// datagram that is over a limit cannot wait: it is lost.
type udpSocket struct {
	d     *Datagrams
	at    int  // the loop's index
	first bool // of the sockets that are bound to the same address

	// The rest is the loop's, when it serves.
	server  Server         // whose the next peer is
	serving bool           // it is to be read as soon as there is a handler
	bound   *listen.Socket // until socket has it
	opened  *listen.Socket // as long as it is open; socket closes its descriptor
	socket  *csa.DatagramSocket
	logged  [csa.Losses]int64 // when, on the loop's clock

	// What was wrong with the last header that was, and who had sent it.
	badHeader error
	badSender netip.AddrPort
}

// OpenDatagrams binds UDP sockets of an address, from which nothing is read yet: n of them, which
// is one for each of the host's loops, or 1, on the home loop. Where the system or an inherited
// socket does not let n share the address, there is one. s is whose the first peers are, and tenant
// gets the sockets until they are closed. The error leaves nothing open.
func OpenDatagrams(s Server, all []*loops.Loop, home *loops.Loop, at Address, o listen.Options, n int, tenant *UDPSockets) (*Datagrams, error) {
	opened, err := listen.OpenAllUDP(at.Network, at.Host, n, o)
	if err != nil {
		return nil, err
	}
	d := &Datagrams{loops: all, home: home, address: at, options: o, tenant: tenant, budget: s.Budget()}
	for _, sockets := range opened {
		for i, l := range all {
			switch {
			case len(sockets) > 1:
				d.sockets = append(d.sockets, &udpSocket{d: d, server: s, at: i, first: i == 0, bound: sockets[i], opened: sockets[i]})
			case l == home:
				d.sockets = append(d.sockets, &udpSocket{d: d, server: s, at: i, first: true, bound: sockets[0], opened: sockets[0]})
			}
		}
		d.listening = append(d.listening, sockets[0].Addr)
	}
	tenant.add(d.sockets)
	return d, nil
}

// Address is what they were opened by.
func (d *Datagrams) Address() Address { return d.address }

// Listening is where they are bound.
func (d *Datagrams) Listening() []string { return d.listening }

// Home is the loop that they are on where there is one socket.
func (d *Datagrams) Home() *loops.Loop { return d.home }

// Options are those that they have.
func (d *Datagrams) Options() listen.Options { return d.options }

// Budget is that of the tenant whose they are.
func (d *Datagrams) Budget() csa.Budget { return d.budget }

// Descriptors are those of the sockets that are open.
func (d *Datagrams) Descriptors() (all []int) {
	for _, p := range d.sockets {
		d.loops[p.at].Call(func() {
			if fd := p.descriptor(); fd >= 0 {
				all = append(all, fd)
			}
		})
	}
	return all
}

// Register does nothing: nothing is read before Begin.
func (d *Datagrams) Register() error { return nil }

// Begin starts to read, or leaves that to Read: nothing is read for a server that is not ready.
func (d *Datagrams) Begin() (err error) {
	for _, p := range d.sockets {
		d.loops[p.at].Call(func() { err = errors.Join(err, p.begin()) })
	}
	return err
}

// Serve has all peers that are new from now on be a server's.
func (d *Datagrams) Serve(s Server) {
	for _, p := range d.sockets {
		d.loops[p.at].Call(func() {
			p.server = s
			if p.socket != nil {
				p.socket.ShareMemory(s.SocketMemory())
				if s.WantsProxyHeaders() {
					p.socket.SetHeaderReader(p)
				}
			}
			if err := p.begin(); err != nil {
				p.Broken(err)
			}
		})
	}
}

// Read starts to read, for a server that was not ready, if that was to begin. It does not wait.
func (d *Datagrams) Read() {
	for _, p := range d.sockets {
		d.loops[p.at].Post(p.readNow)
	}
}

// ReadHeaders has PROXY headers read that the server, which did not want any before, wants from now
// on. It does not wait.
func (d *Datagrams) ReadHeaders(s Server) {
	for _, p := range d.sockets {
		d.loops[p.at].Post(func() {
			if p.server == s && p.socket != nil {
				p.socket.SetHeaderReader(p)
			}
		})
	}
}

// AskBudget has what waits for a limit of the tenant ask again. It does not wait.
func (d *Datagrams) AskBudget() {
	for _, p := range d.sockets {
		d.loops[p.at].Post(func() {
			if p.socket != nil {
				p.socket.AskBudget()
			}
		})
	}
}

// Retune gives the open sockets other options.
func (d *Datagrams) Retune(before, now listen.Options) (err error) {
	d.options = now
	for _, p := range d.sockets {
		d.loops[p.at].Call(func() {
			if fd := p.descriptor(); fd >= 0 {
				err = errors.Join(err, listen.ChangeDatagrams(fd, before, now))
			}
			if p.socket != nil {
				p.socket.ShareMemory(p.server.SocketMemory())
			}
		})
	}
	return err
}

// Drain does nothing: whoever is no peer yet, the server turns away.
func (d *Datagrams) Drain(bool) {}

// StopAccepting does nothing: the peers need the sockets.
func (d *Datagrams) StopAccepting() {}

// Close closes the sockets, and ends their peers for that reason.
func (d *Datagrams) Close(why csa.Reason) {
	for _, p := range d.sockets {
		d.loops[p.at].Call(func() {
			switch {
			case p.socket != nil:
				p.socket.Close(why)
				p.opened.Forget()
			case p.bound != nil:
				_ = p.bound.Close()
				p.bound = nil
			}
		})
	}
	d.tenant.drop(d)
}

// descriptor is the socket's; negative: it is not open.
func (p *udpSocket) descriptor() int {
	switch {
	case p.socket != nil:
		return p.socket.Socket()
	case p.bound != nil:
		return p.bound.FD
	}
	return -1
}

// begin starts to read, on the loop, or leaves that to Read.
func (p *udpSocket) begin() error {
	p.serving = true
	if !p.server.Ready() {
		return nil
	}
	return p.read()
}

// readNow starts to read, if that was to begin.
func (p *udpSocket) readNow() {
	if !p.serving {
		return
	}
	if err := p.read(); err != nil {
		p.Broken(err)
	}
}

// read starts to read, once, on the loop.
func (p *udpSocket) read() (err error) {
	if p.bound == nil {
		return nil // it does, or has been closed
	}
	fd := p.bound.FD
	p.bound = nil // closed, if it cannot be read from
	if p.socket, err = p.d.loops[p.at].NewDatagramSocket(fd, p, p.server.Budget()); err != nil {
		p.socket = nil
		p.opened.Forget()
		return err
	}
	p.socket.ShareMemory(p.server.SocketMemory())
	if !p.first {
		p.socket.OwnOnly()
	}
	if p.server.WantsProxyHeaders() {
		p.socket.SetHeaderReader(p)
	}
	return nil
}

// ReadHeader reads the PROXY header of a datagram, if its sender is in proxy_from.
func (p *udpSocket) ReadHeader(sender netip.AddrPort, b []byte) (n int, from, to netip.AddrPort, ok bool) {
	if !p.server.WantsProxyHeader(sender) {
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

// Admit takes a new peer in, if the server does.
func (p *udpSocket) Admit(peer netip.AddrPort) (csa.Wiring, csa.Admission) {
	return p.server.Admit(peer, p.at)
}

// Lost counts datagrams that were lost, and logs it now and then.
func (p *udpSocket) Lost(why csa.Loss, n int) {
	if why == csa.LostConnections {
		p.d.tenant.MakeRoom() // at another of its sockets; the next may find a place
	}
	lost := p.server.CountLost(why, n)
	now := p.d.loops[p.at].Now()
	if at := p.logged[why]; at == 0 || now-at >= int64(logEvery) {
		p.logged[why] = max(now, 1)
		info := why.Info()
		more := []any{"lost_so_far", lost, "key", info.Key, "cause", info.Name}
		if why == csa.LostHeader {
			more = append(more, "sender", p.badSender, "error", p.badHeader)
		}
		p.server.LogLimited(slog.LevelWarn, "datagrams are lost: "+info.Words, more...)
	}
}

// Broken logs that nothing comes any more.
func (p *udpSocket) Broken(err error) {
	p.opened.Forget()
	p.server.Log().Error("a datagram socket is broken; nothing more is read from it", "error", err)
}
