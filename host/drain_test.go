package host_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// partingGuest echoes, and says good-bye to its last connection when the host
// drains.
func partingGuest() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"control", "ii:i"})
	send, control := f[0], f[1]
	const conn, words = 64, 128
	m.Data(words, "good-bye")
	m.Func("csa_open", "i:i", "",
		w.I32Const(conn), w.LocalGet(0), w.I32Store(0), w.I32Const(0))
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send))
	m.Func("csa_stop", ":", "",
		w.I32Const(conn), w.I32Load(0), w.I32Const(words), w.I32Const(8), w.Call(send), w.Drop,
		w.I32Const(conn), w.I32Load(0), w.I32Const(0), w.Call(control), w.Drop)
	return m
}

// Handlers are told once that the host drains, and the host ends as soon as
// their connections have.
func TestDrainTellsTheHandlers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parting.wasm")
	if err := os.WriteFile(path, partingGuest().Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, instance := range []string{"connection", "loop", "listener"} {
		t.Run(instance, func(t *testing.T) {
			toml := strings.Replace(echoConfig(t, instance, ""), plugin(t, "echo/echo.wasm"), path, 1)
			toml = strings.Replace(toml, "[host]", "[host]\ndrain = \"1h\"", 1)
			cfg, err := config.Load(hosttest.WriteConfig(t, toml))
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
			conn := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, conn, "x")
			hosttest.Hear(t, conn, "x")
			stop()
			hosttest.Hear(t, conn, "good-bye")
			hosttest.HearEnd(t, conn)
			conn.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// When the time to drain is over, what is left is closed and Run returns.
func TestDrainEnds(t *testing.T) {
	cfg := nativeConfig(anyPort)
	cfg.Host.Drain = time.Millisecond
	h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, "x")
	hosttest.Hear(t, conn, "x")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, conn) // returns, because it was closed
	if n := h.Stats().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// drainHost runs an echo for two connections at a time.
func drainHost(t *testing.T, hostKeys string) (h *host.Host, stop func(), ran chan error) {
	t.Helper()
	toml := strings.Replace(echoConfig(t, "connection", ""), "[host]", "[host]\n"+hostKeys, 1)
	cfg, err := config.Load(hosttest.WriteConfig(t, toml))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tenants[0].Connections = 2
	if h, err = host.New(cfg, host.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	ctx, stop := context.WithCancel(t.Context())
	ran = make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	return h, stop, ran
}

func refused(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return true
	}
	c.Close()
	return false
}

// Those who wait in the kernel's queue when the listener closes are not reset: they are served
// when others have left their places, and nobody else comes in.
func TestDrainServesWhoWaits(t *testing.T) {
	h, stop, ran := drainHost(t, "drain = \"1h\"")
	addr := h.Addr("echo")
	conns := make([]*net.TCPConn, 6)
	for i := range conns {
		conns[i] = hosttest.Dial(t, addr)
		hosttest.Say(t, conns[i], "here")
		if i < 2 {
			hosttest.Hear(t, conns[i], "here")
		}
	}
	stop()
	hosttest.Eventually(t, "new ones are refused", func() bool { return refused(addr) })
	for i, c := range conns {
		if i >= 2 {
			hosttest.Hear(t, c, "here")
		}
		hosttest.Say(t, c, "still")
		hosttest.Hear(t, c, "still")
		c.Close() // which makes room for the next
	}
	ends(t, "the host ends", func() {
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	nothingLeft(t, h)
}

// When the drain is over those who still wait are closed, too.
func TestDrainEndsForWhoWaits(t *testing.T) {
	h, stop, ran := drainHost(t, "drain = \"20ms\"")
	conns := make([]*net.TCPConn, 5)
	for i := range conns {
		conns[i] = hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, conns[i], "here")
		if i < 2 {
			hosttest.Hear(t, conns[i], "here")
		}
	}
	stop()
	ends(t, "the host ends", func() {
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	for _, c := range conns {
		_, _ = io.Copy(io.Discard, c) // returns
	}
	if n := h.Stats().Listeners[0].Refused; n != 3 {
		t.Errorf("%d are counted as refused; want 3", n)
	}
	nothingLeft(t, h)
}

// In the grace clients are served as before, and it ends when it is over, or the host is closed.
func TestGrace(t *testing.T) {
	h, stop, ran := drainHost(t, "grace = \"1h\"")
	stop()
	for range 3 {
		c := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, "hello")
		c.Close()
	}
	ends(t, "the host is closed", h.Close)
	if err := <-ran; err != nil {
		t.Error(err)
	}

	h, stop, ran = drainHost(t, "grace = \"20ms\"\ndrain = \"1h\"")
	addr := h.Addr("echo")
	c := hosttest.Dial(t, addr)
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	stop()
	hosttest.Eventually(t, "new ones are refused", func() bool { return refused(addr) })
	hosttest.Say(t, c, "still")
	hosttest.Hear(t, c, "still")
	c.Close()
	ends(t, "the host ends", func() {
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
