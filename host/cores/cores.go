// Package cores shares the machine's processor time among tenants: how much
// of it each may use in the long run, and whose calls run when more want to
// than can.
//
// Short events run inline on their loops. For them a tenant's Share is asked
// once before each (Admit) and told afterwards (Book). A call that takes longer
// runs in the background, on a goroutine of its own. It holds a slot while it
// runs; Slice is where it may lose it.
package cores

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultCalls is how many background calls a host has at a time where
	// Options do not say.
	DefaultCalls = 512
	// DefaultTenantCalls is the same for one tenant.
	DefaultTenantCalls = 32
)

// Options are the bounds of Cores, and where it has the time from.
type Options struct {
	// Slots is how many background calls run at a time, at most. Zero or
	// less: GOMAXPROCS.
	Slots int
	// Processors is how many the process has. A tenant whose cpu is that or more is never over its
	// quota: it cannot use more, and what is booked is partly estimated. Zero or less: GOMAXPROCS.
	Processors int
	// Calls is how many background calls there may be at a time, running or
	// waiting, before no new event of a tenant that has one may start. Zero or
	// less: DefaultCalls.
	Calls int
	// TenantCalls is how many one tenant may have before no new event of it
	// may start. Zero or less: DefaultTenantCalls.
	TenantCalls int
	// Clock tells the time in nanoseconds and never goes back. Any goroutine
	// calls it. Nil: the system's monotonic clock.
	Clock func() int64
	// After calls f once, d from now, on any goroutine but never from within
	// After, unless stop is called before; stop reports whether it was. It goes
	// by the same time as Clock. Nil: time.AfterFunc.
	After func(d time.Duration, f func()) (stop func() bool)
	// VirtualTimers says that who asks CPUWait waits by timers that do not go by Clock, and might
	// never end: a test's, which stand still. CPUWait is 0 then.
	VirtualTimers bool
}

// Cores are the machine's cores, shared by the background calls of all tenants.
// Any goroutine may call its methods.
type Cores struct {
	// full is read for every event and seldom written, so it keeps away from
	// what changes with every slice.
	full atomic.Bool // there are Options.Calls background calls
	_    [64]byte

	options Options
	waiters sync.Pool

	mu      sync.Mutex
	none    sync.Cond // no background call is left, or no again is to be called
	stopped bool
	shares  map[*Share]struct{}
	gone    totals // of shares that are closed
	calls   int    // background calls now
	ever    int64  // background calls ever
	wanted  int64  // millionths of cores: of the tenants that have background calls
	running int    // slots taken
	busy    []*Share
	ready   shareHeap
	joined  int64 // how often one has come among the ready
	floor   int64 // virtual time: the least of those that run or could; it only rises

	blocked queue[*Share] // those that hold events since the host is full
	agains  queue[func()]
	calling bool // somebody is calling what is in agains
}

// New makes Cores. It starts no goroutine.
func New(o Options) *Cores {
	if o.Slots <= 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	if o.Processors <= 0 {
		o.Processors = runtime.GOMAXPROCS(0)
	}
	if o.Calls <= 0 {
		o.Calls = DefaultCalls
	}
	if o.TenantCalls <= 0 {
		o.TenantCalls = DefaultTenantCalls
	}
	if o.Clock == nil {
		start := time.Now()
		o.Clock = func() int64 { return int64(time.Since(start)) }
	}
	if o.After == nil {
		o.After = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	c := &Cores{options: o, shares: make(map[*Share]struct{})}
	c.none.L = &c.mu
	c.waiters.New = func() any { return &waiter{slot: make(chan struct{}, 1)} }
	return c
}

// totals are sums that only rise, also when a share is closed.
type totals struct{ used, deferred int64 }

// millionths is cpu as Share counts it.
func millionths(cpu float64) int64 {
	if !(cpu >= leastCPU) {
		cpu = leastCPU
	}
	return int64(math.Round(min(cpu, mostCPU) * million))
}

// Share makes the share of one tenant, which may use so many cores in the long
// run, 0.01 to 1024. What lies outside of this counts as the nearest, and what
// is no number as the least. Cores keep a Share until it is closed.
func (c *Cores) Share(cpu float64) *Share {
	s := newShare(c, millionths(cpu))
	c.mu.Lock()
	c.shares[s] = struct{}{}
	c.mu.Unlock()
	return s
}

// Stop ends all waiting: calls that wait for a slot go on at once, the agains of
// all held events are called before it returns (or by whoever is calling some
// already), and from now on Admit says yes and no call waits or is slowed. It
// ends no call; their owners have to. It leaves no timer. To call it again does
// nothing.
func (c *Cores) Stop() {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return
	}
	c.stopped = true
	c.full.Store(false)
	for s := range c.shares {
		s.endWaits()
	}
	c.blocked = queue[*Share]{}
	c.unlock()
}

// Wait returns when no background call is left, and no again is being called. Others
// may begin afterwards, so stop what begins them first. An again must not call it.
func (c *Cores) Wait() {
	c.mu.Lock()
	for c.calls > 0 || c.calling || c.agains.len() > 0 {
		c.none.Wait()
	}
	c.mu.Unlock()
}

// Used is how much processor time was told to all shares together, in
// nanoseconds.
func (c *Cores) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ns := c.gone.used
	for s := range c.shares {
		ns += s.Used()
	}
	return ns
}

// Deferred returns how often an event of any tenant had to wait.
func (c *Cores) Deferred() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.gone.deferred
	for s := range c.shares {
		n += s.Deferred()
	}
	return n
}

// Background is how many calls are in the background now, of all tenants, and
// how many have ever been.
func (c *Cores) Background() (now int, ever int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, c.ever
}

// unlock ends a critical section and then calls the agains that it released,
// without the lock, since they may call Admit. One goroutine at a time does
// that: so they are called in order, and one that calls Admit is not called
// again within itself.
func (c *Cores) unlock() {
	if c.calling {
		c.mu.Unlock()
		return
	}
	for c.agains.len() > 0 {
		again := c.agains.pop()
		c.calling = true
		c.mu.Unlock()
		again()
		c.mu.Lock()
		c.calling = false
		if c.agains.len() == 0 {
			c.none.Broadcast()
		}
	}
	c.mu.Unlock()
}
