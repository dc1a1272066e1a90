package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"
)

// daemon is bulkhead in a process of its own, whose standard error the test holds.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Reader // of its log
	log   *os.File      // what they are read from
	done  chan error
	addrs map[string]string
}

// runDaemon starts it with a configuration, whose modules stand beside that, and its log going to
// end, whose other end is log. It waits until n listeners listen.
func runDaemon(t *testing.T, toml string, modules map[string][]byte, log, end *os.File, n int) *daemon {
	t.Helper()
	dir := t.TempDir()
	for name, b := range modules {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "bulkhead.toml")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, log: log, lines: bufio.NewReaderSize(log, 16<<10), done: make(chan error, 1), addrs: map[string]string{}}
	d.cmd = exec.Command("bulkhead", "run", file)
	d.cmd.Stderr = end
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); log.Close() })
	go func() { d.done <- d.cmd.Wait() }()
	for len(d.addrs) < n {
		line, err := d.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the daemon did not start: %v; %s", err, line)
		}
		for name, addr := range addressesIn(line) {
			d.addrs[name] = strings.TrimPrefix(addr, "tcp://")
		}
	}
	return d
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// ends wants it to end with a status.
func (d *daemon) ends(code int) {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(awaittest.Longest):
		d.t.Fatal("the daemon does not end")
	}
	if have := d.cmd.ProcessState; have.ExitCode() != code {
		d.t.Fatalf("the daemon ended with %v, not %d", have, code)
	}
}

// ask connects to a listener and wants an answer to what it says.
func (d *daemon) ask(listener, what string) net.Conn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.addrs[listener])
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(awaittest.Deadline())
	d.askAgain(c, what)
	return c
}

func (d *daemon) askAgain(c net.Conn, what string) {
	d.t.Helper()
	have := make([]byte, len(what))
	if _, err := io.WriteString(c, what); err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, have); err != nil || string(have) != what {
		d.t.Fatalf("it answered %q, %v", have, err)
	}
}

// sayings echoes, and logs a line of 1000 bytes that take several times as much in a log for
// each time that it is called.
func sayings() []byte {
	m, f := w.Handler([2]string{"log", "iii:i"}, [2]string{"send", "iii:i"})
	m.Data(0, strings.Repeat("\x01", 1000))
	m.Func("csa_data", "ii:i", "",
		w.I32Const(1), w.I32Const(0), w.I32Const(1000), w.Call(f[0]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[1]))
	return m.Bytes()
}

const twoTenants = `
[host]
loops = 2
drain = "1m"
[tenant.loud]
log_lines = 100000
log_bytes = "1GiB/s"
accept_rate = 10000
[tenant.quiet]
[[listener]]
name = "loud"
tenant = "loud"
address = "tcp://127.0.0.1:0"
plugin = "sayings.wasm"
[[listener]]
name = "quiet"
tenant = "quiet"
address = "tcp://127.0.0.1:0"
plugin = "echo.wasm"
`

var theirModules = map[string][]byte{"sayings.wasm": sayings(), "echo.wasm": w.Echo().Bytes()}

// A log that nobody reads holds up nobody: not the tenant that fills it, not the other, not
// the end. When it is read again, each line is there or is told of as left out.
func TestALogThatNobodyReads(t *testing.T) {
	r, end := pipe(t)
	d := runDaemon(t, twoTenants, theirModules, r, end, 2)
	before := d.ask("quiet", "before")
	const peers, each = 40, 20
	loud := make([]net.Conn, peers)
	for i := range loud {
		loud[i] = d.ask("loud", "x")
		for range each - 1 {
			d.askAgain(loud[i], "x")
		}
	}
	d.askAgain(before, "still")
	d.ask("quiet", "and who comes now").Close()

	// What is said now is read again.
	var told sync.WaitGroup
	said, leftOut := 0, 0
	told.Go(func() {
		for {
			line, err := d.lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var l struct {
				Msg, Tenant string
				LeftOut     int `json:"lines_left_out"`
			}
			if err := json.Unmarshal(line, &l); err != nil {
				t.Errorf("%v: %.200q", err, line)
			}
			if leftOut += l.LeftOut; l.Msg == "handler says" {
				said++
			}
		}
	})
	d.signal(syscall.SIGTERM)
	for _, c := range append(loud, before) {
		c.Close()
	}
	d.ends(0)
	told.Wait()
	// Of those that were left out some may be of the host itself.
	if said+leftOut < peers*each || said == 0 || said >= peers*each || leftOut > peers*each {
		t.Errorf("of %d lines the log has %d, and tells of %d left out", peers*each, said, leftOut)
	}
}

