package csa

import (
	"fmt"
	"net/netip"

	"bulkhead/abi"
	"bulkhead/selector"
)

// Peers is the owner of a DatagramSocket: it admits peers and hears of losses. Its methods are
// called on the socket's loop, in the middle of an event. They must not block, call a handler or
// close the socket.
type Peers interface {
	// Admit decides about a sender that is not a peer of the socket yet. With Admitted, the new
	// connection gets the Wiring, whose Budget has to be the socket's. Otherwise the Wiring is
	// ignored.
	Admit(peer netip.AddrPort) (Wiring, Admission)
	// Lost counts datagrams that no handler saw, or that could not be sent. n is at least 1.
	Lost(why Loss, n int)
	// Broken says that the socket can no longer be read. Its peers stay until they end by
	// themselves or the socket is closed.
	Broken(err error)
}

// HeaderReader reads the PROXY header that some of a socket's datagrams begin with. The header
// names the client that sent the datagram.
type HeaderReader interface {
	// ReadHeader reads the header of a datagram. The datagram is valid during the call. n is the
	// length of the header, 0 if the sender writes none. from and to are the addresses of the
	// client and of the destination; where they are not valid, the socket's own are used. ok is
	// false if the datagram must begin with a header and does not: it is lost, as LostHeader.
	// ReadHeader may be called again for the same datagram, when that could not be delivered at
	// once. It is called on the socket's loop, and must not call a handler.
	ReadHeader(sender netip.AddrPort, datagram []byte) (n int, from, to netip.AddrPort, ok bool)
}

// Admission is the answer of Peers.Admit.
type Admission byte

// The answers.
const (
	// TurnedAway loses the datagram.
	TurnedAway Admission = iota
	// Admitted makes its sender a peer.
	Admitted
	// Full has the socket end the connection of a peer that has sent one
	// datagram only, longest ago, and ask again; if there is none, the datagram
	// is lost, with LostConnections.
	Full
)

const (
	// datagramBatch is how many datagrams are read or sent by one system call.
	datagramBatch = 32
	// longestDatagram is what any datagram fits into.
	longestDatagram = 64 << 10
	// batchesPerTurn bounds what a socket reads in one turn of the loop.
	batchesPerTurn = 8
	// mostWaiting is how many datagrams of one peer wait for its handler where nothing is
	// said, and mostWaitingBytes how many bytes of them, with frameHeader for each. So
	// much any peer may have; what is more, all peers of a socket share.
	mostWaiting      = 16
	mostWaitingBytes = 64 << 10
	// sharedWaiting is how many times WaitingBytes all peers of a socket may have waiting.
	sharedWaiting = 8
	// evictionTries is how many peers are looked at to find one to end.
	evictionTries = 8
	// frameHeader is how long the length before each datagram in a fifo is.
	frameHeader = 4
)

// peerKey says whose a datagram is, and who is addressed by it. IPv4 addresses are
// in their IPv6 form.
//
// The fields leave no gap, so that a key is hashed in one piece.
type peerKey struct {
	ip    [16]byte
	local [16]byte // zero where the socket has one address, or it is not known
	zone  uint32   // of a link-local address: the index of the interface
	port  uint16
	// What a header says whose it is, of those who send by way of one that writes it; or zero.
	sourcePort uint16
	source     [16]byte
}

var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

func (k *peerKey) setIP4(to *[16]byte, ip [4]byte) {
	copy(to[:], v4Prefix[:])
	copy(to[12:], ip[:])
}

func isIP4(ip *[16]byte) bool { return [12]byte(ip[:12]) == v4Prefix }

func (k *peerKey) peer() netip.AddrPort {
	return netip.AddrPortFrom(withZone(netip.AddrFrom16(k.ip).Unmap(), k.zone), k.port)
}

