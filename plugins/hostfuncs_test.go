package plugins

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasi"

	"github.com/tetratelabs/wazero/sys"
)

// The table and what is implemented are the same functions.
func TestHostFunctionsAreTheTable(t *testing.T) {
	table := make(map[string]bool)
	for _, f := range abi.HostFunctions {
		table[f.Name] = true
		if f.Built != (hostCalls[f.Name] != nil) {
			t.Errorf("%s: built is %v and it has an implementation: %v", f.Name, f.Built, hostCalls[f.Name] != nil)
		}
	}
	for name := range hostCalls {
		if !table[name] {
			t.Errorf("%s is implemented and not in the table", name)
		}
	}
	for n, e := range abi.GuestExports {
		if callNames[n] != e.Name {
			t.Errorf("the export %d is %s, not %s", n, callNames[n], e.Name)
		}
	}
	if len(abi.GuestExports) != int(callInitialize) {
		t.Errorf("there are %d exports in the table", len(abi.GuestExports))
	}
}

// Every pointer of every function is checked: against the end of memory,
// against wrapping, and for a negative length.
func TestPointersAndLengths(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	h := open(i, &fake{room: 1 << 20})
	const end = 65536
	for _, f := range abi.HostFunctions {
		at := slices.IndexFunc(f.Params, func(p abi.Param) bool { return p.Access != abi.None })
		if at < 0 || !f.Built {
			continue
		}
		args := make([]int64, len(f.Params))
		for p := range f.Params {
			if f.Params[p].Name == "conn" {
				args[p] = int64(h)
			}
		}
		call := func(ptr, length int64) (int64, error) {
			args[at], args[at+1] = ptr, length
			return host(i, f.Name, args...)
		}
		for _, bad := range [][2]int64{{end, 1}, {end - 1, 2}, {math.MaxUint32, 1}, {math.MaxUint32, math.MaxInt32}, {end + 1, 0}, {0, end + 1}, {-1, 0}, {1, math.MaxInt32}} {
			_, err := call(bad[0], bad[1])
			if err == nil {
				t.Errorf("%s takes the %d bytes at %d", f.Name, bad[1], bad[0])
			} else if !strings.HasPrefix(err.Error(), f.Name+" was given the ") || !strings.Contains(err.Error(), "65536") {
				t.Errorf("%s traps with %q", f.Name, err)
			}
		}
		for _, length := range []int64{-1, math.MinInt32} {
			if r, err := call(0, length); err != nil || r != int64(abi.Invalid) {
				t.Errorf("%s answers a length of %d with %d, %v", f.Name, length, r, err)
			}
		}
		if _, err := call(end, 0); err != nil {
			t.Errorf("%s traps on nothing at the end of memory: %v", f.Name, err)
		}
	}
}

func TestBadHandles(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	stale := open(i, &fake{})
	i.ended(stale, csa.Orderly)
	live := open(i, &fake{})
	for _, f := range abi.HostFunctions {
		if !f.Built || len(f.Params) == 0 || f.Params[0].Name != "conn" {
			continue
		}
		for _, h := range []int64{0, -2, int64(stale), int64(live) + 1, math.MaxInt32, math.MinInt32, -1} {
			if h == -1 && f.Name == "timer" {
				continue // the instance's own
			}
			args := make([]int64, len(f.Params))
			args[0] = h
			wantCode(t, i, abi.BadHandle, f.Name, args...)
		}
	}
}

