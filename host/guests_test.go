package host_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// Every faulty guest loses its own connection with a logged reason, and
// nothing else: a neighbour of another tenant is served all along, and so is
// the next client of the same listener.

// faults are guests that echo until a client sends '!'.
var faults = map[string]struct {
	build func() *w.Module
	log   string // what the log says about it
}{
	"traps in csa_data": {func() *w.Module {
		return faulty("", w.Unreachable)
	}, "unreachable"},
	"divides by zero": {func() *w.Module {
		return faulty("", w.I32Const(1), w.I32Const(0), w.I32DivS, w.Drop)
	}, "divi"},
	"consumes more than it got": {func() *w.Module {
		return faulty("", w.LocalGet(1), w.I32Const(1), w.I32Add, w.Return)
	}, "says that it consumed"},
	"answers nonsense": {func() *w.Module {
		return faulty("", w.I32Const(-77), w.Return)
	}, "csa_data"},
	"closes with a code": {func() *w.Module {
		return faulty("", w.I32Const(-5), w.Return)
	}, "DENIED"},
	"sends from beyond its memory": {func() *w.Module {
		return faulty("", w.LocalGet(0), w.I32Const(1<<30), w.I32Const(10), w.Call(0), w.Drop)
	}, "send"},
	"sends across the end of its memory": {func() *w.Module {
		return faulty("", w.LocalGet(0), w.I32Const(65530), w.I32Const(10), w.Call(0), w.Drop)
	}, "send"},
	"sends a negative length": {func() *w.Module {
		return faulty("", w.LocalGet(0), w.I32Const(0), w.I32Const(-1), w.Call(0), w.Drop)
	}, "send"},
	"sends to a handle it was never given": {func() *w.Module {
		return faulty("", w.I32Const(12345), w.I32Const(0), w.I32Const(1), w.Call(0), w.Drop)
	}, "handle"},
	"recurses for ever": {func() *w.Module {
		m, send := w.Handler([2]string{"send", "iii:i"})
		_ = send
		deep := m.Func("", ":", "", w.Call(1+1))
		_ = deep
		return echoBut(m, w.Call(deep))
	}, "stack"},
	"traps in csa_eof": {func() *w.Module {
		m := faulty("", w.Nop)
		m.Func("csa_eof", "i:", "", w.Unreachable)
		return m
	}, "unreachable"},
	"traps in csa_closed": {func() *w.Module {
		m := faulty("", w.I32Const(-5), w.Return)
		m.Func("csa_closed", "ii:", "", w.Unreachable)
		return m
	}, "unreachable"},
}

// faulty echoes, and runs the body of csa_data given when it is sent a '!'.
func faulty(_ string, fault ...[]byte) *w.Module {
	m, _ := w.Handler([2]string{"send", "iii:i"})
	return echoBut(m, fault...)
}

// echoBut adds csa_data to a handler whose first import is send.
func echoBut(m *w.Module, fault ...[]byte) *w.Module {
	m.Func("csa_data", "ii:i", "",
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq,
		w.If(fault...),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(0))
	return m
}

// logBook keeps the host's log for the test to look at.
type logBook struct{ awaittest.Text }

func (l *logBook) has(s string) bool { return strings.Contains(l.String(), s) }

// twoTenants serves a module of one tenant beside the echo of another.
func twoTenants(t *testing.T, module []byte, instance string) (h *host.Host, log *logBook) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	log = &logBook{}
	toml := echoConfig(t, "loop", "") + fmt.Sprintf(`
[tenant.faulty]
accept_rate = 10000
[[listener]]
name = "faulty"
tenant = "faulty"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = %q
`, path, instance)
	return hosttest.Serve(t, toml, host.Options{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}), log
}

func TestFaultyGuests(t *testing.T) {
	for name, fault := range faults {
		for _, instance := range []string{"connection", "loop"} {
			t.Run(name+"/"+instance, func(t *testing.T) {
				h, log := twoTenants(t, fault.build().Bytes(), instance)
				neighbour := hosttest.Dial(t, h.Addr("echo"))
				for range 3 {
					var victim *net.TCPConn
					hosttest.Eventually(t, "a connection is served", func() bool {
						victim = hosttest.Dial(t, h.Addr("faulty"))
						if answersFine(victim) {
							return true
						}
						if instance == "connection" {
							t.Error("a connection that shares nothing was not served")
						}
						return false
					})
					hosttest.Say(t, victim, "!")
					_ = victim.CloseWrite()
					_, _ = io.Copy(io.Discard, victim) // it ends, one way or another
					hosttest.Say(t, neighbour, "and I?")
					hosttest.Hear(t, neighbour, "and I?")
				}
				hosttest.Eventually(t, "the log has the reason", func() bool { return log.has(fault.log) })
				hosttest.Eventually(t, "the faulty connections are gone", func() bool {
					return h.Stats().Tenants[1].Connections == 0
				})
				if t.Failed() {
					t.Logf("%s", log)
				}
			})
		}
	}
}

// answersFine reports whether an echo is there. Where an instance is shared it may not be: whoever
// comes just before csa_closed of another traps is of the same instance, and ends with it.
func answersFine(c *net.TCPConn) bool {
	_ = c.SetDeadline(awaittest.Deadline())
	p := make([]byte, len("fine"))
	_, err := io.WriteString(c, "fine")
	if err == nil {
		_, err = io.ReadFull(c, p)
	}
	return err == nil && string(p) == "fine"
}