// DatagramSocket is a UDP socket with a connection for each peer: a CSA that shares the socket.
// Each datagram from a peer is one Data of its handler, and each Send of the handler is one
// datagram to the peer. A peer begins with its first datagram, if the owner admits it. It ends by
// the idle timeout, by its handler, when the socket closes, or when another peer needs its place:
// see Full.
//
// All methods are for the socket's loop.
type DatagramSocket struct {
	loop     *Loop
	d        selector.Descriptor
	fd       int
	six      bool // of IPv6, or of both
	wildcard bool // it has many addresses: what was addressed goes with each datagram
	ownOnly  bool // what is sent to many is another socket's
	closed   bool
	slowIn   bool
	slowOut  bool
	listed   bool // on the loop's list of what to flush
	owner    Peers
	headers  HeaderReader // nil: no datagram has a header
	budget   Budget
	local    netip.AddrPort
	memory   datagramMemory
	drops    uint32 // the system's count, as last seen
	// dialled is the only peer of a socket that was connected to it; nil: whoever sends is one.
	dialled *datagramPeer
	waiting int // bytes in the rests of all peers
	// lastRead is when it was last read. unread says that reading has been put off since.
	lastRead int64
	unread   bool

	peers map[peerKey]*datagramPeer
	// young are the peers of one datagram, in the order in which they came.
	young youngList
	// out are the peers that have something to send, or wait to; due those that are
	// to be told something.
	out, due peerQueue

	in, outTimer selector.Timer
}

// datagrams is what the datagram sockets of one loop share.
type datagrams struct {
	in  receiver
	out sender
	// of is the socket whose datagrams are in in: those from next to n are not yet
	// dealt with. evicted says that next has made a peer give up its place.
	of      *DatagramSocket
	next, n int
	evicted bool
	// reading is the socket whose ReadReady runs.
	reading *DatagramSocket
	// unsent are sockets that have something to send at the end of the event.
	unsent []*DatagramSocket
}

// NewDatagramSocket starts to read from fd, a UDP socket that is bound and non-blocking. It owns fd
// from here on, and closes it on an error. What comes is booked with budget, which must not be nil,
// whoever sends it. It is called on the loop, and the loop has to close the socket before it stops.
func (l *Loop) NewDatagramSocket(fd int, owner Peers, budget Budget) (*DatagramSocket, error) {
	s := &DatagramSocket{loop: l, fd: fd, owner: owner, budget: budget, local: localAddrPort(fd), peers: make(map[peerKey]*datagramPeer)}
	s.wildcard = s.local.Addr().IsUnspecified()
	s.six = inet6(fd)
	prepareDatagrams(s)
	if err := l.sel.Add(&s.d, fd, s); err != nil {
		closeSocket(fd)
		return nil, fmt.Errorf("csa: adding a datagram socket: %w", err)
	}
	if l.datagrams == nil {
		l.datagrams = &datagrams{}
		l.datagrams.in.init()
	}
	s.d.NewReader()
	return s, nil
}

// NewDatagramPeer wraps the non-blocking UDP socket fd, which is connected to peer, in a CSA like
// that of a peer of a DatagramSocket, but with the socket to itself: nobody else's datagrams come,
// and the socket is closed with the CSA. It ends by what its handler says, by Settings.IdleTimeout,
// or with abi.Refused when the system hears that nothing listens at the peer's port. The owner is
// told of datagrams that are lost; it is never asked to admit anybody.
//
// Of from, the number alone counts. The CSA owns fd from here on; on an error it is closed, and
// nobody is told. NewDatagramPeer does not return when the handler passes the loop on.
func (l *Loop) NewDatagramPeer(fd int, peer netip.AddrPort, owner Peers, w Wiring, from Origin) (*CSA, error) {
	s, err := l.NewDatagramSocket(fd, owner, w.Budget)
	if err != nil {
		return nil, err
	}
	if w.Settings != nil && w.Settings.SocketMemory != nil {
		s.ShareMemory(w.Settings.SocketMemory)
	}
	l.enterEvent()
	l.Charge(w.Budget)
	s.dialled = s.newPeer(&peerKey{ip: peer.Addr().As16(), port: peer.Port()}, peer, w, from)
	s.dialled.open()
	l.leaveEvent()
	return &s.dialled.c, nil
}

