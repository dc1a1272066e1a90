package host_test

import (
	"fmt"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// The buffers of a tenant's UDP sockets count for its socket_memory, those that listen and those of
// peers it has dialled. Where it has none they are small, and serve all the same.
func TestSocketMemoryOverUDP(t *testing.T) {
	up := shouter(t).LocalAddr().String()
	echo, dial := writeModule(t, w.Echo()), writeModule(t, dialler(false))
	for limit, some := range map[string]bool{"256MiB": true, "0B": false} {
		h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
[tenant.acme]
socket_memory = %q
connect = ["udp://%s"]
[[listener]]
name = "echo"
tenant = "acme"
address = "udp://127.0.0.1:0"
plugin = %q
send_buffer = "256KiB"
[[listener]]
name = "dial"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
`, hosttest.State(), limit, up, echo, dial), host.Options{})
		tripInTheEnd(t, dialUDP(t, h.Addr("echo")), "hello")
		before := h.Stats().Tenants[0]
		if (before.SocketMemory > 0) != some || (before.SocketMemoryRefused > 0) == some {
			t.Errorf("with %s, %d bytes are taken at first, and it was refused %d times", limit, before.SocketMemory, before.SocketMemoryRefused)
		}
		d := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, d, "udp://"+up)
		hosttest.Hear(t, d, "=A")
		if now := h.Stats().Tenants[0]; some != (now.SocketMemory > before.SocketMemory) {
			t.Errorf("with %s, %d bytes are taken with a peer that was dialled, and %d without", limit, now.SocketMemory, before.SocketMemory)
		}
		_ = d.Close()
		hosttest.Eventually(t, "the peer's are given back", func() bool { return h.Stats().Tenants[0].SocketMemory == before.SocketMemory })
	}
}
