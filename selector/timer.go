package selector

// Timer calls its owner back once, at a time. It is meant to be a field of
// the component it serves: setting, moving and stopping it allocates nothing.
// The zero value is a timer that is not set. All methods are the loop's
// owner's.
type Timer struct {
	notice Expirer
	index  int // place in the heap, plus one; 0: not set
}

// Expirer is told when a timer is due.
type Expirer interface {
	// Expired is called on the loop, once for each time t was set, at or
	// after the time it was set for. The timer is not set any more by then.
	Expired(t *Timer)
}

// SetTimer has t call e at the given time on the selector's clock (see Now);
// a time in the past means in the next turn. A timer that is set already is
// moved.
func (s *Selector) SetTimer(t *Timer, e Expirer, at int64) {
	t.notice = e
	s.timers.set(t, at)
}

// SetTimerBy has t call e at the given time, or before, if it is set for before
// already: for a component that asks what is due when its timer fires, and wants
// no more than to be asked in time.
func (s *Selector) SetTimerBy(t *Timer, e Expirer, at int64) {
	if t.index == 0 || s.timers[t.index-1].at > at {
		s.SetTimer(t, e, at)
	}
}

// StopTimer withdraws t. Stopping a timer that is not set does nothing.
func (s *Selector) StopTimer(t *Timer) { s.timers.remove(t) }

// Set reports whether the timer is set and has not fired.
func (t *Timer) Set() bool { return t.index != 0 }

// TimerLeft is in how many nanoseconds t is due, if it is set; zero or less: now.
func (s *Selector) TimerLeft(t *Timer) (left int64, set bool) {
	if !t.Set() {
		return 0, false
	}
	return s.timers[t.index-1].at - s.Now(), true
}

// timerHeap is a heap of four children a node, which is flatter than a binary
// one and keeps siblings in one cache line. A wheel would save its logarithm
// and cost a granularity; idle timeouts, the bulk of all timers, move their
// timer only when it fires.
type timerHeap []timerEntry

type timerEntry struct {
	at int64
	t  *Timer
}

func (h timerHeap) next() (at int64, ok bool) {
	if len(h) == 0 {
		return 0, false
	}
	return h[0].at, true
}

// due is an upper bound of how many timers one turn may fire: all that are
// set now, if the first is due.
func (h timerHeap) due(now int64) int {
	if len(h) == 0 || h[0].at > now {
		return 0
	}
	return len(h)
}

// popDue takes the first timer off if it is due.
func (h *timerHeap) popDue(now int64) *Timer {
	if len(*h) == 0 || (*h)[0].at > now {
		return nil
	}
	t := (*h)[0].t
	h.remove(t)
	return t
}

func (h *timerHeap) set(t *Timer, at int64) {
	if t.index == 0 {
		*h = append(*h, timerEntry{at, t})
		t.index = len(*h)
		h.up(t.index - 1)
		return
	}
	i := t.index - 1
	earlier := at < (*h)[i].at
	(*h)[i].at = at
	if earlier {
		h.up(i)
	} else {
		h.down(i)
	}
}

func (h *timerHeap) remove(t *Timer) {
	if t.index == 0 {
		return
	}
	i, last := t.index-1, len(*h)-1
	t.index = 0
	moved := (*h)[last]
	(*h)[last] = timerEntry{}
	*h = (*h)[:last]
	if i == last {
		return
	}
	(*h)[i] = moved
	moved.t.index = i + 1
	h.up(i)
	h.down(moved.t.index - 1)
}

func (h timerHeap) up(i int) {
	e := h[i]
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].at <= e.at {
			break
		}
		h[i] = h[parent]
		h[i].t.index = i + 1
		i = parent
	}
	h[i] = e
	e.t.index = i + 1
}

func (h timerHeap) down(i int) {
	e := h[i]
	for {
		least := 4*i + 1
		if least >= len(h) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h)); c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if e.at <= h[least].at {
			break
		}
		h[i] = h[least]
		h[i].t.index = i + 1
		i = least
	}
	h[i] = e
	e.t.index = i + 1
}
