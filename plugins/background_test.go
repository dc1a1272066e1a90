package plugins

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// slow is an echo that logs each callback with the handle, and that computes
// for some milliseconds in each callback whose first letter is in slow; in
// csa_data only for bytes that begin with "d". Bytes that begin with "t" set
// timer 7 of the connection to fire at once, "c" withdraws it, and "e" spins
// for ever.
func slow(in string) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"log", "iii:i"}, [2]string{"timer", "iii:i"})
	send, log, timer := f[0], f[1], f[2]
	spin := w.Loop(w.LocalGet(2), w.I32Const(1), w.I32Add, w.LocalTee(2), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0))
	say := func(at int, what string) []byte {
		m.Data(at, what)
		return cat(w.I32Const(abi.LogInfo), w.I32Const(int32(at)), w.I32Const(int32(len(what))), w.Call(log), w.Drop)
	}
	first := func(c byte, then ...[]byte) []byte {
		return cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(then...))
	}
	setTimer := func(ms int32) []byte {
		return cat(w.LocalGet(0), w.I32Const(7), w.I32Const(ms), w.Call(timer), w.Drop)
	}
	part := func(c byte) []byte {
		if strings.IndexByte(in, c) < 0 {
			return nil
		}
		return spin
	}
	m.Func("csa_open", "i:i", "ii", say(0, "open"), part('o'), w.I32Const(0))
	m.Func("csa_data", "ii:i", "ii",
		first('t', setTimer(0)),
		first('d', part('d')),
		first('c', part('d'), setTimer(-1)),
		first('e', w.Loop(w.Br(0))),
		say(8, "data"),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.Drop, w.LocalGet(1))
	m.Func("csa_timer", "ii:", "ii", say(16, "timer"), part('t'))
	m.Func("csa_eof", "i:", "ii", say(24, "eof"), part('e'))
	m.Func("csa_closed", "ii:", "ii", say(32, "closed"), part('c'))
	m.Func("csa_stop", ":", "iii", say(40, "stop"), part('s'))
	return m
}

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// gate is a CPU that has calls wait where they would go on in the background,
// while it is shut. On a busy machine any call may come to it.
type gate struct {
	mu      sync.Mutex
	opened  sync.Cond
	shut    bool
	waiting int // calls at the gate
	passed  int // calls that were, or are
	running atomic.Int32
	booked  atomic.Int64
	deny    atomic.Bool
	denied  chan func()
	holds   atomic.Bool // its tenant's share holds calls
}

func newGate() *gate {
	g := &gate{denied: make(chan func(), 100)}
	g.opened.L = &g.mu
	return g
}

func (g *gate) Admit(again func()) bool {
	if g.deny.Load() {
		g.denied <- again
		return false
	}
	return true
}

func (g *gate) Book(ns int64) { g.booked.Add(ns) }

func (g *gate) Enlist()  {}
func (g *gate) Acquire() { g.AwaitSlot() }

func (g *gate) AwaitSlot() {
	g.running.Add(1)
	g.mu.Lock()
	g.passed++
	for g.waiting++; g.shut; {
		g.opened.Wait()
	}
	g.waiting--
	g.mu.Unlock()
}

func (g *gate) NextSlice(ns int64) { g.booked.Add(ns); runtime.Gosched() }
func (g *gate) Release(ns int64)   { g.booked.Add(ns); g.running.Add(-1) }

func (g *gate) HoldsCalls() bool { return g.holds.Load() }

func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
}

func (g *gate) open() {
	g.mu.Lock()
	g.shut = false
	g.mu.Unlock()
	g.opened.Broadcast()
}

// guests is a loop with one instance, which waits at a gate.
type guests struct {
	*tenant
	*gate
	l *loop
	i *Instance
}

func newGuests(t *testing.T, m *w.Module, li *Listener) *guests {
	t.Helper()
	return newGuestsOn(t, selector.System, m, li)
}

