package plugins

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/memory"
	"bulkhead/plugins/wasm"
	"bulkhead/selector"
)

// pooled is a snapshot, and its pool on a loop.
type pooled struct {
	*tenant
	l     *loop
	s     *Snapshot
	p     *Pool
	clock *selector.Manual // of the loop: what a pool does by and by, it does when that is moved
}

func newPooled(t testing.TB, b []byte, li *Listener) *pooled {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this system has no snapshots")
	}
	n := newTenant(t, 0)
	m := n.load(b, Events)
	s, err := m.Snapshot(li)
	if err != nil {
		t.Fatal(err)
	}
	clock := &selector.Manual{}
	clock.Advance(time.Hour) // so that there is a time before
	g := &pooled{tenant: n, l: newLoopOn(t, clock), s: s, clock: clock}
	g.l.on(func() { g.p = s.Pool(g.l.Loop) })
	t.Cleanup(func() {
		g.l.on(g.p.Close)
		s.Close()
	})
	return g
}

// on runs f on the loop when an event of the instance may run at once: an executor may have to be
// made first, or its tenant to wait for its turn. It returns when what f has called of the instance
// is over. On a busy machine a call may leave the loop, and then f does not go on behind it: it has
// to be the last that f does.
func (g *pooled) on(i *Instance, f func()) {
	g.t.Helper()
	until(g.t, "the instance may run", func() (free bool) {
		g.l.on(func() {
			if free = i.free(false); free {
				f()
			}
		})
		return free
	})
	until(g.t, "its call is over", func() (over bool) {
		g.l.on(func() { over = !i.inCall && !i.suspended })
		return over
	})
}

// get takes an instance.
func (g *pooled) get() (i *Instance) {
	g.t.Helper()
	var err error
	g.l.on(func() { i, err = g.p.Get() })
	if err != nil {
		g.t.Fatal(err)
	}
	return i
}

