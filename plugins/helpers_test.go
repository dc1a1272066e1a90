package plugins

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/statetest"
	"bulkhead/internal/wasmtest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// account is a budget that counts; limit 0 is none.
type account struct{ held, limit, timers, refused atomic.Int64 }

func (a *account) Reserve(n int) bool {
	if l := a.limit.Load(); l != 0 && a.held.Load()+int64(n) > l {
		a.refused.Add(1)
		return false
	}
	a.held.Add(int64(n))
	return true
}
func (a *account) Release(n int)                 { a.held.Add(-int64(n)) }
func (a *account) ReserveTimer() bool            { a.timers.Add(1); return true }
func (a *account) ReleaseTimers(n int)           { a.timers.Add(-int64(n)) }
func (a *account) Received(_ int, _ int64) int64 { return 0 }
func (a *account) Book(int64)                    {}
func (a *account) CPUWait() int64                { return 0 }
func (a *account) Sent(_ int, _ int64) int64     { return 0 }

// journal keeps lines and counts.
type journal struct {
	mu     sync.Mutex
	lines  []Line
	counts map[string]int64
	most   int // names; 0 is no bound
	// leftOut lines were too many of an instance's.
	leftOut int
}

func (j *journal) LeftOut() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leftOut++
}

func (j *journal) Log(l Line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l)
}

func (j *journal) Count(b []byte, n int64) abi.Code {
	name := string(b)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts == nil {
		j.counts = make(map[string]int64)
	}
	if _, ok := j.counts[name]; !ok && j.most > 0 && len(j.counts) == j.most {
		return abi.Quota
	}
	j.counts[name] += n
	return abi.OK
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, l := range j.lines {
		text := l.Text
		if l.Guest {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, "%d %v %s\n", l.Level, l.Guest, text)
	}
	return b.String()
}

// fake is a connection without a socket.
type fake struct {
	room int // what Send takes before AGAIN
	code abi.Code
	sent []byte
	did  []string
	ends []csa.Reason

	fuel, cpu int64
}

func (f *fake) Send(p []byte) (int, abi.Code) {
	if f.code != abi.OK {
		return 0, f.code
	}
	n := min(len(p), f.room)
	if n == 0 && len(p) > 0 {
		return 0, abi.Again
	}
	f.room -= n
	f.sent = append(f.sent, p[:n]...)
	return n, abi.OK
}
func (f *fake) say(format string, args ...any)    { f.did = append(f.did, fmt.Sprintf(format, args...)) }
func (f *fake) ProducerFinished()                 { f.say("producerFinished") }
func (f *fake) FinishSending()                    { f.say("finish") }
func (f *fake) ShutdownMicroprocess(r csa.Reason) { f.ends = append(f.ends, r) }
func (f *fake) Receive(on bool)                   { f.say("receive %v", on) }
func (f *fake) Want(n int)                        { f.say("want %d", n) }
func (f *fake) Peer() string                      { return "192.0.2.1:7" }
func (f *fake) Number() uint64                    { return 7 }
func (f *fake) Local() string                     { return "192.0.2.2:8" }
func (f *fake) Transport() string                 { return "tcp" }
func (f *fake) TLSInfo(key int32) string          { return fmt.Sprint("tls ", key) }
func (f *fake) WebSocketInfo(key int32) string    { return fmt.Sprint("ws ", key) }
func (f *fake) Consumed(p []byte, used int)       { f.say("consumed %d of %d", used, len(p)) }
func (f *fake) Offer()                            { f.say("offer") }
func (f *fake) Over() bool                        { return len(f.ends) > 0 }
func (f *fake) Spend(fuel, cpu int64)             { f.fuel, f.cpu = f.fuel+fuel, f.cpu+cpu }
func (f *fake) StopTimer(t int32)                 { f.say("stop %d", t) }
func (f *fake) SetTimer(t int32, d time.Duration) abi.Code {
	f.say("set %d %v", t, d)
	return abi.OK
}

// tenant is a runtime, its books, and what a test makes with it.
type tenant struct {
	t    testing.TB
	r    *Runtime
	acc  *account
	maps *mappingAccount
	log  *journal
}

func newTenant(t testing.TB, memory int64) *tenant {
	t.Helper()
	n := &tenant{t: t, acc: &account{}, maps: &mappingAccount{}, log: &journal{}}
	n.r = NewRuntime(RuntimeOptions{Memory: n.acc, Mappings: n.maps, Timers: n.acc, MemoryLimit: memory, Log: n.log, Counter: n.log})
	t.Cleanup(func() {
		n.r.Close()
		select {
		case <-n.r.Done():
		case <-time.After(awaittest.Longest):
			t.Errorf("the runtime still has %d modules open", n.r.live)
		}
		if held := n.acc.held.Load(); held != 0 {
			t.Errorf("%d bytes of memory are still held", held)
		}
		if n := n.acc.timers.Load(); n != 0 {
			t.Errorf("%d timers are still held", n)
		}
	})
	return n
}

