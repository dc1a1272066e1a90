package plugins

import (
	"errors"
	"fmt"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins/watchdog"
)

// DefaultEventTimeout is how much CPU time one event may use where nothing
// else is said.
const DefaultEventTimeout = time.Second

const (
	// inlineSlice is for how long a call may keep its loop, and for how long one
	// beside the loops runs before it has to ask whether it may go on.
	inlineSlice = int64(100 * time.Microsecond)
	// turnSlice is for how long the guests of one tenant may keep a loop in one
	// of its turns, all together.
	turnSlice = 2 * inlineSlice
	// refillTime is what is aimed at from one refill to the next, by giving as
	// much fuel as the guest's mix of instructions uses up in that time. A guest that
	// becomes slow in between is found by the watchdog, later. Least is what a guest
	// gets that touches a new page with every instruction.
	refillTime = inlineSlice / 4
	firstFuel  = 100_000
	leastFuel  = 64
	mostFuel   = 200_000
	// waitEvery is how much CPU time there is from one wait to the next at most, on average,
	// of a guest that does nothing but wait.
	waitEvery = int64(100 * time.Microsecond)
	// mostSlice is what a slice can have taken at most, since the watchdog ends it: where a watch
	// does not know, it is no more.
	mostSlice = int64(2 * time.Millisecond)
	// bytesCollected is how many bytes of a stack that is dropped the collector sees to in a
	// nanosecond: it, and the half as large ones that came before it.
	bytesCollected = 8
	// bookEvery is how much time is booked at once.
	bookEvery = int64(20 * time.Microsecond)
)

// place is where a call runs.
type place byte

const (
	onLoop     place = iota // inline, as the loop's owner
	background              // on the goroutine that was the loop's, which has passed the loop on
	ownPlace                // on a goroutine that was never a loop's
)

// usage is what an instance uses of its tenant's fuel, time and stack. It
// belongs to whoever runs the guest.
type usage struct {
	fuel    watchdog.Counter // left in this slice; the guest's
	granted int64            // fuel granted so far
	counted int64            // fuel that the runtime knows to be used
	next    int64            // fuel for the next slice, and what was granted for this
	spent   spent

	place    place
	slotted  bool      // the call has a slot of CPU
	watch    stopwatch // since the guest began to run, or was last asked for its time
	ran      int64     // ns of this event before that
	unbooked int64     // ns before that of which the accounts do not know
	sent     int64     // ns since the watch was started in which large sends were written
	burning  int64     // ns in which the fuel of this refill burned, up to mark
	mark     int64     // nanotime when it was granted, or the guest went on
	stack    int       // bytes of stack that are charged
	waits    int64     // how often this event has asked to sleep
	breaths  uint8     // how often a host function has asked whether it is time to refill

	seen *observing // of the call that runs; nil: nobody watches
}

// stopped unwinds a guest that the host stops.
type stopped struct {
	stop Stop
	why  string
}

func (s *stopped) Error() string { return s.why }

// Stop is why the host stopped a call. It is a tenant's limit, but for
// StopHost.
type Stop byte

// The reasons.
const (
	StopNot      Stop = iota // it was not stopped
	StopTimeout              // the event used more CPU time than event_timeout
	StopStack                // its stack became too large
	StopMemory               // its tenant had no memory for its stack, or what it has written to
	StopMappings             // its tenant had no memory mappings for it to wake
	StopHost                 // the host stops
)

// cause is what the connections of a stopped instance are closed for.
func (s Stop) cause() csa.Cause {
	switch s {
	case StopTimeout:
		return csa.EventTimeout
	case StopStack:
		return csa.StackFull
	case StopMemory:
		return csa.MemoryFull
	case StopMappings:
		return csa.MappingsFull
	case StopHost:
		return csa.HostStopped
	}
	return csa.Trapped
}

// ErrSlow is the error of an instance that takes too long to start for a loop.
var ErrSlow = errors.New("it takes too long to start for a loop")

// startTiming starts the clock of a call.
func (i *Instance) startTiming(f export, at place) {
	i.exec.running = f
	i.exec.use.place = at
	if i.exec.use.seen != nil || i.module.runtime.options.Observer != nil {
		i.observe()
	}
	i.exec.use.ran, i.exec.use.waits = 0, 0
	i.exec.use.watch.threads = i.exec.use.slotted // else not until it is known to be long
	i.exec.use.watch.most = mostSlice
	i.exec.use.start()
}

// start sets the clocks going, for a guest that goes on now.
func (u *usage) start() {
	u.fuel.Enter() // before it is timed: it may have to wake the watchdog
	u.watch.start()
	u.mark = u.watch.wall
}

