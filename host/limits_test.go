package host_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// set changes the limits of the tenant acme of a running host.
func set(t *testing.T, h *host.Host, cfg *config.Config, change func(*config.Tenant)) {
	t.Helper()
	tenant := cfg.Tenants[0]
	change(&tenant)
	if err := h.SetLimits(tenant); err != nil {
		t.Fatal(err)
	}
	cfg.Tenants[0] = tenant
}

// waits wants nothing to come for a while, which cannot fail a host that is slow.
func waits(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("it was served beyond a limit: %d, %v", n, err)
	}
	_ = c.SetReadDeadline(awaittest.Deadline())
}

// Whoever waits for a limit is served as soon as it is raised, and not when it would have been: the
// rates here are of one in hours. A limit that is lowered takes nothing away.
func TestLimitsAreSetWhileTheyAreUsed(t *testing.T) {
	const hardly = 1.0 / 36000
	for name, c := range map[string]struct{ before, after func(*config.Tenant) }{
		"connections": {func(c *config.Tenant) { c.Connections = 1 }, func(c *config.Tenant) { c.Connections = 2 }},
		"accept_rate": {func(c *config.Tenant) { c.AcceptRate = hardly }, func(c *config.Tenant) { c.AcceptRate = 1000 }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := nativeConfig(anyPort)
			c.before(&cfg.Tenants[0])
			h := serveNative(t, cfg, nil)
			first := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, first, "a")
			hosttest.Hear(t, first, "a")
			second := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, second, "b")
			waits(t, second)
			set(t, h, cfg, c.after)
			hosttest.Hear(t, second, "b")
			set(t, h, cfg, c.before)
			for _, conn := range []net.Conn{first, second} {
				hosttest.Say(t, conn, "c")
				hosttest.Hear(t, conn, "c")
			}
		})
	}
	t.Run("bandwidth", func(t *testing.T) {
		cfg := nativeConfig(anyPort)
		cfg.Tenants[0].Bandwidth = 1
		h := serveNative(t, cfg, nil)
		conn := hosttest.Dial(t, h.Addr("echo"))
		text := strings.Repeat("x", 100_000) // for a day
		hosttest.Say(t, conn, text)
		for {
			before := h.Stats().Tenants[0].Memory
			time.Sleep(5 * time.Millisecond)
			if before == h.Stats().Tenants[0].Memory {
				break
			}
		}
		set(t, h, cfg, func(c *config.Tenant) { c.Bandwidth = 1 << 40 })
		hosttest.Hear(t, conn, text)
	})
	t.Run("connect", func(t *testing.T) {
		cfg := nativeConfig(anyPort)
		h := serveNative(t, cfg, nil)
		bad := cfg.Tenants[0]
		bad.Connections, bad.Connect = 1, []string{"no such thing::"}
		if err := h.SetLimits(bad); err == nil || !strings.Contains(err.Error(), `tenant "acme": connect: `) {
			t.Errorf("a connect list that cannot be read: %v", err)
		}
		for range 2 { // and nothing has changed
			conn := hosttest.Dial(t, h.Addr("echo"))
			hosttest.Say(t, conn, "a")
			hosttest.Hear(t, conn, "a")
		}
		if err := h.SetLimits(config.DefaultTenant("nobody")); err == nil {
			t.Error("the limits of a tenant that is not there were set")
		}
	})
}

// Instances that may be more, or fewer, are so from the next on; memory that is lowered below what
// is used ends nobody.
func TestLimitsOfInstances(t *testing.T) {
	cfg, err := config.Parse("bulkhead.toml", []byte(`[host]
state = "`+hosttest.State()+`"
[tenant.acme]
instances = 2
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:0"
idle_timeout = "24h"
plugin = "`+writeModule(t, w.Echo())+`"
`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clock := &selector.Manual{} // what an instance lacks it waits for, for some seconds
	h := hosttest.ServeConfig(t, cfg, host.Options{Clock: clock}, 1<<20)
	alive := func() net.Conn {
		t.Helper()
		c := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, c, "a")
		hosttest.Hear(t, c, "a")
		return c
	}
	refused := func() {
		t.Helper()
		c := hosttest.Dial(t, h.Addr("echo"))
		hosttest.Say(t, c, "a")
		over := make(chan struct{})
		go func() {
			defer close(over)
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("one instance too many answers %d, %v", n, err)
			}
		}()
		hosttest.Eventually(t, "it is refused", func() bool {
			clock.Advance(100 * time.Millisecond)
			select {
			case <-over:
				return true
			default:
				return false
			}
		})
	}
	all := []net.Conn{alive(), alive()}
	refused()
	set(t, h, cfg, func(c *config.Tenant) { c.Instances = 3 })
	all = append(all, alive())
	set(t, h, cfg, func(c *config.Tenant) { c.Instances, c.Memory = 10, 1 })
	refused() // for want of memory
	set(t, h, cfg, func(c *config.Tenant) { c.Memory = 64 << 20 })
	all = append(all, alive())
	for _, c := range all {
		hosttest.Say(t, c, "b")
		hosttest.Hear(t, c, "b")
	}
	if err := h.CloseTenant("acme"); err == nil || !strings.Contains(err.Error(), `tenant "acme" still holds `) || !strings.Contains(err.Error(), "4 connections") {
		t.Errorf("closing an account in use: %v", err)
	}
	for _, c := range all {
		_ = c.Close()
	}
	hosttest.Eventually(t, "all connections are gone", func() bool { return h.Stats().Connections == 0 })
	h.Close()
	for range 2 {
		if err := h.CloseTenant("acme"); err != nil {
			t.Errorf("closing an account at rest: %v", err)
		}
	}
}
