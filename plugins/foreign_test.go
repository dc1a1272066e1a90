package plugins

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// Behind the gate, such a module fails by itself when it is called, whatever was
// loaded before, and others are not told by its fate.
func TestAFunctionWithoutAStackIsOneModulesFault(t *testing.T) {
	unchecked := func(n *tenant, m *w.Module) *Module {
		t.Helper()
		parsed, err := wasm.Parse(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := n.r.prepare("x.wasm", Events, admit.Pages(n.r.options.MemoryLimit), func() (obtained, error) {
			return n.r.makeCode("x.wasm", parsed, nil, codeKey{})
		})
		if err != nil {
			t.Fatal(err)
		}
		n.t.Cleanup(loaded.Close)
		return loaded
	}
	n := newTenant(t, 0)
	for _, m := range []*w.Module{
		w.PassesOn("wasi_snapshot_preview1", "sched_yield", ":i", "csa_start"),
		w.PassesOn("wasi_snapshot_preview1", "sched_yield", ":i", "csa_window"),
	} {
		_, err := unchecked(n, m).Instantiate(listener())
		var trap *Trap
		if !errors.As(err, &trap) || !trap.Bug || strings.Contains(err.Error(), "\n") {
			t.Errorf("starting it: %v", err)
		}
	}
	for _, m := range []*w.Module{
		w.PassesOn("csa_v1", "receive", "ii:i", "csa_data"),
		w.PassesOn("csa_v1", "want", "ii:i", "csa_data"),
		w.PassesOn("csa_v1", "random", "ii:i", "csa_data"),
	} {
		var traps []*Trap
		l := listener()
		l.OnTrap = func(i *Instance, trap *Trap) { traps = append(traps, trap) }
		i, err := unchecked(n, m).Instantiate(l)
		if err != nil {
			t.Fatal(err)
		}
		f := &fake{room: 100}
		h := open(i, f)
		if i.data(h, f, 3); len(traps) != 1 || traps[0].Call != "csa_data" || !traps[0].Bug || len(f.ends) != 1 || i.Running() {
			t.Errorf("csa_data: %v, its connection ends with %v", traps, f.ends)
		}
		i.Close()
	}
	second := newTenant(t, 0)
	i := second.start(w.Echo(), listener())
	f := &fake{room: 100}
	if i.data(open(i, f), f, 7) != 7 {
		t.Error("the next tenant's module does not echo")
	}
}

// No host function's panic gets past the call of a guest that calls it, from each
// callback, and with exit codes, ranges and stops alike.
func TestPanicsOfHostFunctionsAreTraps(t *testing.T) {
	for name, drive := range events {
		for _, c := range []struct {
			module, function, signature string
			arguments                   [][]byte
			why                         string
		}{
			{wasi.Module, "proc_exit", "i:", [][]byte{w.I32Const(3)}, "it called proc_exit(3)"},
			{abi.Module, "random", "ii:i", [][]byte{w.I32Const(-1), w.I32Const(100)}, "which are not all inside its memory"},
		} {
			n := newTenant(t, 0)
			m := w.New()
			f := m.Import(c.module, c.function, c.signature)
			m.Memory(1)
			m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
			body := append(c.arguments, w.Call(f), w.Unreachable)
			sig := map[string]string{"open": "i:i", "data": "ii:i", "writable": "i:", "eof": "i:", "timer": "ii:", "closed": "ii:", "stop": ":"}[name]
			m.Func("csa_"+name, sig, "", body...)
			if name != "data" {
				m.Func("csa_data", "ii:i", "", w.LocalGet(1))
			}
			var traps []*Trap
			l := listener()
			l.OnTrap = func(i *Instance, trap *Trap) { traps = append(traps, trap); i.Close() }
			i := n.start(m, l)
			conn := &fake{}
			drive(i, i.admit(conn), conn)
			if len(traps) != 1 || !strings.Contains(traps[0].Why, c.why) || traps[0].Bug {
				t.Errorf("%s in csa_%s: %v", c.function, name, traps)
			}
		}
	}
}

// What costs each tenant something is not decided by the one that ran first.
func TestMeasuredOnceForAll(t *testing.T) {
	if ns := sliceCost(); ns <= 0 || ns > int64(6*time.Millisecond) {
		t.Errorf("the end of a slice is taken to cost %d ns", ns)
	}
}
