package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// datagrams is a guest that echoes, but for datagrams that begin with
//
//	!  traps
//	W  computes for several slices, and echoes then
//	H  remembers the connection, for S
//	M, S, L  says what makessl, splice, and sending 65,508 bytes answer: A is 0, B is -1
//	T  says the transport
//	I, O  say the address of the peer, and of this end
//	P  stops receiving, until a timer of 50 ms fires
//	C  echoes and says producerFinished
func datagrams() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"makessl", "iiii:i"}, [2]string{"splice", "ii:i"},
		[2]string{"info", "iiii:i"}, [2]string{"receive", "ii:i"}, [2]string{"timer", "iii:i"}, [2]string{"control", "ii:i"}, [2]string{"want", "ii:i"})
	send, makessl, splice, info, receive, timer, control, want := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
	known := m.Global('i', true, w.I32Const(0))
	m.Data(100, "good-bye")
	at := func(ptr int32, n []byte) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(ptr), n, w.Call(send), w.Drop)
	}
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.LocalGet(1), w.If(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(then...)))
	}
	says := func(code []byte) []byte {
		return w.Cat(w.I32Const(200), w.I32Const('A'), code, w.I32Sub, w.I32Store8(0), at(200, w.I32Const(1)), w.LocalGet(1), w.Return)
	}
	m.Func("csa_data", "ii:i", "i",
		first('!', w.Unreachable),
		first('W', w.I32Const(3_000_000), w.LocalSet(2), w.Loop(w.LocalGet(2), w.I32Const(1), w.I32Sub, w.LocalTee(2), w.BrIf(0))),
		first('H', w.LocalGet(0), w.GlobalSet(known)),
		first('M', says(w.Cat(w.LocalGet(0), w.I32Const(abi.TLSServer), w.I32Const(0), w.I32Const(0), w.Call(makessl)))),
		first('S', says(w.Cat(w.LocalGet(0), w.GlobalGet(known), w.Call(splice)))),
		first('L', says(w.Cat(w.LocalGet(0), w.I32Const(0), w.I32Const(65508), w.Call(send)))),
		first('I', at(300, w.Cat(w.LocalGet(0), w.I32Const(abi.InfoPeer), w.I32Const(300), w.I32Const(100), w.Call(info))), w.LocalGet(1), w.Return),
		first('O', at(300, w.Cat(w.LocalGet(0), w.I32Const(abi.InfoLocal), w.I32Const(300), w.I32Const(100), w.Call(info))), w.LocalGet(1), w.Return),
		first('T', at(300, w.Cat(w.LocalGet(0), w.I32Const(abi.InfoTransport), w.I32Const(300), w.I32Const(100), w.Call(info))), w.LocalGet(1), w.Return),
		first('P', w.LocalGet(0), w.I32Const(0), w.Call(receive), w.Drop, w.LocalGet(0), w.I32Const(1), w.I32Const(50), w.Call(timer), w.Drop),
		w.LocalGet(0), w.I32Const(16000), w.Call(want), w.Drop, // means nothing
		at(w.WindowAt, w.LocalGet(1)),
		first('C', w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop),
		w.I32Const(0)) // what is left is not offered again
	m.Func("csa_timer", "ii:", "", w.LocalGet(0), w.I32Const(1), w.Call(receive), w.Drop)
	return m
}

// udp serves a module over UDP.
func udp(t *testing.T, m *w.Module, instance, tenant, more string, o host.Options) *host.Host {
	t.Helper()
	return hosttest.Serve(t, udpConfig(t, m, instance, tenant, more), o)
}

func udpConfig(t *testing.T, m *w.Module, instance, tenant, more string) string {
	t.Helper()
	return fmt.Sprintf(`
[host]
state = %q
loops = 2
drain = "1h"
[tenant.acme]
accept_rate = 100000
%s
[[listener]]
name = "udp"
tenant = "acme"
address = "udp4://127.0.0.1:0"
plugin = %q
instance = %q
%s
`, hosttest.State(), tenant, writeModule(t, m), instance, more)
}

