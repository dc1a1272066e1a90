// Package hosttest serves hosts for tests and talks to them as a client would.
package hosttest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
)

// WriteConfig writes a configuration to a file that is gone after the test,
// and returns its path.
func WriteConfig(t testing.TB, toml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bulkhead.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Engines are those of the hosts of a test binary.
var Engines = &host.Engines{}

// Serve runs a host in this process until the test ends; then nothing of it
// may be left: no connection, no instance, no memory, no goroutine.
func Serve(t *testing.T, toml string, o host.Options) *host.Host {
	t.Helper()
	before := runtime.NumGoroutine()
	cfg, err := config.Load(WriteConfig(t, toml))
	if err != nil {
		t.Fatal(err)
	}
	return ServeConfig(t, cfg, o, before)
}

// ServeConfig is Serve for a configuration that was not written as TOML.
// before is how many goroutines there may be afterwards.
func ServeConfig(t *testing.T, cfg *config.Config, o host.Options, before int) *host.Host {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.Engines == nil {
		o.Engines = Engines
	}
	h, err := host.New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		st := h.Stats()
		if st.Connections != 0 {
			t.Errorf("%d connections are left", st.Connections)
		}
		for _, l := range st.Listeners {
			if l.Instances != 0 {
				t.Errorf("listener %s: %d instances are left", l.Name, l.Instances)
			}
		}
		for _, tenant := range st.Tenants {
			if tenant.Memory != 0 {
				t.Errorf("tenant %s: %d bytes are still charged", tenant.Name, tenant.Memory)
			}
			if n := tenant.Timers + tenant.Mappings + tenant.Pipes + int64(tenant.Handshakes+tenant.Instances+tenant.BackgroundRunning); n != 0 {
				t.Errorf("tenant %s still holds %d timers, %d mappings, %d pipes, %d handshakes, %d instances and %d calls",
					tenant.Name, tenant.Timers, tenant.Mappings, tenant.Pipes, tenant.Handshakes, tenant.Instances, tenant.BackgroundRunning)
			}
		}
		Eventually(t, "all goroutines of the host are gone", func() bool { return runtime.NumGoroutine() <= before })
	})
	return h
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// Eventually waits until cond comes true: see awaittest.Until.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	awaittest.Until(t, what, cond)
}

// Dial connects to a TCP address. The connection is closed with the test, and
// what is done on it fails after awaittest.Longest.
func Dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(awaittest.Deadline())
	return conn.(*net.TCPConn)
}

// Say writes s.
func Say(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// Hear reads exactly what is wanted.
func Hear(t testing.TB, r io.Reader, want string) {
	t.Helper()
	have := make([]byte, len(want))
	if n, err := io.ReadFull(r, have); err != nil || string(have) != want {
		t.Fatalf("heard %q, %v; want %q", have[:n], err, want)
	}
}

// HearEnd wants the end of the stream, and nothing before it.
func HearEnd(t testing.TB, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Fatalf("heard %q, %v; want the end", rest, err)
	}
}

// HearOrError is Hear for goroutines other than the test's.
func HearOrError(t testing.TB, r io.Reader, want string) {
	have := make([]byte, len(want))
	if n, err := io.ReadFull(r, have); err != nil || string(have) != want {
		t.Errorf("heard %q, %v; want %q", have[:n], err, want)
	}
}

// DialUnix is Dial for a Unix socket.
func DialUnix(t testing.TB, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(awaittest.Deadline())
	return conn
}
