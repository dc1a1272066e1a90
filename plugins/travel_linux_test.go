package plugins

import (
	"bytes"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins/wasi"
)

// adopts has a pool of another tenant's, as of another process, for instances of g's snapshot.
func (g *pooled) adopts(t *testing.T) *pooled {
	t.Helper()
	r, fd, err := g.s.Record()
	if err != nil {
		t.Fatal(err)
	}
	other := newPooled(t, counts().Bytes(), listener())
	s, err := other.s.module.AdoptSnapshot(listener(), &r, fd)
	if err != nil {
		t.Fatal(err)
	}
	to := &pooled{tenant: other.tenant, l: other.l, s: s, clock: other.clock}
	to.l.on(func() { to.p = s.Pool(to.l.Loop) })
	t.Cleanup(func() {
		to.l.on(to.p.Close)
		s.Close()
	})
	return to
}

// moves has an instance go from one pool to another.
func (g *pooled) moves(i *Instance, to *pooled) (there *Instance) {
	g.t.Helper()
	var r *InstanceRecord
	var err error
	g.l.on(func() { r, err = i.Freeze() })
	if err != nil {
		g.t.Fatal(err)
	}
	r.Changes = bytes.Clone(r.Changes)
	to.l.on(func() {
		if there, err = to.p.Thaw(r); err == nil {
			there.GoOn()
		}
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.l.on(func() { i.Forsake(); i.Close() })
	return there
}

// An instance goes on in another pool as it was, whether it was awake, asleep, or had never run,
// and there and back again.
func TestInstanceMoves(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	to := g.adopts(t)
	a, b, c := g.get(), g.get(), g.get()
	g.say(a, 1, 6, 8, 2)
	g.say(b, 1, 6, 8, 2)
	g.say(b, 2, 7, 9, 3)
	g.lieDown(b)
	a, b, c = g.moves(a, to), g.moves(b, to), g.moves(c, to)
	if to.s.Thawed() != 3 || to.r.Asleep() != 3 || g.r.Asleep() != 0 {
		t.Errorf("%d have come, and %d are asleep there, %d here", to.s.Thawed(), to.r.Asleep(), g.r.Asleep())
	}
	to.say(a, 2, 7, 9, 3)
	to.say(b, 3, 8, 10, 4)
	to.say(c, 1, 6, 8, 2)
	to.lieDown(a)
	to.say(a, 3, 8, 10, 4)
	back := to.adopts(t)
	a = to.moves(a, back)
	back.say(a, 4, 9, 11, 5)
	to.l.on(func() { b.Close(); c.Close() })
	back.l.on(a.Close)
	if to.s.Thawed() != 0 || back.s.Thawed() != 0 {
		t.Error("some are left")
	}
}

// What happens to an instance that is held still waits, and it goes on in place.
func TestInstanceIsHeldStill(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	a := g.get()
	g.say(a, 1, 6, 8, 2)
	f := &fake{room: 100}
	g.l.on(func() {
		h := a.admit(f)
		if _, err := a.Freeze(); err == nil || err.Error() != "it is dialling" {
			t.Errorf("freezing an instance whose connection is none answers %v", err)
		}
		a.handles.remove(h)
		if _, err := a.Freeze(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Freeze(); err == nil {
			t.Error("it is held still twice")
		}
		if a.Window(&csa.CSA{}) != nil {
			t.Error("it gives its window away")
		}
		a.used -= 2 * sleepAfter
		g.p.tidy()
		if a.asleep != nil {
			t.Error("it goes to sleep while it is held still")
		}
		a.drain()
		a.GoOn()
	})
	g.say(a, 2, 7, 9, 3)
	g.l.on(a.Close)
}

// An instance's timers have left what they had, and its handles are as they were.
func TestInstanceTimersMove(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	to := g.adopts(t)
	a := g.get()
	g.l.on(func() {
		a.setTimer(5, 10*time.Second)
		a.setTimer(6, 20*time.Second)
		a.stopTimer(6)
		f := &fake{}
		first, second := a.admit(f), a.admit(f)
		a.handles.remove(second)
		a.handles.remove(first)
	})
	var next int32
	g.l.on(func() { next = a.handles.slots[a.handles.first-1].next })
	g.clock.Advance(4 * time.Second)
	g.l.on(func() {})
	a = g.moves(a, to)
	to.l.on(func() {
		if len(a.timers) != 1 || a.timers[0].token != 5 {
			t.Errorf("its timers are %+v", a.timers)
		}
		if left, set := a.timers[0].timer.Left(); !set || left != 6*time.Second {
			t.Errorf("there are %v left, %v", left, set)
		}
		if h := &a.handles; len(h.slots) != 2 || h.slots[0].gen != 1 || h.slots[1].gen != 1 || h.first != 2 || h.slots[h.first-1].next != next {
			t.Errorf("its handles are %+v", h)
		}
		a.Close()
	})
}

// A record that is none is refused, and leaves nothing.
func TestThawWrongRecords(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	to := g.adopts(t)
	a := g.get()
	g.say(a, 1, 6, 8, 2)
	var r *InstanceRecord
	g.l.on(func() { r, _ = a.Freeze(); a.GoOn() })
	held := to.acc.held.Load()
	wrong := func(what string, f func(r *InstanceRecord)) {
		t.Helper()
		bad := *r
		f(&bad)
		to.l.on(func() {
			if i, err := to.p.Thaw(&bad); err == nil {
				t.Errorf("%s is taken", what)
				i.Forsake()
				i.Close()
			}
		})
	}
	wrong("one with less memory than its image", func(r *InstanceRecord) { r.Size = 0 })
	wrong("one with half a page", func(r *InstanceRecord) { r.Size += 100 })
	wrong("one with too much memory", func(r *InstanceRecord) { r.Size = 1 << 40 })
	wrong("one with a global too many", func(r *InstanceRecord) { r.Globals = append(r.Globals, 1) })
	wrong("one with changes that are cut", func(r *InstanceRecord) { r.Changes = []byte{1} })
	wrong("one with changes outside", func(r *InstanceRecord) { r.Changes = []byte{0xff, 0xff, 0xff, 0x7f, 1, 1} })
	wrong("one with a free handle that is none", func(r *InstanceRecord) { r.Free = []int32{7} })
	wrong("one with a handle that is free twice", func(r *InstanceRecord) { r.Handles, r.Free = make([]HandleRecord, 2), []int32{1, 1} })
	wrong("one with a descriptor that is no stream", func(r *InstanceRecord) { r.Descriptors = []wasi.Descriptor{{Stream: 5, Open: true}} })
	wrong("one with many timers", func(r *InstanceRecord) { r.Timers = make([]csa.TimerState, 17) })
	if to.acc.held.Load() != held || to.s.Thawed() != 0 {
		t.Errorf("%d bytes are held, and were %d", to.acc.held.Load(), held)
	}
	g.l.on(a.Close)
}

// A snapshot of another module's, or in a file that is not its image, is refused.
func TestAdoptWrongSnapshots(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	m := g.s.module
	wrong := func(what string, f func(r *SnapshotRecord)) {
		t.Helper()
		r, fd, err := g.s.Record()
		if err != nil {
			t.Fatal(err)
		}
		f(&r)
		if s, err := m.AdoptSnapshot(listener(), &r, fd); err == nil {
			t.Errorf("one with %s is taken", what)
			s.Close()
		}
	}
	held := g.acc.held.Load()
	wrong("another format", func(r *SnapshotRecord) { r.Format[3]++ })
	wrong("another size", func(r *SnapshotRecord) { r.Size *= 2 })
	wrong("no size", func(r *SnapshotRecord) { r.Size = 0 })
	wrong("other globals", func(r *SnapshotRecord) { r.Globals = nil })
	wrong("a window outside", func(r *SnapshotRecord) { r.Window = 1 << 31 })
	if g.acc.held.Load() != held {
		t.Error("something is held of them")
	}
	other := newPooled(t, grower(1).Bytes(), listener())
	if m.Format() == other.s.module.Format() {
		t.Error("two modules have the same format")
	}
}
