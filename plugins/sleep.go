package plugins

import (
	"slices"
	"time"

	"bulkhead/plugins/memory"
)

// An Instance that has had nothing to do for a while sleeps: what its memory has that
// the snapshot's has not is kept, some hundred bytes of the pages that it has written to, and
// the memory goes back to its pool. Its next event finds it in another one. With more than package
// memory finds worth keeping it stays awake.

const (
	// sleepAfter is how long an instance has to have had nothing to do.
	sleepAfter = int64(2 * time.Second)
	// sleepBatch is how many go to sleep in one turn of the loop: it takes some 10 µs
	// each.
	sleepBatch = 8
	// keptScratch is how large a pool's space to find out in may remain.
	keptScratch = 8 << 10
)

// mostAtypical is how many instances in a row may have little of what is typical before something
// else is.
const mostAtypical = 8

// sleeping is what there is of an Instance that sleeps, beside its globals.
type sleeping struct {
	typical *memory.Typical // what others of its pool have, too; nil: nothing
	changes []byte          // beside that
	pages   int             // that all of them are on
	size    int             // of its memory
	// charged stays charged while it sleeps, so that there is memory for it when it
	// wakes.
	charged int
}

// usedNow notes that an instance has something to do.
func (p *Pool) usedNow(i *Instance) {
	i.used = p.loop.Now()
	if !i.awake {
		i.awake = true
		p.awake = append(p.awake, i)
		p.tidyLater()
	}
}

// sweepIdle looks at those that toSweep says, some in each turn, and has those sleep that had
// nothing to do.
func (p *Pool) sweepIdle() {
	if p.closed {
		p.awake = nil
		return
	}
	before := p.loop.Now() - sleepAfter
	for batch := 0; p.toSweep > 0; p.toSweep-- {
		if batch == sleepBatch {
			p.loop.Post(p.sweepIdle)
			return
		}
		i := p.awake[0]
		p.awake[0] = nil
		p.awake = p.awake[1:]
		switch {
		case i.state != running:
			i.awake = false
		case i.used > before || i.inCall || i.suspended || i.queue.len() > 0:
			p.awake = append(p.awake, i)
		default:
			batch++
			i.awake = false // until it is used again, even if it cannot sleep
			p.sleep(i)
		}
	}
	if len(p.awake) == 0 {
		p.awake = nil
	}
}

// sleep has an instance sleep that is in no call, if it can. What it takes is its tenant's.
func (p *Pool) sleep(i *Instance) {
	began := nanotime()
	defer func() { i.cpu().Book(nanotime() - began) }()
	account := p.snapshot.budget()
	m := i.memory
	typical, changes, pages, ok := p.changesOf(m)
	if !ok || i.loop == nil || i.outOfMemory {
		return
	}
	grown := m.Grown()
	s := &sleeping{typical, changes, pages, len(m.Bytes()), m.Cost(p.usual())}
	if !account.Reserve(s.charged) {
		return
	}
	if grown > 0 && !m.Shrink() {
		account.Release(s.charged)
		return
	}
	s.charged += grown // which was the memory's
	if i.exec != nil {
		i.exec.unbind()
	}
	i.asleep, i.memory = s, nil
	p.asleep++
	p.snapshot.module.runtime.asleep.Add(1)
	p.keep(m)
}

// changesOf is what a memory has that the snapshot's has not: what is typical of the pool's, if
// that is worth it, and what there is beside that.
func (p *Pool) changesOf(m *memory.Linear) (typical *memory.Typical, changes []byte, pages int, ok bool) {
	find := func(typical *memory.Typical) ([]byte, int, bool) {
		changes, pages, ok := m.Changes(p.scratch[:0], typical)
		if p.scratch = changes; cap(changes) > keptScratch {
			p.scratch = nil
		}
		if !ok {
			return nil, pages, false
		}
		return slices.Clone(changes), pages, true
	}
	if typical = p.typical; typical != nil {
		if changes, pages, ok = find(typical); ok && len(changes) <= typical.Size()/2 {
			p.atypical = 0
			return typical, changes, pages, ok
		}
		p.atypical++
	}
	whole, wholePages, wholeOK := find(nil)
	switch {
	case ok && (!wholeOK || p.atypical < mostAtypical && len(changes) < len(whole)):
		return typical, changes, pages, true
	case !wholeOK || len(whole) == 0 || typical != nil && p.atypical < mostAtypical:
		return nil, whole, wholePages, wholeOK
	}
	p.typical, p.atypical = memory.NewTypical(whole), 0
	return p.typical, nil, wholePages, true
}

// wake wakes an instance that sleeps, if there is memory for it.
func (p *Pool) wake(i *Instance) error {
	began := nanotime()
	s := i.asleep
	account := p.snapshot.budget()
	account.Release(s.charged)
	m, err := p.memoryOf(s.size)
	if err != nil {
		if !account.Reserve(s.charged) {
			s.charged = 0 // others of its tenant's were quicker
		}
		return err
	}
	s.charged = 0
	p.endSleep(i)
	i.memory = m
	p.usedNow(i)
	if !m.Apply(s.typical, s.changes, s.pages) {
		i.outOfMemory = true
	}
	i.cpu().Book(nanotime() - began)
	return nil
}

// memoryOf is a copy of the snapshot's memory that has grown to a size.
func (p *Pool) memoryOf(size int) (*memory.Linear, error) {
	m, err := p.memory()
	if err != nil {
		return nil, err
	}
	if err := m.GrowTo(uint64(size)); err != nil {
		p.keep(m)
		return nil, err
	}
	return m, nil
}

// endSleep ends the sleep of an instance, with what was charged for it.
func (p *Pool) endSleep(i *Instance) {
	r := p.snapshot.module.runtime
	p.snapshot.budget().Release(i.asleep.charged)
	r.asleep.Add(-1)
	i.asleep = nil
	if p.asleep--; p.asleep == 0 {
		p.typical, p.atypical = nil, 0 // which may be large
	}
}
