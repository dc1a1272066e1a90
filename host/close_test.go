package host_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// spins counts down from n.
func spins(local int, n int32) []byte {
	return w.Cat(w.I32Const(n), w.LocalSet(local),
		w.Loop(w.LocalGet(local), w.I32Const(1), w.I32Sub, w.LocalTee(local), w.BrIf(0)))
}

// clinging echoes, and in csa_closed counts "closed" and computes for a good part of a slice.
func clinging() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"count", "iiI:i"})
	m.Data(100, "closed")
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop, w.LocalGet(1))
	m.Func("csa_closed", "ii:", "i",
		w.I32Const(100), w.I32Const(6), w.I64Const(1), w.Call(f[1]), w.Drop, spins(2, 1_000))
	return m
}

// busy computes for more than a slice in each of its callbacks, sets timers again and again,
// sends, and dials in most of them, csa_closed not left out.
func busy(dials string) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"timer", "iii:i"}, [2]string{"connect", "ii:i"})
	send, timer, connect := f[0], f[1], f[2]
	m.Data(100, dials)
	spin := func(local int) []byte { return spins(local, 100_000) }
	arm := func(conn []byte) []byte { return w.Cat(conn, w.I32Const(1), w.I32Const(1), w.Call(timer), w.Drop) }
	dial := w.Cat(w.I32Const(100), w.I32Const(int32(len(dials))), w.Call(connect), w.Drop)
	say := w.Cat(w.LocalGet(0), w.I32Const(w.WindowAt), w.I32Const(16), w.Call(send), w.Drop)
	m.Func("csa_open", "i:i", "i", arm(w.LocalGet(0)), arm(w.I32Const(-1)), dial, spin(1), w.I32Const(0))
	m.Func("csa_data", "ii:i", "i", say, spin(2), w.LocalGet(1))
	m.Func("csa_timer", "ii:", "i", arm(w.LocalGet(0)), spin(2))
	m.Func("csa_eof", "i:", "i", say, spin(1))
	m.Func("csa_closed", "ii:", "i", dial, spin(2))
	m.Func("csa_stop", ":", "i", dial, spin(0))
	return m
}

// nothingLeft checks that a host that was shut has let go of everything.
func nothingLeft(t *testing.T, h *host.Host) {
	t.Helper()
	st := h.Stats()
	if st.Connections != 0 {
		t.Errorf("%d connections are left", st.Connections)
	}
	for _, tenant := range st.Tenants {
		if tenant.Instances != 0 || tenant.Asleep != 0 || tenant.Memory != 0 || tenant.BackgroundRunning != 0 || tenant.Timers != 0 {
			t.Errorf("tenant %s has left %d instances, of which %d sleep, %d bytes, %d calls, %d timers",
				tenant.Name, tenant.Instances, tenant.Asleep, tenant.Memory, tenant.BackgroundRunning, tenant.Timers)
		}
	}
	for _, l := range st.Listeners {
		if l.Instances != 0 {
			t.Errorf("listener %s counts %d instances", l.Name, l.Instances)
		}
	}
}

// ends waits for something that must end, or says where everybody stands.
func ends(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	hosttest.Eventually(t, what, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// Thousands of instances whose last callback would take a slice each end with the host, and
// none of them is called for it: so what a stop takes does not depend on what guests do. They
// were left over, and the host waited for them for ever, when their tenant's part of a loop's
// turn was used up before all had been told. The peers are of UDP, who need no descriptor.
func TestManyInstancesEndWithTheHost(t *testing.T) {
	const peers = 3000
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
loops = 2
[tenant.crowd]
connections = %[1]d
accept_rate = 1000000
cpu = 4
memory = "1GiB"
[[listener]]
name = "crowd"
tenant = "crowd"
address = "udp://127.0.0.1:0"
plugin = %[2]q
instance = "connection"
`, peers, writeModule(t, clinging())), host.Options{})
	for range peers {
		c, err := net.Dial("udp", h.Addr("crowd"))
		if err != nil {
			t.Fatal(err)
		}
		hosttest.Say(t, c, "here")
		hosttest.Hear(t, c, "here")
		c.Close()
	}
	// The system gives a port again that another socket had.
	if n := h.Stats().Tenants[0].Instances; n < peers/2 {
		t.Fatalf("%d instances live for %d peers", n, peers)
	}
	ends(t, "the host ends", h.Close)
	nothingLeft(t, h)
	if n := h.Stats().Tenants[0].Counts["closed"]; n != 0 {
		t.Errorf("%d handlers were called when the host was closed", n)
	}
}

// Tenants that are over their cpu all the time, and busy in each callback, keep no host from
// ending: not one that drains, nor one that is closed while it drains.
func TestBusyTenantsEndWithTheHost(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	dials := "tcp://" + up.Addr().String()
	path := writeModule(t, busy(dials))
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\nloops = 2\ndrain = \"20ms\"\n", filepath.Join(t.TempDir(), "state"))
	modes := []string{"instance = \"connection\"", "instance = \"connection\"\nsnapshot = false", "instance = \"loop\"", "instance = \"listener\""}
	for i, mode := range modes {
		fmt.Fprintf(&toml, "[tenant.t%[1]d]\ncpu = 0.05\nconnect = [%[2]q]\n[[listener]]\nname = \"l%[1]d\"\ntenant = \"t%[1]d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %[3]q\n%[4]s\n",
			i, strings.TrimPrefix(dials, "tcp://"), path, mode)
	}
	cfg, err := config.Load(hosttest.WriteConfig(t, toml.String()))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, drain := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- h.Run(ctx) }()
		var clients sync.WaitGroup
		for k := range 24 {
			clients.Go(func() {
				c, err := net.Dial("tcp", h.Addr(fmt.Sprintf("l%d", k%len(modes))))
				if err != nil {
					return // the host was closed before
				}
				defer c.Close()
				if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			})
		}
		hosttest.Eventually(t, "they are held", func() bool {
			for _, tenant := range h.Stats().Tenants {
				if tenant.EventsDeferred == 0 {
					return false
				}
			}
			return true
		})
		drain()
		if round%2 == 1 {
			ends(t, "the host is closed while it drains", h.Close)
		}
		ends(t, "the host ends", func() {
			if err := <-ran; err != nil {
				t.Error(err)
			}
		})
		clients.Wait()
		nothingLeft(t, h)
	}
}

// Run returns at once where Close has been called before, as may be where a goroutine that is to
// call it is late.
func TestRunAfterClose(t *testing.T) {
	cfg, err := config.Load(hosttest.WriteConfig(t, echoConfig(t, "loop", "")))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	ends(t, "Run after Close", func() {
		if err := h.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	nothingLeft(t, h)
}
