package plugins

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
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
	var h int32
	g.on(i, func() {
		h = i.admit(f)
		if len(i.Window(nil)) == 0 {
			g.t.Error("it has no window")
		}
		i.data(h, f, 1)
	})
	g.l.on(func() { i.handles.remove(h) })
	if !bytes.Equal(f.sent, want) {
		g.t.Errorf("it answers %v; want %v", f.sent, want)
	}
}

// An instance that has slept goes on where it was, whoever had its memory meanwhile.
func TestSleep(t *testing.T) {
	li := listener()
	li.Held = new(Held)
	g := newPooled(t, counts().Bytes(), li)
	counted := func(when string) {
		t.Helper()
		code, mappings := g.s.module.Held()
		if m, n := li.Held.Memory()+code, li.Held.Mappings()+mappings+engineMappings; m != g.acc.held.Load() || n != g.maps.held.Load() {
			t.Errorf("%s: %d bytes and %d mappings are counted, and %d and %d are held", when, m, n, g.acc.held.Load(), g.maps.held.Load())
		}
	}
	counted("a snapshot")
	image := g.acc.held.Load()
	a, b := g.get(), g.get()
	g.say(a, 1, 6, 8, 2)
	g.say(a, 2, 7, 9, 3)
	before := g.acc.held.Load()
	counted("two instances")
	had := a.memory
	g.lieDown(a)
	counted("one sleeps")
	if n := a.asleep.typical.Size() + len(a.asleep.changes); n == 0 || n > 100 || g.r.Asleep() != 1 {
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
	counted("all are awake")
	if n := a.Memory(); n != b.Memory() || n == 0 {
		t.Errorf("it has %d bytes of memory", n)
	}
	g.lieDown(a)
	g.l.on(func() { a.Close(); b.Close(); c.Close() })
	g.l.on(g.p.Close)
	counted("all have ended")
	if one, err := g.s.module.Instantiate(li); err != nil {
		t.Error(err)
	} else {
		counted("one that is no copy")
		one.Close()
	}
	if g.r.Asleep() != 0 || g.acc.held.Load() != image {
		t.Errorf("%d are asleep, and %d bytes are held; the image is %d", g.r.Asleep(), g.acc.held.Load(), image)
	}
	g.s.Close()
	if m, n := li.Held.Memory(), li.Held.Mappings(); m != 0 || n != 0 {
		t.Errorf("%d bytes and %d mappings are counted when nothing is left", m, n)
	}
}

// Going to sleep and waking up are the tenant's time, which nobody else has asked for.
func TestSleepIsBooked(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	cpu := newGate()
	g.r.options.CPU = cpu
	a := g.get()
	g.say(a, 1, 6, 8, 2)
	before := cpu.booked.Load()
	g.lieDown(a)
	asleep := cpu.booked.Load()
	if asleep == before {
		t.Error("nothing is booked for going to sleep")
	}
	g.l.on(func() {
		if err := g.p.wake(a); err != nil {
			t.Error(err)
		}
	})
	if cpu.booked.Load() == asleep {
		t.Error("nothing is booked for waking up")
	}
	g.l.on(func() { a.Close() })
	g.l.on(g.p.Close)
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
		i.suspended = true
		tired()
		if i.asleep != nil {
			t.Error("it sleeps though something waits for it")
		}
		i.suspended = false
		i.drain()
	})
	g.on(i, func() { i.Window(nil); i.data(i.admit(f), f, 1) })
	g.l.on(func() {
		for k := range memory.MostChanges + 1 {
			i.memory.Bytes()[k] ^= 1
		}
		tired()
		if i.asleep != nil {
			t.Error("it sleeps though its memory is another")
		}
		if i.awake {
			t.Error("it will be looked at though it cannot sleep")
		}
		i.Close()
	})
}