// SetHeaderReader sets who reads the headers of datagrams. It is called before the socket's first
// event.
func (s *DatagramSocket) SetHeaderReader(i HeaderReader) { s.headers = i }

// OwnOnly leaves datagrams that were sent to a group, or broadcast, to another socket of the same
// listener, since the system gives each socket a copy. It works on Linux alone. Call it before the
// socket's first event.
func (s *DatagramSocket) OwnOnly() {
	s.ownOnly = true
	sayAddressed(s)
}

// Owner is whom the socket asks and tells.
func (s *DatagramSocket) Owner() Peers { return s.owner }

// Len is how many peers there are.
func (s *DatagramSocket) Len() int { return len(s.peers) }

// Close ends the connections of all peers with the reason r and closes the socket. Handlers hear of
// it by Closed; the peers themselves are told nothing. What waits to be sent is dropped. Closing
// again does nothing.
func (s *DatagramSocket) Close(r Reason) {
	if s.closed {
		return
	}
	s.loop.enterEvent()
	for _, p := range s.peers {
		p.c.kill(r)
	}
	s.shut()
	s.loop.leaveEvent()
}

// shut closes the socket, once.
func (s *DatagramSocket) shut() {
	if s.closed {
		return
	}
	s.closed = true
	l := s.loop
	l.sel.StopTimer(&s.in)
	l.sel.StopTimer(&s.outTimer)
	l.sel.Remove(&s.d)
	s.memory.release()
	closeSocket(s.fd)
}

// Exceptional does nothing: the socket does not ask for it.
func (s *DatagramSocket) Exceptional() {}

// ReadReady is the selector's notice that datagrams have come, or that peers are due to be told
// something. A handler may pass the loop on in any of the calls that follow from it:
// what is left to do then stands in the socket and in the loop's batch, and
// Loop.Pass has it called again.
func (s *DatagramSocket) ReadReady() {
	g := s.loop.datagrams
	g.reading = s
	for batch := 0; ; batch++ {
		s.enter()
		more := s.readOnce()
		s.loop.leaveEvent()
		if !more || batch == batchesPerTurn {
			break
		}
	}
	g.reading = nil
	s.continueBatch()
}

// enter begins an event of the socket's.
func (s *DatagramSocket) enter() {
	s.loop.enterEvent()
	s.loop.Charge(s.budget)
}

// continueBatch asks the selector to notify it of the next datagrams.
func (s *DatagramSocket) continueBatch() {
	switch {
	case s.closed:
	case s.due.first != nil || s.loop.datagrams.of != nil:
		s.d.ReadAgain()
	case !s.slowIn:
		s.d.NewReader()
	}
}

// readOnce tells the peers that are due, and then reads one batch of datagrams
// and hands them over. It reports whether there is likely to be more.
func (s *DatagramSocket) readOnce() (more bool) {
	g := s.loop.datagrams
	if g.of != nil && !g.handOut() {
		return true // what another batch has left is first
	}
	if s.closed {
		return false
	}
	s.tellDue()
	if s.slowIn || s.closed {
		return false
	}
	now := s.loop.Now()
	if wait := max(s.budget.Received(0, now), s.budget.CPUWait()); wait > 0 {
		s.slowDownIn(wait)
		return false
	}
	s.lastRead, s.unread = now, false
	n, err := g.in.receive(s.fd)
	if err != nil {
		s.readFailed(err)
		return false
	}
	if n < datagramBatch {
		s.d.ReadBlocked()
	}
	g.of, g.next, g.n = s, 0, n
	bytes := 0
	for i := range n {
		bytes += g.in.size(i)
	}
	if wait := s.budget.Received(bytes, now); wait > 0 {
		s.slowDownIn(wait)
	}
	done := g.handOut()
	return (n == datagramBatch || !done) && !s.slowIn
}

