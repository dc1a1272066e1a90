package cores

import (
	"sync/atomic"
	"time"

	"bulkhead/host/budget"
)

const (
	leastCPU = 0.01
	mostCPU  = 1024
	million  = 1e6

	// burst is for how long a tenant that was at rest may use twice its cpu,
	// or how much of the time in which it slept too long it may make up for. It
	// is longer than what delays a timer on a busy machine (a scheduler's turn,
	// a collection: a few ms), so that nothing is lost by that, and short
	// enough that over ten seconds it adds one per cent.
	burst = 100 * time.Millisecond

	// pause is for how long a tenant that is over its quota is paused at least.
	// It loses nothing by a longer pause than it must make, as long as that is
	// well within the burst; and few timers are needed, however many tenants
	// are paused.
	pause = 5 * time.Millisecond

	// longestPause is what pause doubles to while a tenant is over its quota again sooner than it
	// was paused: it wants more than twice its cpu. Each pause wakes loops and threads, and no
	// tenant is charged for that time: Go's monitor alone wakes some sixty times for each, for
	// several microseconds.
	longestPause = 40 * time.Millisecond

	// grain is how much inline time is gathered, in nanoseconds, before the
	// clock is read and the quota told.
	grain = 10_000

	// longest is the most that is booked at once. It only keeps sums small.
	longest = int64(time.Hour)
)

// Share is what one tenant may use, and what it uses. Any goroutine may call
// its methods. They are of three kinds: Admit and Book are for events on loops
// and never block; Acquire, NextSlice and Release are for background calls,
// each called by the goroutine that the call runs on; the others are counters.
type Share struct {
	// shut says that Admit has to look closer. That it is false is a promise
	// of nothing: it is a little late.
	shut   atomic.Bool
	calls  atomic.Int32 // background calls now; written under the lock
	cores  *Cores
	used   atomic.Int64
	booked atomic.Int64 // of used: what the quota has been told

	// Events that had to wait, and whether the last of them did for the number of calls.
	deferredByQuota, deferredByCalls atomic.Int64
	crowded                          atomic.Bool

	pausedUntil atomic.Int64 // when the pause under way, or the last one, ends
	least       atomic.Int64 // the least length of that pause

	whole atomic.Bool // cpu is all that the machine has
	quota *budget.Rate
	micro int64 // millionths of a core
	most  int   // slots at a time

	// The rest is under the lock of cores.

	ever int64

	over  bool  // paused: over the quota when last looked at
	until int64 // if over: not before then is there anything to look at

	clock   int64 // virtual time: slots' time used, over cpu
	since   int64 // what it was when a call last gave its slot to a fellow
	running int   // slots taken
	index   int   // in cores.ready; -1: not there
	order   int64 // when it came there
	waiting queue[*waiter]

	first, then queue[func()] // deferred events; those in first had their turn once and missed it
	asked       int           // of the agains that were called: how many have not been answered
	lost        int           // of those: how many took too long and may never be
	heard       int64         // if asked: when one was called, or answered, or given up last
	listed      bool          // in cores.blocked

	alarm int         // which timer is the right one
	due   int64       // when it fires
	stop  func() bool // nil: there is none
}

func newShare(c *Cores, micro int64) *Share {
	s := &Share{
		cores: c,
		quota: budget.NewRate(float64(micro)/million*float64(time.Second), burst),
		micro: micro,
		most:  ceil(micro),
		index: -1,
	}
	s.whole.Store(s.isWhole())
	return s
}

func (s *Share) isWhole() bool { return s.micro >= int64(s.cores.options.Processors)*million }

// SetCPU has the tenant use so many cores in the long run from now on, as Cores.Share says. With
// more, calls that wait for a slot and events that are held go on as soon as the new quota
// lets them, which may be at once.
func (s *Share) SetCPU(cpu float64) {
	c := s.cores
	micro := millionths(cpu)
	c.mu.Lock()
	if micro == s.micro {
		c.mu.Unlock()
		return
	}
	now := c.options.Clock()
	s.pay(now) // what was used until now is paid at the old price, in part at least
	s.quota.SetRate(float64(micro)/million*float64(time.Second), now)
	if s.calls.Load() > 0 {
		c.wanted += micro - s.micro
	}
	s.micro, s.most = micro, ceil(micro)
	s.whole.Store(s.isWhole())
	if c.stopped {
		c.mu.Unlock()
		return
	}
	s.until = now // look again, whatever was found before
	s.pausedUntil.Store(now)
	s.least.Store(0)
	s.look(now)
	s.place()
	c.dispatch()
	s.callBack(now)
	s.reopen(now)
	c.unlock()
}

// Close has Cores forget the share, whose tenant has no calls in the background and holds no events
// any more: it reports false, and does nothing, where there are some. What it used and held still
// counts in the sums of Cores. It may be called more than once.
func (s *Share) Close() bool {
	c := s.cores
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.calls.Load() > 0 || s.waitingEvents() > 0 || s.waiting.len() > 0 {
		return false
	}
	if _, open := c.shares[s]; !open {
		return true
	}
	delete(c.shares, s)
	c.gone.used += s.Used()
	c.gone.deferred += s.Deferred()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	s.alarm++ // a timer that fires just now finds another
	return true
}