// newGuestsOn is newGuests on a loop with a clock.
func newGuestsOn(t *testing.T, clock selector.Clock, m *w.Module, li *Listener) *guests {
	t.Helper()
	g := &guests{tenant: newTenant(t, 0), gate: newGate()}
	g.r.options.CPU = g.gate
	g.i = g.start(m, li)
	g.l = newLoopOn(t, clock)
	g.l.on(func() { g.i.Attach(g.l.Loop) })
	t.Cleanup(func() {
		g.l.on(func() { g.l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Orderly) }) })
		g.l.on(g.i.Close)
		until(t, "the instance is closed", func() bool { n, _ := g.r.Instances(); return n == 0 })
		until(t, "all calls have come back", func() bool { return g.running.Load() == 0 })
	})
	return g
}

// away shuts the gate, says something that takes long, and waits until the
// call is in the background.
func (g *guests) away(peer net.Conn, what string) {
	g.t.Helper()
	g.close()
	write(g.t, peer, what)
	until(g.t, "a call is in the background", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiting == 1
	})
}

func (g *guests) said(what ...string) {
	g.t.Helper()
	want := ""
	for _, s := range what {
		want += fmt.Sprintf("%d true %q\n", abi.LogInfo, s)
	}
	until(g.t, "the guest says "+want, func() bool { return len(g.log.text()) >= len(want) })
	if got := g.log.text(); got != want {
		g.t.Errorf("the guest said\n%snot\n%s", got, want)
	}
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// A call that takes long leaves its loop to the others, and what it says
// arrives when it is over.
func TestALongCallLeavesItsLoop(t *testing.T) {
	g := newGuests(t, slow("d"), listener())
	peer, _ := g.l.wire(g.i)
	other := newTenant(t, 0).start(w.Echo(), listener())
	neighbour, _ := g.l.wire(other)
	g.away(peer, "d1")
	for range 5 {
		write(t, neighbour, "ping")
		hear(t, neighbour, "ping")
	}
	write(t, peer, "xyz") // waits
	g.open()
	hear(t, peer, "d1xyz")
	g.said("open", "data", "data")
	if g.booked.Load() == 0 {
		t.Error("no CPU time was booked")
	}
	g.l.on(other.Close)
}

// A call that waits for its tenant's share of the cores is told apart from one that runs, and from
// one that waits since others have the cores.
func TestACallThatWaitsIsSaidToWait(t *testing.T) {
	g := newGuests(t, slow("d"), listener())
	peer, _ := g.l.wire(g.i)
	does := func(want Doing) {
		t.Helper()
		until(t, fmt.Sprintf("it does %d", want), func() (does bool) {
			g.l.on(func() { does = g.i.Doing() == want })
			return does
		})
	}
	does(Ready)
	g.away(peer, "d")
	does(Background)
	g.holds.Store(true)
	does(BackgroundWaits)
	g.open()
	hear(t, peer, "d")
	does(Ready)
}

// While a call is in the background, what happens to the instance's
// connections waits, in order; a timer that the call withdraws never fires.
func TestEventsWaitInOrder(t *testing.T) {
	g := newGuests(t, slow("d"), listener())
	peer, _ := g.l.wire(g.i)
	second, end := g.l.wire(g.i)
	write(t, second, "a")
	hear(t, second, "a")
	g.said("open", "open", "data")
	g.away(peer, "d")
	write(t, second, "b")
	second.(*net.UnixConn).CloseWrite()
	third, _ := g.l.wire(g.i) // opened behind them
	g.l.on(g.i.Stop)
	g.open()
	hear(t, peer, "d")
	hear(t, second, "b")
	write(t, third, "c")
	hear(t, third, "c")
	text := g.log.text()
	for _, want := range []string{"stop", "eof"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q was said %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
	g.l.on(func() { g.l.Each(func(c *csa.CSA) { c.ProducerFinished() }) })
	if r := end.wait(t); r != csa.Orderly {
		t.Errorf("it ended with %v", r)
	}
	until(t, "the end is told", func() bool { return strings.Contains(g.log.text(), "closed") })
}

func TestATimerWithdrawnInTheBackground(t *testing.T) {
	g := newGuests(t, slow("d"), listener())
	peer, _ := g.l.wire(g.i)
	second, _ := g.l.wire(g.i)
	g.away(peer, "c")
	// It fires while the call is away, and waits; then the call withdraws it.
	g.l.on(func() {
		s := g.i.handles.slots[0].conn.(*csa.CSA)
		if code := s.SetTimer(7, 0); code != abi.OK {
			t.Error(code)
		}
	})
	g.l.on(func() {})
	until(t, "it waits", func() (ok bool) { g.l.on(func() { ok = g.i.queue.len() == 1 }); return ok })
	g.open()
	hear(t, peer, "c")
	write(t, second, "x")
	hear(t, second, "x")
	if text := g.log.text(); strings.Contains(text, "timer") {
		t.Errorf("it fired:\n%s", text)
	}
}

// Every callback may take long.
func TestEveryCallbackMayTakeLong(t *testing.T) {
	g := newGuests(t, slow("odtecs"), listener())
	peer, end := g.l.wire(g.i)
	write(t, peer, "d")
	hear(t, peer, "d")
	write(t, peer, "t")
	hear(t, peer, "t")
	until(t, "the timer", func() bool { return strings.Contains(g.log.text(), "timer") })
	g.l.on(g.i.Stop)
	peer.(*net.UnixConn).CloseWrite()
	until(t, "the end", func() bool { return strings.Contains(g.log.text(), "eof") })
	g.l.on(func() { g.l.Each(func(c *csa.CSA) { c.ProducerFinished() }) })
	if r := end.wait(t); r != csa.Orderly {
		t.Errorf("it ended with %v", r)
	}
	until(t, "the last word", func() bool { return strings.Contains(g.log.text(), "closed") })
	until(t, "all six calls went to the background", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.passed >= 6
	})
}

// The peer vanishes in the middle of a call: the books are closed at once, the
// guest goes on and hears of it afterwards.
func TestAPeerVanishesInTheBackground(t *testing.T) {
	g := newGuests(t, slow("d"), listener())
	peer, end := g.l.wire(g.i)
	g.away(peer, "d")
	g.l.on(func() { g.l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Reason{Code: abi.Reset}) }) })
	if r := end.wait(t); r.Code != abi.Reset {
		t.Errorf("it ended with %v", r)
	}
	g.l.on(g.i.Close) // as the connection's own instance would be
	g.open()
	g.said("open", "data", "closed")
	until(t, "it is closed", func() bool { n, _ := g.r.Instances(); return n == 0 })
}