// counts is a guest that counts what it has seen in its memory, in a global, and in
// a page far away, and answers with the three. It has an i32 and an i64 global.
func counts() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Raw(6, []byte{2, byte(wasm.I32), 1, 0x41, 5, 0x0b, byte(wasm.I64), 1, 0x42, 7, 0x0b})
	m.Data(3000, "the data of the module")
	more := func(at int32) []byte {
		return cat(w.I32Const(at), w.I32Const(at), w.I32Load8U(0), w.I32Const(1), w.I32Add, []byte{0x3a, 0, 0})
	}
	m.Func("csa_start", ":i", "", more(50_000), w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		more(2900), more(50_000),
		[]byte{0x23, 0}, w.I32Const(1), w.I32Add, []byte{0x24, 0},
		[]byte{0x23, 1}, w.I64Const(1), []byte{0x7c, 0x24, 1},
		w.I32Const(2901), []byte{0x23, 0, 0x3a, 0, 0},
		w.I32Const(2902), []byte{0x23, 1, 0xa7, 0x3a, 0, 0},
		w.I32Const(2903), w.I32Const(50_000), w.I32Load8U(0), []byte{0x3a, 0, 0},
		w.LocalGet(0), w.I32Const(2900), w.I32Const(4), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

// Two instances on one executor keep their memories and globals apart, whichever is
// called, and one that has ended leaves nothing to the next.
func TestPooledInstancesAreApart(t *testing.T) {
	g := newPooled(t, counts().Bytes(), listener())
	a, b := g.get(), g.get()
	say := func(i *Instance, want ...byte) {
		t.Helper()
		f := &fake{room: 100}
		var h int32
		g.on(i, func() {
			h = i.admit(f)
			if len(i.Window(nil)) == 0 {
				t.Error("it has no window")
			}
			i.data(h, f, 1)
		})
		g.l.on(func() { i.handles.remove(h) })
		if !bytes.Equal(f.sent, want) {
			t.Errorf("it answers %v; want %v", f.sent, want)
		}
	}
	say(a, 1, 6, 8, 2)
	say(b, 1, 6, 8, 2)
	say(b, 2, 7, 9, 3)
	say(a, 2, 7, 9, 3)
	if n := len(g.p.executors); n != 1 {
		t.Errorf("%d executors serve them", n)
	}
	memory := a.memory
	g.l.on(a.Close)
	say(b, 3, 8, 10, 4)
	c := g.get()
	if c.memory != memory {
		t.Error("the memory of the one that ended is not used again")
	}
	say(c, 1, 6, 8, 2)
	say(b, 4, 9, 11, 5)
	if got := c.memory.Bytes()[3000:3022]; string(got) != "the data of the module" {
		t.Errorf("its data are %q", got)
	}
	g.l.on(func() { b.Close(); c.Close() })
}

// Whatever a guest does to its memory, it is the image again when it is put back.
func TestPutBack(t *testing.T) {
	g := newPooled(t, grower(3).Bytes(), listener())
	image := g.s.image.image.Bytes()
	for round, touch := range []func(b []byte){
		func([]byte) {},
		func(b []byte) { b[0] = 1 },
		func(b []byte) { b[len(b)-1] = 1 },
		func(b []byte) { b[4095], b[4096] = 1, 1 },
		func(b []byte) {
			for k := range b {
				b[k] = byte(k) | 1
			}
		},
		func(b []byte) {
			for k := 0; k < len(b); k += 2 * os.Getpagesize() {
				b[k] = 1
			}
		},
	} {
		for _, grown := range []int{0, 5} {
			i := g.get()
			if !bytes.Equal(i.memory.Bytes(), image) {
				t.Fatalf("round %d: it does not start as the image", round)
			}
			if grown > 0 && i.memory.Grow(uint64(3+grown)*wasm.PageSize) == nil {
				t.Fatal("it does not grow")
			}
			if n := len(i.memory.Bytes()); n != (3+grown)*wasm.PageSize {
				t.Fatalf("it has %d bytes", n)
			}
			for _, v := range i.memory.Bytes()[len(image):] {
				if v != 0 {
					t.Fatal("new pages are not zero")
				}
			}
			touch(i.memory.Bytes())
			g.l.on(i.Close)
		}
	}
	if n := len(g.p.free); n != 1 {
		t.Errorf("%d memories are kept", n)
	}
}

// A guest that writes to more pages than its tenant has memory for is stopped, in the
// middle of its call or at its end.
func TestStoppedForWriting(t *testing.T) {
	m, _ := w.Handler([2]string{"send", "iii:i"})
	m.Raw(5, []byte{1, 0, 100})
	m.Func("csa_data", "ii:i", "i",
		w.I32Const(1<<16), []byte{0x21, 2},
		w.Loop(w.LocalGet(2), w.I32Const(1), []byte{0x3a, 0, 0},
			w.LocalGet(2), w.I32Const(4096), w.I32Add, w.LocalTee(2), w.I32Const(90<<16), w.I32LtS, w.BrIf(0)),
		w.LocalGet(1))
	var trap *Trap
	li := listener()
	li.OnTrap = func(_ *Instance, tr *Trap) { trap = tr }
	g := newPooled(t, m.Bytes(), li)
	i := g.get()
	g.acc.limit.Store(g.acc.held.Load() + 1<<20)
	peer, end := g.l.wire(i)
	write(t, peer, "x")
	r := end.wait(t)
	if r.Code != abi.Quota || trap == nil || trap.Stop != StopMemory {
		t.Errorf("it ended with %v, %v", r, trap)
	}
	if held := g.acc.held.Load(); held > g.acc.limit.Load() {
		t.Errorf("%d bytes are held", held)
	}
	g.l.on(i.Close)
}

// reseeding says what it did first.
func reseeding(long bool) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	work := []byte{}
	if long {
		work = w.Loop(w.LocalGet(0), w.I32Const(1), w.I32Add, w.LocalTee(0), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0))
	}
	m.Func("csa_reseed", ":", "i", work, w.I32Const(2900), w.I32Const(2900), w.I32Load8U(0), w.I32Const(1), w.I32Add, []byte{0x3a, 0, 0})
	m.Func("csa_data", "ii:i", "", w.LocalGet(0), w.I32Const(2900), w.I32Const(1), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

// csa_reseed comes once, before anything else, also when it takes long.
func TestReseed(t *testing.T) {
	for _, long := range []bool{false, true} {
		g := newPooled(t, reseeding(long).Bytes(), listener())
		for range 3 {
			i := g.get()
			peer, end := g.l.wire(i)
			for range 2 {
				write(t, peer, "x")
				hear(t, peer, "\x01")
			}
			peer.Close()
			end.wait(t)
			g.l.on(i.Close)
		}
	}
}

// It is not for an instance that has started by itself.
func TestNoReseedWithoutASnapshot(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(reseeding(false), listener())
	f := &fake{room: 9}
	i.data(i.admit(f), f, 1)
	if string(f.sent) != "\x00" {
		t.Errorf("it answers %q", f.sent)
	}
}

// An AssemblyScript module has a global for each of its variables. Copies keep all of
// them apart, and are charged for what they take.
func TestManyGlobalsOfACopy(t *testing.T) {
	const many = 239
	m, f := w.Handler([2]string{"send", "iii:i"})
	var sum []byte
	for k := range many {
		m.Global('i', true, w.I32Const(int32(k)))
		sum = append(sum, cat(w.GlobalGet(k), w.I32Const(1), w.I32Add, w.GlobalSet(k))...)
	}
	m.Func("csa_data", "ii:i", "", sum,
		w.I32Const(2900), w.GlobalGet(0), w.I32Store8(0), w.I32Const(2901), w.GlobalGet(many-1), w.I32Store8(0),
		w.LocalGet(0), w.I32Const(2900), w.I32Const(2), w.Call(f[0]), w.Drop, w.LocalGet(1))
	g := newPooled(t, m.Bytes(), listener())
	a, b := g.get(), g.get()
	say := func(i *Instance, rounds byte) {
		t.Helper()
		f := &fake{room: 100}
		var h int32
		g.on(i, func() {
			h = i.admit(f)
			i.Window(nil)
			i.data(h, f, 1)
		})
		g.l.on(func() { i.handles.remove(h) })
		if want := []byte{rounds, many - 1 + rounds}; !bytes.Equal(f.sent, want) {
			t.Errorf("it answers %v; want %v", f.sent, want)
		}
	}
	say(a, 1)
	say(b, 1)
	say(a, 2)
	say(a, 3)
	say(b, 2)
	if n := len(g.p.executors); n != 1 {
		t.Errorf("%d executors serve them", n)
	}
	if got := g.p.snapshot.image.cost(0) - memory.CopyOverhead; got != 8*(many-freeGlobals) {
		t.Errorf("each copy is charged %d bytes for its globals", got)
	}
	g.l.on(func() { a.Close(); b.Close() })
}

// What cannot be copied is told, and starts all the same.
func TestNoSnapshot(t *testing.T) {
	tables := grower(1)
	tables.Table(4, 4)
	tables.Func("csa_timer", "ii:", "", w.I32Const(0), w.RefNull(), []byte{0x26, 0})
	many := grower(1)
	globals := []byte{0xe9, 7} // 1001
	var set []byte
	for k := range 1001 {
		globals = append(globals, byte(wasm.I32), 1, 0x41, 0, 0x0b)
		set = append(append(set, 0x41, 1), w.GlobalSet(k)...)
	}
	many.Raw(6, globals)
	many.Func("csa_timer", "ii:", "", set)
	vector := grower(1)
	vector.Raw(6, append(append([]byte{1, byte(wasm.V128), 1, 0xfd, 0x0c}, make([]byte, 16)...), 0x0b))
	vector.Func("csa_timer", "ii:", "", append(append([]byte{0xfd, 0x0c}, make([]byte, 16)...), 0x24, 0))
	for want, m := range map[string]*w.Module{
		"writes to a table":                             tables,
		"writes to 1001 globals, and 1000 are the most": many,
		"writes to a global of type v128":               vector,
	} {
		n := newTenant(t, 0)
		code := n.load(m.Bytes(), Events)
		_, err := code.Snapshot(listener())
		var cannot *SnapshotError
		if !errors.As(err, &cannot) || len(cannot.Why) != 1 || cannot.Why[0] != want || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: it says %v", want, err)
		}
		i, err := code.Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		i.Close()
		if r, err := admit.Inspect(m.Bytes(), 0); err != nil || len(r.Unsnapshotable) != 1 || r.Unsnapshotable[0] != want {
			t.Errorf("inspect says %v, %v", r.Unsnapshotable, err)
		}
	}
	// A tenant that has no room for the image.
	n := newTenant(t, 0)
	n.acc.limit.Store(wasm.PageSize)
	_, err := n.load(grower(1).Bytes(), Events).Snapshot(listener())
	var cannot *SnapshotError
	if !errors.As(err, &cannot) {
		t.Errorf("without room it says %v", err)
	}
}

