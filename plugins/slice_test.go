package plugins

import (
	"sync"
	"testing"

	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// sliceTimes is a CPU that writes down how long slices were.
type sliceTimes struct {
	allCores
	mu      sync.Mutex
	longest int64
	sum     int64
}

func (s *sliceTimes) NextSlice(ns int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest = max(s.longest, ns)
	s.sum += ns
}

// toucher writes one byte to each page of 192 MiB, so that a watchdog that has to wait for a core
// comes in between.
func toucher() *w.Module {
	const bytes = 192 << 20
	m := w.New()
	m.Memory(bytes/65536, bytes/65536)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, 4096)))
	m.Func("csa_data", "ii:i", "i", w.Loop(
		w.LocalGet(2), w.I32Const(1), w.I32Store8(0),
		w.LocalGet(2), w.I32Const(4096), w.I32Add, w.LocalTee(2), w.I32Const(bytes), w.I32LtS, w.BrIf(0)),
		w.LocalGet(1))
	return m
}

// A slice is bounded by time and not by fuel alone: a guest that was quick gets fuel for
// 48,000 pages, and the first touch of a page takes microseconds.
func TestASliceEndsInTime(t *testing.T) {
	if underRace {
		t.Skip("the watchdog is an ordinary goroutine under the race detector")
	}
	cpu := &sliceTimes{}
	n := newTenant(t, 1<<30)
	n.r.options.CPU = cpu
	m := n.load(toucher().Bytes(), Events)
	// Once is enough to see it: where it takes as long as its fuel lasts, it always does. The
	// machine may be too busy to give the watchdog a core in so short a time.
	for range 200 {
		cpu.longest, cpu.sum = 0, 0
		i, err := m.Instantiate(listener())
		if err != nil {
			t.Fatal(err)
		}
		i.exec.use.next = mostFuel
		i.exec.use.grant(3 * mostFuel) // for all of its pages
		f := &fake{}
		h := open(i, f)
		if used := i.data(h, f, 1); used != 1 {
			t.Fatalf("it consumed %d; %v", used, f.ends)
		}
		next := i.exec.use.next
		i.ended(h, csa.Orderly)
		i.Close()
		t.Logf("longest slice %d µs of %d, and %d units are to come next", cpu.longest/1000, cpu.sum/1000, next)
		if cpu.longest < cpu.sum/4 && next <= mostFuel/4 {
			return
		}
	}
	t.Error("a slice takes as long as its fuel lasts")
}
