package csa

import (
	"encoding/binary"
	"math"
	"net/netip"

	"bulkhead/abi"
)

// datagramPeer is a CSA whose socket is not its own, unless it was dialled, and the transport of
// that. In its inbox and its rest each datagram stands behind its length.
type datagramPeer struct {
	stream  // nothing of which moves bytes here
	c       CSA
	socket  *DatagramSocket
	key     peerKey
	waiting uint16 // datagrams in the rest
	sourced bool   // what is sent leaves from key.local
	retried bool   // the first datagram in the inbox has been
	seen    bool   // a datagram has come

	// In the socket's queues.
	queued [2]bool
	young  bool // in the list of the young
	next   [2]*datagramPeer

	older, younger *datagramPeer // in the list of the young
}

func (p *datagramPeer) network(*CSA) string { return "udp" }

// idle is how peers end.
func (p *datagramPeer) idle() Cause { return PeerSilent }

// unheard says so while a datagram is with the handler or waits for it, unless the handler has
// paused, and while the socket has not been read since the peer had its time, for want of the
// tenant's `cpu` or `bandwidth`: what the peer has sent may be in the system's queue.
func (p *datagramPeer) unheard(c *CSA) bool {
	if (p.waiting > 0 || c.pendingData != nil) && !c.is(paused) {
		return true
	}
	return p.socket.unread && p.socket.lastRead < c.lastActive+int64(c.wiring.Settings.IdleTimeout)
}

// local is the address of this end.
func (p *datagramPeer) local(*CSA) netip.AddrPort {
	if p.sourced {
		return netip.AddrPortFrom(withZone(netip.AddrFrom16(p.key.local).Unmap(), p.key.zone), p.socket.local.Port())
	}
	return p.socket.local
}

// The queues that a peer may be in.
const (
	isOut = iota
	isDue
)

// peerQueue is a queue of peers. Those who have died are in it until they are popped.
type peerQueue struct {
	first, last *datagramPeer
	len         int
}

func (q *peerQueue) push(p *datagramPeer, which int) {
	if p.queued[which] {
		return
	}
	p.queued[which] = true
	if q.last == nil {
		q.first = p
	} else {
		q.last.next[which] = p
	}
	q.last = p
	q.len++
}

func (q *peerQueue) pop(which int) *datagramPeer {
	p := q.first
	q.first = p.next[which]
	if q.first == nil {
		q.last = nil
	}
	p.next[which], p.queued[which] = nil, false
	q.len--
	return p
}

// youngList are the peers of one datagram.
type youngList struct{ first, last *datagramPeer }

func (y *youngList) push(p *datagramPeer) {
	p.young = true
	p.older = y.last
	if y.last == nil {
		y.first = p
	} else {
		y.last.younger = p
	}
	y.last = p
}

func (y *youngList) remove(p *datagramPeer) {
	if !p.young {
		return
	}
	if p.older == nil {
		y.first = p.younger
	} else {
		p.older.younger = p.younger
	}
	if p.younger == nil {
		y.last = p.older
	} else {
		p.younger.older = p.older
	}
	p.young, p.older, p.younger = false, nil, nil
}

// cutFrame takes the first datagram off those in a fifo.
func cutFrame(b []byte) (payload, rest []byte) {
	n := frameHeader + int(binary.LittleEndian.Uint32(b))
	return b[frameHeader:n:n], b[n:]
}

// addFrame puts a datagram behind those in a fifo; it reports false when the budget has
// no room.
func (p *datagramPeer) addFrame(f *fifo, payload []byte) bool {
	room := f.room(p.c.loop, p.c.wiring.Budget, frameHeader+len(payload))
	if room == nil {
		return false
	}
	binary.LittleEndian.PutUint32(room, uint32(len(payload)))
	f.end += int32(frameHeader + copy(room[frameHeader:], payload))
	return true
}

// dropFrame takes the first datagram, of n bytes, off a fifo.
func (p *datagramPeer) dropFrame(f *fifo, n int) {
	f.discard(p.c.loop, p.c.wiring.Budget, frameHeader+n)
}