// onClock has a native echo in the plugin's place: a guest that has used its part of a
// turn waits for the next, which never comes on a clock that stands still.
func onClock(clock selector.Clock) host.Options {
	return host.Options{Clock: clock, Native: map[string]host.Native{"udp": hosttest.NewEcho}, Log: slog.New(slog.DiscardHandler)}
}

var instanceModes = []string{"connection", "loop", "listener"}

func dialUDP(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(awaittest.Deadline())
	return conn
}

// hearOne wants the next datagram to be this.
func hearOne(t testing.TB, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("heard %.60q, %v; want %.60q", buf[:n], err, want)
	}
}

func trip(t testing.TB, c net.Conn, what string) {
	t.Helper()
	hosttest.Say(t, c, what)
	hearOne(t, c, what)
}

// tripInTheEnd asks again until there is an answer, as clients do.
func tripInTheEnd(t testing.TB, c net.Conn, what string) {
	t.Helper()
	buf := make([]byte, 1<<10)
	hosttest.Eventually(t, "there is an answer to "+what, func() bool {
		hosttest.Say(t, c, what)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := c.Read(buf)
		return err == nil && string(buf[:n]) == what
	})
}

func TestDatagramsAreKeptApart(t *testing.T) {
	for _, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			h := udp(t, datagrams(), instance, "", "", host.Options{})
			c := dialUDP(t, h.Addr("udp"))
			for _, what := range []string{"one", "the second", "", strings.Repeat("x", 5000), strings.Repeat("y", w.WindowSize)} {
				trip(t, c, what)
			}
			for i := range 16 {
				hosttest.Say(t, c, fmt.Sprint(i))
			}
			for i := range 16 {
				hearOne(t, c, fmt.Sprint(i))
			}
			// Too long for the window: lost, counted, and nothing of it is seen.
			hosttest.Say(t, c, strings.Repeat("z", w.WindowSize+1))
			trip(t, c, "after")
			if st := h.Stats().Listeners[0]; !maps.Equal(st.DatagramsLost, map[string]int64{csa.LostTooLong.Info().Name: 1}) || st.Accepted != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestManyDatagramPeers(t *testing.T) {
	for _, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			h := udp(t, datagrams(), instance, "", "", host.Options{})
			conns := make([]net.Conn, 200)
			for i := range conns {
				conns[i] = dialUDP(t, h.Addr("udp"))
				trip(t, conns[i], fmt.Sprint("peer ", i))
			}
			for i, c := range conns {
				hosttest.Say(t, c, fmt.Sprint("again ", i))
			}
			for i, c := range conns {
				hearOne(t, c, fmt.Sprint("again ", i))
			}
			if n := h.Stats().Tenants[0].Connections; n != len(conns) {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestWhatUDPHasNot(t *testing.T) {
	h := udp(t, datagrams(), "listener", "", "", host.Options{})
	other, c := dialUDP(t, h.Addr("udp")), dialUDP(t, h.Addr("udp"))
	trip(t, other, "H")
	invalid := string(rune('A' - int32(abi.Invalid)))
	for ask, want := range map[string]string{"M": invalid, "S": invalid, "L": invalid, "T": "udp"} {
		hosttest.Say(t, c, ask)
		hearOne(t, c, want)
	}
	trip(t, c, "it lives on") // sending too much is not bad data
}

// The end of a guest is its peer's alone, who begins anew with the next datagram.
func TestADatagramThatTraps(t *testing.T) {
	h := udp(t, datagrams(), "connection", "", "", host.Options{Log: slog.New(slog.DiscardHandler)})
	a, b := dialUDP(t, h.Addr("udp")), dialUDP(t, h.Addr("udp"))
	trip(t, b, "b")
	for i := range 3 {
		trip(t, a, "fine")
		hosttest.Say(t, a, "!")
		hosttest.Eventually(t, "it has trapped", func() bool {
			st := h.Stats()
			return st.Listeners[0].Traps == int64(i+1) && st.Tenants[0].Connections == 1
		})
		trip(t, b, "b still")
	}
	// Which a connection that its handler has finished does, too.
	for range 3 {
		trip(t, a, "C")
		hosttest.Eventually(t, "it has finished", func() bool { return h.Stats().Connections == 1 })
	}
}

// While a call goes on in the background its peer's datagrams wait, in order, and
// those of others do not.
func TestDatagramsBehindALongCall(t *testing.T) {
	for _, instance := range []string{"connection", "loop"} {
		t.Run(instance, func(t *testing.T) {
			h := udp(t, datagrams(), instance, "cpu = 4", "event_timeout = \"1m\"", host.Options{})
			a, b := dialUDP(t, h.Addr("udp")), dialUDP(t, h.Addr("udp"))
			trip(t, b, "b")
			for range 3 {
				hosttest.Say(t, a, "W")
				for i := range 10 {
					hosttest.Say(t, a, fmt.Sprint(i))
				}
				if instance == "connection" {
					trip(t, b, "b")
				}
				hearOne(t, a, "W")
				for i := range 10 {
					hearOne(t, a, fmt.Sprint(i))
				}
			}
			if h.Stats().Tenants[0].BackgroundCalls == 0 {
				t.Error("no call was long")
			}
			// A pause is the same.
			hosttest.Say(t, a, "P")
			hosttest.Say(t, a, "later")
			hearOne(t, a, "P")
			hearOne(t, a, "later")
		})
	}
}

// A burst of somebody new is answered, all of it, while the first call goes on.
func TestABurstFromANewPeer(t *testing.T) {
	for _, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			h := udp(t, datagrams(), instance, "cpu = 4", "event_timeout = \"1m\"", host.Options{})
			c := dialUDP(t, h.Addr("udp"))
			_ = c.(*net.UDPConn).SetReadBuffer(1 << 20)
			hosttest.Say(t, c, "W")
			long := strings.Repeat("x", 3000)
			for range 60 {
				hosttest.Say(t, c, long)
			}
			hearOne(t, c, "W")
			for range 60 {
				hearOne(t, c, long)
			}
			if lost := h.Stats().Listeners[0].DatagramsLost; len(lost) > 0 {
				t.Errorf("lost are %+v", lost)
			}
		})
	}
}