// What stops a call says why, to the connection and to whoever is told of
// traps.
func TestCallsAreStopped(t *testing.T) {
	t.Run("event_timeout", func(t *testing.T) {
		var trap atomic.Pointer[Trap]
		li := listener()
		li.EventTimeout = 3 * time.Millisecond
		li.OnTrap = func(_ *Instance, tr *Trap) { trap.Store(tr) }
		g := newGuests(t, slow(""), li)
		peer, end := g.l.wire(g.i)
		write(t, peer, "e")
		const why = "it used more than 3ms of CPU time in one event (event_timeout)"
		if r := end.wait(t); r.Code != abi.Timeout || r.Why != "its handler was stopped: "+why {
			t.Errorf("it ended with %v", r)
		}
		if tr := trap.Load(); tr.Stop != StopTimeout || tr.Error() != "csa_data was stopped: "+why {
			t.Errorf("OnTrap was told %+v", tr)
		}
		if used := g.r.Fuel(); used < 1_000_000 {
			t.Errorf("it is said to have used %d units of fuel", used)
		}
	})
	// A guest that sleeps has not computed, and is told what it has done.
	t.Run("event_timeout, waiting", func(t *testing.T) {
		m := w.New()
		poll := m.Import("wasi_snapshot_preview1", "poll_oneoff", "iiii:i")
		m.Memory(1)
		m.Data(16, "\x01")             // the monotonic clock
		m.Data(24, "\x00\xca\x9a\x3b") // a second
		m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
		m.Func("csa_data", "ii:i", "", w.Loop(w.I32Const(0), w.I32Const(64), w.I32Const(1), w.I32Const(128), w.Call(poll), w.Drop, w.Br(0)), w.LocalGet(1))
		li := listener()
		li.EventTimeout = 3 * time.Millisecond
		n := newTenant(t, 0)
		i := n.start(m, li)
		l := newLoop(t)
		peer, end := l.wire(i)
		write(t, peer, "e")
		if r := end.wait(t); r.Code != abi.Timeout || !strings.Contains(r.Why, "it waited in poll_oneoff") || !strings.Contains(r.Why, "SetTimer") || !strings.Contains(r.Why, "(event_timeout)") {
			t.Errorf("it ended with %v", r)
		}
	})
	t.Run("host", func(t *testing.T) {
		li := listener()
		li.EventTimeout = time.Hour
		g := newGuests(t, slow(""), li)
		peer, end := g.l.wire(g.i)
		write(t, peer, "e")
		until(t, "it is in the background", func() bool { return g.running.Load() == 1 })
		g.r.Close()
		if r := end.wait(t); r.Code != abi.Closed || !strings.Contains(r.Why, "the host stops") {
			t.Errorf("it ended with %v", r)
		}
	})
}

