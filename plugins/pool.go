package plugins

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
)

const (
	// mostKept is how many memories all Pools of the process may keep for the next
	// Instances, shared equally; leastKept is how many a Pool may in any case, and
	// mostKeptHere at most.
	mostKept     = 4096
	leastKept    = 4
	mostKeptHere = 256
	// trimEvery is how often a Pool lets go of memories that it has had no use for. To
	// map one again takes some tens of microseconds.
	trimEvery = time.Second
	// executorTurns is how many such times executors wait for use: for some guests
	// the next would take milliseconds.
	executorTurns = 5
)

// pools is how many there are in the process.
var pools atomic.Int64

// ErrTimers is the error of an instance whose timers its tenant has no room for.
var ErrTimers = errors.New("its tenant has no timers left for another instance")

// Pool is what a loop has of a Snapshot: the executors on which its Instances run,
// and the memories of those that have ended, put back to the snapshot. It belongs to
// its loop; all methods are called there.
type Pool struct {
	snapshot     *Snapshot
	loop         *csa.Loop
	turn         *turn
	*executorSet // on which the instances run
	shortage     shortage
	ask          *csa.Timer // for what it asks again
	free         []*memory.Linear
	live         int             // Instances
	gotAt        int64           // when the last was taken; 0: none was
	often        bool            // the one before that was, less than trimEvery ago
	leastFree    int             // the fewest in free since the last trim
	awake        []*Instance     // that were used lately, or not looked at since
	toSweep      int             // how many of them sweepIdle has yet to look at
	asleep       int             // Instances
	scratch      []byte          // sweepIdle's
	typical      *memory.Typical // of what sleeps; nil: nothing is
	atypical     int             // how many in a row had little of that
	trim         *csa.Timer
	trimming     bool
	closed       bool
	left         bool // it holds the snapshot no more
}

// Pool makes a pool of instances for l. It and the pool's methods are called on l, and the pool has
// to be closed before l stops.
func (s *Snapshot) Pool(l *csa.Loop) *Pool {
	pools.Add(1)
	s.users.Add(1)
	r := s.module.runtime
	p := &Pool{snapshot: s, loop: l, turn: r.turnOf(l), executorSet: s.module.executorsOn(l)}
	p.trim, p.ask = l.NewTimer(p.tidy), l.NewTimer(p.askAgain)
	r.mu.Lock()
	r.pools[p] = struct{}{}
	r.mu.Unlock()
	return p
}

// Close lets go of everything. No Instance can be had any more; what those that
// still live have is let go when they are closed.
func (p *Pool) Close() {
	if p.closed {
		return
	}
	p.closed = true
	pools.Add(-1)
	p.trim.Stop()
	p.ask.Stop()
	p.askAgain()
	for _, m := range p.free {
		p.snapshot.image.free(m)
	}
	p.free = nil
	p.leaveWhenOver()
}

// leaveWhenOver gives the rest back when the pool is closed and nothing of it is in
// use any more.
func (p *Pool) leaveWhenOver() {
	if !p.closed || p.live > 0 {
		return
	}
	if !p.left {
		p.left = true
		r := p.snapshot.module.runtime
		p.leave(r, p.snapshot.budget())
		r.mu.Lock()
		delete(r.pools, p)
		r.mu.Unlock()
		p.snapshot.drop()
	}
}

// Get makes an Instance, which is attached to the loop. No code of the guest's runs
// before its first event. The errors have ErrMemory, ErrInstances, ErrTimers or
// ErrClosed inside.
func (p *Pool) Get() (*Instance, error) {
	s := p.snapshot
	if p.closed {
		return nil, fmt.Errorf("%s: making an instance: %w", s.module.name, ErrClosed)
	}
	if err := s.module.addInstance(); err != nil {
		return nil, err
	}
	memory, err := p.memory()
	if err != nil {
		s.module.removeInstance()
		return nil, fmt.Errorf("%s: making an instance: %w", s.module.name, err)
	}
	i := s.instance(memory)
	i.pool, i.loop, i.turn = p, p.loop, p.turn
	i.goOnLater = func() { p.loop.Post(i.drain) }
	p.live++
	p.used = true
	now := p.loop.Now()
	p.often, p.gotAt = p.gotAt != 0 && now-p.gotAt < int64(trimEvery), max(now, 1)
	p.usedNow(i)
	for _, t := range s.timers {
		if i.setTimer(t.token, t.delay) != 0 {
			i.Close()
			return nil, fmt.Errorf("%s: making an instance: %w", s.module.name, ErrTimers)
		}
	}
	return i, nil
}

// memory is a copy of the snapshot's.
func (p *Pool) memory() (*memory.Linear, error) {
	s, usual := p.snapshot, p.usual()
	if n := len(p.free); n > 0 {
		m := p.free[n-1]
		if err := m.Reuse(usual); err != nil {
			return nil, err
		}
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.leastFree = min(p.leastFree, n-1)
		return m, nil
	}
	if n := len(p.awake); n > 0 {
		p.awake[n-1].learn()
	}
	of := s.budget()
	return s.image.copy(of, int(s.module.max)*wasm.PageSize, usual)
}

// learn has the snapshot know what an instance has written to so far, if that is not known yet:
// when all connect at once, none has ended that could tell.
func (i *Instance) learn() {
	if i.state == running && !i.inCall && !i.suspended && i.memory != nil {
		i.memory.Learn()
	}
}

