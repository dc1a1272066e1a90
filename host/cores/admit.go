package cores

import "time"

const (
	// batch is how many deferred events of a tenant are asked to come again before
	// one of those has answered. Each that is admitted makes room for the next, so
	// that deferred events come as fast as the quota allows and never all at once.
	batch = 16

	// answerTime is how long to wait for an answer. There may be none: the event's
	// connection is closed, or its instance dead.
	answerTime = time.Millisecond

	// answerLost is how long to wait until an answer counts as lost.
	answerLost = 100 * time.Millisecond
)

// Admit asks whether a new event of the tenant may start now. Yes costs a few
// nanoseconds, takes no lock and allocates nothing.
//
// It says no when the tenant has used up its quota, when it has as many
// background calls as a tenant may have, or when the host has as many as it may
// and some of them are this tenant's. Then again is called once, when it is worth
// asking again (by Admit: that is no reservation), or on Stop. It is called by
// any goroutine, also from within a call of Admit or End, so it must not
// block; it may call Admit, and may not be nil. Deferred events are called back
// first in, first out. New ones that ask meanwhile may come before those. Who no
// longer needs an answer does not ask again.
func (s *Share) Admit(again func()) bool {
	if !s.shut.Load() && !(s.cores.full.Load() && s.calls.Load() > 0) {
		return true
	}
	return s.ask(again)
}

func (s *Share) ask(again func()) bool {
	c := s.cores
	c.mu.Lock()
	if c.stopped {
		s.shut.Store(false)
		c.mu.Unlock()
		return true
	}
	now := c.options.Clock()
	s.look(now)
	answer := s.asked > 0 // most likely this is one that was called back
	yes := s.room() > 0 && (s.waitingEvents() == 0 || answer)
	if answer {
		s.asked--
		s.lost = min(s.lost, s.asked)
		s.heard = now
	}
	switch {
	case yes:
	case answer:
		s.first.push(again) // it came too late, and keeps its place
	default:
		// One that comes behind others waits for what they wait for.
		if s.over {
			s.crowded.Store(false)
		} else if s.room() == 0 {
			s.crowded.Store(true)
		}
		if s.crowded.Load() {
			s.deferredByCalls.Add(1)
		} else {
			s.deferredByQuota.Add(1)
		}
		s.then.push(again)
	}
	s.callBack(now)
	s.reopen(now)
	c.unlock()
	return yes
}

// reopen sets shut to what it should be.
func (s *Share) reopen(now int64) {
	if s.waitingEvents() > 0 || s.over || int(s.calls.Load()) >= s.cores.options.TenantCalls {
		s.shut.Store(true)
		return
	}
	s.shut.Store(false)
	// Book may have shut it a moment ago, for a reason that was not there when
	// the quota was looked at.
	if s.quota.Spend(0, now) > 0 {
		s.shut.Store(true)
	}
}

// room is how many events may start, as far as their number is bounded.
func (s *Share) room() int {
	if s.over {
		return 0
	}
	o := &s.cores.options
	calls := int(s.calls.Load())
	host := o.Calls - s.cores.calls
	if calls == 0 {
		host = max(host, 1)
	}
	return max(0, min(batch, o.TenantCalls-calls, host))
}

func (s *Share) waitingEvents() int { return s.first.len() + s.then.len() }

func (s *Share) nextDeferred() func() {
	if s.first.len() > 0 {
		return s.first.pop()
	}
	return s.then.pop()
}

// callBack calls back held events, as many as there is room for: the tenant's
// own, and those of tenants that hold them since the host was full, each tenant
// in its turn.
func (s *Share) callBack(now int64) {
	c := s.cores
	if c.blocked.len() > 0 && s.calls.Load() > 0 {
		s.queueUp()
	}
	if !s.listed || s.calls.Load() == 0 {
		s.release(now, batch)
	}
	s.watch(now)
	room := c.options.Calls - c.calls
	for room > 0 && c.blocked.len() > 0 {
		next := c.blocked.pop()
		next.listed = false
		next.look(now)
		if next.release(now, 1) {
			room--
			next.queueUp()
		}
		next.watch(now)
	}
}

// queueUp has s served when another tenant's call ends.
func (s *Share) queueUp() {
	if s.waitingEvents() > 0 && !s.listed {
		s.listed = true
		s.cores.blocked.push(s)
	}
}

// release calls back as many held events of the tenant as there is room for, but
// no more than limit. It reports whether there was one.
func (s *Share) release(now int64, limit int) bool {
	room := s.room()
	n := 0
	for ; n < limit && s.waitingEvents() > 0 && s.asked-s.lost < room; n++ {
		s.heard = now
		s.cores.agains.push(s.nextDeferred())
		s.asked++
	}
	if room == 0 && !s.over && int(s.calls.Load()) < s.cores.options.TenantCalls {
		s.queueUp() // only the host is full
	}
	return n > 0
}

// giveUp lets others come in the place of those that were called back and have
// not answered for some time.
func (s *Share) giveUp(now int64) {
	switch {
	case s.asked == 0:
	case now >= s.heard+int64(answerLost):
		s.asked, s.lost = 0, 0
	case now >= s.heard+int64(answerTime):
		// They are counted on, so that one that comes late is known for what it
		// is.
		s.lost = s.asked
	}
}
