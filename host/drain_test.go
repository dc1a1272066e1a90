package host_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/hosttest"
	w "bulkhead/plugins/wasmtest"
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
	h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": newNativeEcho}})
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