func TestIdleDatagramPeers(t *testing.T) {
	clock := &selector.Manual{}
	h := udp(t, datagrams(), "connection", "", "", onClock(clock))
	c := dialUDP(t, h.Addr("udp"))
	trip(t, c, "x")
	clock.Advance(20 * time.Second)
	trip(t, c, "x")
	clock.Advance(20 * time.Second)
	trip(t, c, "x")
	if n := h.Stats().Listeners[0].Accepted; n != 1 {
		t.Errorf("%d connections came", n)
	}
	clock.Advance(31 * time.Second) // more than 30, which a configuration need not say
	hosttest.Eventually(t, "it is idle", func() bool { return h.Stats().Connections == 0 })
	trip(t, c, "x")
	if n := h.Stats().Listeners[0].Accepted; n != 2 {
		t.Errorf("%d connections came", n)
	}
}

// At the cap on connections a new peer takes the place of one that has sent one datagram only;
// those who have sent more keep theirs.
func TestTheCapOnDatagramPeers(t *testing.T) {
	h := udp(t, datagrams(), "listener", "connections = 10", "", host.Options{})
	known := make([]net.Conn, 9)
	for i := range known {
		known[i] = dialUDP(t, h.Addr("udp"))
		trip(t, known[i], "one")
		trip(t, known[i], "two")
	}
	noPlace := func() int64 { return h.Stats().Listeners[0].DatagramsLost[csa.LostConnections.Info().Name] }
	// The answer to the one before may be out before the call is over that gave it, and as long
	// that one keeps its place: then this one's datagram is lost, and counted, and comes again.
	arrive := func(c net.Conn, text string) {
		t.Helper()
		lost := noPlace()
		heard := make(chan struct{})
		go func() { hosttest.HearOrError(t, c, text); close(heard) }()
		hosttest.Say(t, c, text)
		hosttest.Eventually(t, "it is answered", func() bool {
			select {
			case <-heard:
				return true
			default:
			}
			if now := noPlace(); now > lost {
				lost = now
				hosttest.Say(t, c, text)
			}
			return false
		})
	}
	for i := range 50 {
		arrive(dialUDP(t, h.Addr("udp")), fmt.Sprint(i))
	}
	for _, c := range known {
		trip(t, c, "three")
	}
	last := dialUDP(t, h.Addr("udp"))
	arrive(last, "one")
	trip(t, last, "two")
	lost := noPlace()
	hosttest.Say(t, dialUDP(t, h.Addr("udp")), "there is no place")
	hosttest.Eventually(t, "it is turned away", func() bool { return noPlace() == lost+1 })
	if st := h.Stats(); st.Listeners[0].Accepted != 60 || st.Connections != 10 {
		t.Errorf("%+v", st)
	}
}

