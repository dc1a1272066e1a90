package host_test

import (
	"fmt"
	"net"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// A guest that hears of the end of its last connection may dial, also when it hears of that late,
// as it was busy: its instance lives on for what it dials, and is counted once, however often it
// was about to end.
func TestInstancesNeverNegative(t *testing.T) {
	up := newRecorder(t)
	m, f := w.Handler([2]string{"connect", "ii:i"}, [2]string{"control", "ii:i"}, [2]string{"send", "iii:i"})
	connect, control, send := f[0], f[1], f[2]
	dialled := m.Global('i', true, w.I32Const(0))
	to := "tcp://" + up.addr
	m.Data(200, to)
	m.Func("csa_open", "i:i", "", w.GlobalGet(dialled), w.If(w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop), w.I32Const(0))
	m.Func("csa_data", "ii:i", "ii",
		w.LocalGet(0), w.I32Const(w.WindowAt), w.I32Const(1), w.Call(send), w.Drop, // leaves when the work begins
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('L'), w.I32Eq, w.If(longWork(), longWork(), longWork(), longWork()), w.LocalGet(1))
	m.Func("csa_closed", "ii:", "",
		w.GlobalGet(dialled), w.I32Const(3), w.I32LtS, w.If(
			w.GlobalGet(dialled), w.I32Const(1), []byte{0x6a}, w.GlobalSet(dialled),
			w.I32Const(200), w.I32Const(int32(len(to))), w.Call(connect), w.Drop))
	for _, snapshot := range []bool{true, false} {
		h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connect = [%q]
[[listener]]
name = "a"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
snapshot = %v
`, hosttest.State(), up.addr, writeModule(t, m), snapshot), host.Options{})
		clients := 20
		if testing.Short() {
			clients = 8
		}
		for n := range clients {
			c, err := net.Dial("tcp", h.Addr("a"))
			if err != nil {
				t.Fatal(err)
			}
			hosttest.Say(t, c, string("SL"[n%2]))
			hosttest.Hear(t, c, string("SL"[n%2]))
			_ = c.(*net.TCPConn).SetLinger(0) // which the host hears of while the guest works
			_ = c.Close()
		}
		ends := 0
		hosttest.Eventually(t, "each has dialled three times, and all are gone", func() bool {
			st := h.Stats()
			if st.Listeners[0].Instances < 0 {
				t.Fatalf("there are %d instances", st.Listeners[0].Instances)
			}
			for ; len(up.got) > 0; ends++ {
				if got := <-up.got; got.text != "" || got.err != nil {
					t.Errorf("a connection that was dialled ended with %q, %v", got.text, got.err)
				}
			}
			return ends == 3*clients && st.Connections == 0 && st.Listeners[0].Instances == 0
		})
	}
}