// Budgets bound what a pool makes, and are given back.
func TestPoolBudgets(t *testing.T) {
	g := newPooled(t, w.Echo().Bytes(), listener())
	image := g.acc.held.Load()
	g.acc.limit.Store(image + 2*(memory.CopyOverhead+firstUsual) + 100)
	a, b := g.get(), g.get()
	g.l.on(func() {
		if _, err := g.p.Get(); !errors.Is(err, ErrMemory) {
			t.Errorf("a third one gives %v", err)
		}
		a.Close() // its memory is there until the event is over
		if _, err := g.p.Get(); !errors.Is(err, ErrMemory) {
			t.Errorf("within the event another one gives %v", err)
		}
	})
	g.l.on(func() {
		a, _ = g.p.Get()
		if a == nil {
			t.Error("what the first one had is not given back")
			return
		}
		a.Close()
		b.Close()
	})
	g.acc.limit.Store(0)
	g.r.SetInstances(1)
	c := g.get()
	g.l.on(func() {
		if _, err := g.p.Get(); !errors.Is(err, ErrInstances) {
			t.Errorf("a second one gives %v", err)
		}
		c.Close()
		g.p.Close()
		if _, err := g.p.Get(); !errors.Is(err, ErrClosed) {
			t.Errorf("a closed pool gives %v", err)
		}
	})
	if held := g.acc.held.Load(); held != image {
		t.Errorf("%d bytes are held, and the image is %d", held, image)
	}
}

