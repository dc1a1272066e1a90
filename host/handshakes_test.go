package host_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// One tenant's clients cannot take the handshakes of another's: a thousand who said nothing
// to each of five tenants had all places, and every handshake of a sixth failed.
func TestHandshakesOfANeighbour(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	plugin := writeModule(t, w.Echo())
	text := fmt.Sprintf("[host]\nstate = %q\nhandshakes = 20\n", hosttest.State())
	for _, name := range []string{"red", "blue"} {
		text += fmt.Sprintf(`
[tenant.%s]
accept_rate = 100000
[[listener]]
name = %q
tenant = %q
address = "tcp://127.0.0.1:0"
plugin = %q
[listener.tls]
cert = %q
key = %q
handshake_timeout = "10m"
`, name, name, name, plugin, cert, key)
	}
	h := hosttest.Serve(t, text, host.Options{})
	red := func() host.TenantStats {
		for _, s := range h.Stats().Tenants {
			if s.Name == "red" {
				return s
			}
		}
		return host.TenantStats{}
	}
	good := func() {
		t.Helper()
		c := tls.Client(hosttest.Dial(t, h.Addr("blue")), &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
		hosttest.Say(t, c, "hello")
		hosttest.HearOrError(t, c, "hello")
		_ = c.Close()
	}
	const many = 100
	var clients []net.Conn
	for range many {
		clients = append(clients, hosttest.Dial(t, h.Addr("red")))
	}
	hosttest.Eventually(t, "all are there", func() bool { return red().Connections == many })
	good()
	if s := red(); s.Handshakes != 0 || s.HandshakesRefused != 0 {
		t.Errorf("clients who say nothing have %d places, and %d were refused", s.Handshakes, s.HandshakesRefused)
	}
	hello := helloOf(t)
	for _, c := range clients {
		_, _ = c.Write(hello[:100])
	}
	// Five of its own, and the ten that are nobody's.
	hosttest.Eventually(t, "its places are taken", func() bool {
		s := red()
		return s.Handshakes == 15 && s.HandshakesRefused == many-15 && s.Connections == 15
	})
	for range 10 {
		good()
	}
	for _, c := range clients {
		_ = c.Close()
	}
	hosttest.Eventually(t, "no place is taken", func() bool { return red().Handshakes == 0 })
}
