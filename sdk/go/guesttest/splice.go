package guesttest

import "bulkhead/sdk/go"

// Splice joins two peers: see relay.
func (f functions) Splice(a, b int32) int32 {
	if f.stale(a) || f.stale(b) {
		return int32(guest.BadHandle)
	}
	p, q := f.h.find(a), f.h.find(b)
	switch {
	case p == q || p.udp || q.udp:
		return int32(guest.Invalid)
	case p.pending || q.pending || p.securing || q.securing:
		return int32(guest.Again)
	case p.finished || q.finished || p.dying || q.dying:
		return int32(guest.Closed)
	}
	p.joined, q.joined = q, p
	p.stopTimers()
	q.stopTimers()
	return 0
}

// relay hands on to the other end, without the handler, what has come from this
// one. It begins after the event in which Splice was called. What the handler has left
// unconsumed is there already.
func (p *Peer) relay() bool {
	q := p.joined
	switch {
	case p.dying:
		p.dead = true
		p.leave()
		if p.reason != 0 && !q.dying {
			q.inbox = nil
			q.kill(int32(guest.Reset)) // half of a stream must not look like all of it
		}
	case len(p.in) > 0 && !q.dead:
		q.inbox = append(q.inbox, p.in...)
		p.in = nil
	case p.ended && !q.finished:
		q.finished = true
	case p.ended && q.ended:
		p.kill(0)
	default:
		return false
	}
	return true
}
