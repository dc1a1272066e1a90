package host_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// from dials from one of the machine's own addresses.
func from(t *testing.T, network, source, addr string) net.Conn {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is no address of this machine")
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: time.Minute}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(source)}
	}
	c, err := d.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(awaittest.Deadline())
	return c
}

// Each source address has as many connections as it may, and gets another when one ends:
// straight, by way of a load balancer, and through routes. Another address is not touched.
func TestPerSource(t *testing.T) {
	listener := func(name, address, more string) string {
		return fmt.Sprintf(`
[[listener]]
name = %q
tenant = "acme"
address = %q
per_source = 2
plugin = %q
%s`, name, address, writeModule(t, w.Echo()), more)
	}
	h := hosttest.Serve(t, fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\n", hosttest.State())+
		listener("direct", "tcp://127.0.0.1:0", "")+
		listener("balanced", "tcp://127.0.0.1:0", "proxy_from = [\"127.0.0.3\"]\n")+
		listener("routed", "tcp://127.0.0.1:0", "proxy_from = [\"127.0.0.3\"]\n[[listener.route]]\nname = \"x\"\nfirst = [\"x\"]\n"), host.Options{})
	for name, dial := range map[string]func(source string) net.Conn{
		"direct": func(source string) net.Conn { return from(t, "tcp", source, h.Addr("direct")) },
		"balanced": func(source string) net.Conn {
			c := from(t, "tcp", "127.0.0.3", h.Addr("balanced"))
			hosttest.Say(t, c, "PROXY TCP4 "+source+" 192.0.2.1 1000 80\r\n")
			return c
		},
		"routed": func(source string) net.Conn { return from(t, "tcp", source, h.Addr("routed")) },
		"routed and balanced": func(source string) net.Conn {
			c := from(t, "tcp", "127.0.0.3", h.Addr("routed"))
			hosttest.Say(t, c, "PROXY TCP4 "+source+" 192.0.2.1 1000 80\r\n")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			var all []net.Conn
			dial := func(source string) net.Conn {
				c := dial(source)
				all = append(all, c)
				return c
			}
			good := func(source string) net.Conn {
				t.Helper()
				c := dial(source)
				hosttest.Say(t, c, "x")
				hosttest.Hear(t, c, "x")
				return c
			}
			first, _ := good("127.0.0.1"), good("127.0.0.1")
			over := dial("127.0.0.1")
			_, _ = io.WriteString(over, "x")
			if n, err := over.Read(make([]byte, 1)); err == nil {
				t.Errorf("a third connection of the address is answered with %d bytes", n)
			}
			good("127.0.0.2")
			_ = first.Close()
			hosttest.Eventually(t, "the address has a place again", func() bool {
				c := dial("127.0.0.1")
				_, _ = io.WriteString(c, "x")
				n, _ := c.Read(make([]byte, 1))
				return n == 1
			})
			for _, c := range all {
				_ = c.Close()
			}
			hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
		})
	}
}

// New connections of an address are bounded by its rate, whatever becomes of them, over UDP, too.
func TestPerSourceRate(t *testing.T) {
	text := fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\n", hosttest.State())
	for _, network := range []string{"tcp", "udp"} {
		text += fmt.Sprintf(`
[[listener]]
name = %q
tenant = "acme"
address = "%s://127.0.0.1:0"
per_source_rate = 0.001
plugin = %q
`, network, network, writeModule(t, w.Echo()))
	}
	h := hosttest.Serve(t, text, host.Options{})
	for _, network := range []string{"tcp", "udp"} {
		good := func(source string) {
			t.Helper()
			c := from(t, network, source, h.Addr(network))
			hosttest.Say(t, c, "x")
			hosttest.Hear(t, c, "x")
			_ = c.Close()
		}
		good("127.0.0.1")
		over := from(t, network, "127.0.0.1", h.Addr(network))
		_, _ = io.WriteString(over, "x")
		good("127.0.0.2")
		hosttest.Eventually(t, "one was refused", func() bool {
			for _, l := range h.Stats().Listeners {
				if l.Name == network {
					return l.Refused > 0
				}
			}
			return false
		})
	}
}
