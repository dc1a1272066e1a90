package csa

import "bulkhead/selector"

// throttle holds the timers of a connection that has to keep still in one
// direction for a while. It is made when that first happens.
type throttle struct {
	c       *CSA
	in, out selector.Timer
}

// slowDown keeps one direction still for wait nanoseconds.
func (c *CSA) slowDown(direction flag, wait int64) {
	if c.throttle == nil {
		c.throttle = &throttle{c: c}
	}
	c.set(direction)
	t := &c.throttle.in
	if direction == slowOut {
		t = &c.throttle.out
	}
	c.loop.sel.SetTimer(t, c.throttle, c.loop.Now()+wait)
	c.keepTime()
}

func (c *CSA) stopThrottle() {
	if c.throttle != nil {
		c.loop.sel.StopTimer(&c.throttle.in)
		c.loop.sel.StopTimer(&c.throttle.out)
	}
}

// Expired takes the direction up again, or waits on when the tenant's other
// connections have used up what had become free.
func (t *throttle) Expired(timer *selector.Timer) {
	c := t.c
	c.enter()
	t.expired(timer)
	c.keepTime()
	c.loop.leaveEvent()
}

func (t *throttle) expired(timer *selector.Timer) {
	c := t.c
	if timer == &t.in {
		if wait := c.wiring.Budget.Received(0, c.loop.Now()); wait > 0 {
			c.slowDown(slowIn, wait)
			return
		}
		c.clear(slowIn)
		switch {
		case c.is(finishing | securing | spliced):
			c.readMore()
		case c.is(offering):
			c.d.ReadAgain()
		default:
			c.resumeReading()
		}
		return
	}
	if wait := c.wiring.Budget.Sent(0, c.loop.Now()); wait > 0 {
		c.slowDown(slowOut, wait)
		return
	}
	c.clear(slowOut)
	c.d.NewWriter()
}