// A pool that is not used lets go of everything, a little later.
func TestPoolIsTrimmed(t *testing.T) {
	g := newPooled(t, w.Echo().Bytes(), listener())
	image := g.acc.held.Load()
	before := mappings(t)
	var all []*Instance
	for range 10 {
		i := g.get()
		f := &fake{room: 100}
		g.on(i, func() { i.Window(nil); i.data(i.admit(f), f, 1) })
		all = append(all, i)
	}
	g.l.on(func() {
		for _, i := range all {
			i.Close()
		}
		if len(g.p.free) != 0 {
			t.Errorf("%d memories are free within the event", len(g.p.free))
		}
	})
	g.l.on(func() {
		if len(g.p.free) != 10 || len(g.p.executors) != 1 {
			t.Errorf("%d memories and %d executors are kept", len(g.p.free), len(g.p.executors))
		}
		g.p.tidy()
		g.p.tidy()
		if len(g.p.free) != 0 {
			t.Errorf("%d memories are kept", len(g.p.free))
		}
		for range 2 * executorTurns {
			g.p.tidy()
		}
		if len(g.p.free) != 0 || len(g.p.executors) != 0 || g.p.trimming {
			t.Errorf("%d memories and %d executors are kept for good", len(g.p.free), len(g.p.executors))
		}
	})
	if held, maps := g.acc.held.Load(), mappings(t); held != image || maps > before+2 {
		t.Errorf("%d bytes are held, and the image is %d; %d mappings, %d before", held, image, maps, before)
	}
}

func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// While a call of one is in the background, others run on an executor of their own.
func TestPooledBackground(t *testing.T) {
	g := newPooled(t, slow("d").Bytes(), listener())
	finish := make([]func(), 4)
	for n := range finish {
		i := g.get()
		peer, end := g.l.wire(i)
		write(t, peer, "d")
		finish[n] = func() {
			hear(t, peer, "d")
			write(t, peer, "x")
			hear(t, peer, "x")
			g.l.on(i.Close)
			end.wait(t)
		}
	}
	for _, f := range finish {
		f()
	}
	g.l.on(func() {
		if g.p.busy != 0 || g.p.live != 0 {
			t.Errorf("%d executors are busy, %d instances live", g.p.busy, g.p.live)
		}
	})
}

// A trapped instance's memory is not used again.
func TestTrappedMemoryIsNotKept(t *testing.T) {
	m, _ := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "", w.Unreachable)
	g := newPooled(t, m.Bytes(), listener())
	i := g.get()
	peer, end := g.l.wire(i)
	write(t, peer, "x")
	if r := end.wait(t); r.Code != abi.Invalid {
		t.Errorf("it ended with %v", r)
	}
	g.l.on(i.Close)
	g.l.on(func() {
		if len(g.p.free) != 0 || g.p.live != 0 {
			t.Errorf("%d memories are kept, %d instances live", len(g.p.free), g.p.live)
		}
	})
}

// Timers that csa_start has set are each instance's own.
func TestSnapshotTimers(t *testing.T) {
	m, f := w.Handler([2]string{"timer", "iii:i"}, [2]string{"log", "iii:i"})
	m.Data(100, "fired")
	m.Func("csa_start", ":i", "", w.I32Const(-1), w.I32Const(3), w.I32Const(1), w.Call(f[0]))
	m.Func("csa_timer", "ii:", "", w.I32Const(abi.LogInfo), w.I32Const(100), w.I32Const(5), w.Call(f[1]), w.Drop)
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	g := newPooled(t, m.Bytes(), listener())
	a, b := g.get(), g.get()
	if n := g.acc.timers.Load(); n != 2 {
		t.Errorf("%d timers are charged", n)
	}
	g.clock.Advance(time.Millisecond)
	until(t, "both have fired", func() bool { return strings.Count(g.log.text(), "fired") == 2 })
	g.l.on(func() { a.Close(); b.Close() })
}
