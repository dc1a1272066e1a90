// Package enginetest serves scripts in tests of engines, by a whole host.
package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// Language serves the scripts of one language.
type Language struct {
	// Extension is what the names of its scripts end with: ".js".
	Extension string
}

// Handler is the script of one listener, whose name is Name, with lines of TOML for the listener.
// The one called "udp" is over UDP, and "ws" over WebSocket with the path /it. Files are beside it,
// by their paths from there.
type Handler struct {
	Name, Script, TOML string
	Files              map[string]string
}

// Brief is a line of TOML for the listener of a script that is to be stopped. The limit is CPU
// time, a hundred times what anything else takes: nothing else is stopped by it, however slow the
// machine is.
const Brief = `event_timeout = "100ms"`

// Config is the configuration of a host that serves each of the scripts.
func (l *Language) Config(t *testing.T, handlers ...Handler) (toml string) {
	t.Helper()
	dir := t.TempDir()
	toml = fmt.Sprintf("[host]\nloops = 1\nstate = %q\n[tenant.acme]\nmemory = \"40MiB\"\nconnect = [\"127.0.0.1:*\"]\naccept_rate = 10000\n", hosttest.State())
	for _, one := range handlers {
		for name, text := range one.Files {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		path, address := filepath.Join(dir, one.Name+l.Extension), "tcp://127.0.0.1:0"
		switch one.Name {
		case "udp":
			address = "udp://127.0.0.1:0"
		case "ws":
			address = "ws://127.0.0.1:0/it"
		}
		if err := os.WriteFile(path, []byte(one.Script), 0o600); err != nil {
			t.Fatal(err)
		}
		toml += fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = %q\nplugin = %q\n%s\n", one.Name, address, path, one.TOML)
	}
	return toml
}

// Serve serves each of the scripts until the test ends. A test that fails shows the log.
func (l *Language) Serve(t *testing.T, handlers ...Handler) (*host.Host, *Log) {
	t.Helper()
	log := &Log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	return hosttest.Serve(t, l.Config(t, handlers...), host.Options{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}), log
}

// Dial connects to a listener.
func Dial(t *testing.T, h *host.Host, listener string) *net.TCPConn {
	t.Helper()
	return hosttest.Dial(t, h.Addr(listener))
}

// Gone reads until the connection has ended, one way or the other.
func Gone(t *testing.T, c net.Conn) {
	t.Helper()
	b, err := io.ReadAll(c)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Fatalf("the connection has not ended; it said %q", b)
	}
}

// Wrong is a script that cannot be loaded, part of what is said of it, and lines of TOML for its
// listener.
type Wrong struct{ Script, Want, TOML string }

// CannotBeLoaded checks that a host which is to serve the scripts, of listeners called wrong0,
// wrong1 and so on, does not start, and says what is wrong with each of them.
func (l *Language) CannotBeLoaded(t *testing.T, wrong []Wrong) {
	t.Helper()
	var all []Handler
	for i, one := range wrong {
		all = append(all, Handler{Name: fmt.Sprintf("wrong%d", i), Script: one.Script, TOML: one.TOML})
	}
	cfg, err := config.Load(hosttest.WriteConfig(t, l.Config(t, all...)))
	if err != nil {
		t.Fatal(err)
	}
	log := &Log{}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Engines: hosttest.Engines})
	if err == nil {
		h.Close()
		t.Fatal("the host starts, with no script that can be loaded")
	}
	for i, one := range wrong {
		said := ""
		for line := range strings.Lines(log.String() + err.Error()) {
			if strings.Contains(line, fmt.Sprintf("listener=wrong%d ", i)) || strings.Contains(line, fmt.Sprintf("%q", fmt.Sprint("wrong", i))) {
				said += line
			}
		}
		if !strings.Contains(said, one.Want) {
			t.Errorf("%q: it says\n%s, want %q", one.Script, said, one.Want)
		}
	}
}

// Log keeps the host's log for a test to look at.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps what is logged.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Wait waits for a line of the log that has all of these.
func (l *Log) Wait(t *testing.T, parts ...string) {
	t.Helper()
	what := fmt.Sprintf("the log has a line with %q", parts)
	hosttest.Eventually(t, what, func() bool {
		for line := range strings.Lines(l.String()) {
			all := true
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				return true
			}
		}
		return false
	})
}
