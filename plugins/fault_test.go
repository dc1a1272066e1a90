package plugins

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// brokenCounter is a part of the host that fails when a guest counts.
type brokenCounter struct{ with any }

func (b brokenCounter) Count([]byte, int64) abi.Code { panic(b.with) }

// A host function that panics, with whatever, ends the instance that has called it: a trap that is
// known to be the host's fault, told once, with where it was.
func TestBugInAHostFunction(t *testing.T) {
	m := w.New()
	count := m.Import("csa_v1", "count", "iiI:i")
	m.Memory(1)
	m.Data(100, "a")
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.I32Const(100), w.I32Const(1), []byte{0x42, 1}, w.Call(count), w.Drop, w.LocalGet(1))
	for _, with := range []any{errors.New("an error"), "a text", 7} {
		n := newTenant(t, 0)
		n.r.options.Counter = brokenCounter{with}
		var told []*Trap
		n.r.options.OnBug = func(l *Listener, t *Trap) { told = append(told, t) }
		i := n.start(m, listener())
		f := &fake{}
		if i.data(open(i, f), f, 3); len(told) != 1 || told[0].Call != "csa_data" || told[0].Why != "the host failed" || i.Running() || len(f.ends) != 1 {
			t.Errorf("%v: it is told of %v, and its connection ends with %v", with, told, f.ends)
		}
		i.Close()
	}
}

// brokenCPU fails when the time of a call is booked, which is behind the call.
type brokenCPU struct {
	allCores
	broken bool
}

func (b *brokenCPU) Book(int64) {
	if b.broken {
		panic("in Book")
	}
}

// A panic in what there is to do around a call is the instance's end, if the loop says so: its
// executor serves others on, and nothing is left.
func TestFaultAroundACall(t *testing.T) {
	g := newPooled(t, w.Echo().Bytes(), listener())
	cpu := &brokenCPU{}
	g.r.options.CPU = cpu
	var told []*Trap
	g.r.options.OnBug = func(l *Listener, t *Trap) { told = append(told, t) }
	bad, good := g.get(), g.get()
	f, other := &fake{room: 100}, &fake{room: 100}
	g.l.on(func() { g.l.OnFault(func(*csa.Fault) bool { return true }) })
	g.on(bad, func() {
		cpu.broken = true
		h := bad.admit(f)
		bad.Window(nil)
		bad.memory.Filled(1)
		g.p.executors[0].use.unbooked = bookEvery // so that it is booked
		g.l.Serve(bad)
		bad.run(event{call: callData, handle: h, arg: 1, conn: f})
	})
	g.l.on(func() {
		cpu.broken = false
		if len(told) != 1 || !told[0].Bug || bad.Running() || len(f.ends) != 1 || !strings.Contains(f.ends[0].Why, "the host failed") {
			t.Errorf("it is told of %v, and its connection ends with %v", told, f.ends)
		}
		if g.p.busy != 0 {
			t.Errorf("%d executors are busy", g.p.busy)
		}
		bad.Close()
	})
	used := 0
	g.on(good, func() {
		good.Window(nil)
		used = good.data(good.admit(other), other, 1)
	})
	if used != 1 && !slices.Contains(other.did, "consumed 1 of 1") {
		t.Errorf("the other instance consumes %d, %v", used, other.did)
	}
	g.l.on(good.Close)
}
