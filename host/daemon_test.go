package host_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/engines/bundle"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/plugins/compiler"

	"bulkhead/internal/hosttest"
)

// The test binary is also a daemon, so that a test can have one of its own
// descriptors, memory and signals.
const daemonConfig = "BULKHEAD_TEST_DAEMON"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		os.Exit(compiler.Main(os.Args[2:], bundle.Task()))
	}
	if path := os.Getenv(daemonConfig); path != "" {
		if err := daemon(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(awaittest.Beside(m).Run()) // those that are parallel have daemons of their own, or wait
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
			switch lines.Text() {
			case "gc":
				runtime.GC()
			case "all":
				tellAll(os.Stderr)
			}
			// In this order: a connection's descriptor is closed before it is counted
			// out, and a goroutine that is not there yet is made by one that runs.
			st := h.Stats()
			l := st.Listeners[0]
			busy := busyGoroutines()
			fds, _ := os.ReadDir("/proc/self/fd")
			held := int64(0)
			for _, tenant := range st.Tenants {
				held += tenant.EventsDeferred
			}
			fmt.Printf("goroutines %d busy %d fds %d rss %d connections %d instances %d accepted %d shortages %d held %d\n",
				runtime.NumGoroutine(), busy, len(fds), rss("self"), st.Connections, l.Instances, l.Accepted, l.AcceptErrors, held)
		}
	}()
	return h.Run(ctx)
}

// busyGoroutines is how many goroutines run or could, but for the caller's.
func busyGoroutines() int {
	s := []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}, {Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64()+s[1].Value.Uint64()) - 1
}

// toldAll is the last line of tellAll.
const toldAll = "that is all it holds"

// tellAll writes what each goroutine of this process does and what each
// descriptor is.
func tellAll(w io.Writer) {
	_ = pprof.Lookup("goroutine").WriteTo(w, 2)
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		what, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil { // the one that read the folder is closed
			fmt.Fprintf(w, "descriptor %s: %s\n", fd.Name(), what)
		}
	}
	fmt.Fprintln(w, toldAll)
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
	stderr *awaittest.Text
}

func startProcess(t *testing.T, toml string, env ...string) *process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	p := &process{t: t, addrs: make(map[string]string), stderr: &awaittest.Text{}}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), append(env, daemonConfig+"="+hosttest.WriteConfig(t, toml))...)
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
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // stop has not seen its end
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	for p.stdout.Scan() && p.stdout.Text() != "ready" {
		name, addr, _ := strings.Cut(p.stdout.Text(), " ")
		p.addrs[name] = addr
	}
	if len(p.addrs) == 0 {
		t.Fatalf("the daemon did not start:\n%s", p.stderr)
	}
	return p
}

// holds is what a daemon holds now. Of its goroutines, busy run or could, beside
// the one that answers: when there are none, the others are those that stay.
type holds struct {
	goroutines, busy, fds, rss, connections, instances, accepted, shortages int
	held                                                                    int // events of all tenants that had to wait for CPU time
}

func (p *process) holds(ask string) (h holds) {
	p.t.Helper()
	fmt.Fprintln(p.stdin, ask)
	if !p.stdout.Scan() {
		p.t.Fatalf("the daemon is gone:\n%s", p.stderr)
	}
	if _, err := fmt.Sscanf(p.stdout.Text(), "goroutines %d busy %d fds %d rss %d connections %d instances %d accepted %d shortages %d held %d",
		&h.goroutines, &h.busy, &h.fds, &h.rss, &h.connections, &h.instances, &h.accepted, &h.shortages, &h.held); err != nil {
		p.t.Fatalf("%q: %v", p.stdout.Text(), err)
	}
	return h
}

// until waits for the daemon to hold what cond says. After a minute it fails the
// test with all that the daemon holds.
func (p *process) until(what string, cond func(holds) bool) holds {
	p.t.Helper()
	deadline := awaittest.Deadline()
	for {
		h := p.holds("")
		if cond(h) {
			return h
		}
		if time.Now().After(deadline) {
			p.holds("all")
			hosttest.Eventually(p.t, "the daemon tells all it holds", func() bool { return strings.Contains(p.stderr.String(), toldAll) })
			p.t.Fatalf("never: %s; it holds %+v\n%s", what, h, p.stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop ends the daemon as an operator would and wants status 0. What has not ended after
// a minute says what its goroutines do.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("the daemon ended with %v\n%s", err, p.stderr)
		}
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		p.t.Errorf("the daemon does not end at SIGTERM:\n%s", p.stderr)
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
`, hosttest.State(), plugin(t, "echo/echo.wasm"), instance, more)
}
