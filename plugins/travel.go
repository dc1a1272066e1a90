package plugins

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"

	"golang.org/x/sys/unix"
)

// An Instance of a Pool can go on in another process: as the image of its Snapshot, which goes
// once, and as what it has that the image has not. It is held still for that, as its connections
// are.

// FormatID says what the state of a module's instances means: where it is another, the state is of
// no use. Code that is rewritten otherwise, or keeps other globals, has another.
type FormatID [sha256.Size]byte

// formatVersion is part of all FormatIDs; it grows when InstanceRecord means something else.
const formatVersion = "bulkhead instance 1\n"

// formatOf is the format of rewritten code with this SHA-256.
func formatOf(code codestore.Sum, state meter.State) (id [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(formatVersion))
	h.Write(code[:])
	for _, index := range state.Globals {
		_ = binary.Write(h, binary.LittleEndian, index)
	}
	h.Sum(id[:0])
	return id
}

// Format is what the state of the module's instances means.
func (m *Module) Format() FormatID {
	if m.interpreter == nil {
		return m.code.format
	}
	h := sha256.New()
	h.Write(m.code.format[:])
	_ = binary.Write(h, binary.LittleEndian, uint64(m.script.At))
	h.Write(m.script.Bytes)
	return FormatID(h.Sum(nil))
}

// SnapshotRecord is a Snapshot, beside the file of its image.
type SnapshotRecord struct {
	// Format is its module's.
	Format FormatID
	// Size is of the image, in bytes.
	Size int64
	// Globals are those that the code writes to, and Window is where Length bytes of it are.
	Globals        []uint64
	Window, Length uint32
}

// Record is the snapshot, and a descriptor of its image's file, which is the caller's to close.
// Instances of this snapshot, and of no other, can be thawed where it was adopted.
func (s *Snapshot) Record() (r SnapshotRecord, fd int, err error) {
	fd, err = s.image.file(s.budget())
	if err != nil {
		return r, -1, fmt.Errorf("%s: giving its image away: %w", s.module.name, err)
	}
	return SnapshotRecord{
		Format: s.module.Format(), Size: int64(s.image.size),
		Globals: slices.Clone(s.globals), Window: s.window, Length: s.length,
	}, fd, nil
}

// AdoptSnapshot makes a snapshot of one of another process's, whose image is in the file fd. It is
// for Pool.Thaw: it has no timers and no descriptors. The snapshot owns fd from here on; on an
// error it is closed. l is Snapshot's, and so are the charges.
func (m *Module) AdoptSnapshot(l *Listener, r *SnapshotRecord, fd int) (*Snapshot, error) {
	fail := func(err error) (*Snapshot, error) {
		return nil, fmt.Errorf("%s: adopting a snapshot: %w", m.name, err)
	}
	s := &Snapshot{module: m, listener: l, globals: slices.Clone(r.Globals), window: r.Window, length: r.Length, quick: m.code.quick.Load()}
	s.wasi, s.adopted = wasi.Process{Args: []string{m.name}}, true
	var wrong error
	switch {
	case r.Format != m.Format():
		wrong = errors.New("its state is of another format: the module, or the version of bulkhead, is another")
	case len(m.Unsnapshotable()) > 0 || len(r.Globals) != len(m.state.Globals):
		wrong = errors.New("it has other globals")
	case r.Size <= 0 || r.Size%wasm.PageSize != 0 || r.Size > int64(m.max)*wasm.PageSize:
		wrong = fmt.Errorf("its memory is of %d bytes", r.Size)
	case r.Length < abi.MinWindow || r.Length > abi.MaxWindow || int64(r.Window)+int64(r.Length) > r.Size:
		wrong = errors.New("its window is not inside its memory")
	}
	if wrong == nil && !m.retain() {
		wrong = ErrClosed
	}
	if wrong != nil {
		_ = unix.Close(fd)
		return fail(wrong)
	}
	of, extra := s.budget(), 8*max(len(s.globals)-freeGlobals, 0)
	if !of.Reserve(int(r.Size)) {
		_ = unix.Close(fd)
		m.release()
		return fail(ErrMemory)
	}
	image, err := memory.ImageOf(of, fd, int(r.Size), extra)
	if err != nil {
		of.Release(int(r.Size))
		m.release()
		return fail(err)
	}
	s.image = &stored{size: int(r.Size), extra: extra, image: image}
	s.usual.Store(firstUsual)
	s.users.Store(1)
	memory.FaultTime() // measured here, since it takes a while
	return s, nil
}

// Thawed is how many Instances of an adopted snapshot are left. Any goroutine may call it.
func (s *Snapshot) Thawed() int { return int(s.thawed.Load()) }