func TestConnectionFunctions(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	f := &fake{room: 5}
	h := int64(open(i, f))
	copy(i.memory.Bytes(), "0123456789")
	for _, c := range []struct {
		name string
		args []int64
		want int64
	}{
		{"send", []int64{h, 0, 10}, 5},
		{"send", []int64{h, 5, 5}, int64(abi.Again)},
		{"send", []int64{h, 5, 0}, 0},
		{"control", []int64{h, 0}, 0},
		{"control", []int64{h, 2}, 0},
		{"control", []int64{h, 4}, int64(abi.Invalid)},
		{"control", []int64{h, -1}, int64(abi.Invalid)},
		{"receive", []int64{h, 1}, 0},
		{"receive", []int64{h, 0}, 0},
		{"receive", []int64{h, 2}, int64(abi.Invalid)},
		{"want", []int64{h, 1}, 0},
		{"want", []int64{h, w.WindowSize}, 0},
		{"want", []int64{h, w.WindowSize + 1}, int64(abi.Invalid)},
		{"want", []int64{h, 0}, int64(abi.Invalid)},
		{"want", []int64{h, -5}, int64(abi.Invalid)},
		{"timer", []int64{h, -7, 1500}, 0},
		{"timer", []int64{h, -7, -1}, 0},
		{"info", []int64{h, abi.InfoServerName, 0, 0}, 5},
		{"info", []int64{h, abi.InfoClientFingerprint, 0, 0}, 6},
		{"info", []int64{h, abi.InfoCertificate, 0, 0}, 0},
		{"info", []int64{h, abi.InfoMessage, 0, 0}, 5},
		{"info", []int64{h, abi.InfoSubprotocol, 0, 0}, 5},
		{"info", []int64{h, abi.InfoSubprotocol + 1, 0, 0}, int64(abi.Invalid)},
		{"connect", []int64{0, 0}, int64(abi.Denied)},
		{"makessl", []int64{h, abi.TLSServer, 0, 0}, int64(abi.Denied)},
		{"makessl", []int64{h, 2, 0, 0}, int64(abi.Invalid)},
		{"makessl", []int64{h, abi.TLSServer, 0, 1}, int64(abi.Invalid)},
		{"makessl", []int64{h, abi.TLSClient, 0, 0}, int64(abi.Invalid)},
		{"splice", []int64{h, h}, int64(abi.Invalid)},
		{"info", []int64{h, -1, 0, 0}, int64(abi.Invalid)},
		{"info", []int64{h, abi.InfoPeer, 0, 0}, 11},
		{"info", []int64{h, abi.InfoPeer, 100, 5}, 11},
		{"info", []int64{h, abi.InfoLocal, 110, 50}, 11},
		{"info", []int64{h, abi.InfoListener, 130, 50}, 3},
		{"info", []int64{h, abi.InfoTenant, 140, 50}, 4},
		{"info", []int64{h, abi.InfoTransport, 150, 3}, 3},
		{"config", []int64{160, 50}, 2},
		{"clock", []int64{2}, int64(abi.Invalid)},
		{"random", []int64{200, 32}, 0},
		{"log", []int64{-1, 0, 1}, int64(abi.Invalid)},
		{"log", []int64{4, 0, 1}, int64(abi.Invalid)},
	} {
		if got, err := host(i, c.name, c.args...); err != nil || got != c.want {
			t.Errorf("%s%v = %d, %v; want %d", c.name, c.args, got, err, c.want)
		}
	}
	if string(f.sent) != "01234" {
		t.Errorf("it sent %q", f.sent)
	}
	if got := fmt.Sprint(f.did); got != "[producerFinished finish receive true receive false want 1 want 16384 set -7 1.5s stop -7]" {
		t.Errorf("the connection was told %s", got)
	}
	for at, want := range map[int]string{100: "192.0\x00", 110: "192.0.2.2:8\x00", 130: "web\x00", 140: "acme\x00", 150: "tcp\x00", 160: "{}\x00"} {
		if got := string(i.memory.Bytes()[at:][:len(want)]); got != want {
			t.Errorf("at %d there is %q, not %q", at, got, want)
		}
	}
	if bytes.Equal(i.memory.Bytes()[200:232], make([]byte, 32)) {
		t.Error("random left everything zero")
	}
	wantCode(t, i, abi.OK, "control", h, 1)
	if len(f.ends) != 1 || f.ends[0].Code != abi.OK {
		t.Errorf("shutdownMicroprocess ended it with %v", f.ends)
	}
	for _, code := range []abi.Code{abi.Closed, abi.Quota} {
		f.code = code
		wantCode(t, i, code, "send", h, 0, 1)
	}
}

