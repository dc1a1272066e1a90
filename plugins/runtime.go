package plugins

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/watchdog"
)

// DefaultMemoryLimit is the greatest memory of one instance, in bytes, where
// nothing else is said.
const DefaultMemoryLimit = admit.DefaultMemory

// MemoryAccount is the tenant's budget of memory.
type MemoryAccount = memory.Account

// Timers is the tenant's budget of timers, as in csa.Budget. Its methods are
// called from any goroutine and must not block.
type Timers interface {
	ReserveTimer() bool
	ReleaseTimers(n int)
}

// MappingAccount is the tenant's budget of memory mappings.
type MappingAccount = memory.MappingAccount

// Counter keeps the tenant's metrics. It is called from any goroutine and must
// not block.
type Counter interface {
	// Count adds n, which may be negative, to a metric. name is 1 to
	// abi.MaxMetricName of a-z, 0-9 and _, in the guest's memory: Count must not keep or change
	// it. It answers abi.OK or abi.Quota.
	Count(name []byte, n int64) abi.Code
}

// RuntimeOptions say how a tenant's guests run.
type RuntimeOptions struct {
	// Code is where compiled code is kept between runs. Runtimes may share one,
	// which OpenCode opens. Nil: nothing is kept.
	Code *codestore.Store
	// Compiler is the program that compiles modules in a process of its own and
	// what it may take; see package compiler. It is used when there is a Code,
	// in whose folder it works. Without Args: modules are compiled in this
	// process, with no limit. A module can then keep a processor
	// busy for hours, as with loops inside one another some ten thousand deep, and
	// one that makes the compiler run out of memory ends this process. So it is for
	// modules that are trusted that far.
	Compiler compiler.Command
	// Compiling is called when a module is about to be compiled, since Code does
	// not have it, and its result when that is over. Any goroutine may call them.
	// Nil: nobody wants to know.
	Compiling func(name string) (done func())
	// Memory is charged with the linear memory that instances have in use, by
	// pages of 64 KiB, and with what their tables, globals and segments take in
	// the host where that is above 64 KiB an instance. Nil: nothing is charged.
	Memory MemoryAccount
	// Mappings is charged with the memory mappings that the runtime, its modules and
	// their instances take. Nil: nothing is charged.
	Mappings MappingAccount
	// MemoryLimit is the greatest memory of one instance in bytes, rounded down to pages of 64 KiB,
	// but at least one, of modules that Load loads. Zero or less: DefaultMemoryLimit.
	MemoryLimit int64
	// Log takes the lines of guests, and what the host has to say about them.
	// Nil: they are dropped.
	Log Logger
	// Instances is how many may live at once. Zero or less: any number.
	Instances int
	// Timers is charged with the timers of instances. Nil: nothing is charged.
	Timers Timers
	// CPU is the tenant's share of the cores. Nil: nothing is bounded but by
	// Listener.EventTimeout.
	CPU CPU
	// OnBug is told of traps that are the host's own fault, by the goroutine that found out,
	// which may be a loop's. Nil: they go to Log.
	OnBug func(l *Listener, t *Trap)
	// Counter keeps the tenant's metrics. Nil: count answers QUOTA.
	Counter Counter
	// Clock is the monotonic clock of guests, by which commands also wait, and how many lines
	// they log in a second is counted. It has to be that of the loops, so that a guest's clock
	// and its timers agree. Nil: the system's.
	Clock Clock
	// Wall is the guests' time of day in nanoseconds since 1970-01-01 UTC. Any goroutine may
	// call it. Nil: the system's.
	Wall func() int64
	// Random fills p with the random bytes that guests ask for, which they may use as keys. It
	// is called from any goroutine, by several at once, on loops also, and must not block. Nil: the
	// system's.
	Random func(p []byte)
	// Observer is told what guests do. Nil: nobody is.
	Observer *Observer
}

// Runtime is what one tenant's modules are loaded into. It has an engine for them, which it
// makes with the first. All methods may be called from any goroutine.
type Runtime struct {
	options RuntimeOptions
	fuel    atomic.Int64
	stopped atomic.Bool // closing, for those who must not lock

	starting sync.Mutex // held while engine is made, and for booked
	engine   *engine    // of the tenant's own modules; nil before the first that nobody shares with it
	booked   bool       // the mappings of an engine are charged, whether there is one of its own

	most    atomic.Int64 // instances that may live; 0: any number
	living  atomic.Int64 // instances
	asleep  atomic.Int64 // of them
	refused atomic.Int64
	short   atomic.Int64 // executors that could not be made

	mu      sync.Mutex
	live    int // modules open
	closing bool
	turns   map[*csa.Loop]*turn
	pools   map[*Pool]struct{}
	stop    chan struct{} // closed when closing
	done    chan struct{} // closed when closed
}

// ErrInstances is the error of an instance that its tenant may not have beside
// those it has.
var ErrInstances = errors.New("its tenant has as many instances as it may (instances)")

// ErrMemory is the error of an instance that its tenant's memory, or the machine's, has no room
// for, and ErrMappings of what its tenant has no memory mappings left for.
var (
	ErrMemory   = memory.ErrNoRoom
	ErrMappings = memory.ErrNoMappings
)

// ErrClosed is the error of a runtime or module that is closing.
var ErrClosed = errors.New("it is closed")

