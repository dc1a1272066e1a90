package host_test

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

var manyTenants = flag.Int("tenants", 100, "how many TestManyTenants has; 50 at most with -short")

// Many tenants, a thousand in CI, each with a listener and a module that no other has: they start,
// anew and from what the start before has compiled; each one serves; and none holds
// more than its memory, which is little. (make -C bench tenants says what one costs.)
func TestManyTenants(t *testing.T) {
	tenants := *manyTenants
	if testing.Short() {
		tenants = min(tenants, 50)
	}
	const memory = 192 << 10
	dir := t.TempDir()
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\n", filepath.Join(dir, "state"))
	for i := range tenants {
		path := filepath.Join(dir, fmt.Sprintf("%d.wasm", i))
		if err := os.WriteFile(path, signed(i), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&toml, "[tenant.t%d]\nmemory = %d\n[[listener]]\nname = \"l%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", i, memory, i, i, path)
	}
	for _, start := range []string{"cold", "warm"} {
		t.Run(start, func(t *testing.T) {
			h := hosttest.Serve(t, toml.String(), host.Options{Log: slog.New(slog.DiscardHandler)})
			for i := range tenants {
				visit(t, h.Addr(fmt.Sprintf("l%d", i)), i)
			}
			st := h.Stats()
			if len(st.Tenants) != tenants {
				t.Fatalf("there are %d tenants", len(st.Tenants))
			}
			for _, tenant := range st.Tenants {
				if tenant.Memory > memory || tenant.MemoryRefused > 0 {
					t.Errorf("tenant %s holds %d bytes of %d, and was refused some %d times", tenant.Name, tenant.Memory, memory, tenant.MemoryRefused)
				}
			}
		})
	}
}

// signed is a handler that answers with a number of its own.
func signed(i int) []byte {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "",
		w.I32Const(0), w.I32Const(int32(i)), w.I32Store(0),
		w.LocalGet(0), w.I32Const(0), w.I32Const(4), w.Call(f[0]), w.Drop,
		w.LocalGet(1))
	return m.Bytes()
}

// visit has the handler of number i answer once.
func visit(t *testing.T, addr string, i int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(awaittest.Deadline())
	hosttest.Say(t, c, "?")
	hosttest.Hear(t, c, string([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}))
}
