package guesttest

import (
	"slices"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/internal/seam"
)

// Peer is the far end of one connection.
type Peer struct {
	h      *Host
	handle int32
	events []string

	// Towards the guest.
	in     []byte
	ended  bool // the peer has finished sending
	told   bool // csa_eof has come
	offer  bool // there is a reason to offer in
	refuse bool // the last bytes were offered, and nothing of them consumed
	paused bool
	want   int

	// TLS.
	facts      TLS
	tls        bool
	securing   bool // MakeSSL has begun a handshake
	fresh      bool // in the event that has just been
	role       guest.Role
	serverName string

	dial    *Dial // what it comes from; nil: it came by itself
	pending bool  // and is not up yet
	joined  *Peer // it is spliced to this one

	udp   bool
	grams [][]byte // what came and is not offered yet
	sizes []int    // of the datagrams that inbox consists of

	// Towards the peer.
	inbox    []byte
	blocked  bool // the guest waits for csa_writable
	finished bool // finish sending, or producerFinished

	dying  bool
	dead   bool
	reason int32
}

// mostWaiting is how many datagrams wait for a handler that has paused.
const mostWaiting = 16

// Send has the peer send text, in one piece; an empty one is sent over UDP alone. What is sent to a
// closed connection is lost, as it is on a network.
func (p *Peer) Send(text string) {
	p.h.t.Helper()
	if p.dead || len(text) == 0 && !p.udp {
		return
	}
	if p.ended {
		p.h.t.Fatal("guesttest: the peer sends after CloseWrite")
	}
	if p.udp {
		if len(p.grams) < mostWaiting {
			p.grams = append(p.grams, []byte(text))
		}
	} else {
		p.in = append(p.in, text...)
	}
	p.offer = true
	p.h.settle()
}

// SendChunks has the peer send text in pieces of n bytes, each of which the
// handler sees before the next comes.
func (p *Peer) SendChunks(text string, n int) {
	p.h.t.Helper()
	for chunk := range slices.Chunk([]byte(text), max(1, n)) {
		p.Send(string(chunk))
	}
}

// Receive has the peer read all that was sent to it, and returns it. A peer
// that is not asked to receive reads nothing, so that its inbox fills up.
func (p *Peer) Receive() string {
	p.h.t.Helper()
	var all []byte
	for len(p.inbox) > 0 {
		all = append(all, p.receive(len(p.inbox))...)
	}
	return string(all)
}

// ReceiveN is Receive for at most n bytes.
func (p *Peer) ReceiveN(n int) string {
	p.h.t.Helper()
	return string(p.receive(max(0, min(n, len(p.inbox)))))
}

func (p *Peer) receive(n int) []byte {
	p.h.t.Helper()
	out := slices.Clone(p.inbox[:n])
	p.inbox = slices.Delete(p.inbox, 0, n)
	for len(p.sizes) > 0 && (n > 0 || p.sizes[0] == 0) {
		took := min(n, p.sizes[0])
		n -= took
		if p.sizes[0] -= took; p.sizes[0] == 0 {
			p.sizes = slices.Delete(p.sizes, 0, 1)
		}
	}
	p.h.settle()
	return out
}

// Datagrams is how many datagrams have come for a peer of ConnectUDP that it has not
// received.
func (p *Peer) Datagrams() int { return len(p.sizes) }

// ReceiveDatagram is Receive for the next datagram alone, of a peer of ConnectUDP; ""
// when none has come, or an empty one: Datagrams tells which.
func (p *Peer) ReceiveDatagram() string {
	p.h.t.Helper()
	if len(p.sizes) == 0 {
		return ""
	}
	if p.sizes[0] == 0 {
		p.sizes = slices.Delete(p.sizes, 0, 1)
		return ""
	}
	return p.ReceiveN(p.sizes[0])
}

// Expect fails the test unless the peer receives exactly this.
func (p *Peer) Expect(want string) {
	p.h.t.Helper()
	if got := p.Receive(); got != want {
		p.h.t.Errorf("received %q, want %q", got, want)
	}
}

// CloseWrite has the peer finish sending, which one of ConnectUDP cannot say.
func (p *Peer) CloseWrite() {
	p.h.t.Helper()
	if p.udp {
		p.h.t.Fatal("guesttest: a peer over UDP has no way to say that it has finished")
	}
	p.ended = true
	p.offer = true
	p.h.settle()
}

// Break has the peer break the connection off; the handler hears Reset.
func (p *Peer) Break() {
	p.h.t.Helper()
	p.Drop(guest.Reset)
}

// Drop has the connection end with this code, as a host does when a timeout
// or a limit is reached.
func (p *Peer) Drop(code guest.Code) {
	p.h.t.Helper()
	if !p.dead {
		p.inbox = nil
		p.kill(int32(code))
		p.h.settle()
	}
}

