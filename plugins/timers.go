package plugins

import (
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
)

// instanceTimer is a timer of the instance itself, with handle -1.
type instanceTimer struct {
	token int32
	set   bool
	delay time.Duration // for Attach
	timer *csa.Timer    // made when it is first armed
}

// setTimer sets or moves the instance's timer with that token.
func (i *Instance) setTimer(token int32, d time.Duration) abi.Code {
	var free *instanceTimer
	for n := range i.timers {
		t := &i.timers[n]
		if t.token == token && t.set {
			t.delay = d
			i.arm(t)
			return abi.OK
		}
		if !t.set && (free == nil || t.token == token) {
			free = t
		}
	}
	if free == nil {
		if len(i.timers) == abi.MaxTimers || !i.module.runtime.options.Timers.ReserveTimer() {
			return abi.Quota
		}
		if i.timers == nil {
			// Their addresses are kept by what fires them.
			i.timers = make([]instanceTimer, 0, abi.MaxTimers)
		}
		i.timers = append(i.timers, instanceTimer{})
		free = &i.timers[len(i.timers)-1]
	}
	i.forget(callTimer, -1, uint64(uint32(token)))
	free.token, free.set, free.delay = token, true, d
	i.arm(free)
	return abi.OK
}

func (i *Instance) stopTimer(token int32) {
	i.forget(callTimer, -1, uint64(uint32(token)))
	for n := range i.timers {
		if t := &i.timers[n]; t.token == token && t.set {
			t.disarm()
		}
	}
}

// stopTimers stops them for good.
func (i *Instance) stopTimers() {
	for n := range i.timers {
		i.timers[n].disarm()
	}
	if n := len(i.timers); n > 0 {
		i.module.runtime.options.Timers.ReleaseTimers(n)
		i.timers = i.timers[:0]
	}
}

// arm sets a timer going, once the instance has a loop.
func (i *Instance) arm(t *instanceTimer) {
	if i.loop == nil || !t.set {
		return
	}
	if t.timer == nil {
		t.timer = i.loop.NewTimer(func() { i.fired(t) })
	}
	t.timer.Reset(t.delay)
}

func (t *instanceTimer) disarm() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.set = false
}

func (i *Instance) fired(t *instanceTimer) {
	if !t.set {
		return
	}
	i.loop.Charge(i.cpu())
	t.set = false // so that the guest may set it again
	if i.module.has[callTimer] {
		i.loop.Serve(i)
		i.deliver(event{call: callTimer, handle: -1, arg: uint64(uint32(t.token))})
		i.loop.Serve(nil)
	}
}
