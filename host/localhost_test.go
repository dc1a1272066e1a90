package host_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// localhost is the machine's loopback, of both families: whoever resolves the name may
// ask for either.
func TestLocalhost(t *testing.T) {
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else {
		c.Close()
	}
	echo, err := filepath.Abs("../examples/echo/echo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 3
[tenant.acme]
accept_rate = 100000
[[listener]]
name = "tcp"
tenant = "acme"
address = "tcp://localhost:0"
plugin = %[2]q
[[listener]]
name = "four"
tenant = "acme"
address = "tcp4://localhost:0"
plugin = %[2]q
[[listener]]
name = "udp"
tenant = "acme"
address = "udp://localhost:0"
plugin = %[2]q
[[listener]]
name = "one"
tenant = "acme"
address = "udp://localhost:0"
instance = "listener"
plugin = %[2]q
`, hosttest.State(), echo), host.Options{})
	echoes := func(network, addr string) {
		t.Helper()
		c, err := net.DialTimeout(network, addr, 30*time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, "hello")
	}
	for name, network := range map[string]string{"tcp": "tcp", "udp": "udp", "one": "udp"} {
		_, port, err := net.SplitHostPort(h.Addr(name))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // on every loop, and the sockets in turn
			echoes(network, "127.0.0.1:"+port)
			echoes(network, "[::1]:"+port)
		}
	}
	_, port, err := net.SplitHostPort(h.Addr("four"))
	if err != nil {
		t.Fatal(err)
	}
	echoes("tcp", "127.0.0.1:"+port)
	if c, err := net.Dial("tcp", "[::1]:"+port); err == nil {
		c.Close()
		t.Error("tcp4://localhost listens on IPv6, too")
	}
}
