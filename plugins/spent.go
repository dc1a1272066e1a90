package plugins

import (
	"errors"
	"sync/atomic"

	"bulkhead/csa"
)

// spent is what a usage has told connections of, in fuel and in ns, and the ns in all.
type spent struct {
	fuel, ns int64
	took     int64
}

// sinceSpent is what was used since it was last asked: units of fuel, and nanoseconds.
func (u *usage) sinceSpent() (fuel, ns int64) {
	used, s := u.granted-u.fuel.Left(), &u.spent
	fuel, ns = used-s.fuel, s.took-s.ns
	s.fuel, s.ns = used, s.took
	return fuel, ns
}

// shown is what a call that goes on beside the loop has used so far, in fuel and in ns, as of the
// end of its last slice. The call's goroutine writes it, and the loop reads it, and takes it away
// when it tells the connection.
type shown struct{ fuel, ns atomic.Int64 }

// showSpent has the loop see what was used since sinceSpent was last asked.
func (i *Instance) showSpent() {
	u, s := &i.exec.use, &i.shown
	if i.process != nil {
		s = &i.process.shown
	}
	s.fuel.Store(u.granted - u.fuel.Left() - u.spent.fuel)
	s.ns.Store(u.spent.took - u.spent.ns)
}

func (s *shown) clear() {
	s.fuel.Store(0)
	s.ns.Store(0)
}

// UnderWay is what a call about the connection has used that goes on beside the loop, and of which
// the connection was not told: in fuel and in ns. It is called on the loop, between two events.
func (i *Instance) UnderWay(c *csa.CSA) (fuel, cpu int64) {
	if about, ok := i.about.(*csa.CSA); !ok || about != c || !i.inCall {
		return 0, 0
	}
	return i.shown.fuel.Load(), i.shown.ns.Load()
}

// spentOn tells the connection what a call has used that was about it. That is the client's, where
// an instance serves one, also in events of those that it has dialled for it.
func (i *Instance) spentOn(fuel, ns int64) {
	if i.about != nil {
		i.about.Spend(fuel, ns)
	}
}

// noteSpent is called by a command before it posts startReading or startWriting, which tell its
// connection by spend what it has used: its usage is its own, and goes on while the loop looks.
func (p *Process) noteSpent() { p.spentFuel, p.spentTook = p.instance.exec.use.sinceSpent() }

func (p *Process) spend() {
	p.shown.clear()
	p.csa.Spend(p.spentFuel, p.spentTook)
}

// UnderWay is what the command has used of which its connection was not told: in fuel and in ns. It
// is called on the loop.
func (p *Process) UnderWay() (fuel, cpu int64) {
	return p.shown.fuel.Load(), p.shown.ns.Load()
}

// Doing is what an instance does.
type Doing byte

// What an instance may be doing.
const (
	// Ready is one that takes events.
	Ready Doing = iota
	// Asleep is one whose memory is given back, until its next event.
	Asleep
	// Background is one with a call that runs beside the loop.
	Background
	// BackgroundWaits is one with such a call that its tenant's share of the cores holds up.
	BackgroundWaits
	// WaitsForCPU is one whose tenant has used up its share, or its part of the loop's turn.
	WaitsForCPU
	// WaitsForMemory and WaitsForMappings are those that cannot wake, or run, for want of it.
	WaitsForMemory
	WaitsForMappings
)

// Doing says what the instance does. It is called between two events of its loop.
func (i *Instance) Doing() Doing {
	switch {
	case i.inCall && i.atGate.Load() && i.cpu().HoldsCalls():
		return BackgroundWaits
	case i.inCall:
		return Background
	case i.waitingSince != 0 && errors.Is(i.waitCause, ErrMappings):
		return WaitsForMappings
	case i.waitingSince != 0:
		return WaitsForMemory
	case i.suspended:
		return WaitsForCPU
	case i.asleep != nil:
		return Asleep
	}
	return Ready
}