func TestClocks(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	wall, _ := host(i, "clock", abi.ClockWall)
	if d := time.Since(time.Unix(0, wall)); d < 0 || d > time.Minute {
		t.Errorf("the wall clock is off by %v", d)
	}
	a, _ := host(i, "clock", abi.ClockMonotonic)
	b, _ := host(i, "clock", abi.ClockMonotonic)
	if a < 0 || b < a {
		t.Errorf("the monotonic clock went from %d to %d", a, b)
	}
}

// What is bad data to send is settled by the listener, for the connection
// whose event is served.
func TestBadDataToSend(t *testing.T) {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"count", "iiI:i"})
	m.Data(0, "code")
	m.Func("csa_data", "ii:i", "",
		// len 1: a stale handle; else a negative length.
		w.I32Const(0), w.I32Const(4),
		w.LocalGet(1), w.I32Const(1), w.I32Eq,
		w.IfElse('i',
			w.Cat(w.I32Const(77), w.I32Const(0), w.I32Const(1), w.Call(f[0])),
			w.Cat(w.LocalGet(0), w.I32Const(0), w.I32Const(-1), w.Call(f[0]))),
		[]byte{0xac}, w.Call(f[1]), w.Drop,
		w.LocalGet(1))
	for _, logged := range []bool{false, true} {
		for n, want := range map[int]abi.Code{1: abi.BadHandle, 2: abi.Invalid} {
			ten := newTenant(t, 0)
			l := listener()
			l.LogBadData = logged
			i := ten.start(m, l)
			f, other := &fake{}, &fake{}
			h := open(i, f)
			open(i, other)
			if used := i.data(h, f, n); used != n {
				t.Errorf("it consumed %d of %d", used, n)
			}
			if ten.log.counts["code"] != int64(want) {
				t.Errorf("send answered %v, not %v", ten.log.counts, want)
			}
			closed := len(f.ends) == 1 && f.ends[0].Code == abi.Invalid
			if closed == logged || len(other.ends) != 0 {
				t.Errorf("log %v: ended with %v, and the other with %v", logged, f.ends, other.ends)
			}
			if strings.Contains(ten.log.text(), "bad data to send") != logged {
				t.Errorf("log %v: the log is %q", logged, ten.log.text())
			}
			i.serving = nil
			if host(i, "send", 77, 0, 1); !strings.Contains(ten.log.text(), "bad data to send") {
				t.Error("outside an event it is not logged")
			}
		}
	}
}

func TestCount(t *testing.T) {
	n := newTenant(t, 0)
	n.log.most = 3
	i := n.start(w.Echo(), listener())
	put := func(s string) (int64, int64) { copy(i.memory.Bytes()[1000:], s); return 1000, int64(len(s)) }
	for _, c := range []struct {
		name string
		want abi.Code
	}{
		{"a", 0}, {"requests_2xx", 0}, {strings.Repeat("z", 64), 0}, {strings.Repeat("z", 65), abi.Invalid},
		{"", abi.Invalid}, {"A", abi.Invalid}, {"a b", abi.Invalid}, {"a\n", abi.Invalid}, {"\xff", abi.Invalid},
		{"fourth", abi.Quota}, {"a", 0},
	} {
		ptr, length := put(c.name)
		wantCode(t, i, c.want, "count", ptr, length, -5)
	}
	if n.log.counts["a"] != -10 {
		t.Errorf("the metric a is %d", n.log.counts["a"])
	}
}

func TestLogLines(t *testing.T) {
	n := newTenant(t, 0)
	l := listener()
	l.LogLines = 3
	i := n.start(w.Echo(), l)
	say := func(level int64, s string) {
		copy(i.memory.Bytes()[w.WindowAt:], s)
		wantCode(t, i, abi.OK, "log", level, w.WindowAt, int64(len(s)))
	}
	say(1, "one\n2026 ERROR forged\x1b[2J\xff")
	say(3, strings.Repeat("x", 1024))
	say(2, strings.Repeat("y", 1025))
	for range 5 {
		say(1, "too much")
	}
	want := "1 true " + `"one\n2026 ERROR forged\x1b[2J\xff"` + "\n3 true \"" + strings.Repeat("x", 1024) + "\"\n2 true \"" + strings.Repeat("y", 1024) + "…\"\n"
	// A new second may have begun.
	if got := n.log.text(); got != want && !strings.Contains(got, "came too fast") {
		t.Errorf("the log is %q", got)
	}
	i.limit.second--
	say(1, "later")
	if got := n.log.text(); !strings.Contains(got, "log lines of its handler came too fast and were dropped") || !strings.Contains(got, `"later"`) {
		t.Errorf("the log is %q", got)
	}
	if n.log.leftOut == 0 {
		t.Error("no line is counted as left out")
	}
	lines := len(n.log.lines)
	l.LogLines = -1
	say(1, "none")
	if len(n.log.lines) != lines {
		t.Error("a listener without log lines logged one")
	}
}