func (s *DatagramSocket) readFailed(err error) {
	switch {
	case err == errWouldBlock:
		s.d.ReadBlocked()
	case s.dialled != nil && earlierError(err):
		s.refused()
	case s.dialled != nil && brokenSocket(err):
		s.dialled.c.kill(reasonOf(err))
	case brokenSocket(err):
		s.slowIn = true // for good
		s.owner.Broken(err)
	}
	// What remains is of one datagram that was sent before, and has been heard
	// now; or passes.
}

// refused ends the connection of a socket that was connected: its peer's machine has said that
// nothing listens there.
func (s *DatagramSocket) refused() {
	s.dialled.c.kill(PeerUnreachable.With(abi.Refused, "nothing listens at the peer's port"))
}

// handOut hands the datagrams of the batch to their peers. It reports whether that is
// done; else the event has to end first, and then it is to be called again.
func (g *datagrams) handOut() bool {
	s := g.of
	for g.next < g.n && !s.closed {
		m := g.in.at(g.next, s.wildcard)
		if m.counted && m.drops != s.drops {
			s.owner.Lost(LostInKernel, int(m.drops-s.drops))
			s.drops = m.drops
		}
		if m.toMany && s.ownOnly {
			g.taken()
			continue
		}
		if m.key.port == 0 {
			g.lose(LostPeerRefused) // there is nobody to answer
			continue
		}
		var from, to netip.AddrPort
		if s.headers != nil {
			n, source, destination, ok := s.headers.ReadHeader(m.key.peer(), m.payload)
			if !ok {
				g.lose(LostHeader)
				continue
			}
			if m.payload = m.payload[n:]; source.IsValid() {
				from, to = source, destination
				m.key.source, m.key.sourcePort = source.Addr().As16(), source.Port()
			}
		}
		p := s.dialled
		if p != nil && p.c.is(finishing|dying|dead) {
			g.taken() // it is read no more
			continue
		}
		if p == nil {
			p = s.peers[m.key]
		}
		if p == nil {
			var answer Admission
			switch p, answer = s.admit(&m.key, from, to); {
			case answer == Full && !g.evicted && s.evict():
				g.evicted = true
				return false
			case answer == Full:
				g.lose(LostConnections)
				continue
			case answer != Admitted || p.c.Over():
				g.lose(LostPeerRefused)
				continue
			}
		}
		p.arrive(m.payload)
	}
	g.of, g.next, g.n = nil, 0, 0
	return true
}

// lose counts the next datagram of the batch as lost.
func (g *datagrams) lose(why Loss) {
	g.taken()
	g.of.owner.Lost(why, 1)
}

// taken says that the next datagram of the batch has found its place.
func (g *datagrams) taken() {
	g.next++
	g.evicted = false
}

// admit makes a peer of whoever the next datagram is from, if its owner lets it. A header has
// said from whom and to whom it is, where from is valid.
func (s *DatagramSocket) admit(k *peerKey, from, to netip.AddrPort) (p *datagramPeer, answer Admission) {
	addr := from
	if !from.IsValid() {
		addr = k.peer()
	}
	w, answer := s.owner.Admit(addr)
	if answer != Admitted {
		return nil, answer
	}
	p = s.newPeer(k, addr, w, Origin{})
	if from.IsValid() {
		p.c.SetAddresses(from, to)
	}
	s.young.push(p)
	p.open() // and need not return: the datagram is still in the batch
	return p, Admitted
}

// newPeer makes a peer, which is to be opened.
func (s *DatagramSocket) newPeer(k *peerKey, addr netip.AddrPort, w Wiring, from Origin) *datagramPeer {
	p := &datagramPeer{socket: s, key: *k, sourced: k.local != [16]byte{}}
	c := &p.c
	c.fd, c.loop, c.wiring, c.peer, c.lastActive, c.transport = -1, s.loop, w, addr, s.loop.Now(), p
	c.number = from.number()
	c.born = c.lastActive
	c.set(gotFirstByte) // a peer is there with its first datagram, or was dialled
	s.peers[*k] = p
	s.loop.link(c)
	c.startTime()
	return p
}