// The end comes though the log is never read again.
func TestTheEndBehindALogThatNobodyReads(t *testing.T) {
	r, end := pipe(t)
	d := runDaemon(t, twoTenants, theirModules, r, end, 2)
	for range 10 {
		c := d.ask("loud", "x")
		for range 20 {
			d.askAgain(c, "x")
		}
		c.Close()
	}
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// A log whose reader has gone away costs its lines, and not the daemon.
func TestALogWhoseReaderIsGone(t *testing.T) {
	r, end := pipe(t)
	d := runDaemon(t, twoTenants, theirModules, r, end, 2)
	r.Close()
	c := d.ask("loud", "x")
	for range 10 {
		d.askAgain(c, "x")
	}
	d.signal(syscall.SIGHUP) // a line more
	d.askAgain(c, "x")
	d.ask("quiet", "other").Close()
	c.Close()
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// SIGHUP reloads the file: what is wrong with it is in the log and changes nothing, and what is
// right is in force, log_level included, while connections go on.
func TestHangup(t *testing.T) {
	r, end := pipe(t)
	d := runDaemon(t, twoTenants, theirModules, r, end, 2)
	line := func(texts ...string) {
		t.Helper()
		for {
			line, err := d.lines.ReadString('\n')
			if err != nil {
				t.Fatalf("the log has ended: %v", err)
			}
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return
			}
		}
	}
	file := d.cmd.Args[2]
	write := func(toml string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
		d.signal(syscall.SIGHUP)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := d.ask("quiet", "before")
	write(string(good) + "[[listener]]\nname = \"bad\"\ntenant = \"nobody\"\n")
	line("the configuration is not reloaded; the one before stays in force", "nobody")
	d.askAgain(c, "between")
	write(string(good))
	line("the new configuration is in force", `"listeners_unchanged":2`)
	d.askAgain(c, "behind")
	d.ask("quiet", "new").Close()
	write(strings.Replace(string(good), "[host]", "[host]\nlog_level = \"debug\"", 1))
	line("the new configuration is in force")
	d.ask("quiet", "debugged").Close()
	line("DEBUG", "connection closed")
	c.Close()
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// SIGTERM while a plugin is compiled or started ends that, and nothing has gone wrong.
func TestTheEndBeforeTheBeginning(t *testing.T) {
	many := w.Echo()
	for range 2000 {
		many.Func("", "i:i", "", bytes.Repeat(w.Cat(w.LocalGet(0), w.I32Const(77), w.I32Add, w.LocalSet(0)), 1000), w.LocalGet(0))
	}
	spins := w.Echo()
	spins.Func("csa_start", ":i", "", w.Forever(), w.I32Const(0))
	for name, module := range map[string][]byte{"compiling": many.Bytes(), "starting": spins.Bytes()} {
		t.Run(name, func(t *testing.T) {
			r, end := pipe(t)
			toml := strings.ReplaceAll(twoTenants, `plugin = "sayings.wasm"`, "plugin = \"slow.wasm\"\nevent_timeout = \"1m\"")
			d := runDaemon(t, toml, map[string][]byte{"slow.wasm": module, "echo.wasm": w.Echo().Bytes()}, r, end, 0)
			state := filepath.Join(filepath.Dir(d.cmd.Args[2]), "state", "modules")
			for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				// The folder is there when the first module is about to be compiled.
				if _, err := os.Stat(state); err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it compiles nothing")
				}
			}
			d.signal(syscall.SIGTERM)
			log, err := io.ReadAll(d.lines) // to its end, which is that of its children, too
			if err != nil {
				t.Error(err)
			}
			d.ends(0)
			if strings.Contains(string(log), "listening") {
				t.Skip("it was faster than the signal")
			}
			if !strings.Contains(string(log), "stopped before anything was served") {
				t.Errorf("the log is %s", log)
			}
		})
	}
}

// Whatever hangs, a second signal ends the process within its time, a third at once, and
// without either the end of the drain does.
func TestWhatHangsIsLeft(t *testing.T) {
	for name, signals := range map[string][]os.Signal{
		"second": {syscall.SIGTERM, syscall.SIGINT},
		"third":  {syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM},
		"drain":  {syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, end := pipe(t) // that nobody reads
			defer r.Close()
			defer end.Close()
			if err := fill(end); err != nil {
				t.Fatal(err)
			}
			queue, _ := newLog(end, "json", "info", nil)
			// The drain is over, and so is its end.
			s := newStopper(t.Context(), queue, -endTime, nil)
			left := make(chan int, 9)
			s.exit = func(code int) { left <- code }
			hangs := make(chan struct{})
			defer close(hangs)
			hang := func() { <-hangs }
			s.close.Store(&hang)
			if name != "drain" {
				s.setDrain(time.Hour)
			}
			for _, sig := range signals {
				s.own <- sig
			}
			select {
			case code := <-left:
				if code != exitFailed {
					t.Errorf("it ends with %d", code)
				}
			case <-time.After(awaittest.Longest):
				t.Fatal("it does not end")
			}
			if s.ctx.Err() == nil {
				t.Error("the host was not told")
			}
			s.over()
		})
	}
}

// fill fills a pipe.
func fill(end *os.File) error {
	defer func() { _ = end.SetWriteDeadline(time.Time{}) }()
	for {
		_ = end.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := end.Write(make([]byte, 4096)); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return fmt.Errorf("filling a pipe: %w", err)
		}
	}
}
