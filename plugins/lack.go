package plugins

import "time"

// What a Pool cannot have now, an executor or the memory of an Instance that is to wake, it
// asks for again, less and less often. Instances wait for it meanwhile, with their events.

const (
	// firstWait is how long a pool waits before it asks again, and lastWait how long when
	// it has asked often, twice as long each time.
	firstWait = 20 * time.Millisecond
	lastWait  = time.Second
	// patience is how long an Instance waits.
	patience = 10 * time.Second
	// endBatch is how many Instances are ended in one turn of the loop.
	endBatch = 64
)

// lack is what Instances of a pool wait for. It is the loop's.
type lack struct {
	runners  []*Instance // wait for an executor
	sleepers []*Instance // are to wake, and wait for memory
	why      error       // that executors are not made
	wait     time.Duration
	set      bool // the pool's timer is
}

// lacks notes since when an instance waits, and why.
func (p *Pool) lacks(i *Instance, why error) {
	if i.lacking == 0 {
		i.lacking = max(p.loop.Now(), 1)
	}
	i.lack = why
}

// satisfied is a pool that got what it has asked for, for one instance.
func (p *Pool) satisfied(i *Instance) {
	if i.lacking == 0 {
		return
	}
	i.lacking, i.lack = 0, nil
	p.lack.wait = 0
	if len(p.lack.sleepers) > 0 {
		p.wakeNext()
	}
}

// wakeNext has the one that has waited longest for memory ask again.
func (p *Pool) wakeNext() {
	i := p.lack.sleepers[0]
	if p.lack.sleepers = p.lack.sleepers[1:]; len(p.lack.sleepers) == 0 {
		p.lack.sleepers = nil
	}
	i.goOnLater()
}

// askLater has the pool ask again after a while.
func (p *Pool) askLater() {
	if p.closed {
		p.askAgain() // which ends them
		return
	}
	if p.lack.set {
		return
	}
	p.lack.set = true
	p.lack.wait = min(max(2*p.lack.wait, firstWait), lastWait)
	p.ask.Reset(p.lack.wait)
}

// askAgain ends those that have waited for too long, and asks again for the others: for
// one of them, since what it gets shows whether there is any for the next. A pool that is
// closed ends them all.
func (p *Pool) askAgain() {
	p.lack.set = false
	before := p.loop.Now() - int64(patience)
	left := endBatch
	if p.closed {
		left = len(p.lack.runners) + len(p.lack.sleepers) + 1
	}
	if len(p.executors) == 0 || p.closed { // else they get one in time
		p.lack.runners = p.endWaiting(p.lack.runners, before, &left)
	}
	p.lack.sleepers = p.endWaiting(p.lack.sleepers, before, &left)
	if left == 0 {
		p.lack.set = true
		p.ask.Reset(0)
		return
	}
	if len(p.lack.runners) > 0 {
		p.makeLater()
	}
	if len(p.lack.sleepers) > 0 {
		p.wakeNext()
	}
}

// endWaiting ends the first of those that wait, up to left, who do since before a time. The
// others remain.
func (p *Pool) endWaiting(waiting []*Instance, before int64, left *int) []*Instance {
	for len(waiting) > 0 && *left > 0 && (p.closed || waiting[0].lacking <= before) {
		*left--
		waiting[0].lackedTooLong = true
		waiting[0].goOnLater()
		waiting = waiting[1:]
	}
	if len(waiting) == 0 {
		return nil
	}
	return waiting
}
