package plugins

import (
	"strings"
	"testing"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
)

// hears is a handler that logs what csa_result is told: the bytes, and then counts token, status
// and revision. csa_data computes for some milliseconds, and logs before and after.
func hears() *w.Module {
	m, f := w.Handler([2]string{"log", "iii:i"}, [2]string{"count", "iiI:i"})
	m.Data(0, "tokenstatusrevisionbeginend")
	say := func(at, n int32) []byte {
		return w.Cat(w.I32Const(abi.LogInfo), w.I32Const(at), w.I32Const(n), w.Call(f[0]), w.Drop)
	}
	spin := w.Loop(w.LocalGet(2), w.I32Const(1), w.I32Add, w.LocalTee(2), w.I32Const(5_000_000), w.I32LtS, w.BrIf(0))
	m.Func("csa_data", "ii:i", "i", say(19, 5), spin, say(24, 3), w.LocalGet(1))
	count := func(at, n int32, value ...[]byte) []byte {
		return w.Cat(w.I32Const(at), w.I32Const(n), w.Cat(value...), w.Call(f[1]), w.Drop)
	}
	extend := []byte{0xac}
	m.Func("csa_result", "iiIi:", "",
		w.I32Const(abi.LogWarn), w.I32Const(w.WindowAt), w.LocalGet(3), w.Call(f[0]), w.Drop,
		count(0, 5, w.LocalGet(0), extend), count(5, 6, w.LocalGet(1), extend), count(11, 8, w.LocalGet(2)))
	return m
}

// wantHeard wants what a guest of hears has counted and logged, and forgets it.
func (n *tenant) wantHeard(token, status, revision int64, lines string) {
	n.t.Helper()
	if got := n.log.text(); got != lines {
		n.t.Errorf("it logged %q; want %q", got, lines)
	}
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	c := n.log.counts
	if c["token"] != token || c["status"] != status || c["revision"] != revision {
		n.t.Errorf("it was told %v; want token %d, status %d, revision %d", c, token, status, revision)
	}
	n.log.counts, n.log.lines = nil, nil
}

func TestResults(t *testing.T) {
	g := newPooled(t, hears().Bytes(), listener())
	i := g.get()
	const revision = int64(1) << 40
	g.on(i, func() { i.Result(-7, abi.OK, revision, []byte("value")) })
	g.wantHeard(-7, 0, revision, "2 true \"value\"\n")
	// An error has neither a revision nor bytes.
	g.on(i, func() { i.Result(8, abi.Conflict, revision, []byte("value")) })
	g.wantHeard(8, -14, 0, "2 true \"\"\n")
	g.on(i, func() { i.Result(9, abi.OK, 1, make([]byte, w.WindowSize+1)) })
	g.wantHeard(9, int64(abi.Quota), 0, "2 true \"\"\n")
	whole := strings.Repeat("x", w.WindowSize)
	g.on(i, func() { i.Result(9, abi.OK, 1, []byte(whole)) })
	g.wantHeard(9, 0, 1, "2 true \""+whole[:abi.MaxLogLine]+"…\"\n")
	g.lieDown(i)
	g.on(i, func() { i.Result(1, abi.OK, 2, []byte("awake")) })
	g.wantHeard(1, 0, 2, "2 true \"awake\"\n")
	g.l.on(func() {
		i.Close()
		i.Result(1, abi.OK, 2, []byte("late"))
	})
	g.wantHeard(0, 0, 0, "")
}

// A result that comes while the guest runs beside the loop waits, like other events, and finds the
// window free.
func TestResultsWaitForCalls(t *testing.T) {
	g := newPooled(t, hears().Bytes(), listener())
	i := g.get()
	f := &fake{room: 100}
	g.l.on(func() {
		h := i.admit(f)
		i.deliver(event{call: callData, handle: h, arg: 1, conn: f})
	})
	g.l.on(func() { i.Result(1, abi.OK, 0, []byte("first")) })
	g.l.on(func() { i.Result(2, abi.OK, 0, []byte("second")) })
	until(t, "all of it is done", func() bool { return strings.Count(g.log.text(), "\n") == 4 })
	g.l.on(i.Close)
	g.wantHeard(3, 0, 0, "1 true \"begin\"\n1 true \"end\"\n2 true \"first\"\n2 true \"second\"\n")
}

// A guest without csa_result is not called.
func TestResultsForNobody(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	l := newLoop(t)
	l.on(func() {
		i.Attach(l.Loop)
		i.Result(1, abi.OK, 0, []byte("value"))
	})
	if got := n.log.text(); got != "" || !i.Running() {
		t.Errorf("it logged %q, running %v", got, i.Running())
	}
	l.on(i.Close)
}