// Nor do such peers keep the tenant's other listeners out, or the socket of another loop.
func TestDatagramPeersMakeRoomForOthers(t *testing.T) {
	h := udp(t, datagrams(), "loop", "connections = 4", fmt.Sprintf(`
[[listener]]
name = "tcp"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
`, plugin(t, "echo/echo.wasm")), host.Options{})
	for i := range 40 {
		// Who asks again is a peer of two datagrams, which nobody takes the place of: another one
		// asks.
		wait, what := 20*time.Millisecond, fmt.Sprint(i)
		hosttest.Eventually(t, "somebody has an answer to "+what, func() bool {
			c := dialUDP(t, h.Addr("udp"))
			hosttest.Say(t, c, what)
			_ = c.SetReadDeadline(time.Now().Add(wait))
			wait = min(2*wait, time.Second)
			buf := make([]byte, len(what))
			n, err := c.Read(buf)
			return err == nil && string(buf[:n]) == what
		})
	}
	for range 4 {
		c := hosttest.Dial(t, h.Addr("tcp"))
		hosttest.Say(t, c, "tcp")
		hosttest.Hear(t, c, "tcp")
	}
}

func TestNewDatagramPeersHaveARate(t *testing.T) {
	clock := &selector.Manual{}
	h := hosttest.Serve(t, strings.Replace(udpConfig(t, datagrams(), "loop", "", ""), "accept_rate = 100000", "accept_rate = 3", 1), onClock(clock))
	var lost int64
	for range 20 {
		hosttest.Say(t, dialUDP(t, h.Addr("udp")), "x")
	}
	hosttest.Eventually(t, "all are dealt with", func() bool {
		st := h.Stats().Listeners[0]
		lost = st.DatagramsLost[csa.LostPeerRefused.Info().Name]
		return st.Accepted+lost == 20
	})
	if lost < 15 {
		t.Errorf("%d of 20 were lost at 3 a second", lost)
	}
	clock.Advance(2 * time.Second)
	trip(t, dialUDP(t, h.Addr("udp")), "now")
}

func TestDrainOverUDP(t *testing.T) {
	for _, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			cfg, err := config.Load(hosttest.WriteConfig(t, udpConfig(t, partingGuest(), instance, "", "")))
			if err != nil {
				t.Fatal(err)
			}
			before := runtime.NumGoroutine()
			h, err := host.New(cfg, host.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- h.Run(ctx) }()
			c := dialUDP(t, h.Addr("udp"))
			trip(t, c, "x")
			stop()
			hearOne(t, c, "good-bye")
			if err := <-done; err != nil {
				t.Error(err)
			}
			if st := h.Stats(); st.Connections != 0 || st.Tenants[0].Memory != 0 {
				t.Errorf("%+v", st)
			}
			hosttest.Eventually(t, "its goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
			// The address is free again, all of its sockets closed.
			free, err := net.ListenPacket("udp4", h.Addr("udp"))
			if err != nil {
				t.Fatal(err)
			}
			free.Close()
		})
	}
}

