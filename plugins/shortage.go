package plugins

import (
	"slices"
	"time"
)

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

// shortage is what Instances of a pool wait for, beside an executor: those are the executorSet's
// runners. It is the loop's.
type shortage struct {
	sleepers []*Instance // are to wake, and wait for memory
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
		left = len(p.runners) + len(p.shortage.sleepers) + 1
	}
	if len(p.executors) == 0 || p.closed { // else they get one in time
		p.runners = p.endWaiting(p.runners, before, &left)
	}
	p.shortage.sleepers = p.endWaiting(p.shortage.sleepers, before, &left)
	if left == 0 {
		p.shortage.set = true
		p.ask.Reset(0)
		return
	}
	if len(p.runners) > 0 {
		p.makeLater()
	}
	if len(p.shortage.sleepers) > 0 {
		p.wakeNext()
	}
}

// endWaiting ends the first of those that wait, up to left, who do since before a time, and all of
// a pool that is closed. The others remain.
func (p *Pool) endWaiting(waiting []*Instance, before int64, left *int) []*Instance {
	end := func(i *Instance) {
		*left--
		i.waitedTooLong = true
		i.goOnLater()
	}
	for len(waiting) > 0 && *left > 0 && waiting[0].waitingSince <= before {
		end(waiting[0])
		waiting = waiting[1:]
	}
	if p.closed {
		waiting = slices.DeleteFunc(waiting, func(i *Instance) bool {
			if i.pool != p {
				return false // those for executors may be of others' pools
			}
			end(i)
			return true
		})
	}
	if len(waiting) == 0 {
		return nil
	}
	return waiting
}

// askForRunners has an executor be asked for again after a while, if somebody waits for one.
func (p *Pool) askForRunners() {
	if len(p.runners) > 0 {
		p.runners[0].pool.askLater()
	}
}
