package host_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// nativeConfig is what a program writes that has no file and no plugin.
func nativeConfig(address config.Address) *config.Config {
	tenant := config.DefaultTenant("acme")
	tenant.AcceptRate, tenant.Bandwidth = 1e5, 1<<40
	listener := config.DefaultListener()
	listener.Name, listener.Tenant, listener.Address = "echo", "acme", address
	listener.Linger = time.Second
	return &config.Config{
		Host:      config.Host{Loops: 2, Drain: time.Second},
		Tenants:   []config.Tenant{tenant},
		Listeners: []config.Listener{listener},
	}
}

func TestAConfigurationThatIsNotComplete(t *testing.T) {
	for what, spoil := range map[string]func(*config.Config){
		"is of tenant":         func(c *config.Config) { c.Tenants = nil },
		"config.DefaultTenant": func(c *config.Config) { c.Tenants[0] = config.Tenant{Name: "acme"} },
		"config.DefaultHost":   func(c *config.Config) { c.Listeners[0].Name = "no native handler" },
	} {
		cfg := nativeConfig(anyPort)
		spoil(cfg)
		h, err := host.New(cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}})
		if err == nil {
			h.Close()
			t.Errorf("accepted, though it lacks something: %s", what)
		} else if !strings.Contains(err.Error(), what) {
			t.Errorf("%q does not speak of %q", err, what)
		}
	}
}

var anyPort = config.Address{Network: "tcp", Host: "127.0.0.1:0"}

func serveNative(t *testing.T, cfg *config.Config, clock selector.Clock) *host.Host {
	t.Helper()
	return hosttest.ServeConfig(t, cfg, host.Options{
		Native: map[string]host.Native{"echo": hosttest.NewEcho}, Clock: clock,
	}, runtime.NumGoroutine())
}

func TestNativeHandler(t *testing.T) {
	h := serveNative(t, nativeConfig(anyPort), nil)
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, "hello")
	hosttest.Hear(t, conn, "hello")
	_ = conn.CloseWrite()
	hosttest.HearEnd(t, conn)
}

// A connection over the tenant's ceiling waits in the queue and is served as
// soon as another one ends.
func TestConnectionsCeiling(t *testing.T) {
	for _, ceiling := range []string{"tenant", "host"} {
		t.Run(ceiling, func(t *testing.T) {
			cfg := nativeConfig(anyPort)
			if ceiling == "tenant" {
				cfg.Tenants[0].Connections = 2
			} else {
				cfg.Host.Connections = 2
			}
			h := serveNative(t, cfg, nil)
			a, b, c := hosttest.Dial(t, h.Addr("echo")), hosttest.Dial(t, h.Addr("echo")), hosttest.Dial(t, h.Addr("echo"))
			for _, conn := range []interface {
				Write([]byte) (int, error)
				Read([]byte) (int, error)
			}{a, b} {
				hosttest.Say(t, conn, "x")
				hosttest.Hear(t, conn, "x")
			}
			hosttest.Say(t, c, "waiting")
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("a third connection was served")
			}
			_ = c.SetReadDeadline(awaittest.Deadline())
			if st := h.Stats(); st.Connections != 2 || st.Listeners[0].Accepted != 2 {
				t.Errorf("%d connections, %d accepted; want 2, 2", st.Connections, st.Listeners[0].Accepted)
			}
			a.Close()
			hosttest.Hear(t, c, "waiting")
		})
	}
}

// Two listeners of one tenant share its only place: whichever is looking for a
// connection when the other finds the place taken must not leave it waiting.
func TestAPlaceLookedAtIsNotAPlaceTaken(t *testing.T) {
	cfg := nativeConfig(anyPort)
	cfg.Tenants[0].Connections = 1
	second := cfg.Listeners[0]
	second.Name = "other"
	cfg.Listeners = append(cfg.Listeners, second)
	h := serveConfigNatively(t, cfg)
	for range 300 {
		a, b := make(chan error, 1), make(chan error, 1)
		go func() { a <- exchangeOnce(h.Addr("echo")) }()
		go func() { b <- exchangeOnce(h.Addr("other")) }()
		if err := errors.Join(<-a, <-b); err != nil {
			t.Fatal(err)
		}
	}
}