// Finished reports whether the peer was told that no more follows.
func (p *Peer) Finished() bool { return p.finished || p.dead }

// Closed reports whether the connection is closed, and why: nil is an orderly
// end.
func (p *Peer) Closed() (reason error, closed bool) {
	if !p.dead || p.reason == 0 {
		return nil, p.dead
	}
	return guest.Code(p.reason), true
}

// ExpectClosed fails the test unless the connection is closed for this reason;
// nil is an orderly end.
func (p *Peer) ExpectClosed(want error) {
	p.h.t.Helper()
	if got, closed := p.Closed(); !closed {
		p.h.t.Errorf("the connection is open")
	} else if got != want {
		p.h.t.Errorf("the connection was closed with %v, want %v", got, want)
	}
}

// Events are the callbacks so far for this connection, by the names of their
// exports.
func (p *Peer) Events() []string { return slices.Clone(p.events) }

// open tells the handler that the connection is up.
func (p *Peer) open() {
	p.h.t.Helper()
	var code int32
	p.event("csa_open", func() { code = seam.Open(p.handle) })
	if code < 0 {
		p.inbox = nil
		p.kill(code)
	}
	p.h.settle()
}

func (p *Peer) event(name string, f func()) {
	p.h.t.Helper()
	p.events = append(p.events, name)
	p.h.call(f)
}

func (p *Peer) kill(reason int32) {
	if !p.dying {
		p.dying, p.reason = true, reason
	}
}

// step tells the handler one thing, if there is one to tell.
func (p *Peer) step() bool {
	p.h.t.Helper()
	switch {
	case p.dead:
		return false
	case p.joined != nil:
		return p.relay()
	case p.dying:
		p.event("csa_closed", func() { seam.Closed(p.handle, p.reason) })
		p.dead = true
		p.leave()
	case p.pending:
		return false
	case p.fresh:
		p.fresh = false
		if len(p.in) > 0 {
			p.kill(int32(guest.TLS)) // it was sent in the clear
		}
	case p.securing:
		if !p.ended {
			return false
		}
		p.secured(int32(guest.TLS))
	case p.told && p.finished:
		p.kill(0)
	case p.blocked && !p.finished && len(p.inbox) <= p.h.options.Inbox/2:
		p.blocked = false
		p.offer = true
		p.event("csa_writable", func() { seam.Writable(p.handle) })
	case p.udp && len(p.grams) > 0 && !p.paused:
		p.deliverDatagram()
	case p.mayOffer():
		p.deliver()
	case p.mayEnd():
		p.told = true
		p.event("csa_eof", func() { seam.EOF(p.handle) })
	default:
		return false
	}
	return true
}

// leave takes the connection off the host's books.
func (p *Peer) leave() {
	p.h.peers = slices.DeleteFunc(p.h.peers, func(q *Peer) bool { return q == p })
	p.stopTimers()
}

func (p *Peer) stopTimers() {
	p.h.timers = slices.DeleteFunc(p.h.timers, func(t timer) bool { return t.handle == p.handle })
}

func (p *Peer) mayOffer() bool {
	return p.offer && !p.told && !p.refuse && !p.paused && len(p.in) > 0 && (len(p.in) >= p.want || p.ended)
}

func (p *Peer) mayEnd() bool {
	return p.ended && !p.told && !p.paused && (len(p.in) == 0 || p.refuse)
}

func (p *Peer) deliver() {
	p.h.t.Helper()
	window := p.h.window
	n := copy(window, p.in)
	p.offer = false
	used := p.data(n)
	if !p.dying {
		unseen := len(p.in) > n
		p.in = slices.Delete(p.in, 0, int(used))
		// More is behind what was offered, or these are the last bytes, of
		// which the handler still consumes.
		if used > 0 && (unseen || p.ended) {
			p.offer = true
		}
		p.refuse = p.ended && used == 0 && !p.blocked && !p.paused
	}
}

// data has the handler look at n bytes of the window, and says how many it has
// consumed; the connection dies of an answer that is no number of them.
func (p *Peer) data(n int) int32 {
	p.h.t.Helper()
	var used int32
	p.event("csa_data", func() { used = seam.Data(p.handle, int32(n)) })
	for i := range p.h.window[:n] {
		p.h.window[i] = 0xDB // whoever keeps a part of the window finds this
	}
	code := int32(guest.Invalid)
	if used < 0 && used >= int32(guest.Conflict) {
		code = used
	}
	if !p.dying && (used < 0 || int(used) > n) {
		p.inbox = nil
		p.kill(code)
	}
	return used
}

// deliverDatagram offers the next one, once, unless it is longer than the window.
func (p *Peer) deliverDatagram() {
	p.h.t.Helper()
	gram := p.grams[0]
	p.grams = slices.Delete(p.grams, 0, 1)
	if len(gram) <= len(p.h.window) {
		p.data(copy(p.h.window, gram))
	}
}