// share has modules compiled once for all tests, those of other packages included.
func (n *tenant) share() *tenant {
	n.t.Helper()
	n.r.options.Code = openCode(n.t, statetest.Code())
	return n
}

func (n *tenant) load(b []byte, s Shape) *Module {
	n.t.Helper()
	m, err := n.r.Load("test.wasm", b, s)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(m.Close)
	return m
}

func (n *tenant) start(m *wasmtest.Module, l *Listener) *Instance {
	n.t.Helper()
	i, err := n.load(m.Bytes(), Events).Instantiate(l)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(i.Close)
	return i
}

// startError is the error of a module that does not start.
func (n *tenant) startError(m *wasmtest.Module) error {
	n.t.Helper()
	i, err := n.load(m.Bytes(), Events).Instantiate(listener())
	if err == nil {
		i.Close()
		n.t.Fatal("it started")
	}
	if held := n.acc.held.Load(); held != 0 {
		n.t.Errorf("after %q, %d bytes of memory are held", err, held)
	}
	if s := err.Error(); strings.Contains(s, "\n") || !strings.HasPrefix(s, "test.wasm: ") {
		n.t.Errorf("not one line that begins with the name: %q", s)
	}
	return err
}

func listener() *Listener { return &Listener{Name: "web", Tenant: "acme"} }

// open takes a fake connection in, as Open does a real one.
func open(i *Instance, f *fake) int32 {
	h := i.admit(f)
	i.opened(h, f)
	return h
}

// host calls a host function as a guest would.
func host(i *Instance, name string, args ...int64) (result int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(*rangeError)
			if !ok {
				panic(p)
			}
			err = e
		}
	}()
	var s [4]uint64
	for n, a := range args {
		s[n] = uint64(a)
		if name != "count" || n != 2 {
			s[n] = uint64(uint32(a))
		}
	}
	hostCalls[name](i, s[:])
	if name == "clock" {
		return int64(s[0]), nil
	}
	return int64(int32(s[0])), nil
}

func wantCode(t *testing.T, i *Instance, want abi.Code, name string, args ...int64) {
	t.Helper()
	got, err := host(i, name, args...)
	if err != nil || got != int64(want) {
		t.Errorf("%s%v = %d, %v; want %v", name, args, got, err, want)
	}
}

// loop is a running loop.
type loop struct {
	*csa.Loop
	t   testing.TB
	sel *selector.Selector
	acc account
	set csa.Settings

	stopped bool
}

func newLoop(t testing.TB) *loop {
	t.Helper()
	return newLoopOn(t, selector.System)
}

// newLoopOn is a loop with a clock.
func newLoopOn(t testing.TB, clock selector.Clock) *loop {
	t.Helper()
	sel, err := selector.New(selector.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{Loop: csa.NewLoop(sel), t: t, sel: sel}
	l.set.Linger = 10 * time.Second
	go sel.Run()
	t.Cleanup(func() {
		if !l.stopped {
			l.on(func() { l.Each(func(c *csa.CSA) { c.ShutdownMicroprocess(csa.Orderly) }) })
		}
		if held := l.acc.held.Load(); held != 0 {
			t.Errorf("%d bytes of buffers are still held", held)
		}
		sel.Stop()
		<-sel.Done()
	})
	return l
}

func (l *loop) on(f func()) {
	l.t.Helper()
	done := make(chan struct{})
	// In a post of its own: a handler that f calls may pass the loop on.
	if !l.Post(f) || !l.Post(func() { close(done) }) {
		l.t.Fatal("the loop has stopped")
	}
	<-done
}

// ending says how a connection died.
type ending struct{ c chan csa.Reason }

func (e ending) SocketShutdown(_ *csa.CSA, r csa.Reason) { e.c <- r }

func (e ending) wait(t testing.TB) csa.Reason {
	t.Helper()
	select {
	case r := <-e.c:
		return r
	case <-time.After(awaittest.Longest):
		t.Fatal("the connection does not end")
		return csa.Reason{}
	}
}

// wire gives one end of a connection to a handler and returns the other.
func (l *loop) wire(h csa.Handler) (net.Conn, ending) {
	l.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	peer, err := net.FileConn(f)
	f.Close()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { peer.Close() })
	if err := unix.SetNonblock(fds[0], true); err != nil {
		l.t.Fatal(err)
	}
	e := ending{make(chan csa.Reason, 2)}
	l.on(func() {
		_, err := l.NewCSA(fds[0], netip.AddrPort{}, csa.Wiring{Handler: h, Settings: &l.set, Budget: &l.acc, Creator: e})
		if err != nil {
			l.t.Error(err)
		}
	})
	peer.SetDeadline(awaittest.Deadline())
	return peer, e
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	awaittest.Until(t, what, cond)
}

// noLeaks fails when goroutines are left at the end of a test.
func noLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		until(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
}