// on_bad_data = "log": the handler hears INVALID and the connection lives on.
func TestBadDataIsOnlyLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guest.wasm")
	m := faulty("", w.LocalGet(0), w.I32Const(0), w.I32Const(-1), w.Call(0), w.Drop)
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &logBook{}
	toml := strings.Replace(echoConfig(t, "loop", `on_bad_data = "log"`), plugin(t, "echo/echo.wasm"), path, 1)
	h := hosttest.Serve(t, toml, host.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, "!")
	hosttest.Hear(t, conn, "!")
	hosttest.Eventually(t, "it is logged", func() bool { return log.has("send") })
}

// A shared instance that traps takes its own connections with it; the listener
// waits a moment and serves again with a new one.
func TestASharedInstanceComesBackAfterATrap(t *testing.T) {
	h, log := twoTenants(t, faulty("", w.Unreachable).Bytes(), "listener")
	witness := hosttest.Dial(t, h.Addr("faulty"))
	hosttest.Say(t, witness, "x")
	hosttest.Hear(t, witness, "x")
	culprit := hosttest.Dial(t, h.Addr("faulty"))
	hosttest.Say(t, culprit, "!")
	_, _ = io.Copy(io.Discard, culprit)
	_, _ = io.Copy(io.Discard, witness) // it shared the instance
	next := hosttest.Dial(t, h.Addr("faulty"))
	hosttest.Say(t, next, "again")
	hosttest.Hear(t, next, "again")
	if st := h.Stats().Listeners[1]; st.Traps != 1 || st.Instances != 1 {
		t.Errorf("%d traps, %d instances; want 1, 1\n%s", st.Traps, st.Instances, log)
	}
}

// A guest's growth is charged to its tenant and ends there: memory.grow fails
// in the guest, and the neighbour has all of its own.
func TestMemoryIsTheTenants(t *testing.T) {
	m, _ := w.Handler([2]string{"send", "iii:i"})
	grow := func(pages int32) []byte {
		return w.Loop(w.I32Const(pages), w.MemoryGrow, w.I32Const(0), w.I32GeS, w.BrIf(0))
	}
	h, _ := twoTenants(t, echoBut(m, grow(16), grow(1)).Bytes(), "connection")
	idle := h.Stats().Tenants[1].Memory // the snapshot's
	a := hosttest.Dial(t, h.Addr("faulty"))
	hosttest.Say(t, a, "!")
	hosttest.Hear(t, a, "!")
	if held := h.Stats().Tenants[1].Memory; held > 256<<20 || held < 255<<20 {
		t.Errorf("the tenant holds %d bytes; want nearly 256 MiB", held)
	}
	// There is less than a page of memory left. Some connections of the tenant may
	// have use for that; the others wait, and get theirs when the first one ends.
	others := make([]net.Conn, 4)
	for i := range others {
		others[i] = hosttest.Dial(t, h.Addr("faulty"))
		hosttest.Say(t, others[i], "x")
	}
	hosttest.Eventually(t, "it is refused memory", func() bool { return h.Stats().Tenants[1].MemoryRefused > 0 })
	n := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, n, "neighbour")
	hosttest.Hear(t, n, "neighbour")
	a.Close()
	for _, b := range others {
		hosttest.Hear(t, b, "x")
		b.Close()
	}
	hosttest.Eventually(t, "it is given back but for what a few memories keep", func() bool {
		return h.Stats().Tenants[1].Memory <= idle+4*(64<<10)
	})
}

// No allocation for a message in the steady state, through the guest and back.
func TestNoAllocationPerMessage(t *testing.T) {
	h := hosttest.Serve(t, echoConfig(t, "loop", ""), host.Options{Log: slog.New(slog.DiscardHandler)})
	conn := hosttest.Dial(t, h.Addr("echo"))
	msg, back := make([]byte, 64), make([]byte, 64)
	round := func() {
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, back); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		round()
	}
	wantNoAllocations(t, h, round)
}

// The same over WebSocket, where each message is a frame each way.
func TestNoAllocationPerMessageOverWebSocket(t *testing.T) {
	h := hosttest.Serve(t, strings.Replace(echoConfig(t, "loop", ""), "\"tcp://127.0.0.1:0\"", "\"ws://127.0.0.1:0/echo\"", 1), host.Options{Log: slog.New(slog.DiscardHandler)})
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, upgradeRequest)
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the request is answered by %v, %v", answer, err)
	}
	msg := []byte(masked(0x82, strings.Repeat("x", 64)))
	want := []byte("\x82\x40" + strings.Repeat("x", 64))
	back := make([]byte, len(want))
	round := func() {
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, back); err != nil || !bytes.Equal(back, want) {
			t.Fatalf("%q, %v", back, err)
		}
	}
	for range 200 {
		round()
	}
	wantNoAllocations(t, h, round)
}

// wantNoAllocations wants that a message which stays on its loop allocates nothing. One that
// is so slow that it goes on in the background does allocate, and on a busy machine many are:
// what is counted are runs of messages of which none was.
func wantNoAllocations(t *testing.T, h *host.Host, message func()) {
	t.Helper()
	background := func() (n int64) {
		for _, tenant := range h.Stats().Tenants {
			n += int64(tenant.BackgroundCalls)
		}
		return n
	}
	const runs, messages = 50, 20
	var allocations uint64
	counted := 0
	hosttest.Eventually(t, "enough messages have stayed on their loop", func() bool {
		before := background()
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		for range messages {
			message()
		}
		runtime.ReadMemStats(&to)
		if background() == before {
			allocations += to.Mallocs - from.Mallocs
			counted++
		}
		return counted == runs
	})
	// The runtime itself allocates now and then.
	if n := float64(allocations) / (runs * messages); n > 0.5 {
		t.Errorf("%.2f allocations a message", n)
	}
}
