package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// lateHost has some tenants with echoes, and a state folder of its own.
type lateHost struct {
	t       *testing.T
	plugins []string
	config  *config.Config
	log     *logBook
}

func newLateHost(t *testing.T, tenants int) *lateHost {
	l := &lateHost{t: t, log: &logBook{}}
	dir := t.TempDir()
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\nloops = 2\n", filepath.Join(dir, "state"))
	for i := range tenants {
		path := filepath.Join(dir, fmt.Sprintf("%d.wasm", i))
		l.plugins = append(l.plugins, path)
		l.write(i, w.Echo().Bytes())
		instance := []string{"connection", "loop", "listener"}[i%3]
		fmt.Fprintf(&toml, "[tenant.t%d]\n[[listener]]\nname = \"l%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\ninstance = %q\n", i, i, i, path, instance)
	}
	var err error
	if l.config, err = config.Load(hosttest.WriteConfig(t, toml.String())); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lateHost) write(i int, code []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.plugins[i], code, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lateHost) start() (*host.Host, error) {
	return host.New(l.config, host.Options{Log: slog.New(slog.NewTextHandler(l.log, nil)), LoadLate: true})
}

// loaded counts the tenants whose plugin is there.
func loaded(h *host.Host) (n int) {
	for _, t := range h.Stats().Tenants {
		if t.Memory > 0 {
			n++
		}
	}
	return n
}

func (l *lateHost) run(h *host.Host) (stop func()) {
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	return func() {
		h.Close()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
		if n := loaded(h); n != 0 {
			l.t.Errorf("%d tenants still hold memory", n)
		}
	}
}

// Plugins are loaded when the host serves already, and those that clients wait for, too.
func TestLoadedLate(t *testing.T) {
	const tenants = 6
	l := newLateHost(t, tenants)
	for range 2 { // with and without their code in the state folder
		h, err := l.start()
		if err != nil {
			t.Fatal(err)
		}
		if n := loaded(h); n == 0 {
			t.Error("there is a host, and no plugin is loaded")
		}
		stop := l.run(h)
		for i := range tenants {
			c := hosttest.Dial(t, h.Addr(fmt.Sprintf("l%d", i)))
			hosttest.Say(t, c, "hello")
			hosttest.Hear(t, c, "hello")
			c.Close()
		}
		hosttest.Eventually(t, "all are loaded", func() bool { return loaded(h) == tenants })
		stop()
	}
	h, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	h.Close() // without having run
}

// A host that is closed while it loads leaves nothing behind.
func TestClosedWhileLoadingLate(t *testing.T) {
	l := newLateHost(t, 30)
	for n := range 10 {
		h, err := l.start()
		if err != nil {
			t.Fatal(err)
		}
		stop := l.run(h)
		if c, err := net.DialTimeout("tcp", h.Addr(fmt.Sprintf("l%d", 3*n)), time.Second); err == nil {
			defer c.Close()
		}
		hosttest.Eventually(t, "some are loaded", func() bool { return loaded(h) >= 2*n })
		stop()
	}
}
