package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"

	"github.com/coder/websocket"
)

// serve runs a host with guest.wasm, as configured says.
func serve(t *testing.T, address, tenant, listener string) *host.Host {
	t.Helper()
	// Others run beside it, so goroutines are not counted.
	return hosttest.ServeConfig(t, configured(t, address, tenant, listener), host.Options{}, 1<<20)
}

// configured is a configuration with guest.wasm, whose clients share it. The TOML is of its tenant,
// and of its listener, "it".
func configured(t *testing.T, address, tenant, listener string) *config.Config {
	t.Helper()
	plugin, err := filepath.Abs(guest)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
drain = "1h"
[tenant.acme]
accept_rate = 100000
%s
[[listener]]
name = "it"
tenant = "acme"
address = %q
plugin = %q
instance = "listener"
%s
`, hosttest.State(), tenant, address, plugin, listener)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// terminal is a client of the guest's, over any transport.
type terminal struct {
	t    *testing.T
	say  func(b []byte) error
	hear func() ([]byte, error) // some bytes, a datagram or a message
	end  func()
	got  []byte
}

// stream is a terminal over TCP.
func stream(t *testing.T, addr string) *terminal {
	t.Helper()
	return overConn(t, hosttest.Dial(t, addr))
}

// datagrams is one over UDP, whose messages are datagrams.
func datagrams(t *testing.T, addr string) *terminal {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(awaittest.Deadline())
	return overConn(t, c)
}

func overConn(t *testing.T, c net.Conn) *terminal {
	b := make([]byte, 64<<10)
	return &terminal{
		t:   t,
		say: func(p []byte) error { _, err := c.Write(p); return err },
		hear: func() ([]byte, error) {
			n, err := c.Read(b)
			return b[:n], err
		},
		end: func() { c.Close() },
	}
}

// messages is one over WebSocket.
func messages(t *testing.T, addr string) *terminal {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return &terminal{
		t:    t,
		say:  func(p []byte) error { return c.Write(t.Context(), websocket.MessageText, p) },
		hear: func() ([]byte, error) { _, b, err := c.Read(t.Context()); return b, err },
		end:  func() { _ = c.Close(websocket.StatusNormalClosure, "") },
	}
}

// first is the host's first client, to whom the guest tells what it does. connect is stream,
// datagrams or messages.
func first(t *testing.T, h *host.Host, connect func(*testing.T, string) *terminal) *terminal {
	t.Helper()
	x := connect(t, h.Addr("it"))
	x.does("positive #1", "start", "open 1", "positive = 1")
	return x
}

// second is the next client, of whose connection x is told.
func (x *terminal) second(t *testing.T, h *host.Host, connect func(*testing.T, string) *terminal) *terminal {
	t.Helper()
	b := connect(t, h.Addr("it"))
	x.does("", "open 2")
	return b
}

// does gives commands, each a message of its own, and wants what the guest tells then, a line each.
func (x *terminal) does(commands string, told ...string) {
	x.t.Helper()
	for line := range strings.SplitSeq(commands, "; ") {
		if line != "" {
			x.sends(line + "\n")
		}
	}
	for _, want := range told {
		if got := x.line(); got != want {
			x.t.Fatalf("the guest tells %.200q, not %.200q, after %q", got, want, commands)
		}
	}
}

// orders gives commands that are told of nothing, and returns when they have been taken.
func (x *terminal) orders(commands string) {
	x.t.Helper()
	x.does(commands+"; positive #1", "positive = 1")
}

func (x *terminal) sends(text string) {
	x.t.Helper()
	if err := x.say([]byte(text)); err != nil {
		x.t.Fatal(err)
	}
}

// line is the next line that the guest tells.
func (x *terminal) line() string {
	x.t.Helper()
	for {
		if line, rest, ok := bytes.Cut(x.got, []byte("\n")); ok {
			x.got = rest
			return string(line)
		}
		b, err := x.hear()
		if err != nil {
			x.t.Fatalf("the guest has told %q, and then %v", x.got, err)
		}
		x.got = append(x.got, b...)
	}
}

// heard is the next message.
func (x *terminal) heard(want string) {
	x.t.Helper()
	b, err := x.hear()
	if err != nil || string(b) != want {
		x.t.Fatalf("it hears %.100q (%d bytes), %v; want %.100q", b, len(b), err, want)
	}
}

// ended wants the end of the connection, and nothing before it.
func (x *terminal) ended() {
	x.t.Helper()
	if b, err := x.hear(); err == nil || len(b) > 0 {
		x.t.Fatalf("it hears %.100q; want the end", b)
	} else if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		x.t.Fatal("the connection does not end")
	}
}