// open tells the handler of a new peer.
func (p *datagramPeer) open() {
	c := &p.c
	c.loop.calling = call{c: c, what: inOther}
	c.wiring.Handler.Open(c)
	c.loop.calling = call{}
}

// MakeRoom ends the connection of a peer that has sent one datagram only, longest ago, and
// for which no datagram waits and no call runs. It reports whether there was one.
func (s *DatagramSocket) MakeRoom() bool {
	s.loop.enterEvent()
	ok := s.evict()
	s.loop.leaveEvent()
	return ok
}

// evict ends the connection of a peer of one datagram, and reports whether there was one for which
// no datagram waits and no call runs. A source address costs its sender nothing, so that peers of
// whom nothing else is known have no claim to keep others out.
func (s *DatagramSocket) evict() bool {
	p := s.young.first
	for range evictionTries {
		if p == nil {
			return false
		}
		if c := &p.c; c.pendingData == nil && c.unconsumed.len() == 0 && c.inbox.len() == 0 {
			c.kill(PlaceTaken.Reason())
			return true
		}
		p = p.younger
	}
	return false
}

// tellDue tells each peer that is due now one thing.
func (s *DatagramSocket) tellDue() {
	for n := s.due.len; n > 0 && s.due.first != nil; n-- {
		s.due.pop(isDue).tell()
	}
}

// dueLater has p told what there is in a later turn.
func (s *DatagramSocket) dueLater(p *datagramPeer) {
	if s.closed {
		return
	}
	s.due.push(p, isDue)
	s.d.ReadAgain()
}

// SendReady is the selector's notice that the socket has room again.
func (s *DatagramSocket) SendReady() {
	s.enter()
	s.flushLater()
	s.loop.leaveEvent()
}

// flushLater has what there is to send sent at the end of the event.
func (s *DatagramSocket) flushLater() {
	if g := s.loop.datagrams; !s.listed && !s.closed {
		s.listed = true
		g.unsent = append(g.unsent, s)
	}
}

// flush sends what the sockets' peers have to send. It calls no handler.
func (g *datagrams) flush() {
	for i, s := range g.unsent {
		g.unsent[i] = nil
		s.listed = false
		s.flush()
	}
	g.unsent = g.unsent[:0]
}

// mayWrite reports whether nothing is known against sending now.
func (s *DatagramSocket) mayWrite() bool { return !s.slowOut && !s.closed && s.d.WriteReady() }

// flush sends what the peers have to send, as far as the system takes it.
func (s *DatagramSocket) flush() {
	for s.out.first != nil && s.mayWrite() {
		now := s.loop.Now()
		if wait := s.budget.Sent(0, now); wait > 0 {
			s.slowDownOut(wait)
			break
		}
		s.sendBatch(now)
	}
	if s.out.first == nil || s.closed {
		return
	}
	for p := s.out.first; p != nil; p = p.next[isOut] {
		if c := &p.c; c.is(finishing) && c.wiring.Settings.Linger <= 0 {
			c.kill(Linger.Because("the system did not take its last datagrams at once"))
		}
	}
	if !s.slowOut {
		s.d.NewWriter()
	}
}

