package plugins

import (
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
)

const (
	visitSends = 2000
	visitFlag  = 300 // where the guest of a test finds that it may go on
)

// visitor is a guest whose csa_data goes to the background and then does what the first byte
// says: "s" sends that byte visitSends times, one by one; "f" sends it and computes until there is
// something at visitFlag; "t" sends it and hands over a pointer that is not in its memory.
// It counts in local 2.
func visitor() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	send := func(at, n int32) []byte {
		return cat(w.LocalGet(0), w.I32Const(at), w.I32Const(n), w.Call(f[0]), w.Drop)
	}
	until := func(n int32, do ...[]byte) []byte {
		return cat(w.I32Const(0), w.LocalSet(2),
			w.Loop(cat(do...), w.LocalGet(2), w.I32Const(1), w.I32Add, w.LocalTee(2), w.I32Const(n), w.I32LtS, w.BrIf(0)))
	}
	first := func(c byte, then ...[]byte) []byte {
		return cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(then...))
	}
	m.Func("csa_data", "ii:i", "ii",
		until(5_000_000),
		first('s', until(visitSends, send(w.WindowAt, 1))),
		first('f', send(w.WindowAt, 1), w.Loop(w.I32Const(visitFlag), w.I32Load8U(0), w.I32Const(0), w.I32Eq, w.BrIf(0))),
		first('t', send(w.WindowAt, 1), send(-8, 16)),
		w.LocalGet(1))
	return m
}

// A call in the background that sends often asks for its loop once in a while, and not each time.
func TestSendsTravelTogether(t *testing.T) {
	g := newGuests(t, visitor(), listener())
	peer, _ := g.l.wire(g.i)
	g.away(peer, "s")
	g.open()
	hear(t, peer, strings.Repeat("s", visitSends))
	var visits int
	until(t, "the call is over", func() bool { return g.running.Load() == 0 })
	g.l.on(func() { visits = g.i.visit.times })
	if visits < 1 || visits > visitSends/4 {
		t.Errorf("it came to its loop %d times to send %d times", visits, visitSends)
	}
	if g.booked.Load() == 0 {
		t.Error("no CPU time was booked")
	}
}

// A call that computes after it has sent does so beside its loop.
func TestAVisitEndsWhenTheLoopIsNotNeeded(t *testing.T) {
	g := newGuests(t, visitor(), listener())
	peer, _ := g.l.wire(g.i)
	other := newTenant(t, 0).start(w.Echo(), listener())
	neighbour, _ := g.l.wire(other)
	g.away(peer, "f")
	g.open()
	hear(t, peer, "f") // which leaves when the visit is over
	for range 5 {
		write(t, neighbour, "ping")
		hear(t, neighbour, "ping")
	}
	if g.running.Load() != 1 {
		t.Error("the call is over too early")
	}
	g.i.memory.Bytes()[visitFlag] = 1
	until(t, "the call is over", func() bool { return g.running.Load() == 0 })
	g.l.on(other.Close)
}

// A trap in a visit ends the visit with the call: the loop goes on, for the others.
func TestATrapInAVisit(t *testing.T) {
	g := newGuests(t, visitor(), listener())
	peer, end := g.l.wire(g.i)
	other := newTenant(t, 0).start(w.Echo(), listener())
	neighbour, _ := g.l.wire(other)
	g.away(peer, "t")
	g.open()
	if r := end.wait(t); r.Cause != csa.Trapped {
		t.Errorf("it ended with %v", r)
	}
	write(t, neighbour, "ping")
	hear(t, neighbour, "ping")
	g.l.on(func() {
		if g.l.Depth() != 1 {
			t.Errorf("the loop is %d events deep; want 1", g.l.Depth())
		}
	})
	g.l.on(other.Close)
}

// A call in the background comes to its loop for each function that may not run off the loop,
// and for no other.
func TestWhatNeedsTheLoop(t *testing.T) {
	for n := range abi.HostFunctions {
		row := &abi.HostFunctions[n]
		t.Run(row.Name, func(t *testing.T) {
			typ, _ := admit.ImportType(abi.Module, row.Name)
			m, f := w.Handler([2]string{row.Name, w.Signature(typ.Params, typ.Results)})
			var args []byte
			for _, p := range row.Params {
				switch {
				case p.Name == "conn":
					args = append(args, w.LocalGet(0)...)
				case p.Type == abi.I64:
					args = append(args, w.I64Const(0)...)
				default:
					args = append(args, w.I32Const(0)...)
				}
			}
			m.Func("csa_data", "ii:i", "i",
				w.Loop(w.LocalGet(2), w.I32Const(1), w.I32Add, w.LocalTee(2), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0)),
				args, w.Call(f[0]), w.Drop,
				w.LocalGet(1))
			g := newGuests(t, m, listener())
			peer, _ := g.l.wire(g.i)
			g.away(peer, "x")
			g.open()
			until(t, "the call is over", func() bool { return g.running.Load() == 0 })
			visited := false
			g.l.on(func() { visited = g.i.visit != nil && g.i.visit.times > 0 })
			if visited == row.OffLoop {
				t.Errorf("it has come to its loop: %v; it may run off the loop: %v", visited, row.OffLoop)
			}
		})
	}
}