// usual is how many bytes an instance is charged for what it will write to.
func (p *Pool) usual() int {
	return memory.WholePages(int(p.snapshot.usual.Load()))
}

// recycle takes back what an Instance has, which is over. Of one that has trapped
// nothing is used again.
func (p *Pool) recycle(i *Instance, trapped bool) {
	p.live--
	p.used = true
	if p.snapshot.adopted {
		p.snapshot.thawed.Add(-1)
	}
	if e := i.exec; e != nil {
		e.bound, i.exec = nil, nil
	}
	switch {
	case i.asleep != nil:
		p.endSleep(i)
	case i.memory == nil: // it could not be woken
	case p.closed || trapped || p.live == 0 && !p.often && p.snapshot.image.returns():
		p.snapshot.image.free(i.memory)
	default:
		p.keep(i.memory)
	}
	p.tidyLater()
	p.leaveWhenOver()
}

// keep puts a memory back for another instance, or lets go of it.
func (p *Pool) keep(m *memory.Linear) {
	if len(p.free) >= p.room() || p.snapshot.module.runtime.stopped.Load() {
		p.snapshot.image.free(m)
		return
	}
	wrote, ok := m.PutBack()
	p.snapshot.used(wrote)
	if ok {
		p.free = append(p.free, m)
	} else {
		p.snapshot.image.free(m)
	}
}

// room is how many memories the pool may keep.
func (p *Pool) room() int {
	return int(min(max(mostKept/pools.Load(), leastKept), mostKeptHere))
}

// ready reports whether an Instance can have an executor now, and has woken it then. If
// not, it will be told to go on.
func (p *Pool) ready(i *Instance) bool {
	if !p.executorFor(i) {
		p.startsWaiting(i, p.notMade)
		p.runners = append(p.runners, i)
		if p.notMade == nil || !p.shortage.set {
			p.makeLater()
		}
		return false
	}
	if i.asleep != nil {
		if err := p.wake(i); err != nil {
			p.startsWaiting(i, err)
			p.shortage.sleepers = append(p.shortage.sleepers, i)
			p.askLater()
			return false
		}
	}
	p.gotIt(i)
	return true
}

// executorFor reports whether there is an executor for an instance, or makes one where
// that is quick.
func (p *Pool) executorFor(i *Instance) bool {
	if i.exec != nil || p.busy < len(p.executors) {
		return true
	}
	if e := p.snapshot.module.keptExecutor(); e != nil {
		p.add(e)
		p.tidyLater()
		return true
	}
	if p.snapshot.quick && p.notMade == nil {
		if e, err := p.snapshot.newExecutor(); err == nil {
			p.add(e)
			p.tidyLater()
			return true
		}
	}
	return false
}

// makeLater has an executor made off the loop.
func (p *Pool) makeLater() {
	if !p.making {
		p.making = true
		p.pools++
		p.snapshot.users.Add(1) // the loop may have stopped when it is made
		go p.makeAside()
	}
}

// makeAside makes an executor off the loop.
func (p *Pool) makeAside() {
	var e *executor
	var err error
	p.snapshot.module.runtime.bookAside(func() { e, err = p.snapshot.newExecutor() })
	if p.loop.Post(func() { p.made(e, err) }) {
		return
	}
	if err == nil {
		e.close(p.snapshot.budget())
	}
	p.snapshot.drop()
}

func (p *Pool) made(e *executor, err error) {
	p.making = false
	p.notMade = err
	if err == nil {
		p.add(e) // which leave closes if it comes too late
		p.tidyLater()
		waiting := p.runners
		p.runners = nil
		for _, i := range waiting {
			i.goOnLater()
		}
	} else {
		p.snapshot.module.runtime.short.Add(1)
		for _, i := range p.runners {
			i.waitCause = err
		}
		p.askForRunners()
	}
	p.leave(p.snapshot.module.runtime, p.snapshot.budget())
	p.leaveWhenOver()
	p.snapshot.drop()
}

// take gives an Instance, which ready was said of, its executor for a call. It reports
// false when there is none.
func (p *Pool) take(i *Instance) bool {
	e := i.exec
	if e == nil {
		if e = p.idle(); e == nil {
			return false
		}
		e.bind(i)
	}
	p.takes(e)
	p.usedNow(i)
	return true
}

func (p *Pool) tidyLater() {
	if !p.trimming && !p.closed {
		p.trimming = true
		p.leastFree = len(p.free)
		if p.of == nil {
			p.begins()
		}
		p.trim.Reset(trimEvery)
	}
}

// tidy lets go of what was not used since the last time.
func (p *Pool) tidy() {
	p.trimming = false
	// The first are those used longest ago.
	n := min(p.leastFree, len(p.free))
	for _, m := range p.free[:n] {
		p.snapshot.image.free(m)
	}
	p.free = slices.Delete(p.free, 0, n)
	own := p.of == nil
	if own {
		if p.turns++; p.turns == executorTurns {
			p.tidyExecutors(p.live > 0, p.snapshot.budget())
		}
	}
	if p.toSweep == 0 {
		p.toSweep = len(p.awake)
		p.sweepIdle()
	}
	if len(p.free) > 0 || len(p.awake) > 0 || own && (len(p.executors) > 1 || len(p.executors) > 0 && p.live == 0) {
		p.tidyLater()
	}
}
