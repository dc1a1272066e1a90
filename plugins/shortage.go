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

// shortage is what Instances of a pool wait for. It is the loop's.
type shortage struct {
	runners  []*Instance // wait for an executor
	sleepers []*Instance // are to wake, and wait for memory
	why      error       // that executors are not made
	wait     time.Duration
	set      bool // the pool's timer is
}

// startsWaiting notes since when an instance waits, and why.
func (p *Pool) startsWaiting(i *Instance, why error) {
	if i.waitingSince == 0 {
		i.waitingSince = max(p.loop.Now(), 1)
	}
	i.waitCause = why
}

// gotIt ends the wait of an instance, for which the pool has got what it asked for.
func (p *Pool) gotIt(i *Instance) {
	if i.waitingSince == 0 {
		return
	}
	i.waitingSince, i.waitCause = 0, nil
	p.shortage.wait = 0
	if len(p.shortage.sleepers) > 0 {
		p.wakeNext()
	}
}

// wakeNext has the one that has waited longest for memory ask again.
func (p *Pool) wakeNext() {
	i := p.shortage.sleepers[0]
	if p.shortage.sleepers = p.shortage.sleepers[1:]; len(p.shortage.sleepers) == 0 {
		p.shortage.sleepers = nil
	}
	i.goOnLater()
}

// askLater has the pool ask again after a while.
func (p *Pool) askLater() {
	if p.closed {
		p.askAgain() // which ends them
		return
	}
	if p.shortage.set {
		return
	}
	p.shortage.set = true
	p.shortage.wait = min(max(2*p.shortage.wait, firstWait), lastWait)
	p.ask.Reset(p.shortage.wait)
}

// askAgain ends those that have waited for too long, and asks again for the others: for
// one of them, since what it gets shows whether there is any for the next. A pool that is
// closed ends them all.
func (p *Pool) askAgain() {
	p.shortage.set = false
	before := p.loop.Now() - int64(patience)
	left := endBatch
	if p.closed {
		left = len(p.shortage.runners) + len(p.shortage.sleepers) + 1
	}
	if len(p.executors) == 0 || p.closed { // else they get one in time
		p.shortage.runners = p.endWaiting(p.shortage.runners, before, &left)
	}
	p.shortage.sleepers = p.endWaiting(p.shortage.sleepers, before, &left)
	if left == 0 {
		p.shortage.set = true
		p.ask.Reset(0)
		return
	}
	if len(p.shortage.runners) > 0 {
		p.makeLater()
	}
	if len(p.shortage.sleepers) > 0 {
		p.wakeNext()
	}
}

// endWaiting ends the first of those that wait, up to left, who do since before a time. The
// others remain.
func (p *Pool) endWaiting(waiting []*Instance, before int64, left *int) []*Instance {
	for len(waiting) > 0 && *left > 0 && (p.closed || waiting[0].waitingSince <= before) {
		*left--
		waiting[0].waitedTooLong = true
		waiting[0].goOnLater()
		waiting = waiting[1:]
	}
	if len(waiting) == 0 {
		return nil
	}
	return waiting
}
