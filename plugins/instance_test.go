package plugins

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
)

func TestEcho(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	f := &fake{room: 8}
	h := open(i, f)
	if h <= 0 {
		t.Fatalf("the handle is %d", h)
	}
	copy(i.Window(nil), "hello, world")
	if used := i.data(h, f, 12); used != 8 || string(f.sent) != "hello, w" {
		t.Errorf("it consumed %d and sent %q", used, f.sent)
	}
	if used := i.data(h, f, 4); used != 0 {
		t.Errorf("with a full inbox it consumed %d", used)
	}
	i.eof(h, f)
	if !slices.Equal(f.did, []string{"producerFinished"}) {
		t.Errorf("without csa_eof, the end of the peer made it say %v", f.did)
	}
	i.ended(h, csa.Orderly)
	wantCode(t, i, abi.BadHandle, "want", int64(h), 1)
}

// callbacks is a guest whose exports all say what they were called with, by
// adding one to a metric with a name like "open" or, for the end, "closed".
func callbacks(special string, body ...[]byte) *w.Module {
	m, f := w.Handler([2]string{"count", "iiI:i"})
	at := 0
	export := func(name, sig string) {
		if "csa_"+special == name {
			m.Func(name, sig, "", body...)
			return
		}
		label := strings.TrimPrefix(name, "csa_")
		m.Data(at, label)
		say := w.Cat(w.I32Const(int32(at)), w.I32Const(int32(len(label))), w.I64Const(1), w.Call(f[0]), w.Drop)
		at += len(label)
		if strings.HasSuffix(sig, ":i") {
			result := w.I32Const(0)
			if name == "csa_data" {
				result = w.LocalGet(1)
			}
			say = w.Cat(say, result)
		}
		m.Func(name, sig, "", say)
	}
	export("csa_start", ":i")
	export("csa_open", "i:i")
	export("csa_data", "ii:i")
	export("csa_writable", "i:")
	export("csa_eof", "i:")
	export("csa_closed", "ii:")
	export("csa_timer", "ii:")
	export("csa_stop", ":")
	return m
}

// events drive each callback of a guest.
var events = map[string]func(i *Instance, h int32, f *fake){
	"open":     func(i *Instance, h int32, f *fake) { i.opened(h, f) },
	"data":     func(i *Instance, h int32, f *fake) { i.data(h, f, 10) },
	"writable": func(i *Instance, h int32, f *fake) { i.deliver(event{call: callWritable, handle: h, conn: f}) },
	"eof":      func(i *Instance, h int32, f *fake) { i.eof(h, f) },
	"timer":    func(i *Instance, h int32, f *fake) { i.deliver(event{call: callTimer, handle: h, arg: 3, conn: f}) },
	"closed":   func(i *Instance, h int32, f *fake) { i.data(h, f, 1); i.ended(h, csa.Orderly) },
	"stop":     func(i *Instance, h int32, f *fake) { i.Stop() },
}

func TestTrapInEveryCallback(t *testing.T) {
	for name, drive := range events {
		t.Run(name, func(t *testing.T) {
			n := newTenant(t, 0)
			var traps []*Trap
			l := listener()
			l.OnTrap = func(i *Instance, trap *Trap) {
				traps = append(traps, trap)
				i.Close()
			}
			i := n.start(callbacks(name, w.Unreachable), l)
			f, other := &fake{}, &fake{}
			h, o := i.admit(f), i.admit(other)
			drive(i, h, f)
			if len(traps) != 1 || traps[0].Call != "csa_"+name || traps[0].Why != "unreachable" {
				t.Fatalf("OnTrap was told %v", traps)
			}
			if !strings.HasPrefix(traps[0].In, "$") { // it has no name
				t.Errorf("it was in %q", traps[0].In)
			}
			if i.Running() || i.Memory() != 0 {
				t.Error("the instance lives on")
			}
			want := csa.Trapped.Because("its handler trapped: unreachable")
			if len(other.ends) == 0 || other.ends[0] != want {
				t.Errorf("its other connection was ended with %v", other.ends)
			}
			// Nothing of it may run, or fault, any more.
			i.ended(h, want)
			i.ended(o, want)
			if i.Connections() != 0 {
				t.Error("it still has connections")
			}
			late := &fake{}
			if h := open(i, late); h != 0 || late.ends[0].Code != abi.Refused {
				t.Errorf("a late connection got the handle %d and the end %v", h, late.ends)
			}
			if i.Window(nil) != nil || i.data(h, f, 1) != 0 {
				t.Error("it still has a window")
			}
			i.Stop()
			i.Close()
		})
	}
}