// InstanceRecord is an Instance between two events, beside its connections, as it can be written
// down.
type InstanceRecord struct {
	// Size is of its memory, in bytes, and Changes what that has that its snapshot's has not.
	Size    int64
	Changes []byte
	// Globals are those that its code writes to.
	Globals []uint64
	// Timers are the instance's own.
	Timers []csa.TimerState
	// Handles has an item for each handle that was ever given out, and Free the indices of those
	// that are free, in the order in which they are used again.
	Handles []HandleRecord
	Free    []int32
	// Descriptors are its WASI descriptors.
	Descriptors []wasi.Descriptor
	// Printed is what it has printed without the end of the line, on standard output and error.
	Printed [2][]byte
	// Unseeded says that csa_reseed is to be called before anything else.
	Unseeded bool
}

// HandleRecord is a slot of the table of handles: how often it was used, modulo 2^11, and whether
// the guest has heard of the connection in it.
type HandleRecord struct {
	Generation uint16
	Announced  bool
}

// mostHandles bounds the slots of a record. An instance with more has some for connections of
// others, and cannot travel.
const mostHandles = 1 << 16

// Snapshot is what the instance is a copy of; nil: it is none of a Pool's.
func (i *Instance) Snapshot() *Snapshot {
	if i.pool == nil {
		return nil
	}
	return i.pool.snapshot
}

// Freeze holds the instance still, and says what it is. It fails with a csa.NotNow when the
// instance is not between two events, or is none of a Pool's. Its connections are to be frozen,
// too, and before it. It is called on the loop, not by a handler. Events that come meanwhile wait.
// GoOn or Forsake is called next.
func (i *Instance) Freeze() (*InstanceRecord, error) {
	if why := i.cannotFreeze(); why != "" {
		return nil, why
	}
	descriptors, ok := i.wasi.Descriptors()
	if !ok {
		return nil, csa.NotNow("has files open")
	}
	r := &InstanceRecord{Unseeded: i.unseeded, Descriptors: descriptors}
	if i.asleep != nil && i.asleep.typical != nil {
		if err := i.pool.wake(i); err != nil {
			return nil, csa.NotNow("cannot be woken: " + err.Error())
		}
		if i.outOfMemory {
			return nil, csa.NotNow("has no memory left")
		}
	}
	if s := i.asleep; s != nil {
		r.Size, r.Changes = int64(s.size), s.changes
	} else {
		if r.Changes, ok = i.memory.AllChanges(); !ok {
			return nil, csa.NotNow("has too much in its memory, or the system does not say what")
		}
		r.Size = int64(len(i.memory.Bytes()))
	}
	if i.exec != nil {
		i.exec.unbind()
	}
	r.Globals = slices.Clone(i.globals)
	for n := range i.timers {
		t := &i.timers[n]
		if !t.set {
			continue
		}
		left, _ := t.timer.Left()
		t.timer.Stop()
		t.delay = left
		r.Timers = append(r.Timers, csa.TimerState{Token: t.token, Left: int64(left)})
	}
	r.Handles, r.Free = i.handles.record()
	for n := range i.out {
		r.Printed[n] = i.out[n].line
	}
	i.held, i.suspended = true, true
	return r, nil
}

// cannotFreeze is why the instance cannot be held still; "": it can be.
func (i *Instance) cannotFreeze() csa.NotNow {
	switch {
	case i.held:
		return "is held still already"
	case i.pool == nil || i.pool.closed:
		return "is no copy of a snapshot"
	case i.state != running || i.closing:
		return "is over"
	case i.inCall || i.returning || i.exec != nil && i.exec.busy:
		return "is in a call"
	case i.suspended || i.queue.len() > 0 || i.inLine || i.waitingSince != 0:
		return "has events waiting"
	case i.outOfMemory:
		return "has no memory left"
	case len(i.spliced) > 0:
		return "gives connections away"
	case len(i.handles.slots) > mostHandles:
		return "has had too many connections at once"
	}
	for n := range i.handles.slots {
		switch c := i.handles.slots[n].conn.(type) {
		case nil:
		case *csa.CSA:
			if !c.Frozen() {
				return "has a connection that is not held still"
			}
		default:
			return "is dialling"
		}
	}
	return ""
}

// GoOn has the instance go on where it was held still, on its loop. Its connections are to go on
// after it.
func (i *Instance) GoOn() {
	if !i.held {
		return
	}
	i.held = false
	for n := range i.timers {
		i.arm(&i.timers[n])
	}
	// Whatever waits begins in an event of its own.
	i.goOnLater()
}

// Forsake ends the holding still of an instance that goes on in another process, or never was here:
// nothing of it is run or logged any more. Its connections are to Leave next, and whoever owns it
// closes it.
func (i *Instance) Forsake() {
	if !i.held {
		return
	}
	i.held, i.suspended, i.closing = false, false, false
	i.queue = eventQueue{}
	i.out = [2]stream{}
	i.limit = lineLimit{}
}

