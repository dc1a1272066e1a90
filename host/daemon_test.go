package host_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
)

// The test binary is also a daemon, so that a test can have one of its own
// descriptors, memory and signals.
const daemonConfig = "BULKHEAD_TEST_DAEMON"

func TestMain(m *testing.M) {
	if path := os.Getenv(daemonConfig); path != "" {
		if err := daemon(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// daemon serves a configuration and says on stdout where each listener is,
// then, for each line on stdin, what it holds.
func daemon(path string) error {
	var limit syscall.Rlimit
	if n, err := fmt.Sscan(os.Getenv("BULKHEAD_TEST_NOFILE"), &limit.Cur); n == 1 && err == nil {
		limit.Max = limit.Cur
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	for _, l := range cfg.Listeners {
		fmt.Println(l.Name, h.Addr(l.Name))
	}
	fmt.Println("ready")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "gc" {
				runtime.GC()
			}
			fds, _ := os.ReadDir("/proc/self/fd")
			st := h.Stats()
			l := st.Listeners[0]
			fmt.Printf("goroutines %d fds %d rss %d connections %d instances %d accepted %d shortages %d\n",
				runtime.NumGoroutine(), len(fds), rss("self"), st.Connections, l.Instances, l.Accepted, l.Shortages)
		}
	}()
	return h.Run(ctx)
}

// rss is the resident set of a process in bytes.
func rss(pid string) int {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// process is a daemon of its own process.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	addrs  map[string]string
	stdin  io.Writer
	stdout *bufio.Scanner
	stderr *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startProcess(t *testing.T, toml string, env ...string) *process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	p := &process{t: t, addrs: make(map[string]string), stderr: &lockedBuffer{}}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), append(env, daemonConfig+"="+writeConfig(t, toml))...)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.stdout, p.cmd.Stderr = stdin, bufio.NewScanner(stdout), p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	for p.stdout.Scan() && p.stdout.Text() != "ready" {
		name, addr, _ := strings.Cut(p.stdout.Text(), " ")
		p.addrs[name] = addr
	}
	if len(p.addrs) == 0 {
		t.Fatalf("the daemon did not start:\n%s", p.stderr)
	}
	return p
}

// holds is what a daemon holds now.
type holds struct {
	goroutines, fds, rss, connections, instances, accepted, shortages int
}

func (p *process) holds(ask string) (h holds) {
	p.t.Helper()
	fmt.Fprintln(p.stdin, ask)
	if !p.stdout.Scan() {
		p.t.Fatalf("the daemon is gone:\n%s", p.stderr)
	}
	if _, err := fmt.Sscanf(p.stdout.Text(), "goroutines %d fds %d rss %d connections %d instances %d accepted %d shortages %d",
		&h.goroutines, &h.fds, &h.rss, &h.connections, &h.instances, &h.accepted, &h.shortages); err != nil {
		p.t.Fatalf("%q: %v", p.stdout.Text(), err)
	}
	return h
}

// until waits for the daemon to hold what cond says.
func (p *process) until(what string, cond func(holds) bool) holds {
	p.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		h := p.holds("")
		if cond(h) {
			return h
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s; it holds %+v\n%s", what, h, p.stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop ends the daemon as an operator would and wants status 0.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the daemon ended with %v\n%s", err, p.stderr)
	}
}

func plugin(t testing.TB, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("..", "examples", path))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// writeConfig writes a configuration whose state is shared by all tests, so
// that each plugin is compiled once.
func writeConfig(t testing.TB, toml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bulkhead.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sharedState is a compile cache for the tests of this process.
var sharedState = sync.OnceValue(func() string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("bulkhead-test-%d", os.Getuid()))
	_ = os.Mkdir(dir, 0o700)
	return dir
})

// serve runs a host in this process until the test ends; then nothing of it
// may be left.
func serve(t *testing.T, toml string, o host.Options) *host.Host {
	t.Helper()
	before := runtime.NumGoroutine()
	cfg, err := config.Load(writeConfig(t, toml))
	if err != nil {
		t.Fatal(err)
	}
	return serveConfig(t, cfg, o, before)
}

func serveConfig(t *testing.T, cfg *config.Config, o host.Options, before int) *host.Host {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
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
		}
		eventually(t, "all goroutines of the host are gone", func() bool { return runtime.NumGoroutine() <= before })
	})
	return h
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	return conn.(*net.TCPConn)
}

func say(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, r io.Reader, want string) {
	t.Helper()
	have := make([]byte, len(want))
	if n, err := io.ReadFull(r, have); err != nil || string(have) != want {
		t.Fatalf("heard %q, %v; want %q", have[:n], err, want)
	}
}

func hearEnd(t testing.TB, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Fatalf("heard %q, %v; want the end", rest, err)
	}
}

// echoConfig serves the shipped echo with instances of a kind.
func echoConfig(t testing.TB, instance, more string) string {
	return fmt.Sprintf(`
[host]
state = %q
loops = 2
[tenant.acme]
memory = "4GiB"
connections = 20000
accept_rate = 100000
bandwidth = "100GiB/s"
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = %q
%s
`, sharedState(), plugin(t, "echo/echo.wasm"), instance, more)
}

// hearOrError is hear for goroutines other than the test's.
func hearOrError(t testing.TB, r io.Reader, want string) {
	have := make([]byte, len(want))
	if n, err := io.ReadFull(r, have); err != nil || string(have) != want {
		t.Errorf("heard %q, %v; want %q", have[:n], err, want)
	}
}

func dialUnix(t testing.TB, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	return conn
}