func ceil(micro int64) int { return int((micro + million - 1) / million) }

// Book tells of processor time that the tenant used inline, in nanoseconds; zero
// and less are nothing. It never blocks. Whether the tenant may go on the next
// Admit says.
func (s *Share) Book(ns int64) {
	if ns <= 0 {
		return
	}
	if s.used.Add(min(ns, longest))-s.booked.Load() < grain {
		return
	}
	if s.pay(s.cores.options.Clock()) > 0 && !s.shut.Load() {
		s.shut.Store(true)
	}
}

// CPUWait returns for how many nanoseconds the tenant should start nothing, because it has used up
// its quota. Zero or less: it need not wait. It is for work that does not ask Admit: accepts,
// datagrams, relays. It costs a few nanoseconds where there is nothing to wait for, and never
// blocks.
func (s *Share) CPUWait() (wait int64) {
	if !s.shut.Load() || s.cores.options.VirtualTimers {
		return 0
	}
	now := s.cores.options.Clock()
	if wait = s.pay(now); wait > 0 {
		return s.startPause(now, wait) - now
	}
	return max(0, s.pausedUntil.Load()-now)
}

// startPause starts a pause of wait nanoseconds at least, unless one is under way, and returns when
// it ends. It needs no lock.
func (s *Share) startPause(now, wait int64) (until int64) {
	for {
		last := s.pausedUntil.Load()
		if now < last {
			return max(last, now+wait)
		}
		least := int64(pause)
		if before := s.least.Load(); now-last < before {
			least = min(2*before, int64(longestPause))
		}
		until = now + max(wait, least)
		if s.pausedUntil.CompareAndSwap(last, until) {
			s.least.Store(least)
			return until
		}
	}
}

// Used is how much processor time was told, inline and in the background, in
// nanoseconds.
func (s *Share) Used() int64 { return s.used.Load() }

// Deferred returns how often an event had to wait. One that has to wait again when
// it asks again counts once.
func (s *Share) Deferred() int64 { return s.deferredByQuota.Load() + s.deferredByCalls.Load() }

// DeferredBy is Deferred by what they had to wait for: the quota, or that the tenant, or the host,
// had as many background calls as it may have.
func (s *Share) DeferredBy() (quota, calls int64) {
	return s.deferredByQuota.Load(), s.deferredByCalls.Load()
}

// Crowded reports whether the last event that had to wait did so for the number of background
// calls, and not for the quota.
func (s *Share) Crowded() bool { return s.crowded.Load() }

// MostCalls is how many background calls the tenant may have before its events wait.
func (s *Share) MostCalls() int { return s.cores.options.TenantCalls }

// Background is how many calls of the tenant are in the background now, and how
// many have ever been.
func (s *Share) Background() (now int, ever int64) {
	s.cores.mu.Lock()
	defer s.cores.mu.Unlock()
	return int(s.calls.Load()), s.ever
}

// pay tells the quota what was used since it was told last. It returns for how
// many nanoseconds to use no more; zero or less: not at all. It needs no lock.
func (s *Share) pay(now int64) (wait int64) {
	if s.whole.Load() {
		s.booked.Store(s.used.Load())
		return 0
	}
	for {
		booked := s.booked.Load()
		used := s.used.Load()
		if used <= booked {
			return s.quota.Spend(0, now)
		}
		if s.booked.CompareAndSwap(booked, used) {
			return s.quota.Spend(int(used-booked), now)
		}
	}
}

// look finds out whether the tenant is over its quota. Once it is, it stays so
// for the pause.
func (s *Share) look(now int64) {
	over := s.over && now < s.until
	if !over {
		if wait := s.pay(now); wait > 0 {
			over, s.until = true, s.startPause(now, wait)
		}
	}
	if over != s.over {
		s.over = over
		s.place()
		s.cores.dispatch()
	}
}

// watch sees to it that somebody looks again when time alone changes something.
func (s *Share) watch(now int64) {
	if s.over && (s.waiting.len() > 0 || s.waitingEvents() > 0) {
		s.wake(now, s.until)
	}
	if s.waitingEvents() > 0 && s.asked > s.lost {
		s.wake(now, s.heard+int64(answerTime))
	} else if s.asked > 0 {
		s.wake(now, s.heard+int64(answerLost))
	}
}

// wake has timeout called at due, or before.
func (s *Share) wake(now, due int64) {
	if s.stop != nil {
		if s.due <= due {
			return
		}
		s.stop()
	}
	s.alarm++
	alarm := s.alarm
	s.due = due
	s.stop = s.cores.options.After(time.Duration(due-now), func() { s.timeout(alarm) })
}

func (s *Share) timeout(alarm int) {
	c := s.cores
	c.mu.Lock()
	if c.stopped || alarm != s.alarm {
		c.mu.Unlock()
		return
	}
	s.stop = nil
	now := c.options.Clock()
	s.look(now)
	s.giveUp(now)
	s.callBack(now)
	c.unlock()
}

// endWaits ends all waiting of this tenant, for good.
func (s *Share) endWaits() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	for s.waiting.len() > 0 {
		s.waiting.pop().slot <- struct{}{}
	}
	for s.waitingEvents() > 0 {
		s.cores.agains.push(s.nextDeferred())
	}
	s.shut.Store(false)
}
