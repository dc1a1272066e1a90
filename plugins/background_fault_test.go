package plugins

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/memory"
)

// faultyCPU is a gate at which things are done.
type faultyCPU struct {
	*gate
	entered, slice func()
}

func (f *faultyCPU) AwaitSlot() {
	f.gate.AwaitSlot()
	if f.entered != nil {
		f.entered()
	}
}

func (f *faultyCPU) NextSlice(ns int64) {
	f.gate.NextSlice(ns)
	if f.slice != nil {
		f.slice()
	}
}

// counter counts "c" in csa_data when it has computed for some milliseconds, and says what it was
// sent.
func counter() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"count", "iiI:i"})
	m.Data(0, "c")
	m.Func("csa_data", "ii:i", "i",
		w.Loop(w.LocalGet(2), w.I32Const(1), w.I32Add, w.LocalTee(2), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0)),
		w.I32Const(0), w.I32Const(1), []byte{0x42, 1}, w.Call(f[1]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

// brokenAnswer is a connection that fails when it is told what its handler has consumed.
type brokenAnswer struct{ fake }

func (*brokenAnswer) Consumed([]byte, int) { panic("in Consumed") }

// A panic of the host's while a call is in the background, wherever, ends that instance: its
// connections are closed, one that waits behind the call included, and what comes then is refused.
// The loop goes on, and its other instances; nothing stays taken.
func TestFaultsInTheBackground(t *testing.T) {
	for what, broken := range map[string]func(g *guests, cpu *faultyCPU){
		"in a host function, on a visit":      func(g *guests, _ *faultyCPU) { g.r.options.Counter = brokenCounter{"in Count"} },
		"when the call gets its turn":         func(_ *guests, cpu *faultyCPU) { cpu.entered = func() { panic("in AwaitSlot") } },
		"when the call has others go on":      func(_ *guests, cpu *faultyCPU) { cpu.slice = func() { panic("in NextSlice") } },
		"when its time is counted at its end": breakMemory,
	} {
		t.Run(what, func(t *testing.T) {
			noLeaks(t)
			var told, traps atomic.Int64
			li := listener()
			g := newGuests(t, counter(), li)
			g.r.options.OnBug = func(_ *Listener, t *Trap) { told.Add(1) }
			li.OnTrap = func(i *Instance, t *Trap) {
				traps.Add(1)
				if !t.Bug || t.Why != "the host failed" {
					g.t.Errorf("it is told of %v: %v", t, t.Err)
				}
			}
			cpu := &faultyCPU{gate: g.gate}
			g.r.options.CPU = cpu
			broken(g, cpu)
			other := newTenant(t, 0).start(w.Echo(), listener())
			neighbour, _ := g.l.wire(other)
			peer, end := g.l.wire(g.i)
			behind, itsEnd := g.l.wire(g.i)
			g.away(peer, "a")
			write(t, behind, "b")
			write(t, neighbour, "1")
			hear(t, neighbour, "1")
			g.open()
			for _, e := range []ending{end, itsEnd} {
				if r := e.wait(t); r.Cause != csa.Trapped || !strings.Contains(r.Why, "the host failed") {
					t.Errorf("a connection ends with %v", r)
				}
			}
			_, late := g.l.wire(g.i)
			if r := late.wait(t); r.Cause != csa.InstanceGone {
				t.Errorf("one that comes later ends with %v", r)
			}
			until(t, "its place is given back", func() bool { return g.running.Load() == 0 })
			g.l.on(func() {
				if told.Load() != 1 || traps.Load() != 1 || g.i.Running() || g.i.inCall || g.i.suspended || g.i.queue.len() > 0 {
					t.Errorf("%d bugs and %d traps are told of; it runs: %v, is in a call: %v, suspended: %v, with %d events",
						told.Load(), traps.Load(), g.i.Running(), g.i.inCall, g.i.suspended, g.i.queue.len())
				}
			})
			write(t, neighbour, "2")
			hear(t, neighbour, "2")
			g.l.on(other.Close)
		})
	}
}

// breakMemory has an instance be without memory from when its call is in the background until it
// traps.
func breakMemory(g *guests, cpu *faultyCPU) {
	var was *memory.Linear
	cpu.entered = func() { was, g.i.memory = g.i.memory, nil }
	trap := g.i.listener.OnTrap
	g.i.listener.OnTrap = func(i *Instance, t *Trap) {
		i.memory = was
		trap(i, t)
	}
}

// A panic on the loop, in what a call's answer says that has come back, is the instance's end too:
// it would take no event any more otherwise, and never close.
func TestFaultBehindACallThatHasComeBack(t *testing.T) {
	noLeaks(t)
	g := newGuests(t, counter(), listener())
	var traps atomic.Int64
	g.i.listener.OnTrap = func(*Instance, *Trap) { traps.Add(1) }
	g.l.on(func() { g.l.OnFault(func(f *csa.Fault) bool { return f.Value == "in Consumed" }) })
	bad := &brokenAnswer{}
	g.close()
	g.l.Post(func() {
		g.i.Window(nil)
		g.i.run(event{call: callData, handle: g.i.admit(bad), arg: 1, conn: bad})
	})
	until(t, "the call is in the background", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.waiting == 1 })
	g.open()
	until(t, "it traps", func() bool { return traps.Load() == 1 })
	g.l.on(func() {
		if g.i.Running() || g.i.suspended || g.i.returning || len(bad.ends) != 1 {
			t.Errorf("it runs: %v, is suspended: %v; its connection ends with %v", g.i.Running(), g.i.suspended, bad.ends)
		}
	})
}

// Calls in the background outlive their loop where it is stopped under them. Each instance closes
// by itself then: nothing of it is left, and nobody waits.
func TestALoopStopsUnderItsCalls(t *testing.T) {
	noLeaks(t)
	const instances = 4
	n, cpu := newTenant(t, 0), newGate()
	n.r.options.CPU = cpu
	l := newLoop(t)
	var all []*Instance
	var closed sync.Map
	li := listener()
	li.OnClosed = func(i *Instance) { closed.Store(i, true) }
	cpu.close()
	for range instances {
		i := n.start(slow("d"), li)
		all = append(all, i)
		peer, _ := l.wire(i)
		write(t, peer, "d")
	}
	until(t, "all calls are in the background", func() bool { cpu.mu.Lock(); defer cpu.mu.Unlock(); return cpu.waiting == instances })
	l.stopped = true
	l.sel.Stop()
	<-l.sel.Done()
	cpu.open()
	until(t, "all calls have ended", func() bool { return cpu.running.Load() == 0 })
	for _, i := range all {
		if _, ok := closed.Load(i); !ok || i.exec != nil || i.memory != nil {
			t.Errorf("an instance is left: told %v, state %v", ok, i.state)
		}
	}
	if living, _ := n.r.Instances(); living != 0 {
		t.Errorf("%d instances live", living)
	}
	if held := l.acc.held.Load(); held != 0 {
		t.Errorf("%d bytes of buffers are held", held)
	}
}
