package plugins

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"bulkhead/plugins/memory"
)

// impatient has an instance that waits for something have waited for as long as it may.
func (g *pooled) impatient(i *Instance) {
	g.t.Helper()
	until(g.t, "it waits", func() (waits bool) { g.l.on(func() { waits = i.waitingSince != 0 }); return waits })
	g.l.on(func() {
		i.waitingSince = -int64(patience)
		g.p.askAgain()
	})
}

// Where executors cannot be made, few are tried, the instance waits with its event, and
// goes on when one can be.
func TestExecutorsAreMadeInTheEnd(t *testing.T) {
	big := counts()
	big.Table(100_000, 100_000) // an executor is charged for that
	g := newPooled(t, big.Bytes(), listener())
	i := g.get()
	g.acc.limit.Store(g.acc.held.Load())
	f := &fake{room: 100}
	g.l.on(func() { i.deliver(event{call: callData, handle: i.admit(f), arg: 1, conn: f}) })
	tried := func(n int64) {
		until(t, "it is tried again", func() (waits bool) {
			g.l.on(func() { waits = !g.p.making && g.p.shortage.set })
			return waits && g.r.Short() >= n
		})
		if g.r.Short() != n {
			t.Errorf("it was tried %d times, and %d of them were due", g.r.Short(), n)
		}
	}
	tried(1)
	for n, wait := range []time.Duration{firstWait, 2 * firstWait, 4 * firstWait} {
		g.clock.Advance(wait - 1)
		g.l.on(func() {})
		tried(int64(n + 1))
		g.clock.Advance(1)
		tried(int64(n + 2))
	}
	g.l.on(func() {
		if i.state != running || len(f.ends) > 0 {
			t.Error("it is ended at once")
		}
	})
	g.acc.limit.Store(0)
	g.clock.Advance(lastWait)
	until(t, "it goes on", func() (done bool) { g.l.on(func() { done = len(f.sent) > 0 }); return done })
	if !bytes.Equal(f.sent, []byte{1, 6, 8, 2}) {
		t.Errorf("it answers %v", f.sent)
	}
	g.l.on(func() {
		if i.waitingSince != 0 || g.p.shortage.wait != 0 || g.p.notMade != nil {
			t.Errorf("the pool still waits for something: %+v", g.p.shortage)
		}
		i.Close()
	})
}

// It does not wait for ever, and its connection is told which limit it was.
func TestNoExecutor(t *testing.T) {
	big := counts()
	big.Table(100_000, 100_000)
	li := listener()
	var ended *Trap
	li.OnTrap = func(i *Instance, t *Trap) { ended = t; i.Close() }
	g := newPooled(t, big.Bytes(), li)
	i := g.get()
	g.acc.limit.Store(g.acc.held.Load())
	f := &fake{room: 100}
	g.l.on(func() { i.deliver(event{call: callData, handle: i.admit(f), arg: 1, conn: f}) })
	g.impatient(i)
	until(t, "it is ended", func() (over bool) { g.l.on(func() { over = ended != nil }); return over })
	if ended.Stop != StopMemory || !f.Over() || !bytes.Contains([]byte(f.ends[0].Why), []byte("(memory)")) {
		t.Errorf("it ended with %+v, and its connection: %v", ended, f.ends)
	}
}

// An executor that is made when its loop has stopped keeps nothing.
func TestMadeTooLate(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	n := newTenant(t, 0)
	m := n.load(counts().Bytes(), Events)
	for range 10 {
		s, err := m.Snapshot(listener())
		if err != nil {
			t.Fatal(err)
		}
		l := newLoop(t)
		l.on(func() {
			p := s.Pool(l.Loop)
			p.makeLater()
			p.Close()
		})
		s.Close()
		l.stopped = true
		l.sel.Stop()
		<-l.sel.Done()
		until(t, "the snapshot is gone", func() bool { return s.users.Load() == 0 })
	}
}

// mappingAccount is a budget of mappings that counts; limit 0 is none.
type mappingAccount struct{ account }

func (a *mappingAccount) ReserveMappings(n int) bool { return a.Reserve(n) }
func (a *mappingAccount) ReleaseMappings(n int)      { a.Release(n) }

