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
	"bulkhead/host/hosttest"
	w "bulkhead/plugins/wasmtest"
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

// What has started before is loaded when the host serves already, and what has not, or
// is not the same any more, is loaded before.
func TestLoadedLate(t *testing.T) {
	const tenants = 6
	l := newLateHost(t, tenants)
	first, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	if n := loaded(first); n != tenants {
		t.Errorf("at the first start %d plugins are loaded", n)
	}
	first.Close()

	second, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	if n := loaded(second); n != 0 {
		t.Errorf("at the second start %d plugins are loaded before it serves", n)
	}
	stop := l.run(second)
	for i := range tenants {
		c := hosttest.Dial(t, second.Addr(fmt.Sprintf("l%d", i)))
		hosttest.Say(t, c, "hello")
		hosttest.Hear(t, c, "hello")
		c.Close()
	}
	hosttest.Eventually(t, "all are loaded", func() bool { return loaded(second) == tenants })
	stop()

	l.write(0, faulty("", w.Unreachable).Bytes())
	third, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	if n := loaded(third); n != 1 {
		t.Errorf("when one plugin has changed, %d are loaded before it serves", n)
	}
	third.Close() // without having run
	l.write(0, []byte("not a module"))
	if _, err := l.start(); err == nil {
		t.Error("a plugin that is no module does not keep the host from starting")
	}
}

// One that cannot be loaded after all, since its file is another by now, is tried again
// while its connections wait; the others are served.
func TestLoadedLateInVain(t *testing.T) {
	l := newLateHost(t, 2)
	first, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	h, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	l.write(0, []byte("not a module"))
	defer l.run(h)()
	waits := hosttest.Dial(t, h.Addr("l0"))
	hosttest.Say(t, waits, "patience")
	served := hosttest.Dial(t, h.Addr("l1"))
	hosttest.Say(t, served, "hello")
	hosttest.Hear(t, served, "hello")
	hosttest.Eventually(t, "it is logged", func() bool { return l.log.has("cannot be loaded now") })
	if failed := h.Stats().Listeners[0].Failed; failed == 0 {
		t.Error("it is not counted")
	}
	l.write(0, w.Echo().Bytes())
	hosttest.Hear(t, waits, "patience")
	waits.Close()
	served.Close()
}

// A host that is closed while it loads leaves nothing behind.
func TestClosedWhileLoadingLate(t *testing.T) {
	l := newLateHost(t, 30)
	first, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
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