func TestPrintedLines(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	i.printAll(1, [][]byte{[]byte("hel"), []byte("lo\nwor"), []byte("ld\n\n")})
	i.printAll(2, [][]byte{[]byte(strings.Repeat("e", 3000) + "\nrest")})
	i.Close()
	want := "1 true \"hello\"\n1 true \"world\"\n2 true \"" + strings.Repeat("e", 1024) + "…\"\n2 true \"rest\"\n"
	if got := n.log.text(); got != want {
		t.Errorf("the log is %q, not %q", got, want)
	}
}

// A pointer outside memory traps the guest, with the reason.
func TestRangeTrap(t *testing.T) {
	n := newTenant(t, 0)
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "", w.LocalGet(0), w.I32Const(-4), w.I32Const(8), w.Call(f[0]))
	var trap *Trap
	l := listener()
	l.OnTrap = func(_ *Instance, tr *Trap) { trap = tr }
	i := n.start(m, l)
	c := &fake{}
	i.data(open(i, c), c, 1)
	const why = "send was given the 8 bytes at 0xfffffffc, which are not all inside its memory of 65536 bytes"
	if trap == nil || trap.Why != why || trap.Bug || trap.Error() != "csa_data trapped: "+why {
		t.Errorf("it trapped with %v", trap)
	}
	if len(c.ends) != 1 || c.ends[0].Why != "its handler trapped: "+why {
		t.Errorf("its connection ended with %v", c.ends)
	}
}

func TestInstanceTimers(t *testing.T) {
	n := newTenant(t, 0)
	m, f := w.Handler([2]string{"timer", "iii:i"}, [2]string{"count", "iiI:i"})
	m.Data(0, "fired")
	// csa_start sets 3 and 5 and withdraws 5; 3 sets 4 once.
	m.Func("csa_start", ":i", "",
		w.I32Const(-1), w.I32Const(3), w.I32Const(0), w.Call(f[0]), w.Drop,
		w.I32Const(-1), w.I32Const(5), w.I32Const(0), w.Call(f[0]), w.Drop,
		w.I32Const(-1), w.I32Const(5), w.I32Const(-1), w.Call(f[0]))
	m.Func("csa_timer", "ii:", "",
		w.LocalGet(0), w.I32Const(-1), w.I32Ne, w.If(w.Unreachable),
		w.I32Const(0), w.I32Const(5), w.LocalGet(1), []byte{0xac}, w.Call(f[1]), w.Drop,
		w.LocalGet(1), w.I32Const(3), w.I32Eq,
		w.If(w.I32Const(-1), w.I32Const(4), w.I32Const(1), w.Call(f[0]), w.Drop))
	m.Func("csa_data", "ii:i", "", w.LocalGet(1))
	i := n.start(m, listener())
	l := newLoop(t)
	l.on(func() { i.Attach(l.Loop) })
	until(t, "timers 3 and 4 have fired", func() bool {
		n.log.mu.Lock()
		defer n.log.mu.Unlock()
		return n.log.counts["fired"] == 7
	})
	l.on(func() {
		for k := range abi.MaxTimers {
			wantCode(t, i, abi.OK, "timer", -1, int64(k), 1e6)
		}
		wantCode(t, i, abi.Quota, "timer", -1, 99, 1e6)
		wantCode(t, i, abi.OK, "timer", -1, 7, 2e6)
		wantCode(t, i, abi.OK, "timer", -1, 7, -1)
		wantCode(t, i, abi.OK, "timer", -1, 99, 1e6)
		i.Close()
	})
}

