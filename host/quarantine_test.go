package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// starting is an echo with a csa_start.
func starting(body ...[]byte) *w.Module {
	m := w.Echo()
	m.Func("csa_start", ":i", "", body...)
	return m
}

// unstartable are files that are no plugin, by what their listener's quarantine says of them.
var unstartable = map[string][]byte{
	"csa_start refused": starting(w.I32Const(-5)).Bytes(),
	"unreachable":       starting(w.Unreachable).Bytes(),
	"event_timeout":     starting(w.Forever(), w.I32Const(0)).Bytes(),
	"not a WebAssembly": []byte("not a module"),
	"no such file":      nil,
	"csa_window":        w.New().Bytes(),
}

// quarantined is a configuration of a good listener and one for each of those, over TCP and UDP.
func quarantined(t *testing.T, dir string) *config.Config {
	t.Helper()
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\nloops = 2\n", filepath.Join(dir, "state"))
	add := func(name, scheme, plugin, more string) {
		fmt.Fprintf(&toml, "[tenant.%[1]s]\n[[listener]]\nname = %[1]q\ntenant = %[1]q\naddress = \"%[2]s://127.0.0.1:0\"\nplugin = %[3]q\n%[4]s\n", name, scheme, plugin, more)
	}
	n := 0
	for _, code := range unstartable {
		path := filepath.Join(dir, fmt.Sprintf("bad%d.wasm", n))
		if code != nil {
			if err := os.WriteFile(path, code, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		more := fmt.Sprintf("event_timeout = \"10ms\"\ninstance = %q", instanceModes[n%3])
		add(fmt.Sprintf("bad%d", n), []string{"tcp", "udp"}[n/3], path, more)
		n++
	}
	add("good", "tcp", plugin(t, "echo/echo.wasm"), "")
	cfg, err := config.LoadToRun(hosttest.WriteConfig(t, toml.String()))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func states(h *host.Host) map[string]*host.Quarantine {
	all := make(map[string]*host.Quarantine)
	for _, l := range h.Stats().Listeners {
		all[l.Name] = l.Quarantine
	}
	return all
}

// A plugin that is not there, is none, does not compile, or does not start keeps no other
// listener from being served. Its own is quarantined: connections end at once, datagrams are
// lost, and all of it is told; when the file is mended, it serves.
func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	cfg := quarantined(t, dir)
	if _, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)}); err == nil || len(err.(config.Errors)) != len(unstartable) {
		t.Errorf("a host that loads its plugins first came to be with %v", err)
	}
	lines := hosttest.NewLines(t)
	h, err := host.New(cfg, host.Options{Log: lines.Log(), LoadLate: true})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	defer func() {
		h.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		nothingLeft(t, h)
	}()
	good := hosttest.Dial(t, h.Addr("good"))
	hosttest.Say(t, good, "hello")
	hosttest.Hear(t, good, "hello")

	hosttest.Eventually(t, "all others are quarantined", func() bool {
		n := 0
		for _, q := range states(h) {
			if q != nil {
				n++
			}
		}
		return n == len(unstartable)
	})
	for cause := range unstartable {
		found := false
		for name, q := range states(h) {
			if q != nil && strings.Contains(q.Cause, cause) {
				found = true
				if q.Tries < 1 || q.Wait <= 0 {
					t.Errorf("%s: %+v", name, q)
				}
				lines.Wait("level=ERROR", "quarantined", cause, "listener="+name, "tenant="+name, "next_try_in=")
			}
		}
		if !found {
			t.Errorf("no listener is quarantined for %q", cause)
		}
	}
	for name := range states(h) {
		if name == "good" {
			continue
		}
		network := "tcp"
		for i := range cfg.Listeners {
			if l := &cfg.Listeners[i]; l.Name == name && l.Address.Datagrams() {
				network = "udp"
			}
		}
		if c, err := net.Dial(network, h.Addr(name)); err == nil { // else it is closed already
			_, _ = io.WriteString(c, "hello")
			if network == "tcp" {
				_, _ = io.Copy(io.Discard, c) // it ends
			}
			c.Close()
		}
		hosttest.Eventually(t, "it is counted", func() bool {
			for _, l := range h.Stats().Listeners {
				if l.Name == name {
					return l.Refused > 0 || l.DatagramsLost[csa.LostPeerRefused.Info().Name] > 0
				}
			}
			return false
		})
	}

	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; l.Name != "good" {
			if err := os.WriteFile(l.Plugin, w.Echo().Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	hosttest.Eventually(t, "none is quarantined", func() bool {
		for _, q := range states(h) {
			if q != nil {
				return false
			}
		}
		return true
	})
	for name := range states(h) {
		if name != "good" {
			lines.Wait("out of quarantine", "listener="+name)
		}
	}
	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; !l.Address.Datagrams() {
			c := hosttest.Dial(t, h.Addr(l.Name))
			hosttest.Say(t, c, "again")
			hosttest.Hear(t, c, "again")
			c.Close()
		} else {
			c := dialUDP(t, h.Addr(l.Name))
			hosttest.Say(t, c, "again")
			hosttest.Hear(t, c, "again")
		}
	}
	hosttest.Say(t, good, "still")
	hosttest.Hear(t, good, "still")
	good.Close()
}

// A host that has nothing to serve says why, and ends; a native handler is something.
func TestNothingToServe(t *testing.T) {
	dir := t.TempDir()
	cfg := quarantined(t, dir)
	last := len(cfg.Listeners) - 1
	if err := os.WriteFile(filepath.Join(dir, "good.wasm"), starting(w.Unreachable).Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[last].Plugin = filepath.Join(dir, "good.wasm")
	var all config.Errors
	if _, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), LoadLate: true}); !errors.As(err, &all) || len(all) != len(cfg.Listeners) {
		t.Errorf("it ended with %v; want an error for each of %d listeners", err, len(cfg.Listeners))
	}

	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), LoadLate: true, Native: map[string]host.Native{"good": hosttest.NewEcho}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	hosttest.Eventually(t, "the others are quarantined", func() bool { return states(h)["bad0"] != nil && states(h)["bad5"] != nil })
	c := hosttest.Dial(t, h.Addr("good"))
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	c.Close()
	h.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Plugins that take for ever to start, within what their tenants allow them, hold up nobody
// else's.
func TestSlowStartsHoldUpNobody(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "slow.wasm")
	if err := os.WriteFile(path, starting(w.Forever(), w.I32Const(0)).Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\n", filepath.Join(dir, "state"))
	for i := range 8 {
		fmt.Fprintf(&toml, "[tenant.slow%[1]d]\ncpu = 0.01\n[[listener]]\nname = \"slow%[1]d\"\ntenant = \"slow%[1]d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %[2]q\nevent_timeout = \"1m\"\n", i, path)
	}
	fmt.Fprintf(&toml, "[tenant.good]\n[[listener]]\nname = \"good\"\ntenant = \"good\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", plugin(t, "echo/echo.wasm"))
	cfg, err := config.LoadToRun(hosttest.WriteConfig(t, toml.String()))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), LoadLate: true})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	c := hosttest.Dial(t, h.Addr("good"))
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	c.Close()
	ends(t, "the host ends in the middle of that", h.Close)
	if err := <-done; err != nil {
		t.Error(err)
	}
	nothingLeft(t, h)
}