func TestCallbacksReachTheGuest(t *testing.T) {
	for name, drive := range events {
		n := newTenant(t, 0)
		i := n.start(callbacks(""), listener())
		f := &fake{}
		drive(i, i.admit(f), f)
		if n.log.counts[name] != 1 {
			t.Errorf("%s: it counted %v", name, n.log.counts)
		}
		if n.log.counts["start"] != 1 {
			t.Errorf("csa_start was called %d times", n.log.counts["start"])
		}
	}
}

// A guest that has not heard of a connection does not hear of its end.
func TestClosedOnlyWhatWasTold(t *testing.T) {
	n := newTenant(t, 0)
	m, f := w.Handler([2]string{"count", "iiI:i"})
	m.Data(0, "closed")
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	m.Func("csa_closed", "ii:", "", w.I32Const(0), w.I32Const(6), w.LocalGet(1), []byte{0xac}, w.Call(f[0]), w.Drop)
	i := n.start(m, listener())
	quiet, told := &fake{}, &fake{}
	q, h := open(i, quiet), open(i, told)
	i.ended(q, csa.Reason{Code: abi.Reset})
	if len(n.log.counts) != 0 {
		t.Error("it heard of a connection that it never had")
	}
	i.data(h, told, 1)
	i.ended(h, csa.Reason{Code: abi.Reset})
	if n.log.counts["closed"] != int64(abi.Reset) {
		t.Errorf("csa_closed was given %v", n.log.counts)
	}
	i.ended(h, csa.Reason{Code: abi.Reset})
	if n.log.counts["closed"] != int64(abi.Reset) {
		t.Error("csa_closed came twice")
	}
}

func TestNonsenseResults(t *testing.T) {
	for _, c := range []struct {
		export string
		result int32
		want   abi.Code
		used   int
	}{
		{"data", 11, abi.Invalid, 0},
		{"data", 1 << 30, abi.Invalid, 0},
		{"data", -99, abi.Invalid, 0},
		{"data", -1 << 31, abi.Invalid, 0},
		{"data", int32(abi.Denied), abi.Denied, 0},
		{"open", int32(abi.Refused), abi.Refused, 10},
		{"open", -1000, abi.Invalid, 10},
	} {
		n := newTenant(t, 0)
		i := n.start(callbacks(c.export, w.I32Const(c.result)), listener())
		f := &fake{}
		h := open(i, f)
		used := i.data(h, f, 10)
		if used != c.used || len(f.ends) != 1 || f.ends[0].Code != c.want {
			t.Errorf("%s returned %d: consumed %d, ended with %v; want %v", c.export, c.result, used, f.ends, c.want)
		}
		if !i.Running() {
			t.Errorf("%s returned %d and lost its instance", c.export, c.result)
		}
	}
}

func TestStartFailures(t *testing.T) {
	window := func(v int64) *w.Module {
		m := w.New()
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.I64Const(v))
		m.Func("csa_data", "ii:i", "", w.LocalGet(1))
		return m
	}
	with := func(name, sig string, body ...[]byte) *w.Module {
		m := w.Echo()
		m.Func(name, sig, "", body...)
		return m
	}
	start := w.Echo()
	start.Start(start.Func("", ":", "", w.Unreachable))
	data := w.Echo()
	data.Data(65530, "too long")
	for _, c := range []struct {
		name string
		m    *w.Module
		want string
	}{
		{"small window", window(w.Window(0, 4095)), "4095 bytes; it has to have 4096 to 1048576"},
		{"large window", window(w.Window(0, 1<<20+1)), "1048577 bytes"},
		{"no window", window(0), "has 0 bytes"},
		{"window outside", window(w.Window(65536-4095, 4096)), "not all inside its memory of 65536 bytes"},
		{"window wraps", window(-1<<32 | 4096), "not all inside"},
		{"negative window", window(-1), "4294967295 bytes"},
		{"refusal", with("csa_start", ":i", w.I32Const(-5)), "csa_start refused with DENIED (-5)"},
		{"odd refusal", with("csa_start", ":i", w.I32Const(-500)), "refused with Code(-500) (-500)"},
		{"trap in csa_start", with("csa_start", ":i", w.Unreachable), "starting it: csa_start trapped: unreachable"},
		{"trap in _initialize", with("_initialize", ":", w.Unreachable), "_initialize trapped: unreachable"},
		{"trap in start", start, "the start function trapped: "},
		{"data outside", data, "instantiation trapped: "},
		{"endless recursion", func() *w.Module {
			m := w.Echo()
			m.Func("csa_start", ":i", "", w.Call(3))
			return m
		}(), "csa_start was stopped: its stack grew to more than 4194304 bytes (stack)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newTenant(t, 0)
			if err := n.startError(c.m); !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not say %q", err, c.want)
			}
		})
	}
}