// FuzzHostFunctions calls every function with any arguments: it may answer or
// trap, and what it answers is in the table.
func FuzzHostFunctions(f *testing.F) {
	f.Add(uint8(0), uint64(1), uint64(4096), uint64(10), uint64(0))
	f.Add(uint8(0), uint64(1), uint64(1<<32-1), uint64(1<<31), uint64(0))
	f.Add(uint8(4), uint64(1), uint64(3), uint64(65536), uint64(0))
	f.Add(uint8(10), uint64(0), uint64(5), uint64(1<<63), uint64(0))
	f.Add(uint8(20), uint64(0), uint64(1024), uint64(1024), uint64(0))
	n := newTenant(f, 0)
	i := n.start(w.Echo(), listener())
	r := rand.New(rand.NewPCG(1, 2))
	for k := range i.memory.Bytes() {
		i.memory.Bytes()[k] = byte(r.Uint32())
	}
	functions := wasi.Functions()
	f.Fuzz(func(t *testing.T, which uint8, a, b, c, d uint64) {
		conn := &fake{room: 100}
		h := open(i, conn)
		defer i.ended(h, csa.Orderly)
		if a%3 == 0 {
			a = uint64(h)
		}
		s := make([]uint64, 10)
		copy(s, []uint64{a, b, c, d, a, b, c, d, a, b})
		defer func() {
			switch p := recover().(type) {
			case nil, *rangeError, *sys.ExitError:
			default:
				t.Errorf("it panicked with %v", p)
			}
		}()
		if k := int(which); k < len(abi.HostFunctions) {
			fn := &abi.HostFunctions[k]
			hostCalls[fn.Name](i, s)
			if r := abi.Code(int32(s[0])); fn.Name != "clock" && r < 0 && !slices.Contains(fn.Errors, r) {
				t.Errorf("%s answers %v, which it should not", fn.Name, r)
			}
		} else {
			functions[(k-len(abi.HostFunctions))%len(functions)].Call(&i.wasi, s)
		}
	})
}

// broken is a logger that fails.
type broken struct{}

func (broken) LeftOut() {}

func (broken) Log(l Line) {
	if l.Guest {
		var none []int
		_ = none[len(l.Text)]
	}
}

// A failure of the host inside a call ends the instance like a trap, and tells
// the tenant nothing of the host.
func TestHostFailure(t *testing.T) {
	r := NewRuntime(RuntimeOptions{Log: broken{}})
	m, f := w.Handler([2]string{"log", "iii:i"})
	m.Func("csa_data", "ii:i", "", w.I32Const(1), w.I32Const(0), w.I32Const(1), w.Call(f[0]))
	mod, err := r.Load("x.wasm", m.Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	var trap *Trap
	l := listener()
	l.OnTrap = func(i *Instance, tr *Trap) { trap = tr; i.Close() }
	i, err := mod.Instantiate(l)
	if err != nil {
		t.Fatal(err)
	}
	c := &fake{}
	i.data(open(i, c), c, 1)
	if trap == nil || !trap.Bug || trap.Why != "the host failed" || !strings.Contains(trap.Err.Error(), "index out of range") {
		t.Errorf("it trapped with %+v", trap)
	}
	if len(c.ends) == 0 || c.ends[0].Why != "its handler trapped: the host failed" {
		t.Errorf("its connection ended with %v", c.ends)
	}
	mod.Close()
	r.Close()
	<-r.Done()
}

// A function of the table that is not built answers so, in its own type.
func TestUnbuiltFunctionsAnswer(t *testing.T) {
	for result, want := range map[abi.ValueType]uint64{abi.I32: 0xfffffff8, abi.I64: 0xfffffffffffffff8} {
		s := []uint64{7}
		if unsupported(&abi.HostFunction{Function: abi.Function{Results: []abi.ValueType{result}}})(nil, s); s[0] != want {
			t.Errorf("as %v it answers %#x, want %#x", result, s[0], want)
		}
	}
}
