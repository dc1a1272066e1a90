package plugins

import (
	"runtime"
	"time"
)

// A call that runs in the background comes back to its loop when it calls a host function that
// needs it, and stays for a visit: the loop stands still in an event of its own, and the call
// goes on with what is the loop's as if it ran there. So a call that sends to a thousand
// connections asks for the loop once a slice and not once a connection, each send answers what
// it would have answered on the loop, and what was sent leaves when the visit is over.
//
// A visit holds the loop up as an inline call does, and has the same bounds. It ends with the
// slice; when fuel is used up and the loop was not needed meanwhile; and after one function
// where the tenant's guests have had their part of the loop's turn.

// visit is a call's stay on its loop. It belongs to whoever runs the call, but for the channels.
type visit struct {
	come  chan struct{} // the loop says that it is the call's
	over  chan struct{} // the call says that it is not any more
	here  bool
	used  bool // the loop was needed since the last refill
	short bool // the tenant has had its part of the turn
	depth int  // of the loop's events when the visit began
	times int  // how many there were
}

// tripTime is about what it costs to come to the loop: to wake it, a turn of it, and to go back.
const tripTime = int64(5 * time.Microsecond)

// visiting reports whether the call that runs in the background has the loop.
func (i *Instance) visiting() bool { return i.visit != nil && i.visit.here }

// onItsLoop calls a host function that needs the loop, for a call in the background. A panic of
// it goes through to the guest's end, with which the visit ends.
func (i *Instance) onItsLoop(do func(*Instance, []uint64), stack []uint64) {
	if !i.visiting() {
		i.enterLoop()
	}
	v := i.visit
	v.used = true
	do(i, stack)
	if v.short {
		i.endSlice()
	}
}

// enterLoop waits for the loop, and begins a visit. The wait is not the guest's time, but the way
// is, or it could keep the loop busy for nothing.
func (i *Instance) enterLoop() {
	i.chargeElapsed()
	v := i.visit
	if v == nil {
		v = &visit{come: make(chan struct{}), over: make(chan struct{})}
		i.visit = v
	}
	if !i.loop.Post(i.receiveVisit) {
		panic(&stopped{StopHost, "the host stops"})
	}
	<-v.come
	v.here, v.depth = true, i.loop.Depth()
	v.times++
	v.short = i.turn.usedUp(i.loop.Turn())
	i.exec.use.ran += tripTime
	i.exec.use.unbooked += tripTime
	i.exec.use.start()
}

// receiveVisit is the loop's side of a visit, for as long as that lasts. What is left to do at the
// end of the event, such as writing what was sent, is the tenant's as well.
func (i *Instance) receiveVisit() {
	v, l, t := i.visit, i.loop, i.turn
	l.Charge(i.cpu())
	began := nanotime()
	v.come <- struct{}{}
	<-v.over
	ns := nanotime() - began
	l.Booked(ns) // the call does that
	t.usedUp(l.Turn())
	t.spent += ns
}

// leaveLoop ends the visit, if there is one. The guest does not run, and its time is counted.
func (i *Instance) leaveLoop() {
	if !i.visiting() {
		return
	}
	v := i.visit
	i.loop.Unwind(v.depth) // a panic may have come through events
	v.here = false
	v.over <- struct{}{}
	runtime.Gosched() // the loop goes on first, also where there is one core
}
