package csa

import (
	"time"

	"bulkhead/abi"
	"bulkhead/selector"
)

// handlerTimer is a timer that the handler has set on its connection.
type handlerTimer struct {
	c     *CSA
	token int32
	t     selector.Timer
	next  *handlerTimer
}

// SetTimer has the handler's Timer called once with token, d from now; zero
// or less is the next turn. There is one timer for a token: setting it again
// moves it. It answers abi.OK, abi.Quota when abi.MaxTimers are set already, or
// the tenant has no timer left, or abi.Closed.
func (c *CSA) SetTimer(token int32, d time.Duration) abi.Code {
	if c.is(finishing | dying | dead) {
		return abi.Closed
	}
	var at *handlerTimer
	n := 0
	for t := c.timers; t != nil; t = t.next {
		n++
		if t.token == token && t.t.Set() {
			at = t
			break
		}
		if !t.t.Set() {
			at = t
		}
	}
	if at == nil {
		if n == abi.MaxTimers || !c.wiring.Budget.ReserveTimer() {
			return abi.Quota
		}
		at = &handlerTimer{c: c, next: c.timers}
		c.timers = at
	}
	at.token = token
	c.loop.sel.SetTimer(&at.t, at, c.loop.Now()+int64(d))
	return abi.OK
}

// StopTimer withdraws the timer of token, if it is set.
func (c *CSA) StopTimer(token int32) {
	for t := c.timers; t != nil; t = t.next {
		if t.token == token {
			c.loop.sel.StopTimer(&t.t)
		}
	}
}

func (c *CSA) stopTimers() {
	n := 0
	for t := c.timers; t != nil; t = t.next {
		c.loop.sel.StopTimer(&t.t)
		n++
	}
	if n > 0 {
		c.wiring.Budget.ReleaseTimers(n) // kept for the next until now
	}
	c.timers = nil
}

// Expired is the selector's call.
func (t *handlerTimer) Expired(*selector.Timer) {
	c := t.c
	c.enter()
	if !c.is(finishing | dying | dead) {
		c.wiring.Handler.Timer(c, t.token)
	}
	c.loop.leaveEvent()
}