func TestRefusalIsTyped(t *testing.T) {
	n := newTenant(t, 0)
	m := w.Echo()
	m.Func("csa_start", ":i", "", w.I32Const(-6))
	var refusal *StartError
	if err := n.startError(m); !errors.As(err, &refusal) || refusal.Code != abi.Quota {
		t.Errorf("%v is no refusal with QUOTA", err)
	}
}

func TestStartOrder(t *testing.T) {
	n := newTenant(t, 0)
	m := w.New()
	count := m.Import("csa_v1", "count", "iiI:i")
	config := m.Import("csa_v1", "config", "ii:i")
	m.Memory(1)
	m.Data(0, "abc")
	g := m.Global('I', true, w.I64Const(1))
	// Each counts in its place: a=start, b=_initialize, c=csa_start.
	step := func(at int32) []byte {
		return w.Cat(w.I32Const(at), w.I32Const(1), w.GlobalGet(g), w.Call(count), w.Drop,
			w.GlobalGet(g), w.I64Const(1), w.I64Add, w.GlobalSet(g))
	}
	first := m.Func("", ":", "", step(0))
	m.Start(first)
	m.Func("_initialize", ":", "", step(1))
	m.Func("csa_start", ":i", "", step(2), w.I32Const(100), w.I32Const(64), w.Call(config), w.Drop, w.I32Const(0))
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	l := listener()
	l.Config = []byte(`{"greeting":"hi"}`)
	i := n.start(m, l)
	if got := fmt.Sprint(n.log.counts); got != "map[a:1 b:2 c:3]" {
		t.Errorf("they ran in the order %s", got)
	}
	if got := string(i.memory.Bytes()[100:][:len(l.Config)]); got != string(l.Config) {
		t.Errorf("csa_start read the config %q", got)
	}
}

// Closing from inside a call waits for its end, whose result still counts.
func TestCloseInACall(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(callbacks(""), listener())
	f := &fake{}
	h := open(i, f)
	i.inCall = true
	i.Close()
	if i.Memory() == 0 {
		t.Fatal("it was closed under a running call")
	}
	i.inCall = false
	if i.Running() {
		t.Error("it still takes connections")
	}
	if used := i.data(h, f, 3); used != 3 || i.Memory() != 0 || len(f.ends) != 1 {
		t.Errorf("after the call it consumed %d, has %d bytes, ended %v", used, i.Memory(), f.ends)
	}
}

func TestNeverReentered(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	f := &fake{room: 100}
	h := open(i, f)
	i.inCall = true
	if used := i.data(h, f, 3); used != 0 || len(f.sent) != 0 {
		t.Error("it was entered while it ran")
	}
	i.inCall = false
	if !strings.Contains(n.log.text(), "a bug in the host") {
		t.Errorf("nothing was logged: %q", n.log.text())
	}
	if used := i.data(h, f, 3); used != 3 {
		t.Errorf("afterwards it consumed %d", used)
	}
}

func TestOneConnectionKeepsLess(t *testing.T) {
	n := newTenant(t, 0)
	l := listener()
	l.OneConnection = true
	i := n.start(callbacks(""), l)
	f := &fake{}
	h := open(i, f)
	i.data(h, f, 1)
	if i.exec.calls[callOpen].Function != nil || i.exec.calls[callData].Function == nil {
		t.Error("it keeps csa_open, or does not keep csa_data")
	}
}

func TestHandles(t *testing.T) {
	var h handles
	f := &fake{}
	seen := make(map[int32]bool)
	for k := range abi.HandleReuse {
		n := h.add(f)
		if n <= 0 || seen[n] {
			t.Fatalf("connection %d got the handle %d", k, n)
		}
		if seen[n] = true; h.get(n) == nil {
			t.Fatal("it is not found")
		}
		h.remove(n)
		h.remove(n)
		if h.get(n) != nil {
			t.Fatal("a stale handle is found")
		}
	}
	if n := h.add(f); !seen[n] {
		t.Error("the values do not come back")
	}
	// First in, first out.
	h = handles{}
	a, b, c := h.add(f), h.add(f), h.add(f)
	h.remove(b)
	h.remove(a)
	h.remove(c)
	for _, was := range []int32{b, a, c} {
		if n := h.add(f); n&slotMask != was&slotMask || n == was {
			t.Errorf("the slot of %#x went to %#x", was, n)
		}
	}
	for _, odd := range []int32{0, -1, -1 << 31, 1<<31 - 1, 4, slotMask} {
		if h.get(odd) != nil {
			t.Errorf("the handle %#x is found", odd)
		}
	}
}