// OpenCode opens a folder of compiled code for runtimes, and makes it with mode
// 0700 if it does not exist, but its parent has to. What lies there is executed,
// so a folder is refused that others may enter or that is not ours. What a
// crash left there is removed.
func OpenCode(dir string) (*codestore.Store, error) {
	store, err := codestore.Open(dir, compiler.Engine())
	if err == nil {
		compiler.Clean(dir)
	}
	return store, err
}

// NewRuntime makes a runtime.
func NewRuntime(o RuntimeOptions) *Runtime {
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = DefaultMemoryLimit
	}
	if o.Memory == nil {
		o.Memory = memory.Unlimited{}
	}
	if o.Mappings == nil {
		o.Mappings = memory.Unlimited{}
	}
	if o.Log == nil {
		o.Log = silent{}
	}
	if o.Compiling == nil {
		o.Compiling = func(string) func() { return func() {} }
	}
	if o.Counter == nil {
		o.Counter = uncounted{}
	}
	if o.Timers == nil {
		o.Timers = csa.Unlimited{}
	}
	if o.CPU == nil {
		o.CPU = allCores{}
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Wall == nil {
		o.Wall = func() int64 { return time.Now().UnixNano() }
	}
	if o.Random == nil {
		o.Random = func(p []byte) { _, _ = rand.Read(p) } // it never fails
	}
	r := &Runtime{
		options: o,
		turns:   make(map[*csa.Loop]*turn),
		pools:   make(map[*Pool]struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	r.SetInstances(o.Instances)
	watchdog.Start()
	return r
}

// own is the engine of the tenant's own modules, which is made for the first of them. It is called
// while a module is booked.
func (r *Runtime) own() (*engine, error) {
	r.starting.Lock()
	defer r.starting.Unlock()
	if r.engine != nil {
		return r.engine, nil
	}
	e, err := newEngine(engineOptions{
		store:     r.options.Code,
		compiler:  r.options.Compiler,
		compiling: r.options.Compiling,
		memory:    r.options.Memory,
		note:      r.note,
		stop:      r.stop,
	})
	if err != nil {
		return nil, err
	}
	r.engine = e
	return e, nil
}

// book charges the mappings that code takes, and with the first those of an engine. Runtime.unbook
// gives the code's back. It is called while a module is booked.
func (r *Runtime) book() error {
	r.starting.Lock()
	defer r.starting.Unlock()
	if !r.booked {
		if !r.options.Mappings.ReserveMappings(engineMappings) {
			return fmt.Errorf("starting the WebAssembly engine: %w", ErrMappings)
		}
		r.booked = true
	}
	if !r.options.Mappings.ReserveMappings(codeMappings) {
		return ErrMappings
	}
	return nil
}

// unbook undoes book for code.
func (r *Runtime) unbook() { r.options.Mappings.ReleaseMappings(codeMappings) }

func (r *Runtime) note(text string) {
	r.options.Log.Log(Line{Level: abi.LogWarn, Text: text})
}

// Close has the runtime end as soon as its modules are closed and its last instance is gone. It
// tells commands of shape stdio to end, and calls that run are stopped at their next refill; it
// does not wait. No other call begins: events that wait are dropped, and instances hear no more,
// not even csa_closed. So whatever they were at, the loops have done with them when they have run
// what was posted, and a few instructions for each. Nothing can be loaded or instantiated any more.
// Calling it again does nothing.
func (r *Runtime) Close() {
	r.mu.Lock()
	if !r.closing {
		r.closing = true
		r.stopped.Store(true)
		close(r.stop)
	}
	r.mu.Unlock()
	r.release(0)
}

// Done is closed when the runtime has ended and given everything back.
func (r *Runtime) Done() <-chan struct{} { return r.done }

// Instances is how many instances live now, and how many were refused since
// there were too many.
func (r *Runtime) Instances() (living int, refused int64) {
	return int(r.living.Load()), r.refused.Load()
}

// SetInstances bounds how many instances may live at once from now on, as RuntimeOptions.Instances
// does. Those that live beyond a lower bound go on.
func (r *Runtime) SetInstances(most int) { r.most.Store(int64(max(most, 0))) }

// AskAgain is for a tenant whose accounts have grown. Pools whose instances wait for memory or
// mappings ask for them now, and not only when their wait is over.
func (r *Runtime) AskAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pools {
		p.loop.Post(func() {
			if p.shortage.set && !p.closed {
				p.shortage.wait = 0
				p.ask.Reset(0)
			}
		})
	}
}

// Short is how often an executor, which calls run on, could not be made.
func (r *Runtime) Short() int64 { return r.short.Load() }

// Asleep is how many of the instances sleep: they have had nothing to do for some
// seconds, and hold no memory of their own.
func (r *Runtime) Asleep() int { return int(r.asleep.Load()) }

// acquire books a module, unless the runtime is closing.
func (r *Runtime) acquire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.live++
	return true
}

// release gives n back, and ends the runtime with the last of a closing one.
func (r *Runtime) release(n int) {
	r.mu.Lock()
	r.live -= n
	last := r.closing && r.live == 0
	if last {
		r.live = -1 // once
	}
	r.mu.Unlock()
	if last {
		if r.engine != nil {
			r.engine.done()
		}
		if r.booked {
			r.options.Mappings.ReleaseMappings(engineMappings)
		}
		watchdog.Stop()
		close(r.done)
	}
}

type silent struct{}

func (silent) Log(Line) {}

// LeftOut does nothing.
func (silent) LeftOut() {}

type uncounted struct{}

func (uncounted) Count([]byte, int64) abi.Code { return abi.Quota }
