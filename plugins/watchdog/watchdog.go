// Package watchdog ends what runs for too long on one measure of fuel. A guest counts
// down a word of memory and calls the host when that is below zero; how long it takes
// to get there depends on what it does. One that touches pages for the first time needs a
// thousand times as long as one that adds numbers. So whoever runs a guest says so with
// Enter and Leave, and a thread of the watchdog's looks who runs. Where the same call is found
// running twice without having got more fuel in between, it takes the fuel away: the
// guest's next check finds nothing left.
//
// The thread needs none of the places that Go's scheduler has for running goroutines, since all
// of those may be taken by guests, which give none back before their next check. It sleeps
// while nobody runs.
package watchdog

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Look is how often the thread looks who runs.
	Look = time.Millisecond
	// SoonLook is how often it does after it had to take fuel away, for wary looks: whoever is
	// slow once is likely to be so again.
	SoonLook = 400 * time.Microsecond
	wary     = 500
	// Again is after what time it looks once more at those who ran. So fuel lasts for Look and
	// Again at most, beside what the system needs to wake a thread, and the way to
	// the guest's next check.
	Again = 200 * time.Microsecond
	// emptied is what is taken off fuel: more than there ever is, or is owed.
	emptied = 1 << 40
)

// Counter is the fuel of one guest at a time. Its methods are those of whoever runs the guest.
type Counter struct {
	word *int64 // the guest's own
	at   uint32 // the place it had last
	here *place // the place it has
}

// place is where the thread finds a counter. Each has a cache line of its own.
type place struct {
	word atomic.Pointer[int64]
	// looking is true while the thread uses what is behind word. Leave waits for that.
	looking atomic.Bool
	// calls counts who has entered. Whoever has the place writes it, and the thread reads it.
	calls uint32
	_     [64 - unsafe.Sizeof(uintptr(0)) - 8]byte
	// What follows is the thread's.
	seen   uintptr // word, when it was looked at last
	left   int64   // what was there
	during uint32  // and calls
	_      [44]byte
}

// The places are made once, and are more than there are goroutines that can run at a time; of
// those in a host function some may have lost their turn in mid-call.
var places = sync.OnceValue(func() []place { return make([]place, 16+8*runtime.GOMAXPROCS(0)) })

// NewCounter makes the counter that is kept in word, which belongs to a guest that does not
// run. hint spreads those who run at the same time over the places: it should differ for each.
func NewCounter(word *int64) Counter { return Counter{word: word} }

// Prefer has the counter look for a place from the nth on. Those who run at the same time
// should have different ones, so that they do not get into each other's way.
func (c *Counter) Prefer(n uintptr) { c.at = uint32(n % uintptr(len(places()))) }

// Set gives the guest so much fuel, whatever is left.
func (c *Counter) Set(fuel int64) { atomic.StoreInt64(c.word, fuel) }

// Left is how much fuel is left, or owed when it is less than zero. What the watchdog has
// taken counts as left.
func (c *Counter) Left() int64 {
	v := atomic.LoadInt64(c.word)
	if v < -emptied/2 {
		v += emptied
	}
	return v
}

// Enter says that the guest is about to run. It has to Leave on all ways, and must not Enter
// meanwhile. There has to be a Hold.
func (c *Counter) Enter() {
	all := places()
	n := uint32(len(all))
	for k := range n {
		at := c.at + k
		if at >= n {
			at -= n
		}
		if p := &all[at]; p.word.Load() == nil && p.word.CompareAndSwap(nil, c.word) {
			c.at, c.here = at, p
			count(&p.calls)
			if sleeping.Load() != 0 {
				wake()
			}
			return
		}
	}
	// More run than there can be. They have their fuel alone to bound them.
}

// Leave says that the guest does not run any more. When it was not running, Leave does nothing.
func (c *Counter) Leave() {
	p := c.here
	if p == nil {
		return
	}
	c.here = nil
	p.word.Store(nil)
	for p.looking.Load() {
		runtime.Gosched() // for some nanoseconds, unless the thread has lost its core
	}
}

// seen is what a look has found.
type seen struct {
	running, entered, taken bool // somebody runs; has entered since the last look; has lost fuel
}

// look looks once at who runs. With a second look at those who ran at the first, it empties the
// fuel of those whose call still does and had none granted. It runs on a thread that has no part in
// Go's scheduler: it allocates nothing, writes no pointer and calls nothing that could.
//
//go:nosplit
//go:norace
func look(all []place, second bool) (found seen) {
	for k := range all {
		p := &all[k]
		during := atomic.LoadUint32(&p.calls)
		same := during == p.during
		if p.during = during; !same {
			found.entered = true
		}
		word := p.word.Load()
		if word == nil {
			p.seen = 0
			continue
		}
		found.running = true
		p.looking.Store(true)
		if p.word.Load() == word {
			left := atomic.LoadInt64(word)
			// Fuel falls, and rises where it is granted. The guest takes off what it pays in
			// three steps, so a store of ours between them may be lost; then it is done again.
			if second && same && p.seen == uintptr(unsafe.Pointer(word)) && left >= 0 && left <= p.left {
				atomic.CompareAndSwapInt64(word, left, left-emptied)
				found.taken = true
			}
			p.seen, p.left = uintptr(unsafe.Pointer(word)), left
		}
		p.looking.Store(false)
	}
	return found
}

// pace is how often the thread looks, and whether it sleeps.
type pace struct {
	wary int // so many looks are to be made soon
	idle bool
}

// next is how long to wait for the next first look.
//
//go:nosplit
//go:norace
func (p *pace) next() time.Duration {
	if p.wary > 0 {
		p.wary--
		return SoonLook
	}
	return Look
}

// note takes in what a look has found.
//
//go:nosplit
//go:norace
func (p *pace) note(found seen) {
	p.idle = !found.running && !found.entered
	if found.taken {
		p.wary = wary
	}
}

// The thread runs while there are users.
var (
	mu       sync.Mutex
	users    int
	ended    chan struct{}
	stopping atomic.Uint32
	sleeping atomic.Uint32 // the thread sleeps until this is 0
)

// Start starts the watchdog, if it does not run. Stop has to follow once. Any goroutine may call
// both.
func Start() {
	mu.Lock()
	defer mu.Unlock()
	if users++; users > 1 {
		return
	}
	all, done := places(), make(chan struct{})
	ended = done
	stopping.Store(0)
	go func() {
		defer close(done)
		watch(all)
	}()
}

// Stop undoes one Start. The last ends the thread, and waits less than a millisecond for it.
func Stop() {
	mu.Lock()
	defer mu.Unlock()
	if users--; users > 0 {
		return
	}
	stopping.Store(1)
	wake()
	<-ended
}
