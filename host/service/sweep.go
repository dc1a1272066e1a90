package service

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
// when all were visited and what was posted for them meanwhile is over; it is not called if the
// loops stop before. Connections that come meanwhile are not visited. It is not called on a loop.
func (m *Machine) sweep(visit func(c *csa.CSA) (worked bool), done func()) {
	left := new(atomic.Int64)
	left.Store(int64(len(m.Loops)))
	for _, l := range m.Loops {
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

// CloseConnections closes those of some generations, and returns when they are closed. It is not
// called on a loop.
func (m *Machine) CloseConnections(of []*Generation, why csa.Reason) {
	mine := setOf(of)
	m.sweepAll(func(c *csa.CSA) (worked bool) {
		if worked = mine.have(c); worked {
			c.ShutdownMicroprocess(why)
		}
		return worked
	})
}

// CloseAll closes those that there are, and returns when they are closed. It is not called on a
// loop.
func (m *Machine) CloseAll(why csa.Reason) {
	m.sweepAll(func(c *csa.CSA) (worked bool) {
		c.ShutdownMicroprocess(why)
		return true
	})
}

// sweepAll is sweep, and returns when it is over, or the host has stopped.
func (m *Machine) sweepAll(visit func(c *csa.CSA) (worked bool)) {
	over := make(chan struct{})
	m.sweep(visit, func() { close(over) })
	select {
	case <-over:
	case <-m.Stopped:
	}
}

// TellToStop tells the handlers of some generations that they drain. done is called on a loop when
// all have been told, unless the loops stop before. It is not called on a loop.
func (m *Machine) TellToStop(of []*Generation, done func()) {
	if len(of) == 0 {
		return
	}
	for _, g := range of {
		for _, s := range g.servers {
			s.provider.Stop()
		}
	}
	mine := setOf(of)
	m.sweep(func(c *csa.CSA) (worked bool) {
		s, ok := c.Creator().(*Server)
		if !ok || !mine[s.generation] {
			return false
		}
		handler := front.HandlerOf(c)
		c.Loop().Post(func() { s.provider.StopOne(handler) })
		return true
	}, done)
}

// generations is some of them.
type generations map[*Generation]bool

func setOf(all []*Generation) generations {
	set := make(generations, len(all))
	for _, g := range all {
		set[g] = true
	}
	return set
}

// have reports whether a connection is one of theirs, accepted or dialled.
func (set generations) have(c *csa.CSA) bool {
	s := Of(c)
	return s != nil && set[s.generation]
}