// An instance whose tenant has no mappings when it is to wake waits for them. Those that
// come back wake those that wait, one after the other.
func TestNoMappingsToWake(t *testing.T) {
	li := listener()
	var ended *Trap
	g := newPooled(t, counts().Bytes(), li)
	li.OnTrap = func(i *Instance, t *Trap) { ended = t; i.Close() }
	a, b, c := g.get(), g.get(), g.get()
	for _, i := range []*Instance{a, b, c} {
		g.say(i, 1, 6, 8, 2)
		g.lieDown(i)
	}
	f := &fake{room: 100}
	g.l.on(func() {
		for _, m := range g.p.free {
			m.Free()
		}
		g.p.free = nil
		g.maps.limit.Store(g.maps.held.Load())
		for _, i := range []*Instance{a, b, c} {
			i.deliver(event{call: callData, handle: i.handles.add(f), arg: 1, conn: f})
		}
		if n := len(g.p.shortage.sleepers); n != 3 || a.asleep == nil {
			t.Errorf("%d wait for mappings", n)
		}
		a.waitingSince = -int64(patience)
		g.p.askAgain()
	})
	until(t, "the first is ended", func() (over bool) { g.l.on(func() { over = ended != nil }); return over })
	if ended.Stop != StopMappings || !f.Over() || !bytes.Contains([]byte(f.ends[0].Why), []byte("(mappings)")) {
		t.Errorf("it ended with %+v, and its connection: %v", ended, f.ends)
	}
	f.ends = nil
	g.maps.limit.Store(0)
	g.clock.Advance(lastWait)
	until(t, "the others wake", func() (both bool) {
		g.l.on(func() { both = b.asleep == nil && c.asleep == nil && b.queue.len()+c.queue.len() == 0 })
		return both
	})
	g.say(b, 3, 8, 10, 4)
	g.say(c, 3, 8, 10, 4)
	g.l.on(func() {
		if g.p.shortage.sleepers != nil || g.p.shortage.wait != 0 {
			t.Errorf("the pool still waits for something: %+v", g.p.shortage)
		}
		b.Close()
		c.Close()
	})
}

// Without mappings there is no instance, and no snapshot, module or runtime, and what was
// taken before that was found is given back.
func TestNoMappings(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	held := g.maps.held.Load()
	if want := int64(engineMappings + codeMappings + memory.ImageMappings); held != want {
		t.Errorf("%d mappings are held, want %d", held, want)
	}
	g.maps.limit.Store(held)
	charged := g.acc.held.Load()
	g.l.on(func() {
		if _, err := g.p.Get(); !errors.Is(err, ErrMappings) {
			t.Errorf("an instance gives %v", err)
		}
	})
	if _, err := g.s.module.Instantiate(listener()); !errors.Is(err, ErrMappings) {
		t.Errorf("a plain instance gives %v", err)
	}
	if _, err := g.r.Load("other", grower(1).Bytes(), Events); !errors.Is(err, ErrMappings) {
		t.Errorf("a module gives %v", err)
	}
	other := NewRuntime(RuntimeOptions{Mappings: g.maps})
	if _, err := other.Load("other", grower(1).Bytes(), Events); !errors.Is(err, ErrMappings) {
		t.Errorf("the first module of a runtime gives %v", err)
	}
	other.Close()
	<-other.Done()
	g.maps.limit.Store(held + memory.PlainMappings)
	if _, err := g.s.module.Snapshot(listener()); !errors.Is(err, ErrMappings) {
		t.Errorf("a snapshot gives %v", err)
	}
	if g.maps.held.Load() != held || g.acc.held.Load() != charged {
		t.Errorf("%d mappings and %d bytes are held; %d and %d before", g.maps.held.Load(), g.acc.held.Load(), held, charged)
	}
	g.maps.limit.Store(0)
	i := g.get()
	g.maps.limit.Store(g.maps.held.Load())
	if i.memory.Grow(uint64(len(i.memory.Bytes()))+65536) != nil {
		t.Error("it grows though there is no mapping for that")
	}
	g.maps.limit.Store(0)
	if i.memory.Grow(uint64(len(i.memory.Bytes()))+65536) == nil {
		t.Error("it does not grow")
	}
	g.l.on(i.Close)
	g.l.on(func() { g.p.tidy(); g.p.tidy() })
	if now := g.maps.held.Load(); now != held {
		t.Errorf("%d mappings are held at the end, and %d before", now, held)
	}
}