// A stack that grows is charged, bounded, and let go.
func TestStackIsBounded(t *testing.T) {
	m, _ := w.Handler()
	self := w.Func(1) // behind csa_window
	if f := m.Func("", "i:i", "", w.LocalGet(0), w.I32Eqz, w.If(w.I32Const(0), w.Return),
		w.LocalGet(0), w.I32Const(1), w.I32Sub, w.Call(self), w.I32Const(1), w.I32Add); f != self {
		t.Fatal("it is not where it calls itself")
	}
	m.Func("csa_data", "ii:i", "", w.LocalGet(1), w.I32Const(20_000), w.I32Mul, w.Call(self), w.Drop, w.LocalGet(1))
	n := newTenant(t, 0)
	li := listener()
	li.Stack = 8 << 20
	i := n.start(m, li)
	f := &fake{}
	h := open(i, f)
	before := n.acc.held.Load()
	if used := i.data(h, f, 2); used != 2 {
		t.Fatalf("40,000 calls deep: %d, %v", used, f.ends)
	}
	if held := n.acc.held.Load(); held != before {
		t.Errorf("%d bytes stay charged", held-before)
	}
	for c, f := range i.exec.calls {
		if f.Function != nil && f.stackSize() > keptStack {
			t.Errorf("%v keeps a stack of %d bytes", call(c), f.stackSize())
		}
	}
	n.acc.limit.Store(before + 100_000)
	if i.data(h, f, 2); len(f.ends) != 1 || f.ends[0].Code != abi.Quota || !strings.Contains(f.ends[0].Why, "no memory left for its stack") {
		t.Errorf("without memory: %v", f.ends)
	}
	n.acc.limit.Store(0)
	i = n.start(m, li)
	f = &fake{}
	h = open(i, f)
	if i.data(h, f, 1000); len(f.ends) != 1 || f.ends[0].Code != abi.Quota || !strings.Contains(f.ends[0].Why, "its stack grew to more than 8388608 bytes (stack)") {
		t.Errorf("20,000,000 calls deep: %v", f.ends)
	}
}

// A tenant that has used up its share waits. What waits runs in order, but for
// bytes, which are offered again in their turn.
func TestEventsWaitForTheShare(t *testing.T) {
	g := newGuests(t, slow(""), listener())
	peer, _ := g.l.wire(g.i)
	write(t, peer, "a")
	hear(t, peer, "a")
	g.deny.Store(true)
	write(t, peer, "b")
	again := <-g.denied
	second, _ := g.l.wire(g.i) // behind it
	write(t, second, "c")
	again() // too early
	again = <-g.denied
	g.deny.Store(false)
	again()
	hear(t, peer, "b")
	hear(t, second, "c")
	again() // stale
	write(t, peer, "d")
	hear(t, peer, "d")
	g.said("open", "data", "open", "data", "data", "data")
}

// The guests of one tenant do not keep a loop for long in one turn, however
// many they are. They get the next, also where the clock stands still.
func TestATenantLeavesTheTurn(t *testing.T) {
	for name, clock := range map[string]selector.Clock{"the system's clock": selector.System, "a clock that stands still": &selector.Manual{}} {
		t.Run(name, func(t *testing.T) { leavesTheTurn(t, clock) })
	}
}

