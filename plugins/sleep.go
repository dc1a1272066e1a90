package plugins

import (
	"encoding/binary"
	"slices"
	"time"
)

// An Instance that has had nothing to do for a while sleeps: what its memory has that
// the snapshot's has not is kept, some hundred bytes of the pages that it has written to, and
// the memory goes back to its pool. Its next event finds it in another one.

const (
	// sleepAfter is how long an instance has to have had nothing to do.
	sleepAfter = int64(2 * time.Second)
	// sleepBatch is how many go to sleep in one turn of the loop: it takes some 10 µs
	// each.
	sleepBatch = 8
	// mostChanges is how many bytes may be kept of one, of as many as changedPages pages, and
	// mostGrown how much larger it may be than its image. With more it stays awake.
	mostChanges  = 32 << 10
	changedPages = 256
	mostGrown    = 32 << 20
	// keptScratch is how large a pool's space to find out in may remain.
	keptScratch = 8 << 10
	// sameBytes is how many equal bytes end a change. Writing down where the next one
	// is takes as many at most.
	sameBytes = 8
)

// sleeping is what there is of an Instance that sleeps, beside its globals.
type sleeping struct {
	changes []byte
	pages   int // that they are on
	size    int // of its memory
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

// doze looks at those that walk says, some in each turn, and has those sleep that had
// nothing to do.
func (p *Pool) doze() {
	if p.closed {
		p.awake = nil
		return
	}
	before := p.loop.Now() - sleepAfter
	for batch := 0; p.walk > 0; p.walk-- {
		if batch == sleepBatch {
			p.loop.Post(p.doze)
			return
		}
		i := p.awake[0]
		p.awake[0] = nil
		p.awake = p.awake[1:]
		switch {
		case i.state != running:
			i.awake = false
		case i.used > before || i.inCall || i.off || len(i.queue) > 0:
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
	account := p.snapshot.module.runtime.options.Memory
	m := i.memory
	changes, pages, ok := m.changes(p.scratch[:0])
	if p.scratch = changes; cap(changes) > keptScratch {
		p.scratch = nil
	}
	if !ok || i.loop == nil || i.poor {
		return
	}
	grown := len(m.b) - len(m.image.bytes)
	s := &sleeping{slices.Clone(changes), pages, len(m.b), copyOverhead + m.image.extra + max(m.written.before, p.usual())}
	if !account.Reserve(s.charged) {
		return
	}
	if grown > 0 && !m.shrink() {
		account.Release(s.charged)
		return
	}
	s.charged += grown // which was the memory's
	if i.exec != nil {
		i.exec.unbind()
	}
	i.asleep, i.memory = s, nil
	p.snapshot.module.runtime.asleep.Add(1)
	p.keep(m)
}

// rouse wakes an instance that sleeps, if there is memory for it.
func (p *Pool) rouse(i *Instance) error {
	began := nanotime()
	s := i.asleep
	account := p.snapshot.module.runtime.options.Memory
	account.Release(s.charged)
	m, err := p.memoryOf(s.size)
	if err != nil {
		if !account.Reserve(s.charged) {
			s.charged = 0 // others of its tenant's were quicker
		}
		return err
	}
	s.charged = 0
	p.sleptOut(i)
	m.change(s.changes)
	i.memory = m
	p.usedNow(i)
	m.written.may += s.pages * systemPage
	if !m.cover() {
		i.poor = true
	}
	i.cpu().Book(nanotime() - began)
	return nil
}

// memoryOf is a copy of the snapshot's memory that has grown to a size.
func (p *Pool) memoryOf(size int) (*linearMemory, error) {
	m, err := p.memory()
	if err != nil {
		return nil, err
	}
	if err := m.growTo(uint64(size)); err != nil {
		p.keep(m)
		return nil, err
	}
	return m, nil
}

// sleptOut ends the sleep of an instance, with what was charged for it.
func (p *Pool) sleptOut(i *Instance) {
	r := p.snapshot.module.runtime
	r.options.Memory.Release(i.asleep.charged)
	r.asleep.Add(-1)
	i.asleep = nil
}

// changes appends to b what a copy has that its image has not: for each stretch how far it is from the
// end of the one before, its length, and its bytes. ok is false when that is too much.
func (m *linearMemory) changes(b []byte) (changes []byte, pages int, ok bool) {
	g := m.image
	if g == nil || len(m.b)-len(g.bytes) > mostGrown {
		return b, 0, false
	}
	var written [changedPages]int32
	n, ok := writtenTo(m.b, written[:])
	if !ok || n > changedPages {
		return b, 0, false
	}
	end := 0
	for _, p := range written[:n] {
		at := int(p) * systemPage
		if b, end = appendChanges(b, m.b[at:at+systemPage], g.page(int(p)), at, end); len(b) > mostChanges {
			return b, 0, false
		}
	}
	return b, n, true
}

// appendChanges does so for one page, which is at an offset in the memory, where the
// stretch before ended at end. It returns where the last one ends.
func appendChanges(b, is, was []byte, offset, end int) ([]byte, int) {
	for at := 0; at < len(is); {
		if at+8 <= len(is) && binary.LittleEndian.Uint64(is[at:]) == binary.LittleEndian.Uint64(was[at:]) {
			at += 8
			continue
		}
		if is[at] == was[at] {
			at++
			continue
		}
		last := at
		for k := at + 1; k < len(is) && k-last <= sameBytes; k++ {
			if is[k] != was[k] {
				last = k
			}
		}
		b = binary.AppendUvarint(b, uint64(offset+at-end))
		b = binary.AppendUvarint(b, uint64(last+1-at))
		b = append(b, is[at:last+1]...)
		at = last + 1
		end = offset + at
	}
	return b, end
}

// change writes what changes says to a memory that is as its image.
func (m *linearMemory) change(changes []byte) {
	at := 0
	for len(changes) > 0 {
		gap, k := binary.Uvarint(changes)
		n, l := binary.Uvarint(changes[k:])
		changes = changes[k+l:]
		at += int(gap)
		copy(m.b[at:at+int(n)], changes)
		at += int(n)
		changes = changes[n:]
	}
}
