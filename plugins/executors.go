package plugins

import (
	"context"
	"slices"

	"bulkhead/csa"
	"bulkhead/plugins/memory"
)

// executorSet are the executors on which the Instances of a Pool run. Pools of scripts for one
// Interpreter have one set on each loop, whichever tenants' they are: its executors differ in
// nothing but whose memory and globals they have, which bind sees to. A set belongs to its loop,
// as a Pool does.
type executorSet struct {
	executors []*executor
	busy      int         // executors in a call
	making    bool        // one is being made off the loop
	notMade   error       // why the last one could not be made
	runners   []*Instance // wait for an executor
	pools     int         // that have it, and an executor for each that is being made
	leastIdle int         // the fewest executors in no call since some were last let go
	turns     int         // trims since then
	used      bool

	// What follows is of one that pools have in common.
	of   *Interpreter // nil: it is one pool's
	loop *csa.Loop
	trim *csa.Timer
}

// executorsOn is the set for a pool of the module's on a loop, where it is called. The pool leaves
// it by leave.
func (m *Module) executorsOn(l *csa.Loop) *executorSet {
	if !m.sharesExecutors() {
		return &executorSet{pools: 1}
	}
	p := m.interpreter
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sets[l]
	if s == nil {
		s = &executorSet{of: p, loop: l}
		s.trim = l.NewTimer(s.trimNow)
		if p.sets == nil {
			p.sets = make(map[*csa.Loop]*executorSet)
		}
		p.sets[l] = s
	}
	s.pools++
	return s
}

// leave is the end of a pool of r's, or of an executor that was made off the loop. The last lets go
// of all.
func (s *executorSet) leave(r *Runtime, account MemoryAccount) {
	s.pools--
	if s.of == nil && s.pools > 0 {
		return
	}
	for _, e := range s.executors {
		// One that is busy may compute beside the loop, and its pool, which has not left, settles
		// it.
		if e.owed == r && !e.busy {
			e.settle()
		}
	}
	if s.pools > 0 {
		return
	}
	for len(s.executors) > 0 {
		s.drop(s.executors[0], account)
	}
	if s.of != nil {
		s.trim.Stop()
		s.of.mu.Lock()
		delete(s.of.sets, s.loop)
		s.of.mu.Unlock()
	}
}

// add adds one that has been made.
func (s *executorSet) add(e *executor) {
	s.executors = append(s.executors, e)
	s.trimLater()
}

// idle is one that is in no call, and has no Instance's state if there is such a one. Nil: all are
// busy.
func (s *executorSet) idle() (e *executor) {
	for _, other := range s.executors {
		if !other.busy && (e == nil || other.bound == nil) {
			e = other
		}
	}
	return e
}

// takes notes that an executor is in a call from now on.
func (s *executorSet) takes(e *executor) {
	e.busy = true
	s.busy++
	s.leastIdle = min(s.leastIdle, len(s.executors)-s.busy)
}

// gives notes that it is not any more. Somebody who waits for one goes on.
func (s *executorSet) gives(e *executor) {
	e.busy = false
	s.busy--
	if len(s.runners) > 0 {
		i := s.runners[0]
		s.runners = s.runners[1:]
		i.goOnLater()
	}
}

// drop lets go of an executor, which is in no call.
func (s *executorSet) drop(e *executor, account MemoryAccount) {
	e.unbind()
	e.settle()
	s.executors = slices.DeleteFunc(s.executors, func(other *executor) bool { return other == e })
	if s.of == nil || !s.of.keep(e) {
		e.close(account)
	}
}

// begins notes how many executors are idle, from which on the fewest are looked for.
func (s *executorSet) begins() {
	if s.turns == 0 {
		s.leastIdle = len(s.executors) - s.busy
	}
}

// tidyExecutors lets go of those that were in no call for some time, but for one where needed says
// so.
func (s *executorSet) tidyExecutors(needed bool, account MemoryAccount) {
	n := s.leastIdle
	if needed || s.used {
		n = min(n, len(s.executors)-1)
	}
	for k := len(s.executors) - 1; k >= 0 && n > 0; k-- {
		if e := s.executors[k]; !e.busy {
			s.drop(e, account)
			n--
		}
	}
	s.turns, s.used = 0, false
}

// trimLater has a common set let go of executors that nobody needs. That of one pool is that pool's
// affair.
func (s *executorSet) trimLater() {
	if s.of != nil && s.turns == 0 && len(s.executors) > 1 {
		s.begins()
		s.turns = 1
		s.trim.Reset(executorTurns * trimEvery)
	}
}

// trimNow is that, later.
func (s *executorSet) trimNow() {
	s.tidyExecutors(true, memory.Unlimited{})
	s.trimLater()
}

// sharesExecutors reports whether the module's instances run on executors that it has in common
// with other scripts of its interpreter. They have to be so small that nobody is charged for one,
// and to be able to begin as the base.
func (m *Module) sharesExecutors() bool {
	return m.interpreter != nil && m.base.fits(m) && m.extra == 0
}

// obtainExecutor is one that has nobody's state, for an instance of the module: one that was kept,
// or a new one, of which newExecutor says the rest.
func (m *Module) obtainExecutor(on *memory.Linear, account MemoryAccount, config context.Context) (*executor, error) {
	if e := m.keptExecutor(); e != nil {
		return e, nil
	}
	return m.newExecutor(on, account, config)
}

// keptExecutor is one that was kept, for an instance of the module; nil: there is none.
func (m *Module) keptExecutor() *executor {
	if !m.sharesExecutors() {
		return nil
	}
	e := m.interpreter.kept()
	if e != nil {
		e.said = ""
	}
	return e
}

// letGo is the end of an executor's work for an instance of the module that has had it for itself.
func (m *Module) letGo(e *executor, account MemoryAccount) {
	e.bound = nil
	e.settle()
	if m.sharesExecutors() && m.interpreter.keep(e) {
		return
	}
	e.close(account)
}

// mostSpareExecutors is how many executors an Interpreter keeps that nobody has: one for each of
// those that load scripts at the same time, up to this.
const mostSpareExecutors = 4

// kept is an executor that somebody has let go of; nil: there is none.
func (p *Interpreter) kept() *executor {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.spare)
	if n == 0 {
		return nil
	}
	e := p.spare[n-1]
	p.spare[n-1] = nil
	p.spare = p.spare[:n-1]
	return e
}

// keep keeps an executor for whoever needs the next, unless something has trapped on it, and
// reports whether it does.
func (p *Interpreter) keep(e *executor) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) >= mostSpareExecutors || p.closed || e.spoilt {
		return false
	}
	p.spare = append(p.spare, e)
	return true
}

// dropSpare closes the executors that nobody has. mu is held.
func (p *Interpreter) dropSpare() {
	for _, e := range p.spare {
		e.close(memory.Unlimited{})
	}
	p.spare = nil
}