func leavesTheTurn(t *testing.T, clock selector.Clock) {
	g := newGuestsOn(t, clock, slow(""), listener())
	peer, _ := g.l.wire(g.i)
	write(t, peer, "a")
	hear(t, peer, "a")
	g.l.on(func() {
		g.i.turn.at, g.i.turn.spent = g.l.Turn(), turnSlice
		if g.i.free(false) {
			t.Error("it may go on in the turn that it has used up")
		}
	})
	write(t, peer, "b")
	hear(t, peer, "b")
}

// Who has had to wait for a turn of the loop comes before those whose peers are quicker.
func TestTurnsGoRound(t *testing.T) {
	g := newGuestsOn(t, selector.System, w.Echo(), listener())
	other := g.start(w.Echo(), listener())
	g.l.on(func() { other.Attach(g.l.Loop) })
	t.Cleanup(func() { g.l.on(other.Close) })
	one, _ := g.l.wire(g.i)
	two, _ := g.l.wire(other)
	g.l.on(func() {
		turn := g.i.turn
		turn.at, turn.spent = g.l.Turn(), turnSlice
		if other.free(false) {
			t.Error("it may go on in a turn that its tenant has used up")
		}
		turn.spent = 0 // as in the next turn
		if g.i.free(false) {
			t.Error("it may go on before one that has waited")
		}
	})
	for _, peer := range []net.Conn{one, two} {
		write(t, peer, "a")
		hear(t, peer, "a")
	}
	g.l.on(func() {
		if g.i.turn.first != nil || g.i.turn.last != nil {
			t.Error("there are instances in the line")
		}
	})
}

// A guest that takes too long to start does not do so on a loop.
func TestSlowStarts(t *testing.T) {
	m, _ := w.Handler()
	m.Func("csa_data", "ii:i", "", w.I32Const(0))
	m.Func("csa_start", ":i", "i",
		w.Loop(w.LocalGet(0), w.I32Const(1), w.I32Add, w.LocalTee(0), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0)), w.I32Const(0))
	n := newTenant(t, 0)
	module := n.load(m.Bytes(), Events)
	if _, err := module.InstantiateHere(listener()); !errors.Is(err, ErrSlow) {
		t.Errorf("on a loop: %v", err)
	}
	i, err := module.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	i.Close()
	// How long a start takes is told by the wall's clock. On a busy machine a
	// quick one is sometimes slow, but not each time.
	echo := n.load(w.Echo().Bytes(), Events)
	for tries := 1; ; tries++ {
		quick, err := echo.InstantiateHere(listener())
		if errors.Is(err, ErrSlow) && tries < 100 {
			continue
		}
		if err != nil {
			t.Fatalf("a quick start on a loop, try %d: %v", tries, err)
		}
		quick.Close()
		return
	}
}

// Instances above the tenant's number are refused, and there is room again
// when one is closed.
func TestInstancesAreCounted(t *testing.T) {
	n := newTenant(t, 0)
	n.r.SetInstances(2)
	m := n.load(w.Echo().Bytes(), Events)
	a, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Instantiate(listener()); !errors.Is(err, ErrInstances) {
		t.Errorf("the third: %v", err)
	}
	a.Close()
	c, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	if living, refused := n.r.Instances(); living != 2 || refused != 1 {
		t.Errorf("%d live, %d were refused", living, refused)
	}
	b.Close()
	c.Close()
}

// The same calls use the same fuel, however they are cut into slices.
func TestFuelIsTheSame(t *testing.T) {
	used := func(next int64) int64 {
		n := newTenant(t, 0)
		i := n.start(slow("odec"), listener())
		f := &fake{room: 100}
		i.exec.use.next = next
		h := open(i, f)
		copy(i.memory.Bytes()[i.window:], "d")
		i.data(h, f, 1)
		i.eof(h, f)
		i.ended(h, csa.Orderly)
		i.Close()
		return n.r.Fuel()
	}
	if a, b := used(leastFuel), used(mostFuel); a != b || a < 10_000_000 {
		t.Errorf("%d units with short slices, %d with long ones", a, b)
	}
}
