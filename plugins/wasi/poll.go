package wasi

import (
	"math"
	"time"
)

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
func wait(s System, sub []byte) (ns uint64, e Errno) {
	t, e := now(s, le.Uint32(sub[16:]))
	ns = le.Uint64(sub[24:])
	if le.Uint16(sub[40:])&absoluteTime != 0 {
		if ns < t {
			return 0, e
		}
		return ns - t, e
	}
	return ns, e
}

// pollOneoff waits for clocks and streams. Files are always ready.
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
	// What is asked for is read first: the events may be written over the subscriptions.
	var asked [maxSubscriptions]subscription
	var want Ready
	sleep := uint64(math.MaxUint64)
	for i := range n {
		a := p.subscription(subs[i*subscriptionSize:][:subscriptionSize])
		asked[i] = a
		want |= a.needs
		if a.needs == 0 {
			sleep = min(sleep, a.after)
		}
	}
	var got Ready
	var end bool
	switch d := time.Duration(min(sleep, math.MaxInt64)); {
	case want != 0 && sleep == math.MaxUint64:
		got, end = p.System.Poll(want, -1)
	case want != 0:
		got, end = p.System.Poll(want, d)
	case sleep > 0:
		p.System.Sleep(d)
	}
	count := 0
	for i := range n {
		a := &asked[i]
		if a.needs&^got != 0 || a.needs == 0 && a.after > sleep || a.needs == 0 && got != 0 && a.after > 0 {
			continue
		}
		event := events[count*eventSize:][:eventSize]
		count++
		clear(event)
		le.PutUint64(event, a.userdata)
		le.PutUint16(event[8:], uint16(a.errno))
		event[10] = a.kind
		if a.errno == Success && a.kind != eventClock {
			le.PutUint64(event[16:], a.bytes)
			if end && a.needs == Readable {
				le.PutUint16(event[24:], hangUp)
			}
		}
	}
	le.PutUint32(out, uint32(count))
	return Success
}

// hangUp says of an event that what can be read is the end.
const hangUp = 1

// subscription is one of the things that a poll waits for.
type subscription struct {
	userdata uint64
	errno    Errno
	kind     byte
	bytes    uint64 // how many there are; of streams it is not known, and 1
	needs    Ready  // of a stream that may have to be waited for
	after    uint64 // of everything else: when it is there, in nanoseconds from now
}

func (p *Process) subscription(sub []byte) subscription {
	a := subscription{userdata: le.Uint64(sub), kind: sub[8], bytes: 1}
	switch f := p.look(le.Uint32(sub[16:])); a.kind {
	case eventClock:
		if a.after, a.errno = wait(p.System, sub); a.errno != Success {
			a.after = 0
		}
	case eventRead, eventWrite:
		switch {
		case f == nil:
			a.errno = Badf
		case f.node != nil:
			a.bytes = uint64(max(int64(len(f.node.data))-f.at, 0))
		case f.stream == 0 && a.kind == eventRead:
			a.needs = Readable
		case f.stream == 1 && a.kind == eventWrite:
			a.needs = Writable
		}
	default:
		a.errno = Inval
	}
	return a
}
