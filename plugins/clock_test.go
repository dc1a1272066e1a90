package plugins

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// surroundings are what the guests of a test have: a clock that is moved by hand, a time of day
// that goes with it, and bytes that are 1, 2, 3 and so on.
type surroundings struct{ selector.Manual }

const dayOfTests = int64(1_000_000_000_000_000_000)

func (s *surroundings) of(r *Runtime) {
	r.options.Clock = &s.Manual
	r.options.Wall = func() int64 { return dayOfTests + s.Now() }
	r.options.Random = func(p []byte) {
		for k := range p {
			p[k] = byte(k + 1)
		}
	}
}

func words(t *testing.T, r io.Reader, n int) (all []int64) {
	t.Helper()
	b := make([]byte, 8*n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	for ; len(b) > 0; b = b[8:] {
		all = append(all, int64(binary.LittleEndian.Uint64(b)))
	}
	return all
}

// What a handler sees of the time, by the ABI and by WASI, is what its timers go by, and what it
// draws at random is what the runtime was given.
func TestAHandlersSurroundings(t *testing.T) {
	var s surroundings
	s.Advance(12345 * time.Second)
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"timer", "iii:i"}, [2]string{"clock", "i:I"}, [2]string{"random", "ii:i"})
	m.Func("csa_data", "ii:i", "",
		w.I32Const(0), w.I32Const(abi.ClockWall), w.Call(f[2]), w.I64Store(0),
		w.I32Const(0), w.I32Const(abi.ClockMonotonic), w.Call(f[2]), w.I64Store(8),
		w.I32Const(16), w.I32Const(8), w.Call(f[3]), w.Drop,
		w.LocalGet(0), w.I32Const(7), w.I32Const(1000), w.Call(f[1]), w.Drop,
		w.LocalGet(0), w.I32Const(0), w.I32Const(24), w.Call(f[0]), w.Drop,
		w.LocalGet(1))
	m.Func("csa_timer", "ii:", "",
		w.I32Const(0), w.I32Const(abi.ClockMonotonic), w.Call(f[2]), w.I64Store(0),
		w.LocalGet(0), w.I32Const(0), w.I32Const(8), w.Call(f[0]), w.Drop)
	n := newTenant(t, 0)
	s.of(n.r)
	l := newLoopOn(t, &s.Manual)
	i := n.start(m, listener())
	peer, _ := l.wire(i)
	write(t, peer, "x")
	got := words(t, peer, 3)
	if now := s.Now(); got[0] != dayOfTests+now || got[1] != now || got[2] != 0x0807060504030201 {
		t.Errorf("it sees the times %d and %d at %d, and draws %#x", got[0], got[1], now, got[2])
	}
	for _, step := range []time.Duration{999 * time.Millisecond, time.Millisecond} {
		s.Advance(step)
		l.on(func() {})
		l.on(func() {})
	}
	if fired := words(t, peer, 1)[0]; fired-got[1] != int64(time.Second) {
		t.Errorf("its timer of a second has fired after %v of its clock", time.Duration(fired-got[1]))
	}
	l.on(i.Close)
}

// A command that sleeps sleeps by the clock that it sees.
func TestACommandsSurroundings(t *testing.T) {
	noLeaks(t)
	var s surroundings
	const start = 12345 * time.Second
	s.Advance(start)
	m, f := program()
	clock := m.Import("wasi_snapshot_preview1", "clock_time_get", "iIi:i")
	random := m.Import("wasi_snapshot_preview1", "random_get", "ii:i")
	const times, subscription, event = 1024, 2048, 3072
	tell := func(which, at int32) []byte {
		return w.Cat(w.I32Const(which), w.I64Const(0), w.I32Const(at), w.Call(clock), w.If(w.Unreachable))
	}
	m.Func("_start", ":", "",
		tell(0, times), tell(1, times+8),
		w.I32Const(times+16), w.I32Const(8), w.Call(random), w.If(w.Unreachable),
		w.I32Const(subscription), w.I32Const(1), w.I32Store(16),
		w.I32Const(subscription), w.I64Const(int64(time.Hour)), w.I64Store(24),
		w.I32Const(subscription), w.I32Const(event), w.I32Const(1), w.I32Const(moved), w.Call(f[3]), w.If(w.Unreachable),
		tell(1, times+24),
		vector(vectors, times, 32),
		w.I32Const(1), w.I32Const(vectors), w.I32Const(1), w.I32Const(moved), w.Call(f[1]), w.If(w.Unreachable))
	n := newTenant(t, 0)
	s.of(n.r)
	l := newLoopOn(t, &s.Manual)
	p := n.command(m, listener())
	peer, _ := l.wire(p)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = peer.Read(nil)
		got := words(t, peer, 4)
		day := got[0] - dayOfTests // the clock may have gone on between the two
		if slept := got[3] - got[1]; day < int64(start) || day > got[1] || got[2] != 0x0807060504030201 || slept < int64(time.Hour) {
			t.Errorf("it saw %v: it slept for %v", got, time.Duration(slept))
		}
	}()
	until(t, "it has slept", func() bool {
		s.Advance(time.Minute)
		return isClosed(over)
	})
	p.awaitEnd(t)
}
