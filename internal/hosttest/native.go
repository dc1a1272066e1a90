package hosttest

import (
	"fmt"
	"strings"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
)

// Echo is a native handler that sends back what comes, as much of it at once as its Buffer holds.
// What the peer does not take in time is lost.
type Echo struct {
	csa.Base
	Buffer []byte
}

// NewEcho makes one whose Buffer has 64 KiB. It is a host.Native.
func NewEcho(*csa.Loop) csa.Handler { return &Echo{Buffer: make([]byte, 64<<10)} }

// Window is Buffer.
func (e *Echo) Window(*csa.CSA) []byte { return e.Buffer }

// Data sends p back.
func (e *Echo) Data(c *csa.CSA, p []byte) int { n, _ := c.Send(p); return n }

// Tenants is a configuration of n tenants, t0 and on, with a listener each, l0 and on, whose
// handlers are make's, and that for host.Options.Native. The file begins with head.
func Tenants(t testing.TB, n int, head string, make host.Native) (*config.Config, map[string]host.Native) {
	t.Helper()
	var toml strings.Builder
	toml.WriteString(head)
	native := map[string]host.Native{}
	var names []string
	for i := range n {
		name := fmt.Sprint("l", i)
		names = append(names, name)
		native[name] = make
		fmt.Fprintf(&toml, "[tenant.t%d]\n[[listener]]\nname = %q\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\n", i, name, i)
	}
	cfg, err := config.LoadNative(WriteConfig(t, toml.String()), names...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, native
}