// Thaw makes an instance of a record, of which no code runs before GoOn. It sleeps until its first
// event. Its connections are given to it by Return. The record's
// Changes are kept, and must not be written to. The errors are
// Get's, or say what is wrong with the record.
func (p *Pool) Thaw(r *InstanceRecord) (*Instance, error) {
	s := p.snapshot
	fail := func(err error) (*Instance, error) {
		return nil, fmt.Errorf("%s: thawing an instance: %w", s.module.name, err)
	}
	if p.closed {
		return fail(ErrClosed)
	}
	handles, err := restoreHandles(r)
	if err != nil {
		return fail(err)
	}
	if err := r.check(s); err != nil {
		return fail(err)
	}
	pages, err := memory.CheckChanges(r.Changes, int(r.Size))
	if err != nil {
		return fail(err)
	}
	i := s.instance(nil)
	if !i.wasi.SetDescriptors(r.Descriptors) {
		return fail(errors.New("it has descriptors that there are not"))
	}
	if err := s.module.addInstance(); err != nil {
		return nil, err
	}
	account := s.budget()
	charged := s.image.cost(max(p.usual(), memory.WholePages(pages*4096))) + int(r.Size) - s.image.size
	if !account.Reserve(charged) {
		s.module.removeInstance()
		return fail(ErrMemory)
	}
	i.globals, i.unseeded, i.handles = slices.Clone(r.Globals), r.Unseeded, handles
	i.pool, i.loop, i.turn = p, p.loop, p.turn
	i.goOnLater = func() { p.loop.Post(i.drain) }
	i.asleep = &sleeping{changes: r.Changes, pages: pages, size: int(r.Size), charged: charged}
	i.held, i.suspended = true, true
	for n := range r.Printed {
		i.out[n].line = slices.Clone(r.Printed[n])
	}
	s.thawed.Add(1)
	p.live++
	p.used = true
	p.asleep++
	s.module.runtime.asleep.Add(1)
	for _, t := range r.Timers {
		if i.setTimer(t.Token, time.Duration(t.Left)) != abi.OK {
			i.Forsake()
			i.Close()
			return fail(ErrTimers)
		}
	}
	for n := range i.timers {
		i.timers[n].timer.Stop() // until GoOn
	}
	return i, nil
}

// check says what is wrong with a record, of an instance of s.
func (r *InstanceRecord) check(s *Snapshot) error {
	switch {
	case len(r.Globals) != len(s.globals):
		return errors.New("it has other globals than its snapshot")
	case r.Size < int64(s.image.size) || r.Size%wasm.PageSize != 0 || r.Size > int64(s.module.max)*wasm.PageSize:
		return fmt.Errorf("its memory is of %d bytes", r.Size)
	case len(r.Timers) > abi.MaxTimers:
		return errors.New("it has too many timers")
	case len(r.Printed[0]) > abi.MaxLogLine+1 || len(r.Printed[1]) > abi.MaxLogLine+1:
		return errors.New("it has printed too long a line")
	}
	return nil
}

// Return gives a connection back to an instance that was thawed, at the handle that is its Tag. It
// reports false where that is none, or another's.
func (i *Instance) Return(c *csa.CSA) bool {
	n := uint32(c.Tag&slotMask) - 1
	if n >= uint32(len(i.handles.slots)) {
		return false
	}
	s := &i.handles.slots[n]
	if s.conn != nil || c.Tag>>slotBits != int32(s.gen) || s.next != taken {
		return false
	}
	s.conn, s.next = c, 0
	return true
}

// Whole reports whether each handle of a thawed instance has its connection.
func (i *Instance) Whole() bool {
	for n := range i.handles.slots {
		if i.handles.slots[n].next == taken {
			return false
		}
	}
	return true
}

// taken is the next of a slot whose connection is still to be given back.
const taken = -1

// record is the table of handles.
func (h *handles) record() (slots []HandleRecord, free []int32) {
	for _, s := range h.slots {
		slots = append(slots, HandleRecord{s.gen, s.conn != nil && s.announced})
	}
	for n := h.first; n != 0; n = h.slots[n-1].next {
		free = append(free, n-1)
	}
	return slots, free
}

// restoreHandles is the table of a record, to which the connections have yet to be given back.
func restoreHandles(r *InstanceRecord) (h handles, err error) {
	if len(r.Handles) > mostHandles {
		return h, errors.New("it has too many handles")
	}
	h.slots = make([]slot, len(r.Handles))
	for n, s := range r.Handles {
		h.slots[n] = slot{gen: s.Generation & generationMask, announced: s.Announced, next: taken}
	}
	for _, n := range r.Free {
		if n < 0 || int(n) >= len(h.slots) || h.slots[n].next != taken {
			return handles{}, errors.New("a handle of it is free that is none, or is twice")
		}
		h.slots[n].next = 0
		if h.last == 0 {
			h.first = n + 1
		} else {
			h.slots[h.last-1].next = n + 1
		}
		h.last = n + 1
	}
	return h, nil
}
