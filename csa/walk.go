package csa

// walkSlice is how many connections a walk visits in one turn. A visit is a few memory accesses
// where there is nothing to do, and some system calls at most.
const walkSlice = 256

// walk is a Walk that is not over.
type walk struct {
	loop  *Loop
	visit func(*CSA) (more bool)
	done  func() // nil: nobody is told
	at    *CSA   // whom it visits next
	other *walk
}

// Walk calls visit for every CSA that is on the loop now, unless it has ended by its turn: some in
// this turn, others in later ones, so that however many there are, nobody waits long for the loop.
// Those that come meanwhile are not visited. done, which may be nil, is called when the last has
// been visited, which may be before Walk returns; neither is called any more once the loop has
// stopped. visit and done must not call a handler, which could pass the loop on; they may post.
func (l *Loop) Walk(visit func(c *CSA), done func()) {
	l.WalkWhile(func(c *CSA) bool { visit(c); return true }, done)
}

// WalkWhile is Walk for visits that have more to do, as closing a connection is, or posting a call
// of its handler: when visit answers false, the next visit is in another turn.
func (l *Loop) WalkWhile(visit func(c *CSA) (more bool), done func()) {
	w := &walk{loop: l, visit: visit, done: done, at: l.first, other: l.walks}
	l.walks = w
	w.step()
}

// step visits some connections, and posts itself if there are more.
func (w *walk) step() {
	l := w.loop
	l.enterEvent() // so that nothing is unlinked before the end
	more := true
	for n := 0; n < walkSlice && w.at != nil && more; n++ {
		c := w.at
		w.at = c.next
		more = w.visit(c)
	}
	// Before the end of the event, which tells handlers of connections that were closed: one of
	// them may pass the loop on, and then this goroutine has it no more.
	if w.at != nil {
		l.Post(w.step)
	} else {
		l.endWalk(w)
		if w.done != nil {
			w.done()
		}
	}
	l.leaveEvent()
}

func (l *Loop) endWalk(w *walk) {
	for at := &l.walks; *at != nil; at = &(*at).other {
		if *at == w {
			*at = w.other
			return
		}
	}
}