// While the host drains nobody new comes, and those who are there go on.
func TestNobodyNewWhileUDPDrains(t *testing.T) {
	cfg, err := config.Load(hosttest.WriteConfig(t, udpConfig(t, datagrams(), "loop", "", "")))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	c := dialUDP(t, h.Addr("udp"))
	trip(t, c, "x")
	stop()
	hosttest.Eventually(t, "nobody is admitted", func() bool {
		hosttest.Say(t, dialUDP(t, h.Addr("udp")), "new")
		return h.Stats().Listeners[0].DatagramsLost[csa.LostPeerRefused.Info().Name] > 0
	})
	trip(t, c, "goes on")
	h.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What was opened is closed when Run is never called.
func TestUDPWithoutRun(t *testing.T) {
	cfg := nativeConfig(config.Address{Network: "udp", Host: "127.0.0.1:0"})
	native := host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}}
	h, err := host.New(cfg, native)
	if err != nil {
		t.Fatal(err)
	}
	// Nor does another process, or host, get the same address.
	cfg.Listeners[0].Address.Host = h.Addr("echo")
	if other, err := host.New(cfg, native); err == nil {
		other.Close()
		t.Error("two hosts have one address")
	} else if !strings.Contains(err.Error(), "another process listens there") {
		t.Error(err)
	}
	h.Close()
	h, err = host.New(cfg, native)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

func TestUDPNatively(t *testing.T) {
	for what, spoil := range map[string]func(l *config.Listener){
		"programs": func(l *config.Listener) { l.Shape = "stdio" },
		"TLS":      func(l *config.Listener) { l.TLS = &config.TLS{} },
	} {
		cfg := nativeConfig(config.Address{Network: "udp", Host: "127.0.0.1:0"})
		spoil(&cfg.Listeners[0])
		if h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}}); err == nil {
			h.Close()
			t.Errorf("%s: accepted", what)
		} else if !strings.Contains(err.Error(), what) {
			t.Errorf("%q does not speak of %s", err, what)
		}
	}
	h := serveNative(t, nativeConfig(config.Address{Network: "udp", Host: "127.0.0.1:0"}), nil)
	c := dialUDP(t, h.Addr("echo"))
	trip(t, c, strings.Repeat("x", 65507))
	trip(t, c, "")
}

// A guest's handler costs no allocation a datagram, and none a batch.
func TestNoAllocationPerDatagram(t *testing.T) {
	h := udp(t, datagrams(), "connection", "", "", host.Options{Log: slog.New(slog.DiscardHandler)})
	c := dialUDP(t, h.Addr("udp"))
	msg, back := make([]byte, 64), make([]byte, 64)
	round := func() {
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(back); err != nil || n != 64 {
			t.Fatal(n, err)
		}
	}
	for range 200 {
		round()
	}
	wantNoAllocations(t, h, round)
}

// Datagrams that come before their plugin is loaded wait in the system's queue.
func TestDatagramsForAPluginThatIsLoadedLate(t *testing.T) {
	const tenants = 3
	l := newLateHost(t, tenants)
	for i := range l.config.Listeners {
		l.config.Listeners[i].Address = config.Address{Network: "udp4", Host: "127.0.0.1:0"}
	}
	// The last one takes a while to start, and the first has the host be there.
	m := w.Echo()
	m.Func("csa_start", ":i", "i", spins(0, 20_000_000), w.I32Const(0))
	l.write(tenants-1, m.Bytes())
	for _, run := range []bool{true, false} {
		h, err := l.start()
		if err != nil {
			t.Fatal(err)
		}
		conns := make([]net.Conn, tenants)
		for i := range conns {
			conns[i] = dialUDP(t, h.Addr(fmt.Sprint("l", i)))
			hosttest.Say(t, conns[i], "early")
		}
		if !run {
			h.Close()
			continue
		}
		stop := l.run(h)
		for _, c := range conns {
			hearOne(t, c, "early")
			trip(t, c, "later")
		}
		for _, s := range h.Stats().Listeners {
			if len(s.DatagramsLost) > 0 {
				t.Errorf("lost %+v", s.DatagramsLost)
			}
		}
		stop()
	}
}
