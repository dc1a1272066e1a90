package wasi

import (
	"crypto/rand"
	"math"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// started is the zero of the monotonic clock.
var started = time.Now()

func noStrings(p *Process, s []uint64) Errno {
	memory := p.System.Memory()
	count, size := at(memory, uint32(s[0]), 4), at(memory, uint32(s[1]), 4)
	if count == nil || size == nil {
		return Fault
	}
	clear(count)
	clear(size)
	return Success
}

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
func now(clock uint32) (ns uint64, e Errno) {
	switch clock {
	case clockRealtime:
		return uint64(time.Now().UnixNano()), Success
	case clockMonotonic:
		return uint64(time.Since(started)), Success
	}
	return 0, Inval
}

func clockTime(p *Process, s []uint64) Errno {
	ns, e := now(uint32(s[0]))
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
// has s breathe between parts of it.
func Random(s System, b []byte) {
	for len(b) > 0 {
		part := b[:min(len(b), randomPart)]
		_, _ = rand.Read(part) // it never fails
		b = b[len(part):]
		s.Breathe()
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

const (
	subscriptionSize = 48
	eventSize        = 32
	eventClock       = 0
	eventRead        = 1
	eventWrite       = 2
	absoluteTime     = 1
)

// wait is how long a subscription to a clock lets pass; an error number when
// there is no such clock.
func wait(sub []byte) (ns uint64, e Errno) {
	t, e := now(le.Uint32(sub[16:]))
	ns = le.Uint64(sub[24:])
	if le.Uint16(sub[40:])&absoluteTime != 0 {
		if ns < t {
			return 0, e
		}
		return ns - t, e
	}
	return ns, e
}

// pollOneoff waits for clocks. Descriptors 0 to 2 count as ready, so that the
// read or write that follows is what waits.
func pollOneoff(p *Process, s []uint64) Errno {
	memory, n := p.System.Memory(), uint32(s[2])
	if n == 0 || n > maxSubscriptions {
		return Inval
	}
	subs := at(memory, uint32(s[0]), n*subscriptionSize)
	events := at(memory, uint32(s[1]), n*eventSize)
	out := at(memory, uint32(s[3]), 4)
	if subs == nil || events == nil || out == nil {
		return Fault
	}
	sleep := uint64(math.MaxUint64)
	for i := uint32(0); i < n; i++ {
		sub := subs[i*subscriptionSize:][:subscriptionSize]
		d, e := uint64(0), Success
		if sub[8] == eventClock {
			d, e = wait(sub)
		}
		if e != Success {
			d = 0
		}
		sleep = min(sleep, d)
	}
	// What is due is settled first: the events may be written over the
	// subscriptions.
	var due [maxSubscriptions]struct {
		userdata uint64
		errno    Errno
		kind     byte
	}
	count := 0
	for i := uint32(0); i < n; i++ {
		sub := subs[i*subscriptionSize:][:subscriptionSize]
		e, fires := Success, true
		switch sub[8] {
		case eventClock:
			var d uint64
			d, e = wait(sub)
			fires = e != Success || d <= sleep
		case eventRead, eventWrite:
			if !p.open(le.Uint32(sub[16:])) {
				e = Badf
			}
		default:
			e = Inval
		}
		if fires {
			due[count].userdata, due[count].errno, due[count].kind = le.Uint64(sub), e, sub[8]
			count++
		}
	}
	if sleep > 0 {
		p.System.Sleep(time.Duration(min(sleep, math.MaxInt64)))
	}
	for i := range count {
		event := events[i*eventSize:][:eventSize]
		clear(event)
		le.PutUint64(event, due[i].userdata)
		le.PutUint16(event[8:], uint16(due[i].errno))
		event[10] = due[i].kind
		if due[i].errno == Success && due[i].kind != eventClock {
			le.PutUint64(event[16:], 1)
		}
	}
	le.PutUint32(out, uint32(count))
	return Success
}