func exchangeOnce(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(awaittest.Deadline())
	if _, err := io.WriteString(conn, "x"); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func serveConfigNatively(t *testing.T, cfg *config.Config) *host.Host {
	t.Helper()
	native := make(map[string]host.Native)
	for _, l := range cfg.Listeners {
		native[l.Name] = hosttest.NewEcho
	}
	return hosttest.ServeConfig(t, cfg, host.Options{Native: native}, runtime.NumGoroutine())
}

func TestAcceptRate(t *testing.T) {
	clock := &selector.Manual{}
	cfg := nativeConfig(anyPort)
	cfg.Tenants[0].AcceptRate = 5
	h := serveNative(t, cfg, clock)
	for range 20 {
		hosttest.Dial(t, h.Addr("echo"))
	}
	accepted := func() int64 { return h.Stats().Listeners[0].Accepted }
	hosttest.Eventually(t, "a second's worth is accepted", func() bool { return accepted() >= 5 })
	for range 4 {
		had := accepted()
		clock.Advance(200 * time.Millisecond)
		hosttest.Eventually(t, "one more is accepted", func() bool { return accepted() > had })
	}
	if n := accepted(); n > 11 {
		t.Errorf("%d accepted in 0.8 s at 5 a second with a burst of 5", n)
	}
}

// A tenant that is over its cpu is accepted for all the same while the clock stands still: the wait
// would never end. A slow machine took TestHandshakeFlood there.
func TestAStandingClockHoldsNoAccepts(t *testing.T) {
	const n = 300
	cfg := nativeConfig(anyPort)
	cfg.Tenants[0].CPU, cfg.Listeners[0].PerSource = 0.01, 0
	h := serveNative(t, cfg, &selector.Manual{})
	for range n {
		hosttest.Dial(t, h.Addr("echo"))
	}
	hosttest.Eventually(t, "all are accepted", func() bool { return h.Stats().Connections == n })
}

func TestBandwidthOfATenantIsShared(t *testing.T) {
	clock := &selector.Manual{}
	cfg := nativeConfig(anyPort)
	cfg.Tenants[0].Bandwidth = 1 << 20
	h := serveNative(t, cfg, clock)
	a, b := hosttest.Dial(t, h.Addr("echo")), hosttest.Dial(t, h.Addr("echo"))
	burst := make([]byte, 512<<10) // twice what the burst of a quarter second earns
	go func() { _, _ = a.Write(burst) }()
	total := 0
	buf := make([]byte, 64<<10)
	for total < len(burst)/2 {
		n, err := a.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	hosttest.Say(t, b, "x") // the other one has to wait for the debt, too
	_ = b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _ := b.Read(buf); n != 0 {
		t.Error("the tenant's other connection was served over the bandwidth")
	}
	_ = b.SetReadDeadline(awaittest.Deadline())
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				clock.Advance(20 * time.Millisecond)
			}
		}
	}()
	hosttest.Hear(t, b, "x")
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	cfg := nativeConfig(config.Address{Network: "unix", Host: path})
	cfg.Listeners[0].Mode = 0o620
	h := serveNative(t, cfg, nil)
	if h.Addr("echo") != path {
		t.Errorf("it listens on %q", h.Addr("echo"))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o620 {
		t.Errorf("mode %v, %v; want 0620", info.Mode(), err)
	}
	conn := hosttest.DialUnix(t, path)
	hosttest.Say(t, conn, "hello")
	hosttest.Hear(t, conn, "hello")
	h.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file is still there: %v", err)
	}
}

// The state of a connection is not the host's alone: what the handler is told
// when the host ends it.
type endWitness struct {
	hosttest.Echo
	reasons chan csa.Reason
}

func (w *endWitness) Closed(_ *csa.CSA, r csa.Reason) { w.reasons <- r }

func TestTheHandlerIsToldWhenTheHostStops(t *testing.T) {
	w := &endWitness{hosttest.Echo{Buffer: make([]byte, 4096)}, make(chan csa.Reason, 8)}
	cfg := nativeConfig(anyPort)
	h := hosttest.ServeConfig(t, cfg, host.Options{
		Native: map[string]host.Native{"echo": func(*csa.Loop) csa.Handler { return w }},
	}, runtime.NumGoroutine())
	conn := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, conn, "x")
	hosttest.Hear(t, conn, "x")
	h.Close()
	if r := <-w.reasons; r.Code != abi.Closed {
		t.Errorf("the reason was %v", r)
	}
}
