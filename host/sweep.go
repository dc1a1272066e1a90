package host

import (
	"sync/atomic"

	"bulkhead/csa"
	"bulkhead/host/front"
)

// sweepBatch is how many connections a turn of a loop closes, or tells to stop. Closing one takes
// some 30 µs: its socket, the memory of its instance. Telling one is a call into a guest.
const sweepBatch = 16

// sweep visits the connections of all loops, some in each turn, so that no loop is held for long
// however many there are. visit reports whether it had something to do. done is called on a loop
// when all were visited and what was posted for them meanwhile is over; it is not called if the loops
// stop before. Connections that come meanwhile are not visited. It is not called on a loop.
func (h *Host) sweep(visit func(c *csa.CSA) (worked bool), done func()) {
	left := new(atomic.Int64)
	left.Store(int64(len(h.loops)))
	for _, l := range h.loops {
		worked := 0
		l.Post(func() {
			l.WalkWhile(func(c *csa.CSA) (more bool) {
				if visit(c) {
					worked++
				}
				if worked < sweepBatch {
					return true
				}
				worked = 0
				return false
			}, func() {
				l.Post(func() {
					if left.Add(-1) == 0 {
						done()
					}
				})
			})
		})
	}
}

// closeConnections closes those of some generations, and returns when they are closed. It is not
// called on a loop.
func (h *Host) closeConnections(of []*generation, why csa.Reason) {
	mine := setOf(of)
	h.sweepAll(func(c *csa.CSA) (worked bool) {
		if worked = mine.have(c); worked {
			c.ShutdownMicroprocess(why)
		}
		return worked
	})
}

// sweepAll is sweep, and returns when it is over, or the host has stopped.
func (h *Host) sweepAll(visit func(c *csa.CSA) (worked bool)) {
	over := make(chan struct{})
	h.sweep(visit, func() { close(over) })
	select {
	case <-over:
	case <-h.closed:
	}
}

// tellToStop tells the handlers of some generations that they drain. done is called on a loop when
// all have been told, unless the loops stop before. It is not called on a loop.
func (h *Host) tellToStop(of []*generation, done func()) {
	if len(of) == 0 {
		return
	}
	for _, g := range of {
		for _, s := range g.servers {
			s.crew.Stop()
		}
	}
	mine := setOf(of)
	h.sweep(func(c *csa.CSA) (worked bool) {
		s, ok := c.Creator().(*server)
		if !ok || !mine[s.gen] {
			return false
		}
		handler := front.HandlerOf(c)
		c.Loop().Post(func() { s.crew.StopOne(handler) })
		return true
	}, done)
}

// generations is some of them.
type generations map[*generation]bool

func setOf(all []*generation) generations {
	set := make(generations, len(all))
	for _, g := range all {
		set[g] = true
	}
	return set
}

// have reports whether a connection is one of theirs, accepted or dialled.
func (set generations) have(c *csa.CSA) bool {
	s := serverOf(c)
	return s != nil && set[s.gen]
}
