package wasi

import (
	"github.com/tetratelabs/wazero/sys"
)

const (
	clockRealtime  = 0
	clockMonotonic = 1
)

func clockRes(p *Process, s []uint64) Errno {
	out := at(p.System.Memory(), uint32(s[1]), 8)
	switch {
	case uint32(s[0]) > clockMonotonic:
		return Inval
	case out == nil:
		return Fault
	}
	le.PutUint64(out, 1)
	return Success
}

// now is the time of a clock in nanoseconds.
func now(s System, clock uint32) (ns uint64, e Errno) {
	switch clock {
	case clockRealtime:
		return uint64(s.Wall()), Success
	case clockMonotonic:
		return uint64(s.Monotonic()), Success
	}
	return 0, Inval
}

func clockTime(p *Process, s []uint64) Errno {
	ns, e := now(p.System, uint32(s[0]))
	if e != Success {
		return e
	}
	out := at(p.System.Memory(), uint32(s[2]), 8)
	if out == nil {
		return Fault
	}
	le.PutUint64(out, ns)
	return Success
}

// randomPart is how many random bytes are made at a time.
const randomPart = 16 << 10

// Random fills b, which may be all of a guest's memory, with random bytes, and
// has s call YieldIfDue between parts of it.
func Random(s System, b []byte) {
	for len(b) > 0 {
		part := b[:min(len(b), randomPart)]
		s.Random(part)
		b = b[len(part):]
		s.YieldIfDue()
	}
}

func randomGet(p *Process, s []uint64) Errno {
	b := at(p.System.Memory(), uint32(s[0]), uint32(s[1]))
	if b == nil {
		return Fault
	}
	Random(p.System, b)
	return Success
}

func schedYield(p *Process, _ []uint64) Errno {
	p.System.Yield()
	return Success
}

// procExit unwinds the guest. It does not close the instance, as the engine's
// own does: that would free the memory of a call that is running.
func procExit(_ *Process, s []uint64) Errno { panic(sys.NewExitError(uint32(s[0]))) }
