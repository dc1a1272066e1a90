package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// early is a guest whose csa_start sets a timer, and takes some time then, in which the instances
// of other loops may run already. The timer dials, and is set again, three times. What is up is
// finished.
func early(to string) *w.Module {
	m, f := w.Handler([2]string{"timer", "iii:i"}, [2]string{"connect", "ii:i"}, [2]string{"control", "ii:i"})
	timer, connect, control := f[0], f[1], f[2]
	times := m.Global('i', true, w.I32Const(0))
	m.Data(200, to)
	again := w.Cat(w.I32Const(-1), w.I32Const(1), w.I32Const(0), w.Call(timer), w.Drop)
	m.Func("csa_start", ":i", "iiii", again, longWork(), longWork(), longWork(), longWork(), w.I32Const(0))
	m.Func("csa_timer", "ii:", "",
		w.GlobalGet(times), w.I32Const(3), w.I32LtS, w.If(
			w.GlobalGet(times), w.I32Const(1), []byte{0x6a}, w.GlobalSet(times),
			w.I32Const(200), w.I32Const(int32(len(to))), w.Call(connect), w.I32Const(1), w.I32LtS, w.If(w.Unreachable),
			again))
	m.Func("csa_open", "i:i", "", w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop, w.I32Const(0))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	return m
}

// A guest whose timers fire as soon as it has started finds everything in its place: it can dial
// before its listener serves, and none of it runs before it can be served. The same holds for
// a plugin that is loaded later.
func TestTimersOfStart(t *testing.T) {
	up := newRecorder(t)
	path := writeModule(t, early("tcp://"+up.addr))
	const loops = 4
	for _, instance := range []string{"loop", "listener"} {
		want := 3 * map[string]int{"loop": loops, "listener": 1}[instance]
		state := filepath.Join(t.TempDir(), "state")
		for _, late := range []bool{false, true} {
			cfg, err := config.Load(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
loops = %d
[tenant.acme]
connect = [%q]
[[listener]]
name = "early"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = %q
`, state, loops, up.addr, path, instance)))
			if err != nil {
				t.Fatal(err)
			}
			h, err := host.New(cfg, host.Options{LoadLate: late, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- h.Run(context.Background()) }()
			hosttest.Eventually(t, "all have dialled, and are done", func() bool { return len(up.got) >= want && h.Stats().Connections == 0 })
			for range want {
				<-up.got
			}
			if st := h.Stats().Listeners[0]; st.Traps != 0 || st.StartFailures != 0 || st.Instances != int64(want/3) {
				t.Errorf("%s, late %v: %d traps, %d have failed, %d instances", instance, late, st.Traps, st.StartFailures, st.Instances)
			}
			h.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n := loaded(h); n != 0 {
				t.Errorf("%d tenants still hold memory", n)
			}
		}
	}
}

// A host that does not come to be, since another listener's address is taken, leaves nothing
// of guests that have started and never ran.
func TestGuestsThatNeverBegin(t *testing.T) {
	up := newRecorder(t)
	path := writeModule(t, early("tcp://"+up.addr))
	cfg, err := config.Load(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connect = [%q]
[[listener]]
name = "early"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = "loop"
[[listener]]
name = "taken"
tenant = "acme"
address = "tcp://%s"
plugin = %q
instance = "listener"
`, hosttest.State(), up.addr, path, up.addr, path)))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)}); err == nil {
		h.Close()
		t.Fatal("an address that is taken is taken again")
	}
	if len(up.got) != 0 {
		t.Error("a guest has dialled")
	}
}
