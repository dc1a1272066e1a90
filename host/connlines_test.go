package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/config"
	"bulkhead/host/conns"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// Whatever happens to a connection, each line about it has its number, its other end, its listener
// and its tenant, and the access log knows it by the same number.
func TestEveryLineSaysItsConnection(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	accessLog := access.New(nil)
	defer accessLog.Close()
	if err := accessLog.Set(path, 1); err != nil {
		t.Fatal(err)
	}
	spinner, _ := w.Handler()
	spinner.Func("csa_data", "ii:i", "", w.Forever(), w.I32Const(0))
	wrong, f := w.Handler([2]string{"send", "iii:i"})
	wrong.Func("csa_data", "ii:i", "", w.LocalGet(0), w.I32Const(-1), w.I32Const(1), w.Call(f[0]))
	dialer, f := w.Handler([2]string{"connect", "ii:i"})
	dialer.Data(0, "tcp://192.0.2.1:1")
	dialer.Func("csa_data", "ii:i", "", w.I32Const(0), w.I32Const(17), w.Call(f[0]), w.Drop, w.LocalGet(1))
	command := w.New()
	command.Memory(1)
	command.Func("_start", ":", "", w.Unreachable)

	echo := writeModule(t, w.Echo())
	routes := fmt.Sprintf("[[listener.route]]\nfirst = [\"AB\"]\nplugin = %q", echo)
	ways := map[string]struct {
		plugin, more, say string
		lines             []string // how a line begins that has to be there
		stays             bool     // it is the client that ends it
	}{
		"trap":       {writeModule(t, trapsAtData()), "", "x", []string{"a handler trapped", "connection closed"}, false},
		"trap-loop":  {writeModule(t, trapsAtData()), `instance = "loop"`, "x", []string{"a handler trapped", "connection closed"}, false},
		"trap-one":   {writeModule(t, trapsAtData()), `instance = "listener"`, "x", []string{"a handler trapped", "connection closed"}, false},
		"command":    {writeModule(t, command), `shape = "stdio"`, "x", []string{"a command trapped", "connection closed"}, false},
		"stop":       {writeModule(t, spinner), `event_timeout = "10ms"`, "x", []string{"a handler was stopped", "connection closed"}, false},
		"no-range":   {writeModule(t, wrong), "", "x", []string{"a handler trapped", "connection closed"}, false},
		"no-dial":    {writeModule(t, dialer), "", "x", []string{"a handler may not dial", "connection closed"}, true},
		"refuse":     {write(t, picky()), "", "x", []string{"connection closed"}, false},
		"say":        {write(t, echoing()), "", "x", []string{"handler says", "connection closed"}, true},
		"first-byte": {echo, `first_byte_timeout = "10ms"`, "", []string{"connection closed"}, false},
		"idle":       {echo, `idle_timeout = "10ms"`, "x", []string{"connection closed"}, false},
		"no-header":  {echo, `proxy_from = ["127.0.0.1"]`, "no header\r\n\r\n", []string{"connection closed"}, false},
		"no-tls":     {echo, "[listener.tls]\nself_signed = [\"a.test\"]", "GET / HTTP/1.0\r\n\r\n", []string{"connection closed"}, false},
		"no-route":   {"", routes, "XY", []string{"a connection was closed, and went nowhere"}, false},
		"no-place":   {echo, "per_source_rate = 0.001", "", []string{"a connection was closed: its source address"}, false},
		"quarantine": {filepath.Join(dir, "none.wasm"), "", "", []string{"a connection was closed: its listener is quarantined"}, false},
		"killed":     {echo, "", "x", []string{"connection closed"}, false},
	}
	text := fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\nlog_lines = 1000\n", hosttest.State())
	for name, way := range ways {
		listener := listenerOf(name, way.plugin, way.more)
		if way.plugin == "" {
			listener = strings.Replace(listener, "plugin = \"\"\n", "", 1)
		}
		text += listener
	}
	var log jsonLog
	cfg, err := config.LoadToRun(hosttest.WriteConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.ServeConfig(t, cfg, host.Options{
		Access: accessLog, LoadLate: true,
		Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, runtime.NumGoroutine())
	hosttest.Eventually(t, "one is quarantined, and the others serve", func() bool {
		n := 0
		for _, q := range states(h) {
			if q != nil {
				n++
			}
		}
		return n == 1
	})

	peers := make(map[string]string) // by name
	for name, way := range ways {
		if name == "no-place" {
			hosttest.Dial(t, h.Addr(name)) // the rate allows one
		}
		c, err := net.Dial("tcp", h.Addr(name))
		if errors.Is(err, syscall.ECONNRESET) {
			// It was refused before it was told that it is connected; its line has its address.
			peers[name] = ""
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(awaittest.Longest))
		peers[name] = c.LocalAddr().String()
		_, _ = c.Write([]byte(way.say)) // which may be closed already
		if name == "killed" {
			hosttest.Hear(t, c, "x")
			if killed, err := h.Kill(context.Background(), conns.Filter{Listener: name}); err != nil || len(killed) != 1 {
				t.Fatalf("%v are killed: %v", killed, err)
			}
		}
		if way.stays {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		for b := make([]byte, 100); ; {
			if _, err := c.Read(b); err != nil {
				break
			}
		}
	}
	ids := make(map[string]float64) // of peers
	for name, way := range ways {
		for _, begin := range way.lines {
			hosttest.Eventually(t, name+": there is "+begin, func() bool {
				for _, l := range log.lines(t, begin) {
					if l["listener"] == name && (l["peer"] == peers[name] || peers[name] == "") {
						peers[name], _ = l["peer"].(string)
						ids[peers[name]], _ = l["connection"].(float64)
						return true
					}
				}
				return false
			})
		}
	}
	about, least := 0, 0
	for _, way := range ways {
		least += len(way.lines)
	}
	for _, l := range log.lines(t, "") {
		_, hasPeer := l["peer"]
		_, hasNumber := l["connection"]
		if !hasPeer && !hasNumber && !strings.Contains(l["msg"].(string), "connection ") && !strings.HasPrefix(l["msg"].(string), "a handler trapped") {
			continue
		}
		about++
		id, _ := l["connection"].(float64)
		peer, _ := l["peer"].(string)
		if id == 0 || peer == "" || l["listener"] == nil || l["tenant"] != "acme" {
			t.Errorf("a line does not say whose it is: %v", l)
		}
		if known := ids[peer]; known != 0 && known != id {
			t.Errorf("%s is %v and %v", peer, known, id)
		}
	}
	if about < least {
		t.Errorf("%d lines are about connections, not %d", about, least)
	}
	for name, peer := range peers {
		want := fmt.Sprintf(`"id":%.0f,"listener":%q,`, ids[peer], name)
		hosttest.Eventually(t, name+" is in the access log", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Contains(string(text), want)
		})
	}
}

// write writes a module.
func write(t *testing.T, code []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, code, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
