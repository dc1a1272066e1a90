package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// The host calls code of guests and nothing else. A module that had it call a function
// that it imports ended the daemon at the first byte; one that was started before all
// others left every other module of the process refused.
func TestAModuleThatIsNoGuestHurtsNobody(t *testing.T) {
	receive, f := w.Handler([2]string{"receive", "ii:i"})
	receive.Export("csa_data", 0, int(f[0]))
	yield := w.New()
	start := yield.Import("wasi_snapshot_preview1", "sched_yield", ":i")
	yield.Memory(1)
	yield.Export("csa_start", 0, int(start))
	yield.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	yield.Func("csa_data", "ii:i", "", w.LocalGet(1))
	for export, m := range map[string]*w.Module{"csa_data": receive, "csa_start": yield} {
		path := filepath.Join(t.TempDir(), "foreign.wasm")
		if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(hosttest.WriteConfig(t, strings.Replace(echoConfig(t, "connection", ""), plugin(t, "echo/echo.wasm"), path, 1)))
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(cfg, host.Options{})
		if err == nil {
			h.Close()
			t.Fatalf("it serves a module whose %s is no function of its own", export)
		}
		if want := "exports " + export + " as the imported function"; !strings.Contains(err.Error(), want) {
			t.Errorf("it says %q, not %q", err, want)
		}
	}
	h := hosttest.Serve(t, echoConfig(t, "connection", ""), host.Options{})
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, "and I?")
	hosttest.Hear(t, conn, "and I?")
}
