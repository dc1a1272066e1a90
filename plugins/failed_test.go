package plugins

import (
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

// Each error that a guest says it does not deal with is counted, but for those while it starts. It
// ends the connection that it names, whose first end counts.
func TestHandlerFailed(t *testing.T) {
	n := newTenant(t, 0)
	m, f := w.Handler([2]string{"control", "ii:i"})
	said := func(conn []byte, want abi.Code) []byte {
		return w.Cat(conn, w.I32Const(abi.HandlerFailed), w.Call(f[0]), w.I32Const(int32(want)), w.I32Ne, w.If(w.Unreachable))
	}
	m.Func("csa_start", ":i", "", said(w.I32Const(-1), abi.OK), w.I32Const(0))
	m.Func("csa_data", "ii:i", "", said(w.LocalGet(0), abi.OK), said(w.I32Const(-1), abi.OK), said(w.I32Const(99), abi.BadHandle), w.I32Const(0))
	l, failed := listener(), 0
	l.OnFailed = func() { failed++ }
	i := n.start(m, l)
	if failed != 0 {
		t.Errorf("%d errors are counted while it starts", failed)
	}
	c := &fake{}
	h := open(i, c)
	if _, ok := i.run(event{call: callData, handle: h, conn: c, arg: 1}); !ok || !i.Running() {
		t.Fatal("an answer was wrong")
	}
	if failed != 2 || len(c.ends) != 1 || c.ends[0].Cause != csa.HandlerFailed || c.ends[0].Code != abi.Invalid {
		t.Errorf("%d errors are counted, and it has ended by %v", failed, c.ends)
	}
}
