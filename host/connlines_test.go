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
	// By name and peer: the system may use a port again for a connection to another listener.
	ids := make(map[[2]string]float64)
	for name, way := range ways {
		for _, begin := range way.lines {
			hosttest.Eventually(t, name+": there is "+begin, func() bool {
				for _, l := range log.lines(t, begin) {
					if l["listener"] == name && (l["peer"] == peers[name] || peers[name] == "") {
						peers[name], _ = l["peer"].(string)
						ids[[2]string{name, peers[name]}], _ = l["connection"].(float64)
						return true
					}
				}
				return false
			})
		}
	}
	least := 0
	for _, way := range ways {
		least += len(way.lines)
	}
	about := checkLines(t, &log)
	for _, l := range about {
		id, _ := l["connection"].(float64)
		peer, _ := l["peer"].(string)
		listener, _ := l["listener"].(string)
		if known := ids[[2]string{listener, peer}]; known != 0 && known != id {
			t.Errorf("%s is %v and %v", peer, known, id)
		}
	}
	if len(about) < least {
		t.Errorf("%d lines are about connections, not %d", len(about), least)
	}
	for name, peer := range peers {
		want := fmt.Sprintf(`"id":%.0f,"listener":%q,`, ids[[2]string{name, peer}], name)
		hosttest.Eventually(t, name+" is in the access log", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Contains(string(text), want)
		})
	}
}

// checkLines wants each line about a connection to have its number, its other end, its listener and
// its tenant, acme. It returns them. A client has no address over a Unix socket, which a listener
// has whose name begins so.
func checkLines(t *testing.T, log *jsonLog) (about []map[string]any) {
	t.Helper()
	for _, l := range log.lines(t, "") {
		_, hasPeer := l["peer"]
		_, hasNumber := l["connection"]
		if !hasPeer && !hasNumber && !strings.Contains(l["msg"].(string), "connection ") && !strings.HasPrefix(l["msg"].(string), "a handler trapped") {
			continue
		}
		about = append(about, l)
		id, _ := l["connection"].(float64)
		peer, _ := l["peer"].(string)
		listener, _ := l["listener"].(string)
		if id == 0 || peer == "" && !strings.HasPrefix(listener, "unix") || listener == "" || l["tenant"] != "acme" {
			t.Errorf("a line does not say whose it is: %v", l)
		}
	}
	return about
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

// So it is over UDP, over Unix sockets, and of connections that handlers dial, each of which has a
// number of its own.
func TestEveryLineSaysItsConnectionWhateverItsSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "lines") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "access.log")
	accessLog := access.New(nil)
	defer accessLog.Close()
	if err := accessLog.Set(path, 1); err != nil {
		t.Fatal(err)
	}
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			c.Close() // which ends what was dialled
		}
	}()
	dials := func(to string) string {
		m, f := w.Handler([2]string{"connect", "ii:i"})
		m.Data(0, "tcp://"+to)
		m.Func("csa_data", "ii:i", "", w.I32Const(0), w.I32Const(int32(len("tcp://"+to))), w.Call(f[0]), w.Drop, w.LocalGet(1))
		return writeModule(t, m)
	}
	spinner, _ := w.Handler()
	spinner.Func("csa_data", "ii:i", "", w.Forever(), w.I32Const(0))
	ways := map[string]struct {
		network, plugin, more string
		line, peer            string // peer "": the client's own address, which none has over unix
	}{
		"udp-trap":      {"udp", writeModule(t, trapsAtData()), "", "a handler trapped", ""},
		"udp-trap-loop": {"udp", writeModule(t, trapsAtData()), `instance = "loop"`, "a handler trapped", ""},
		"udp-stop":      {"udp", writeModule(t, spinner), `event_timeout = "10ms"`, "a handler was stopped", ""},
		"udp-say":       {"udp", write(t, echoing()), `idle_timeout = "10ms"`, "handler says", ""},
		"udp-idle":      {"udp", writeModule(t, w.Echo()), `idle_timeout = "10ms"`, "connection closed", ""},
		"unix-trap":     {"unix", writeModule(t, trapsAtData()), "", "a handler trapped", ""},
		"unix-stop":     {"unix", writeModule(t, spinner), `event_timeout = "10ms"`, "a handler was stopped", ""},
		"unix-say":      {"unix", write(t, echoing()), "", "handler says", ""},
		"unix-idle":     {"unix", writeModule(t, w.Echo()), `idle_timeout = "10ms"`, "connection closed", ""},
		"dialled":       {"tcp", dials(up.Addr().String()), `idle_timeout = "1h"`, "upstream closed", up.Addr().String()},
	}
	text := fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\nlog_lines = 1000\nconnect = [%q]\n", hosttest.State(), up.Addr())
	for name, way := range ways {
		address := way.network + "://127.0.0.1:0"
		if way.network == "unix" {
			address = "unix://" + filepath.Join(dir, name)
		}
		text += strings.Replace(listenerOf(name, way.plugin, way.more), "tcp://127.0.0.1:0", address, 1)
	}
	var log jsonLog
	h := hosttest.Serve(t, text, host.Options{Access: accessLog, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	clients := make(map[string]net.Conn)
	for name, way := range ways {
		c, err := net.Dial(way.network, h.Addr(name))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[name] = c
		if _, err := c.Write([]byte("x")); err != nil && name != "unix-idle" { // which may be over
			t.Fatal(err)
		}
		if way.network == "udp" {
			way.peer = c.LocalAddr().String()
			ways[name] = way
		}
	}
	ids := make(map[float64]string)
	for name, way := range ways {
		var id float64
		hosttest.Eventually(t, name+": there is "+way.line, func() bool {
			for _, l := range log.lines(t, way.line) {
				peer, _ := l["peer"].(string)
				if l["listener"] == name && peer == way.peer && l["tenant"] == "acme" {
					id, _ = l["connection"].(float64)
					return true
				}
			}
			return false
		})
		if other := ids[id]; id == 0 || other != "" {
			t.Errorf("%s has the number %v, as has %q", name, id, other)
		}
		ids[id] = name
		want := fmt.Sprintf(`"id":%.0f,"listener":%q,`, id, name)
		if way.network != "udp" {
			clients[name].Close()
		}
		if name == "dialled" {
			// It stands in the line of the connection for which it was dialled.
			want = way.peer
		}
		hosttest.Eventually(t, name+" is in the access log", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Contains(string(text), want)
		})
	}
	checkLines(t, &log)
}
