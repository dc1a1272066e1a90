package host_test

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/traffictest"
)

// reloaded is a host of twenty plugins of which each reload changes one, and a limit of another
// listener whose connections go on.
type reloaded struct {
	*lives
	it      []*traffictest.Versioned // 18 over TCP, one over UDP, and one over TLS
	reloads int
	idle    string // how long UDP's peers may be idle
}

const reloadedPlugins = 20

func newReloaded(t *testing.T) *reloaded {
	c := &reloaded{lives: &lives{t: t}, idle: "10m"}
	files := make(map[string][]byte)
	for n := range reloadedPlugins {
		files[fmt.Sprintf("%d.wasm", n)] = traffictest.Handler(0)
	}
	c.lives = newLives(t, files, c.config(), host.Options{Log: slog.New(slog.DiscardHandler)})
	for n := range reloadedPlugins {
		c.it = append(c.it, &traffictest.Versioned{Address: c.h.Addr(fmt.Sprintf("it%d", n))})
	}
	return c
}

func (c *reloaded) config() string {
	var toml strings.Builder
	const many = "per_source = 0\nper_source_rate = 0\n"
	toml.WriteString("[tenant.acme]\naccept_rate = 100000\nconnections = 1000\n" + listenerOf("echo", plugin(c.t, "echo/echo.wasm"), many+fmt.Sprintf("idle_timeout = \"%dm\"", 5+c.reloads%100)))
	for n := range reloadedPlugins {
		l := listenerOf(fmt.Sprintf("it%d", n), fmt.Sprintf("%d.wasm", n), many)
		switch n {
		case reloadedPlugins - 2:
			l = strings.Replace(l, "tcp://", "udp4://", 1) + fmt.Sprintf("idle_timeout = %q\n", c.idle)
		case reloadedPlugins - 1:
			l += "[listener.tls]\nself_signed = [\"a.test\"]\n"
		}
		toml.WriteString(l)
	}
	return toml.String()
}

// next makes the next reload.
func (c *reloaded) next() {
	c.t.Helper()
	c.reloads++
	at := c.reloads % reloadedPlugins
	v := c.it[at]
	version := (c.reloads/reloadedPlugins + 1) % 3 // so that few are compiled
	c.write(fmt.Sprintf("%d.wasm", at), traffictest.Handler(version))
	v.Changes(max(version, 2)) // any of them
	c.mustReload(c.config())
}

// under makes some reloads under traffic, and wants that no client notices.
func (c *reloaded) under(reloads int) {
	c.t.Helper()
	traffic, err := traffictest.Start(traffictest.Clients{
		Echo: c.h.Addr("echo"), Echoing: 64, Visited: c.it[:reloadedPlugins-2], Visiting: 64,
		Datagrams: c.it[reloadedPlugins-2], Secure: c.it[reloadedPlugins-1],
		EchoPause: 5 * time.Millisecond, Pause: 10 * time.Millisecond, DatagramIsLostBeyond: time.Minute,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for range reloads {
		c.next()
	}
	heard := traffic.Stop()
	if heard.Failed != 0 || heard.Lost != 0 {
		c.t.Errorf("%d exchanges have failed, %d datagrams were lost: %q", heard.Failed, heard.Lost, heard.Failures)
	}
	if heard.Echoes == 0 || heard.Visits == 0 || heard.Datagrams == 0 || heard.Secure == 0 {
		c.t.Errorf("clients have heard too little: %+v", heard)
	}
	c.idle = "10ms" // which holds for the peers that are there
	c.mustReload(c.config())
	hosttest.Eventually(c.t, "nobody is connected", func() bool { st := c.h.Stats(); return st.Connections == 0 && st.RetiredGenerations == 0 })
	c.idle = "10m"
	c.mustReload(c.config())
}

// holding is what a host has.
type holding struct {
	goroutines, descriptors, instances int
	mappings, memory, timers           int64
}

// holds is what there is now.
func (c *reloaded) holds() (now holding) {
	st := c.h.Stats()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		open = nil
	}
	t := &st.Tenants[0]
	return holding{runtime.NumGoroutine(), len(open), t.Instances, st.Mappings, t.Memory, t.Timers}
}

// more reports whether any of it is more.
func (now holding) more(than holding) bool {
	return now.goroutines > than.goroutines || now.descriptors > than.descriptors || now.instances > than.instances ||
		now.mappings > than.mappings || now.memory > than.memory || now.timers > than.timers
}

// Reloads in a row under traffic: nobody is refused, reset or answered wrongly, no datagram is
// lost, and afterwards there is what was there after the tenth.
func TestReloadsUnderTraffic(t *testing.T) {
	c := newReloaded(t)
	c.under(10)
	tenth := c.holds()
	c.under(2 * reloadedPlugins)
	now := c.holds()
	hosttest.Eventually(t, fmt.Sprintf("there is no more than after the tenth reload, %+v; there was %+v", tenth, now), func() bool {
		return !c.holds().more(tenth)
	})
}