// takeNoMore has the next datagram from the peer begin another connection, and forgets those that
// wait.
func (p *datagramPeer) takeNoMore(c *CSA) {
	s := p.socket
	if p.waiting > 0 {
		s.owner.Lost(LostPeerRefused, int(p.waiting))
	}
	s.waiting -= c.unconsumed.len()
	p.waiting = 0
	c.unconsumed.release(c.loop, c.wiring.Budget)
	s.young.remove(p)
	if s.peers[p.key] == p {
		delete(s.peers, p.key)
	}
}

// close closes the socket of a peer that was dialled.
func (p *datagramPeer) close(*CSA) {
	if p.socket.dialled == p {
		p.socket.shut()
	}
}

// takes reports whether the handler can be given a datagram.
func (p *datagramPeer) takes() bool {
	return !p.c.is(paused|full|finishing|dying|dead) && p.c.pendingData == nil
}

// arrive hands over the next datagram of the loop's batch, or keeps it for later.
func (p *datagramPeer) arrive(payload []byte) {
	c := &p.c
	g := c.loop.datagrams
	var window []byte
	if p.takes() && p.waiting == 0 {
		// The handler may pass the loop on here; then the datagram is still in the
		// batch, and comes here again.
		if window = p.window(); len(window) == 0 {
			c.set(full)
		}
	}
	p.came(len(payload))
	switch {
	case c.is(finishing | dying | dead):
		g.lose(LostPeerRefused)
	case len(window) == 0 || c.is(paused):
		if p.keep(payload) {
			g.taken()
		} else {
			g.lose(LostWaiting)
		}
	case len(payload) > len(window):
		g.lose(LostTooLong)
	default:
		n := copy(window, payload)
		g.taken()
		p.deliver(window[:n])
	}
}

// window is the handler's.
func (p *datagramPeer) window() []byte {
	c := &p.c
	c.loop.calling = call{c: c, what: inOther}
	window := c.wiring.Handler.Window(c)
	c.loop.calling = call{}
	return window
}

// came notes that a datagram has come.
func (p *datagramPeer) came(n int) {
	c := &p.c
	if p.seen {
		p.socket.young.remove(p)
	}
	p.seen = true
	c.lastActive = c.loop.Now()
	c.countDatagramIn(n)
	c.spent.events++
	c.times()
}

// keep has a datagram wait.
func (p *datagramPeer) keep(payload []byte) bool {
	f, s, set := &p.c.unconsumed, p.socket, p.c.wiring.Settings
	count, size := set.WaitingDatagrams, set.WaitingBytes
	if count <= 0 {
		count = mostWaiting
	}
	if size <= 0 {
		size = mostWaitingBytes
	}
	n := frameHeader + len(payload)
	if int(p.waiting) >= min(count, math.MaxUint16) || f.len()+n > size {
		return false
	}
	if (p.waiting >= mostWaiting || f.len()+n > mostWaitingBytes) && s.waiting+n > sharedWaiting*size {
		return false
	}
	if f.crowded(n) || !p.addFrame(f, payload) {
		return false
	}
	p.waiting++
	s.waiting += n
	return true
}

// deliver hands p, which is the start of the window, to the handler.
func (p *datagramPeer) deliver(b []byte) {
	c := &p.c
	c.loop.calling = call{c: c, what: inData}
	used := c.wiring.Handler.Data(c, b)
	c.loop.calling = call{}
	p.judge(b, used)
}

func (p *datagramPeer) consumed(_ *CSA, _ *dataCall, b []byte, used int) {
	p.c.lastActive = p.c.loop.Now() // its time ran while the call did
	p.judge(b, used)
	p.offerLater()
}

// judge looks at what the handler says of a datagram. What it has not consumed is gone.
func (p *datagramPeer) judge(b []byte, used int) {
	if used < 0 || used > len(b) {
		p.c.kill(BadResult.Reason())
	}
}

func (p *datagramPeer) resume(*CSA) { p.offerLater() }