// An instance that has grown sleeps without mappings, stays charged for what it has grown by, and
// finds it again, though the memory was another's meanwhile. Its mappings come back.
func TestGrownInstancesSleep(t *testing.T) {
	g := newPooled(t, grower(1).Bytes(), listener())
	before := g.maps.held.Load()
	const instances, pages = 30, 5
	var all []*Instance
	f := &fake{room: 1000}
	for k := range instances {
		i := g.get()
		all = append(all, i)
		h := int32(0)
		g.on(i, func() { h = i.admit(f); i.Window(nil); i.data(h, f, pages-1) })
		if i.Memory() != pages*wasm.PageSize {
			t.Fatalf("it has %d bytes", i.Memory())
		}
		g.l.on(func() {
			for p := range pages {
				i.memory.Bytes()[p*wasm.PageSize+100*k] = byte(k + 1)
			}
			i.memory.Bytes()[len(i.memory.Bytes())-1] = byte(k + 1)
		})
	}
	if held := g.maps.held.Load() - before; held != 2*instances {
		t.Errorf("%d mappings are held for %d that have grown", held, instances)
	}
	var places [][]byte
	for _, i := range all {
		places = append(places, i.memory.Bytes())
	}
	if n := mappingsIn(t, places); n != 2*instances {
		t.Errorf("they really have %d mappings", n)
	}
	charged := g.acc.held.Load()
	for _, i := range all {
		g.lieDown(i)
		if i.Memory() != pages*wasm.PageSize {
			t.Errorf("asleep it has %d bytes", i.Memory())
		}
	}
	if held := g.acc.held.Load(); held < charged {
		t.Errorf("asleep they are charged %d bytes, and %d before", held, charged)
	}
	g.l.on(func() {
		for _, m := range g.p.free {
			m.Free()
		}
		g.p.free = nil
	})
	if held, n := g.maps.held.Load()-before, mappingsIn(t, places); held != 0 || n != 0 {
		t.Errorf("asleep they hold %d mappings, and really have %d", held, n)
	}
	for k, i := range all {
		k = instances - 1 - k
		i = all[k]
		g.on(i, func() {
			for at, v := range i.memory.Bytes() {
				want := byte(0)
				if at%wasm.PageSize == 100*k || at == len(i.memory.Bytes())-1 {
					want = byte(k + 1)
				}
				if v != want && at != w.WindowAt {
					t.Errorf("byte %d of instance %d is %d, and was %d", at, k, v, want)
					break
				}
			}
			i.Window(nil)
			i.data(i.admit(f), f, 1) // last, since it may pass the loop on
		})
		g.on(i, func() {
			if i.Memory() != (pages+1)*wasm.PageSize {
				t.Errorf("it does not grow on: %d bytes", i.Memory())
			}
			i.Close()
		})
	}
	g.l.on(g.p.Close)
	if held := g.maps.held.Load() - before; held != 0 {
		t.Errorf("at the end %d mappings are held", held)
	}
}

// mappingsIn is how many mappings this process has in some stretches of its memory.
func mappingsIn(t *testing.T, stretches [][]byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(maps)) {
		from, _, _ := strings.Cut(line, "-")
		at, err := strconv.ParseUint(from, 16, 64)
		if err == nil && slices.ContainsFunc(stretches, func(b []byte) bool {
			first := uint64(uintptr(unsafe.Pointer(&b[:1][0])))
			return at >= first && at < first+uint64(len(b))
		}) {
			n++
		}
	}
	return n
}

// An instance for which there is no memory when it is to wake waits, and is ended then, and nobody
// else.
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
					p.wake(i)
				}
				i.Close()
			})
		})
	}
}

// Of instances that have the same changes these are kept once, with what each has beside them.
// Whichever wake first, each has its own again, and what is typical goes by those that sleep.
func TestSleepTogether(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	const most = 3 + 2*mostAtypical
	random := rand.New(rand.NewPCG(1, 2))
	var all []*Instance
	var want [][]byte
	sleep := func(fill func(b []byte)) *Instance {
		i := g.get()
		g.say(i, 1, 6, 8, 2)
		g.l.on(func() { fill(i.memory.Bytes()[40_000:42_000]) })
		all, want = append(all, i), append(want, slices.Clone(i.memory.Bytes()))
		g.lieDown(i)
		return i
	}
	same := func(b []byte) {
		for k := range b {
			b[k] = byte(k)
		}
	}
	first := sleep(same)
	second := sleep(func(b []byte) { same(b); b[100]++ })
	third := sleep(func(b []byte) { same(b); clear(b[1000:1900]) })
	if a, b := first.asleep, second.asleep; a.typical == nil || len(a.changes) != 0 || b.typical != a.typical || len(b.changes) == 0 || len(b.changes) > 20 {
		t.Errorf("%d bytes are kept of the first, and %d of the second", len(a.changes), len(b.changes))
	}
	if c := third.asleep; c.typical != first.asleep.typical {
		t.Error("what is half the same is kept by itself")
	}
	var other *memory.Typical
	for n := range most - 3 {
		s := sleep(func(b []byte) {
			for k := range b {
				b[k] = byte(n / mostAtypical * 7)
				if n < mostAtypical {
					b[k] = byte(random.Uint32())
				}
			}
		}).asleep
		switch {
		case n < mostAtypical-1 && s.typical != nil && len(s.changes) > 2200:
			t.Errorf("%d bytes are kept of one that is different from all others", len(s.changes))
		case n == mostAtypical-1:
			other = s.typical
		}
	}
	if other == nil || other == first.asleep.typical {
		t.Errorf("after %d others the first is still typical", mostAtypical)
	}
	for n, k := range random.Perm(len(all)) {
		g.l.on(func() {
			i := all[k]
			if err := g.p.wake(i); err != nil {
				t.Error(err)
				return
			}
			if !bytes.Equal(i.memory.Bytes(), want[k]) {
				t.Errorf("instance %d has not its memory again", k)
			}
			if n%2 == 0 {
				i.Close()
			}
		})
	}
	g.l.on(func() {
		if g.p.asleep != 0 || g.p.typical != nil {
			t.Errorf("%d are asleep", g.p.asleep)
		}
		for _, i := range all {
			i.Close()
		}
	})
}
