package plugins

import (
	"fmt"
	"runtime"
	"sync"
)

// An instance is suspended when it takes no event at once: a call of it goes on in
// the background, or its tenant has used up its share, or events that came
// meanwhile still wait. Whatever happens then waits in line. All of this is
// the loop's; what runs in the background reaches it by posts, and by visits (visit.go).

// deliver runs an event now, or when the instance is free and those before it
// are done.
func (i *Instance) deliver(e event) {
	if i.unseeded && e.call != callClosed {
		i.unseeded = false
		i.queue.push(event{call: callReseed}, i.turn)
		i.queue.push(e, i.turn)
		i.drain()
		return
	}
	if i.free(false) {
		i.run(e)
	} else {
		i.queue.push(e, i.turn)
	}
}

// free reports whether an event may run now. If not, the instance is suspended, and drain will be
// called: by the tenant's turn, by the call in the background, by Admit's again, or by the pool.
// When the host stops no instance becomes suspended any more, and those that are have all of these
// come. called says that the turn has called it.
func (i *Instance) free(called bool) bool {
	if i.suspended || i.loop == nil || i.state != running || i.module.runtime.stopped.Load() {
		return !i.suspended
	}
	if used := i.turn.usedUp(i.loop.Turn()); used || i.turn.first != nil && !called {
		// The tenant has had its part of this turn, or others wait since it had its part of one
		// before, and come first: else those whose peers are quick would have each turn.
		i.suspended = true
		i.turn.join(i)
		return false
	}
	if i.cpu().Admit(i.goOnLater) && (i.pool == nil || i.pool.ready(i)) {
		return true
	}
	i.suspended = true
	return false
}

// drain runs events that wait, for as long as the instance may run. Calling it
// too often does no harm.
func (i *Instance) drain() { i.drainAs(false) }

// drainAs is drain. called says that the tenant's turn calls it; others leave an instance in its
// place in the line.
func (i *Instance) drainAs(called bool) {
	if i.loop != nil {
		i.loop.Charge(i.cpu())
	}
	if i.inCall || i.inLine || i.held {
		return
	}
	if i.loop != nil {
		i.loop.Serve(i)
		i.drainAll(called)
		i.loop.Serve(nil)
	} else {
		i.drainAll(called)
	}
}

func (i *Instance) drainAll(called bool) {
	if i.waitedTooLong {
		i.waitedTooLong = false
		if !i.module.runtime.stopped.Load() { // else it is nobody's fault
			i.trapped(newTrap("its start", i.stopForShortage()))
		}
	}
	for i.queue.len() > 0 {
		i.suspended = false
		if !i.free(called) {
			return
		}
		e := i.queue.pop()
		i.suspended = true // the others stay behind it
		if e.conn == nil || !e.conn.Over() {
			i.run(e)
		}
	}
	i.queue.free(i.turn)
	i.suspended = false
	if i.closing {
		i.Close()
	}
}

// forget takes events out of the line that have been withdrawn.
func (i *Instance) forget(c call, handle int32, arg uint64) {
	i.queue.keep(func(e event) bool { return e.call != c || e.handle != handle || e.arg != arg })
}

// withoutLoop is held by who comes back to a loop that has stopped, and does what was the loop's.
var withoutLoop sync.Mutex

// returnToLoop brings the result of a call that ran in the background to the loop,
// and ends the goroutine, which stands in frames that are not its own any
// more. A panic on the way ends the instance, as one in the call does: the loop would wait for the
// end of a visit, and the connections for the instance.
func (i *Instance) returnToLoop(err error) {
	u := &i.exec.use
	i.atGate.Store(false) // a panic may have come from there
	err = i.sparing(err, i.chargeElapsed)
	i.leaveLoop()
	u.place, u.slotted = onLoop, false
	err = i.sparing(err, i.countFuel)
	e, cpu, ns := i.current, i.cpu(), u.take()
	defer cpu.Release(ns) // last: who waits for it finds the rest done
	fuel, took := u.sinceSpent()
	if !i.loop.Post(func() {
		i.shown.clear()
		i.spentOn(fuel, took)
		i.back(e, err)
	}) {
		// Nobody is left on the loop who could use it.
		withoutLoop.Lock()
		defer withoutLoop.Unlock()
		i.inCall, i.suspended = false, false
		i.dropStack()
		i.pool, i.loopGone = nil, true // which was the loop's
		i.Close()
	}
	runtime.Goexit()
}

// sparing runs f. A panic of it is a bug of the host, and how the call has ended; otherwise err is.
func (i *Instance) sparing(err error, f func()) (ended error) {
	defer func() {
		if v := recover(); v != nil {
			ended = &panicked{v}
		}
	}()
	f()
	return err
}

// panicked is a panic of the host's, behind a call.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

// back goes on with an event when its call has come back.
func (i *Instance) back(e event, err error) {
	i.loop.Charge(i.cpu())
	i.loop.Serve(i)
	i.returning = true
	i.dropStack()
	i.serving, i.current = nil, event{}
	r, ok := i.returned(e.call, err)
	used := 0
	if ok {
		used = i.after(e, r)
	}
	switch e.call {
	case callReseed:
		i.offerAll() // Window may have been asked for and did not come back
	case callData:
		// Also after a trap: a relay may wait for it, which has to end.
		end := uint64(i.window) + e.arg
		e.conn.Consumed(i.memory.Bytes()[i.window:end:end], used)
	}
	i.forgetWhom()
	i.returning = false
	i.drain()
}

// offerAll has every connection ask for the window again.
func (i *Instance) offerAll() {
	for n := range i.handles.slots {
		if c := i.handles.slots[n].conn; c != nil {
			c.Offer()
		}
	}
}