// chargeElapsed counts what the guest has run since its watch was started. It does not go on
// before start.
func (i *Instance) chargeElapsed() {
	u := &i.exec.use
	u.fuel.Leave()
	now, ns := u.watch.elapsed()
	u.burning += now - u.mark
	u.unbooked += ns
	u.spent.took += ns
	if i.loop != nil && u.place == onLoop {
		i.loop.Booked(ns)
	}
	own := ns
	if !u.watch.threads { // by the same clock
		own -= u.sent
	}
	u.sent = 0
	if !i.memory.Ran(own) {
		i.outOfMemory = true
	}
	if u.slotted {
		u.ran += ns
		return
	}
	// It is one slice at most. Had the machine been busy elsewhere for longer,
	// that should not count against event_timeout.
	u.ran += min(ns, 2*inlineSlice)
	if i.turn != nil && u.place == onLoop {
		i.turn.spent += ns
	}
}

// take is what is not booked yet.
func (u *usage) take() (ns int64) {
	ns, u.unbooked = u.unbooked, 0
	return ns
}

// finish ends the clock of a call that did not leave its place, and lets go of
// a stack that has grown.
func (i *Instance) finish() {
	i.dropStack()
	i.pause()
}

// pause gives the place of a guest back, which has run to its end, or waits on
// a goroutine of its own. What follows resume is another event, for which a command
// has to be let in again.
func (i *Instance) pause() {
	u := &i.exec.use
	i.chargeElapsed()
	switch {
	case u.slotted:
		u.slotted = false
		i.countFuel()
		i.cpu().Release(u.take())
	case u.unbooked >= bookEvery:
		i.book()
	}
}

func (i *Instance) resume() {
	if i.process != nil {
		i.process.takeTurn()
	}
	i.exec.use.ran = 0
	i.exec.use.start()
}

// book tells the tenant's accounts what was used since the last time.
func (i *Instance) book() {
	i.countFuel()
	i.cpu().Book(i.exec.use.take())
}

// mostAside is the most that is booked for making an executor or an instance aside, in nanoseconds,
// where that has changed threads: more than it takes for all but the largest guests.
const mostAside = int64(20 * time.Millisecond)

// bookAside runs f, which is the host's work for a tenant on a goroutine that no loop waits for,
// and books what it takes.
func (r *Runtime) bookAside(f func()) {
	w := stopwatch{threads: true, most: mostAside}
	w.start()
	f()
	_, ns := w.elapsed()
	r.options.CPU.Book(ns)
}

func (i *Instance) cpu() CPU { return i.module.runtime.options.CPU }

// countFuel tells the runtime how much fuel was used since the last time.
func (i *Instance) countFuel() {
	u := &i.exec.use
	used := u.granted - u.fuel.Left()
	i.module.runtime.fuel.Add(used - u.counted)
	u.counted = used
}

// grant lets the guest use up so much fuel until the next refill. What it owes
// it has used: that is counted, and not taken off again.
func (u *usage) grant(fuel int64) {
	u.granted += fuel - u.fuel.Left()
	u.fuel.Set(fuel)
	u.burning = 0
}

// refill is what the guest calls when its fuel is used up, and host functions
// that take long when time is. Being in Go, it lets the collector run. It is
// where the loop is passed on, where budgets are enforced, and where a guest is
// stopped.
func (i *Instance) refill() {
	u := &i.exec.use
	now := nanotime()
	ns := now - u.watch.wall
	u.adapt(u.burning + now - u.mark)
	i.module.pace.Store(u.next) // so that new instances do not begin from nothing
	i.countFuel()
	if u.seen != nil {
		if look := i.look(); look > 0 {
			u.next = look
		}
	}
	ran := u.ran + ns
	if ran > int64(i.listener.eventTimeout()) {
		// By the wall's clock; the thread may have stood still for most of it.
		if u.slotted {
			_, ran = u.watch.elapsed()
		} else {
			ran = min(ns, 2*inlineSlice) // as chargeElapsed has it
		}
		ran += u.ran
	}
	if s := i.mustStop(ran); s != nil {
		panic(s)
	}
	if u.place == onLoop {
		ns += u.ran // a call has one slice there
	}
	idle := i.visiting() && !i.visit.used // it computes, and can do that elsewhere
	if i.visiting() {
		i.visit.used = false
	}
	if ns < inlineSlice*7/8 && !idle {
		u.mark = now
	} else {
		i.endSlice()
	}
	u.grant(u.next)
}

// endSlice lets others have their turn, and goes on.
func (i *Instance) endSlice() {
	i.chargeElapsed()
	i.exec.use.watch.start() // should it be unwound here
	i.yield()
	i.exec.use.start()
}

// yieldIfDue is refill if it is time for that. Host functions call it that may do
// much for one call. None takes so long that every fourth would not be soon enough to look at the
// clock, which most calls to a guest need not do at all then.
func (i *Instance) yieldIfDue() {
	u := &i.exec.use
	if u.breaths++; u.breaths%4 != 0 {
		return
	}
	if i.exec.running.Function != nil && nanotime()-u.mark >= inlineSlice {
		i.refill()
	}
}

