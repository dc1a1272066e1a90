package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"
)

// program is the command, which TestMain has built.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bulkhead-page")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "bulkhead")
	build := exec.Command("go", "build", "-o", program, "./cmd/bulkhead")
	build.Dir = filepath.Join("..", "..", "..") // the command's module
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// daemon is one that runs, and the page that shows it.
type daemon struct {
	dir, file string
	address   map[string]string // by listener
	page      string
}

// serve runs a daemon with a configuration, whose listeners use modules of the folder, and dash.
func serve(t *testing.T, toml string, modules map[string][]byte) *daemon {
	t.Helper()
	d := &daemon{dir: t.TempDir(), address: make(map[string]string)}
	d.file = filepath.Join(d.dir, "bulkhead.toml")
	if err := os.Chmod(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range modules {
		if err := os.WriteFile(filepath.Join(d.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.write(t, toml)
	start(t, "run", d.file)
	awaittest.Until(t, "all listeners serve", func() bool {
		out, err := exec.Command(program, "status", "--json", d.file).Output()
		if err != nil {
			return false
		}
		var st struct {
			Listeners []struct{ Name, Address string }
		}
		if err := json.Unmarshal(out, &st); err != nil {
			t.Fatal(err)
		}
		for _, l := range st.Listeners {
			d.address[l.Name] = strings.TrimPrefix(l.Address, "tcp://")
		}
		return len(st.Listeners) > 0
	})
	d.page = d.dash(t)
	return d
}

func (d *daemon) write(t *testing.T, toml string) {
	t.Helper()
	if err := os.WriteFile(d.file, []byte("[host]\nstate = \"kept\"\n"+toml), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dash gives a new address of the page.
func (d *daemon) dash(t *testing.T) string {
	t.Helper()
	out := start(t, "dash", d.file)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dash has said no address: %v", err)
	}
	return strings.TrimSpace(line)
}

// start runs a command until the test ends.
func start(t *testing.T, args ...string) (stdout io.Reader) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = awaittest.Longest
	log, err := os.Create(filepath.Join(t.TempDir(), args[0]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = log
	stdout, err = c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = c.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("bulkhead %s has said:\n%s", args[0], text[max(0, len(text)-3000):])
		}
	})
	return stdout
}

// dial connects to a listener until the test ends.
func (d *daemon) dial(t *testing.T, listener string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", d.address[listener])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// calls sends a byte and waits for the answer, again and again.
func (d *daemon) calls(t *testing.T, listener string) {
	t.Helper()
	c := d.dial(t, listener)
	go func() {
		p := make([]byte, 1)
		for {
			if _, err := c.Write([]byte{'x'}); err != nil {
				return
			}
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
		}
	}()
}

// failsAgain connects and says something, again and again.
func (d *daemon) failsAgain(t *testing.T, listener string) {
	t.Helper()
	address := d.address[listener]
	go func() {
		for t.Context().Err() == nil {
			c, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x"))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
			select {
			case <-t.Context().Done():
			case <-tick():
			}
		}
	}()
}

// trapping is a handler that traps when anything comes.
func trapping() []byte {
	m, _ := w.Handler()
	m.Func("csa_data", "ii:i", "", w.Unreachable)
	return m.Bytes()
}

// burning is a handler that computes for each byte, and sends them back.
func burning(rounds int32) []byte {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "ii",
		w.LocalGet(1), w.LocalSet(2),
		w.Loop(
			w.I32Const(rounds), w.LocalSet(3),
			w.Loop(w.LocalGet(3), w.I32Const(1), w.I32Sub, w.LocalTee(3), w.BrIf(0)),
			w.LocalGet(2), w.I32Const(1), w.I32Sub, w.LocalTee(2), w.BrIf(0)),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop,
		w.LocalGet(1))
	return m.Bytes()
}

// tenants is a configuration of n tenants t0 and on, with a listener each, and the echo.
func tenants(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[tenant.t%d]\n[[listener]]\nname = \"l%d\"\ntenant = \"t%d\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"echo.wasm\"\n", i, i, i)
	}
	return b.String()
}