// offerLater has what waits offered to the handler in a later turn.
func (p *datagramPeer) offerLater() {
	if p.waiting > 0 && p.takes() {
		p.socket.dueLater(p)
	}
}

// tell tells the handler one thing that it is due to hear.
func (p *datagramPeer) tell() {
	c := &p.c
	switch {
	case c.is(finishing | dying | dead):
	case c.is(blocked) && p.hasRoom():
		c.clear(blocked)
		p.offerLater() // before the call, which may pass the loop on
		c.loop.calling = call{c: c, what: inWritable}
		c.wiring.Handler.Writable(c)
		c.loop.calling = call{}
	case p.waiting > 0 && p.takes():
		p.offer()
	}
}

// offer hands over the first datagram that waits.
func (p *datagramPeer) offer() {
	c := &p.c
	window := p.window()
	if c.is(paused | finishing | dying | dead) {
		return
	}
	if len(window) == 0 {
		c.set(full)
		return
	}
	payload, _ := cutFrame(c.unconsumed.bytes())
	n := copy(window, payload)
	long := len(payload) > n
	p.dropFrame(&c.unconsumed, len(payload))
	p.socket.waiting -= frameHeader + len(payload)
	p.waiting--
	c.lastActive = c.loop.Now() // the peer has its time again, and the handler's answer with it
	p.offerLater()
	if long {
		p.socket.owner.Lost(LostTooLong, 1)
		return
	}
	p.deliver(window[:n])
}

// hasRoom reports whether a handler that waits for room in the inbox is to be told.
func (p *datagramPeer) hasRoom() bool {
	return p.c.inbox.len() <= p.c.wiring.Settings.inbox()/2
}

// roomAgain has the handler told that there is room, if it waits for that.
func (p *datagramPeer) roomAgain() {
	if p.c.is(blocked) && p.hasRoom() {
		p.socket.dueLater(p)
	}
}

func (p *datagramPeer) moreRoom(*CSA) { p.roomAgain() }

// sentAll goes on when the inbox is empty.
func (p *datagramPeer) sentAll() {
	c := &p.c
	switch {
	case c.is(dying | dead):
	case c.is(finishing):
		c.kill(Orderly)
	default:
		p.roomAgain()
	}
}

// longest is how long a datagram to the peer can be.
func (p *datagramPeer) longest() int {
	if isIP4(&p.key.ip) {
		return 1<<16 - 1 - 20 - 8
	}
	return 1<<16 - 1 - 8
}

// send is CSA.Send: one datagram, whole or not at all.
func (p *datagramPeer) send(c *CSA, b []byte) (taken int, code abi.Code) {
	s := p.socket
	if c.is(sendFinished | dying | dead) {
		return 0, abi.Closed
	}
	if len(b) > p.longest() {
		return 0, abi.Invalid
	}
	limit := c.wiring.Settings.inbox()
	fits := func() bool { return frameHeader+len(b) <= limit-c.inbox.len() }
	if !fits() {
		s.flush() // ask the system now
	}
	tried := false
	if c.inbox.len() == 0 && (len(b) >= direct || !fits()) {
		if s.sendNow(p, b) {
			return len(b), abi.OK
		}
		tried = true
	}
	if !fits() {
		return 0, p.block()
	}
	if p.addFrame(&c.inbox, b) {
		s.out.push(p, isOut)
		s.flushLater()
		return len(b), abi.OK
	}
	// Without memory to hold it, what the system takes at once can still go.
	if c.inbox.len() > 0 {
		s.flush()
	}
	if c.inbox.len() == 0 && !tried && s.sendNow(p, b) {
		return len(b), abi.OK
	}
	return 0, abi.Quota
}

// block has Writable called when there is room.
func (p *datagramPeer) block() abi.Code {
	p.c.set(blocked)
	p.socket.out.push(p, isOut)
	p.socket.flushLater()
	return abi.Again
}

// eventOver ends one that finishes when its inbox is empty.
func (p *datagramPeer) eventOver(c *CSA) {
	if c.is(finishing) && c.inbox.len() == 0 && !c.is(dying|dead) {
		c.kill(Orderly)
	}
}