// yield ends a slice: on a loop by passing the loop on, beside the loops by
// asking whether the call may go on.
func (i *Instance) yield() {
	u := &i.exec.use
	if u.place == background || i.process != nil {
		i.showSpent()
	}
	if u.slotted {
		u.unbooked += sliceCost()
		i.leaveLoop()
		yieldThread()
		i.atGate.Store(true)
		i.cpu().NextSlice(u.take())
		i.atGate.Store(false)
		return
	}
	if u.place == onLoop {
		if i.state == starting || i.loop == nil {
			panic(ErrSlow)
		}
		u.place = background
		i.suspended = true
		i.cpu().Enlist() // while the loop is held: see Runtime.Close
		i.loop.Pass()
		u.watch.threads = true
		i.cpu().Book(u.take())
		u.slotted = true
		i.atGate.Store(true)
		i.cpu().AwaitSlot()
		i.atGate.Store(false)
		return
	}
	u.watch.threads = true
	i.cpu().Book(u.take())
	u.slotted = true
	i.atGate.Store(true)
	i.cpu().Acquire()
	i.atGate.Store(false)
}

// adapt finds how much fuel to give next, ns being how long it took to use what was
// used of the last. It follows at once when that is less than it was, and by and by
// when it is more, so that a guest that changes its pace seldom gets hold of a long slice.
func (u *usage) adapt(ns int64) {
	used := max(u.next-u.fuel.Left(), 1)
	fit := int64(float64(used) * float64(refillTime) / float64(max(ns, 1)))
	u.next = min(max(fit, leastFuel), u.next+u.next/4, mostFuel)
}

// mustStop says why the call that runs, and has for ran nanoseconds, has to
// end; nil when it may go on.
func (i *Instance) mustStop(ran int64) *stopped {
	r := i.module.runtime
	if r.stopped.Load() {
		return &stopped{StopHost, "the host stops"}
	}
	if i.process != nil {
		i.process.enter()
	}
	if i.outOfMemory {
		return i.stopForMemory()
	}
	if limit := i.listener.eventTimeout(); i.exec.use.slotted && ran > int64(limit) {
		if i.exec.use.waits > ran/waitEvery {
			return &stopped{StopTimeout, fmt.Sprintf("it waited in poll_oneoff, where a handler cannot wait and spins, for more than %v of one event (event_timeout); let it set a timer and return: csa_v1.timer, csa_timer, SetTimer in Go", limit)}
		}
		return &stopped{StopTimeout, fmt.Sprintf("it used more than %v of CPU time in one event (event_timeout)%s", limit, i.where())}
	}
	if i.exec.running.Function == nil {
		return &stopped{StopStack, "it runs in no call, so its stack could not be bounded"}
	}
	size := i.exec.running.stackSize()
	if limit := i.listener.stack(); size > limit {
		return &stopped{StopStack, fmt.Sprintf("its stack grew to more than %d bytes (stack)", limit)}
	}
	if more := size - i.exec.use.stack; size > keptStack && more > 0 {
		if !i.budget().Reserve(more) {
			return &stopped{StopMemory, "its tenant has no memory left for its stack"}
		}
		i.exec.use.stack += more
	}
	return nil
}

// stopForMemory stops a guest that has written to more of its memory than its
// tenant has left.
func (i *Instance) stopForMemory() *stopped {
	return &stopped{StopMemory, "its tenant has no memory left for what it has written to"}
}

// stopForShortage stops a guest whose pool could not have what it runs on.
func (i *Instance) stopForShortage() *stopped {
	if errors.Is(i.waitCause, ErrMappings) {
		return &stopped{StopMappings, fmt.Sprintf("its tenant has had no memory mappings left for what it runs on for %v (mappings)", patience)}
	}
	return &stopped{StopMemory, fmt.Sprintf("its tenant has had no memory left for what it runs on for %v (memory)", patience)}
}

// dropStack lets go of the stack of the call that ran, if it has grown.
func (i *Instance) dropStack() {
	if size := i.exec.running.stackSize(); size > keptStack {
		i.exec.use.unbooked += int64(size) / bytesCollected
		for c, f := range i.exec.calls {
			if f == i.exec.running {
				i.exec.calls[c] = export{}
			}
		}
	}
	if i.exec.use.stack > 0 {
		i.budget().Release(i.exec.use.stack)
		i.exec.use.stack = 0
	}
	i.exec.running = export{}
}

// Fuel is how much fuel the runtime's guests have used so far, in units of
// docs/METER.md. What a call has used is counted at its refills and, every
// 20 µs of guests' time, when it ends.
func (r *Runtime) Fuel() int64 { return r.fuel.Load() }

// turnOf is what the tenant's guests have used of a loop's turn.
func (r *Runtime) turnOf(l *csa.Loop) *turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.turns[l]
	if t == nil {
		t = &turn{loop: l}
		r.turns[l] = t
	}
	return t
}

func (l *Listener) stack() int {
	if l.Stack <= 0 {
		return DefaultStack
	}
	return l.Stack
}