// sendBatch makes one system call for the first that there is to send, and takes those off
// the queue who have nothing left.
func (s *DatagramSocket) sendBatch(now int64) {
	b := &s.loop.datagrams.out
	b.reset()
	for p := s.out.first; p != nil && b.n < datagramBatch; p = p.next[isOut] {
		for rest := p.c.inbox.bytes(); len(rest) > 0 && b.n < datagramBatch; {
			var payload []byte
			payload, rest = cutFrame(rest)
			b.add(s, p, payload)
		}
	}
	if b.n > 0 {
		sent, err := b.send(s.fd)
		bytes := 0
		for i := range sent {
			bytes += s.sent(b.peers[i], now)
		}
		if wait := s.budget.Sent(bytes, now); wait > 0 {
			s.slowDownOut(wait)
		}
		if sent < b.n && err != nil {
			s.sendFailed(b.peers[sent], err)
		}
		b.forget()
	}
	for p := s.out.first; p != nil && p.c.inbox.len() == 0; p = s.out.first {
		s.out.pop(isOut).sentAll()
	}
}

// sent notes that the first datagram in a peer's inbox has gone, and says how long
// it was.
func (s *DatagramSocket) sent(p *datagramPeer, now int64) (n int) {
	payload, _ := cutFrame(p.c.inbox.bytes())
	n = len(payload)
	p.dropFrame(&p.c.inbox, n)
	p.retried = false
	p.c.lastActive = now
	p.c.countDatagramOut(n)
	p.c.answer()
	p.roomAgain()
	return n
}

// sendFailed deals with an error of the first datagram in a peer's inbox.
func (s *DatagramSocket) sendFailed(p *datagramPeer, err error) {
	switch {
	case err == errWouldBlock:
		s.d.WriteBlocked()
	case s.dialled != nil && earlierError(err):
		s.refused()
	case badSource(err) && p.sourced:
		p.sourced = false // the machine has the address no more; the system chooses one
	case earlierError(err) && !p.retried:
		p.retried = true // it may be about a datagram that was sent before
	default:
		p.retried = false
		payload, _ := cutFrame(p.c.inbox.bytes())
		p.dropFrame(&p.c.inbox, len(payload))
		p.roomAgain()
		s.owner.Lost(LostUnsent, 1)
	}
}

// sendNow sends one datagram past the inbox, which is empty. It reports whether it is gone;
// lost is gone, too.
func (s *DatagramSocket) sendNow(p *datagramPeer, payload []byte) bool {
	now := s.loop.Now()
	if wait := s.budget.Sent(0, now); wait > 0 {
		s.slowDownOut(wait)
	}
	b := &s.loop.datagrams.out
	for range 3 {
		if !s.mayWrite() {
			return false
		}
		b.reset()
		b.add(s, p, payload)
		sent, err := b.send(s.fd)
		b.forget()
		switch {
		case sent == 1:
			p.c.lastActive = now
			p.c.countDatagramOut(len(payload))
			p.c.answer()
			if wait := s.budget.Sent(len(payload), now); wait > 0 {
				s.slowDownOut(wait)
			}
			return true
		case err == errWouldBlock:
			s.d.WriteBlocked()
		case s.dialled != nil && earlierError(err):
			s.refused()
			return true
		case badSource(err) && p.sourced:
			p.sourced = false
		case !earlierError(err):
			s.owner.Lost(LostUnsent, 1)
			return true
		}
	}
	s.owner.Lost(LostUnsent, 1)
	return true
}

// slowDownIn reads nothing for wait nanoseconds. What comes meanwhile waits in the
// system's queue, and is lost when that is full, which costs nobody here anything.
func (s *DatagramSocket) slowDownIn(wait int64) {
	s.slowIn, s.unread = true, true
	s.loop.sel.SetTimer(&s.in, s, s.loop.Now()+wait)
}

func (s *DatagramSocket) slowDownOut(wait int64) {
	s.slowOut = true
	s.loop.sel.SetTimer(&s.outTimer, s, s.loop.Now()+wait)
}

// Expired is the selector's notice that a wait for bandwidth is over.
func (s *DatagramSocket) Expired(t *selector.Timer) {
	s.enter()
	if t == &s.in {
		s.slowIn = false
		s.d.NewReader()
	} else {
		s.slowOut = false
		s.flushLater()
	}
	s.loop.leaveEvent()
}
