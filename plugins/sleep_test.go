package plugins

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
)

// lieDown has an instance be one that has had nothing to do for long.
func (g *pooled) lieDown(i *Instance) {
	g.t.Helper()
	g.l.on(func() {
		i.used -= 2 * sleepAfter
		g.p.tidy()
		if i.asleep == nil || i.memory != nil || i.exec != nil {
			g.t.Error("it does not sleep")
		}
	})
}

// say has a guest of counts answer.
func (g *pooled) say(i *Instance, want ...byte) {
	g.t.Helper()
	f := &fake{room: 100}
	g.on(i, func() {
		h := i.admit(f)
		if len(i.Window(nil)) == 0 {
			g.t.Error("it has no window")
		}
		i.data(h, f, 1)
		i.handles.remove(h)
	})
	if !bytes.Equal(f.sent, want) {
		g.t.Errorf("it answers %v; want %v", f.sent, want)
	}
}

// An instance that has slept goes on where it was, whoever had its memory meanwhile.
func TestSleep(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	image := g.acc.held.Load()
	a, b := g.get(), g.get()
	g.say(a, 1, 6, 8, 2)
	g.say(a, 2, 7, 9, 3)
	before := g.acc.held.Load()
	had := a.memory
	g.lieDown(a)
	if n := len(a.asleep.changes); n == 0 || n > 100 || g.r.Asleep() != 1 {
		t.Errorf("%d bytes are kept of it, and %d are asleep", n, g.r.Asleep())
	}
	if g.acc.held.Load() < before {
		t.Error("it is charged less than it needs to wake")
	}
	g.say(b, 1, 6, 8, 2)
	c := g.get()
	if c.memory != had {
		t.Error("its memory is nobody's")
	}
	g.say(c, 1, 6, 8, 2)
	g.lieDown(b)
	g.say(c, 2, 7, 9, 3)
	g.say(a, 3, 8, 10, 4)
	g.lieDown(a)
	g.say(b, 2, 7, 9, 3)
	g.say(a, 4, 9, 11, 5)
	if n := a.Memory(); n != b.Memory() || n == 0 {
		t.Errorf("it has %d bytes of memory", n)
	}
	g.lieDown(a)
	g.l.on(func() { a.Close(); b.Close(); c.Close() })
	g.l.on(g.p.Close)
	if g.r.Asleep() != 0 || g.acc.held.Load() != image {
		t.Errorf("%d are asleep, and %d bytes are held; the image is %d", g.r.Asleep(), g.acc.held.Load(), image)
	}
}

// Who is in the middle of something, or has more than the changes of some pages, stays
// awake; and what is used again in time is left alone.
func TestNoSleep(t *testing.T) {
	g := newPooled(t, grower(1).Bytes(), listener())
	i := g.get()
	tired := func() {
		i.used -= 2 * sleepAfter
		g.p.tidy()
	}
	f := &fake{room: 100}
	g.l.on(func() {
		g.p.tidy()
		if i.asleep != nil {
			t.Error("it sleeps at once")
		}
		i.off = true
		tired()
		if i.asleep != nil {
			t.Error("it sleeps though something waits for it")
		}
		i.off = false
		i.drain()
	})
	g.on(i, func() { i.Window(nil); i.data(i.admit(f), f, 1) }) // it grows
	g.l.on(func() {
		tired()
		if i.asleep != nil {
			t.Error("it sleeps though its memory has grown")
		}
		if i.awake {
			t.Error("it will be looked at though it cannot sleep")
		}
		i.Close()
	})
}

// An instance for which there is no memory when it is to wake waits, and is ended then, and nobody else.
func TestNoMemoryToWake(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	a, b := g.get(), g.get()
	g.say(a, 1, 6, 8, 2)
	g.say(b, 1, 6, 8, 2)
	g.lieDown(a)
	var ended *Trap
	a.listener.OnTrap = func(i *Instance, t *Trap) { ended = t; i.Close() }
	f := &fake{room: 100}
	g.l.on(func() {
		for _, m := range g.p.free {
			m.Free()
		}
		g.p.free = nil
		g.acc.limit.Store(1)
		a.deliver(event{call: callData, handle: a.handles.add(f), arg: 1, conn: f})
	})
	g.impatient(a)
	until(t, "it is ended", func() (over bool) { g.l.on(func() { over = ended != nil }); return over })
	if ended.Stop != StopMemory || !f.Over() {
		t.Errorf("it ended with %+v, and its connection: %v", ended, f.ends)
	}
	g.acc.limit.Store(0)
	g.say(b, 2, 7, 9, 3)
	g.l.on(b.Close)
}

// Whatever a guest has written where, it finds again.
func TestChanges(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 1<<20)
	for k := range b[:1<<19] {
		b[k] = byte(r.Uint32())
	}
	g, err := newImage(b)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	slept := 0
	for range 300 {
		m, err := newCopy(unbooked(unlimited{}), g, 16, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range r.IntN(30) {
			at, n := r.IntN(len(b)-300), r.IntN(300)
			switch r.IntN(3) {
			case 0:
				at = at / systemPage * systemPage // at an edge
			case 1:
				n = r.IntN(12)
			}
			for k := range m.b[at : at+n] {
				if r.IntN(3) > 0 {
					m.b[at+k] = byte(r.Uint32())
				}
			}
		}
		m.b[r.IntN(len(b))]++
		changes, pages, ok := m.changes(nil)
		if !ok {
			m.Free()
			continue
		}
		slept++
		again, err := newCopy(unbooked(unlimited{}), g, 16, 0)
		if err != nil {
			t.Fatal(err)
		}
		again.change(changes)
		if !bytes.Equal(again.b, m.b) || pages == 0 {
			t.Fatalf("%d bytes of changes on %d pages make something else", len(changes), pages)
		}
		again.Free()
		m.Free()
	}
	if slept < 100 {
		t.Errorf("only %d of 300 had few changes", slept)
	}
}

// BenchmarkSleep puts an instance to sleep and wakes it, without the guest.
func BenchmarkSleep(b *testing.B) {
	for name, file := range map[string]string{"C": "echo/echo.wasm", "Go": "chat/chat.wasm"} {
		b.Run(name, func(b *testing.B) {
			onPool(b, file, func(p *Pool) {
				i, err := p.Get()
				if err != nil {
					b.Error(err)
					return
				}
				on := i.loop
				i.loop = nil // which it would pass on if the machine were busy elsewhere
				f := &sink{}
				h := i.admit(f)
				i.opened(h, f)
				if w := i.Window(nil); len(w) > 0 {
					i.data(h, f, copy(w, "hello, everybody out there!\n"))
				}
				i.loop = on
				for b.Loop() {
					p.sleep(i)
					b.ReportMetric(float64(len(i.asleep.changes)), "kept-B")
					p.rouse(i)
				}
				i.Close()
			})
		})
	}
}
