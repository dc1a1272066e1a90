package csa

// walkSlice is how many connections a walk visits in one turn. A visit is a few memory accesses where
// there is nothing to do, and some system calls at most.
const walkSlice = 256

// walk is a Walk that is not over.
type walk struct {
	loop  *Loop
	visit func(*CSA)
	done  func() // nil: nobody is told
	at    *CSA   // whom it visits next
	other *walk
}

// Walk calls visit for every CSA that is on the loop now, unless it has ended by its turn: some in
// this turn, others in later ones, so that however many there are, nobody waits long for the
// loop. Those that come meanwhile are not visited. done, which may be nil, is called when the last has been
// visited, which may be before Walk returns; neither is called any more once the loop has
// stopped. visit must not call a handler, which could pass the loop on; it may post.
func (l *Loop) Walk(visit func(c *CSA), done func()) {
	w := &walk{loop: l, visit: visit, done: done, at: l.first, other: l.walks}
	l.walks = w
	w.goOn()
}

func (w *walk) goOn() {
	l := w.loop
	l.begin() // so that nothing is unlinked before the end
	for n := 0; n < walkSlice && w.at != nil; n++ {
		c := w.at
		w.at = c.next
		w.visit(c)
	}
	over := w.at == nil
	if over {
		l.endWalk(w)
	}
	l.end()
	switch {
	case !over:
		l.Post(w.goOn)
	case w.done != nil:
		w.done()
	}
}

func (l *Loop) endWalk(w *walk) {
	for at := &l.walks; *at != nil; at = &(*at).other {
		if *at == w {
			*at = w.other
			return
		}
	}
}
