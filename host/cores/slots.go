package cores

import (
	"container/heap"
	"runtime"
	"time"
)

// lead bounds by how much virtual time a tenant can be ahead of the one that is
// last. It gets ahead when it uses what nobody else wants; that is not to be
// held against it when they want it.
const lead = int64(10 * time.Millisecond)

// turn is for how long a slot is kept, in virtual time, while others with as
// good a claim wait: handing it over costs as much as a slice of some tens of
// microseconds, where waking a thread is dear.
const turn = int64(500 * time.Microsecond)

// waiter is a call that waits for a slot.
type waiter struct {
	slot chan struct{} // one is sent when it has it, or on Stop
}

// Acquire counts a call of the tenant that goes to the background, and returns when
// the call has a slot, or after Stop. Release has to follow, whatever the call does.
func (s *Share) Acquire() {
	s.Enlist()
	s.AwaitSlot()
}

// Enlist is the first half of Acquire: it counts the call, and does not wait. Who passes a
// loop on calls it before: so whoever stops finds all calls counted when the loops have
// come round once more. AwaitSlot has to follow.
func (s *Share) Enlist() {
	c := s.cores
	c.mu.Lock()
	c.calls++
	c.ever++
	s.ever++
	if s.calls.Add(1) == 1 {
		c.wanted += s.micro
	}
	c.count(s)
	c.mu.Unlock()
}

// AwaitSlot is the second half of Acquire: it returns when the call has a slot, or after Stop.
func (s *Share) AwaitSlot() {
	s.cores.mu.Lock()
	s.take(s.cores.options.Clock())
}

// NextSlice is called by a background call about each 100 µs of running. It books the
// ns nanoseconds that the call has run since it got its slot or called NextSlice last.
// Then it lets the loops run and returns, or it gives the slot back and waits for the
// next: until the tenant's quota allows it, and calls of others with a better claim
// have run. It returns at once after Stop.
func (s *Share) NextSlice(ns int64) {
	c := s.cores
	c.mu.Lock()
	if c.stopped {
		s.use(ns)
		c.mu.Unlock()
		runtime.Gosched()
		return
	}
	now := s.charge(ns)
	if !s.over && !s.outdone() {
		c.mu.Unlock()
		runtime.Gosched()
		return
	}
	s.leave()
	s.take(now)
}

// Release ends a background call, which has run for ns nanoseconds since it got
// its slot or called NextSlice last.
func (s *Share) Release(ns int64) {
	c := s.cores
	c.mu.Lock()
	if c.stopped {
		s.use(ns)
	} else {
		s.charge(ns)
		s.leave()
	}
	c.calls--
	if s.calls.Add(-1) == 0 {
		c.wanted -= s.micro
	}
	if c.calls == 0 {
		c.none.Broadcast()
	}
	if c.stopped {
		c.mu.Unlock()
		return
	}
	c.count(s)
	c.dispatch()
	s.callBack(c.options.Clock())
	c.unlock()
}

// HoldsCalls reports whether a call of the tenant that waits for a slot has to wait since the
// tenant has used up its quota, or has as many slots as its cpu is cores. Else others have the
// cores. It holds the lock for a moment.
func (s *Share) HoldsCalls() bool {
	s.cores.mu.Lock()
	defer s.cores.mu.Unlock()
	return s.over || s.running >= s.most
}

// count follows a change of how many background calls there are.
func (c *Cores) count(s *Share) {
	if c.stopped {
		return
	}
	if full := c.calls >= c.options.Calls; full != c.full.Load() {
		c.full.Store(full)
	}
	if int(s.calls.Load()) >= c.options.TenantCalls {
		s.shut.Store(true)
	}
}

// take waits for a slot. It is called with the lock and returns without.
func (s *Share) take(now int64) {
	c := s.cores
	if c.stopped {
		c.mu.Unlock()
		return
	}
	w := c.waiters.Get().(*waiter)
	s.waiting.push(w)
	s.look(now)
	s.place()
	c.dispatch()
	s.watch(now)
	c.mu.Unlock()
	<-w.slot
	c.waiters.Put(w)
}

// use counts time.
func (s *Share) use(ns int64) {
	if ns > 0 {
		s.used.Add(min(ns, longest))
	}
}

// charge books time that was run in a slot and looks at the quota.
func (s *Share) charge(ns int64) (now int64) {
	c := s.cores
	s.use(ns)
	s.clock = min(s.clock, c.floor+lead) + max(0, min(ns, longest))*million/s.micro
	s.place()
	c.raise()
	now = c.options.Clock()
	s.look(now)
	return now
}

// outdone reports whether a call of s that runs has to give way.
func (s *Share) outdone() bool {
	c := s.cores
	switch {
	case c.running > c.slots():
		return true // those whose cores were counted on have gone
	case s.waiting.len() > 0 && s.clock-s.since >= turn*int64(s.running):
		s.since = s.clock
		return true // its own fellows take turns with it
	}
	return len(c.ready) > 0 && c.ready[0].clock < s.clock-turn
}

// leave gives a slot back.
func (s *Share) leave() {
	c := s.cores
	c.running--
	s.running--
	if s.running == 0 {
		for i, b := range c.busy {
			if b == s {
				last := len(c.busy) - 1
				c.busy[i], c.busy[last] = c.busy[last], nil
				c.busy = c.busy[:last]
				break
			}
		}
	}
	s.place()
}

// slots is how many calls may run now.
func (c *Cores) slots() int { return min(c.options.Slots, ceil(c.wanted)) }

// dispatch gives out the slots that are free.
func (c *Cores) dispatch() {
	for len(c.ready) > 0 && c.running < c.slots() {
		s := c.ready[0]
		w := s.waiting.pop()
		c.running++
		s.running++
		if s.running == 1 {
			c.busy = append(c.busy, s)
		}
		s.place()
		w.slot <- struct{}{}
	}
}

// place puts s among the ready, or where it belongs there, or takes it out. It is
// called when anything has changed that this depends on.
func (s *Share) place() {
	c := s.cores
	ready := s.waiting.len() > 0 && !s.over && s.running < s.most
	switch {
	case ready && s.index < 0:
		if s.running == 0 {
			// It was away, and the time that passed is nothing to live on.
			s.clock = max(s.clock, c.floor)
		}
		c.joined++
		s.order = c.joined
		heap.Push(&c.ready, s)
	case ready:
		heap.Fix(&c.ready, s.index)
	case s.index >= 0:
		heap.Remove(&c.ready, s.index)
	}
}

// raise lifts the floor to the least virtual time of those that run or could.
func (c *Cores) raise() {
	if len(c.busy) == 0 {
		return
	}
	least := c.busy[0].clock
	for _, s := range c.busy[1:] {
		least = min(least, s.clock)
	}
	if len(c.ready) > 0 {
		least = min(least, c.ready[0].clock)
	}
	c.floor = max(c.floor, least)
}

// shareHeap are the shares that could use one more slot, the best claim first.
type shareHeap []*Share

func (h shareHeap) Len() int { return len(h) }

func (h shareHeap) Less(i, j int) bool {
	if h[i].clock != h[j].clock {
		return h[i].clock < h[j].clock
	}
	return h[i].order < h[j].order
}

func (h shareHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *shareHeap) Push(x any) {
	s := x.(*Share)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop is for container/heap.
func (h *shareHeap) Pop() any {
	old := *h
	last := len(old) - 1
	s := old[last]
	old[last] = nil
	*h = old[:last]
	s.index = -1
	return s
}
