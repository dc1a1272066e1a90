package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"bulkhead/host/admin/guard"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// adminOf is a configuration whose [admin] a test changes.
func adminOf(change func(*config.Admin)) *config.Config {
	c := &config.Config{File: "/etc/a.toml", Admin: config.DefaultAdmin()}
	change(&c.Admin)
	return c
}

// tokenFile writes one with a token, which it gives.
func tokenFile(t *testing.T) (path, text string) {
	t.Helper()
	text, _ = guard.NewToken()
	path = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, text
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// counting is a daemon that counts what it is asked to change.
type counting struct {
	fake
	changes *atomic.Int64
}

func (c counting) Kill(context.Context, KillRequest, string) (Killed, error) {
	c.changes.Add(1)
	return Killed{Closed: 3}, nil
}

// doors opens all three, and gives how each is dialled.
func doors(t *testing.T) (d *Door, changes *atomic.Int64, dial map[string]func() (net.Conn, error), token string, log *awaittest.Text) {
	t.Helper()
	state := t.TempDir()
	d, log = open(t, state)
	changes = new(atomic.Int64)
	d.Serve(counting{changes: changes})
	path, token := tokenFile(t)
	if err := d.Set(adminOf(func(a *config.Admin) {
		a.Address, a.Token, a.View = loopback, path, fmt.Sprint(os.Getegid())
	})); err != nil {
		t.Fatal(err)
	}
	at := d.tcp.at.String()
	return d, changes, map[string]func() (net.Conn, error){
		SocketName: func() (net.Conn, error) { return net.Dial("unix", filepath.Join(state, SocketName)) },
		ViewName:   func() (net.Conn, error) { return net.Dial("unix", filepath.Join(state, ViewName)) },
		at:         func() (net.Conn, error) { return net.Dial("tcp", at) },
	}, token, log
}

// answerTo sends bytes, and gives the status and the body of the answer; 0: there is none.
func answerTo(t *testing.T, dial func() (net.Conn, error), text string) (int, string) {
	t.Helper()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, text) }()
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, ""
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body)
	return got.StatusCode, string(body)
}

// What is hostile is refused at each door, and changes nothing.
func TestHostileRequests(t *testing.T) {
	d, changes, dials, token, log := doors(t)
	at := d.tcp.at.String()
	for via, dial := range dials {
		own := socketHost
		if via == at {
			own = at
		}
		const kill = `{"file":"/etc/a.toml","ids":[1]}`
		request := func(method, path, host, headers, body string) string {
			return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%sContent-Length: %d\r\n\r\n%s", method, path, host, token, headers, len(body), body)
		}
		const typed = "Content-Type: application/json\r\n"
		for _, c := range []struct {
			name, send string
			want       int
		}{
			{"another host", request("POST", "/v1/kill", "evil.example", typed, kill), 421},
			{"another host reads", request("GET", "/v1/status", "evil.example", "", ""), 421},
			{"another port", request("POST", "/v1/kill", "127.0.0.1:1", typed, kill), 421},
			{"another origin", request("POST", "/v1/kill", own, typed+"Origin: http://evil.example\r\n", kill), 403},
			{"another origin reads", request("GET", "/metrics", own, "Origin: null\r\n", ""), 403},
			{"another site", request("POST", "/v1/kill", own, typed+"Sec-Fetch-Site: cross-site\r\n", kill), 403},
			{"to read by a change", request("GET", "/v1/kill", own, "", ""), 404},
			{"PUT", request("PUT", "/v1/kill", own, typed, kill), 405},
			{"another method in a header", request("GET", "/v1/kill", own, "X-HTTP-Method-Override: POST\r\n", ""), 404},
			{"OPTIONS", request("OPTIONS", "/v1/kill", own, "Access-Control-Request-Method: POST\r\n", ""), 405},
			{"a form", request("POST", "/v1/kill", own, "Content-Type: application/x-www-form-urlencoded\r\n", kill), 415},
			{"plain text", request("POST", "/v1/kill", own, "Content-Type: text/plain\r\n", kill), 415},
			{"no type", request("POST", "/v1/kill", own, "", kill), 415},
			{"a path upwards", request("POST", "/v1/x/../kill", own, typed, kill), 400},
			{"a path in disguise", request("POST", "/v1%2fkill", own, typed, kill), 400},
			{"two slashes", request("POST", "//v1/kill", own, typed, kill), 400},
			{"a large header", request("POST", "/v1/kill", own, typed+"X: "+strings.Repeat("x", 1<<16)+"\r\n", kill), 431},
			{"a large body", request("POST", "/v1/kill", own, typed, strings.Repeat(" ", guard.MostBody)+kill), 413},
			{"no HTTP", "hello\r\n\r\n", 400},
		} {
			t.Run(via+"/"+c.name, func(t *testing.T) {
				got, body := answerTo(t, dial, c.send)
				switch {
				case via == ViewName && got == 401: // it takes no token
				case got != c.want:
					t.Errorf("the answer is %d %s, want %d", got, body, c.want)
				}
				if strings.Contains(body, token) {
					t.Error("the answer has the token in it")
				}
			})
		}
		for _, c := range []struct {
			name, auth string
			want       map[string]int
		}{
			{"without the token", "", map[string]int{SocketName: 200, ViewName: 403, at: 401}},
			{"with another token", "Authorization: Bearer " + strings.Repeat("0", 64) + "\r\n", map[string]int{SocketName: 200, ViewName: 401, at: 401}},
			{"with the token", "Authorization: Bearer " + token + "\r\n", map[string]int{SocketName: 200, ViewName: 401, at: 200}},
		} {
			t.Run(via+"/"+c.name, func(t *testing.T) {
				before := changes.Load()
				got, body := answerTo(t, dial, fmt.Sprintf("POST /v1/kill HTTP/1.1\r\nHost: %s\r\n%s%sContent-Length: %d\r\n\r\n%s", own, c.auth, typed, len(kill), kill))
				if got != c.want[via] {
					t.Errorf("a change is answered by %d %s, want %d", got, body, c.want[via])
				}
				if did := changes.Load() - before; (did == 1) != (got == 200) || did > 1 {
					t.Errorf("%d changes were made", did)
				}
			})
		}
		if got, body := answerTo(t, dial, fmt.Sprintf("GET /v1/status HTTP/1.1\r\nHost: %s\r\n\r\n", own)); got != 200 {
			t.Errorf("%s: reading is answered by %d %s", via, got, body)
		}
		if got, body := answerTo(t, dial, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", own)); got != 200 || !strings.HasPrefix(body, "<!doctype html>") {
			t.Errorf("%s: the page is %d %.40s", via, got, body)
		}
		for auth, want := range map[string]map[string]int{
			"": {SocketName: 200, ViewName: 200, at: 401}, "Authorization: Bearer " + token + "\r\n": {SocketName: 200, ViewName: 401, at: 200},
		} {
			if got, body := answerTo(t, dial, fmt.Sprintf("GET /v1/events HTTP/1.1\r\nHost: %s\r\n%s\r\n", own, auth)); got != want[via] {
				t.Errorf("%s: the page's events are answered by %d %s, want %d", via, got, body, want[via])
			}
		}
	}
	if n := changes.Load(); n != 4 {
		t.Errorf("%d changes were made, want those that may be", n)
	}
	if strings.Contains(log.String(), token) {
		t.Error("the log has the token in it")
	}
	if said := log.String(); strings.Count(said, "closed=3") != 4 || !strings.Contains(said, "what=kill") || !strings.Contains(said, "token=true") || !strings.Contains(said, "via="+at) || !strings.Contains(said, "reason=origin") {
		t.Errorf("the log says %s", said)
	}
}

// Who takes all the places at one door, and does not finish a request, holds up no other door.
func TestSlowCallers(t *testing.T) {
	d, _, dials, _, _ := doors(t)
	at := d.tcp.at.String()
	for range mostCallers + 4 {
		c, err := dials[at]()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /"); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{SocketName, ViewName} {
		if got, body := answerTo(t, dials[other], "GET /v1/status HTTP/1.1\r\nHost: bulkhead\r\n\r\n"); got != 200 {
			t.Errorf("%s answers %d %s", other, got, body)
		}
	}
	for via, e := range map[string]*entrance{SocketName: d.own, ViewName: d.view, at: d.tcp} {
		if e.server.ReadTimeout <= 0 || e.server.ReadHeaderTimeout <= 0 || e.server.WriteTimeout <= 0 {
			t.Errorf("%s waits for ever", via)
		}
	}
}

// Doors come, move and go with the configuration; what is wrong with it changes nothing.
func TestSet(t *testing.T) {
	state := t.TempDir()
	d, _ := open(t, state)
	d.Serve(fake{})
	status := func(at, token string) int {
		auth := ""
		if token != "" {
			auth = "Authorization: Bearer " + token + "\r\n"
		}
		got, _ := answerTo(t, func() (net.Conn, error) { return net.Dial("tcp", at) }, fmt.Sprintf("GET /v1/status HTTP/1.1\r\nHost: %s\r\n%s\r\n", at, auth))
		return got
	}
	gone := func(at string) {
		t.Helper()
		if c, err := net.Dial("tcp", at); err == nil {
			c.Close()
			t.Errorf("%s is open yet", at)
		}
	}
	path, token := tokenFile(t)
	on := adminOf(func(a *config.Admin) { a.Address, a.Token = loopback, path })
	if err := errors.Join(d.Prepare(on), d.Set(on)); err != nil {
		t.Fatal(err)
	}
	first := d.tcp.at.String()
	if got := status(first, token); got != 200 {
		t.Errorf("the answer is %d", got)
	}

	// The same address stays open, with the token that the file has then.
	if err := os.WriteFile(path, []byte(strings.Repeat("b", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := status(first, token); got != 200 {
		t.Errorf("before it is read again the answer is %d", got)
	}
	if err := errors.Join(d.Prepare(on), d.Set(on)); err != nil {
		t.Fatal(err)
	}
	if now := d.tcp.at.String(); now != first || status(first, token) != 401 || status(first, strings.Repeat("b", 40)) != 200 {
		t.Errorf("the token before: %d; the one now: %d; at %s, which was %s", status(first, token), status(first, strings.Repeat("b", 40)), now, first)
	}

	// What cannot be had is blamed on its key, and what there is stays.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		change func(*config.Admin)
		want   string
	}{
		"address": {func(a *config.Admin) { a.Address = taken.Addr().(*net.TCPAddr).AddrPort() }, "[admin] address: listen tcp"},
		"token":   {func(a *config.Admin) { a.Token = path + "s" }, "[admin] token: "},
		"folder":  {func(a *config.Admin) { a.Token = filepath.Dir(path) }, "is no file"},
		"group":   {func(a *config.Admin) { a.View = "no-such-group-here" }, `[admin] view: the owner's group "no-such-group-here"`},
	} {
		var all config.Errors
		err := d.Prepare(adminOf(c.change))
		if !errors.As(err, &all) || len(all) != 1 || all[0].File != "/etc/a.toml" || all[0].Line != 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s", name, err, c.want)
		}
		if got := status(first, ""); got != 200 {
			t.Errorf("after a wrong %s the answer is %d", name, got)
		}
	}

	// What was prepared in vain is given back.
	other := adminOf(func(a *config.Admin) { a.Address = netip.MustParseAddrPort("[::ffff:127.0.0.1]:0") })
	if err := d.Prepare(other); err != nil {
		t.Fatal(err)
	}
	vain := d.ready.Addr().String()
	d.Discard()
	gone(vain)

	// Another address: the one before is closed. Then without one, and a view in its place.
	if err := errors.Join(d.Prepare(other), d.Set(other)); err != nil {
		t.Fatal(err)
	}
	gone(first)
	second := d.tcp.at.String()
	if got := status(second, ""); got != 200 {
		t.Errorf("the other address answers %d", got)
	}
	view := filepath.Join(state, ViewName)
	with := adminOf(func(a *config.Admin) { a.View = fmt.Sprint(os.Getegid()) })
	for range 2 { // the second changes nothing
		if err := errors.Join(d.Prepare(with), d.Set(with)); err != nil {
			t.Fatal(err)
		}
		gone(second)
		if info, err := os.Lstat(view); err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("the view's socket is %v, %v", info, err)
		}
		if got, body := answerTo(t, func() (net.Conn, error) { return net.Dial("unix", view) }, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"); got != 200 {
			t.Errorf("the view answers %d %s", got, body)
		}
	}
	// Whoever may use this one alone reads through it, as the page does, and changes nothing.
	reader := NewClient(state, "one")
	reader.connect = func(ctx context.Context, path string) (net.Conn, error) {
		if path == socketPath(state) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", unix.EACCES)}
		}
		return dialSocket(ctx, path)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://bulkhead/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := reader.Transport().RoundTrip(r)
		if err == nil {
			answer.Body.Close()
		}
		switch {
		case method == http.MethodGet && (err != nil || answer.StatusCode != http.StatusOK):
			t.Errorf("a reader reads %v, %v", answer, err)
		case method == http.MethodPost && !errors.Is(err, fs.ErrPermission):
			t.Errorf("a reader that changes something gets %v, %v", answer, err)
		}
	}
	without := adminOf(func(*config.Admin) {})
	if err := errors.Join(d.Prepare(without), d.Set(without)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(view); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the view's socket is there yet: %v", err)
	}
	if err := d.Set(with); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := os.Lstat(view); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the view's socket is there yet: %v", err)
	}
	if err := d.Set(with); err != nil || d.view != nil {
		t.Errorf("a closed door is opened: %v", err)
	}
}

// The group of the view passes through the state folder, and can do nothing else there. A folder
// that is another group's is not taken from it.
func TestTheGroupPasses(t *testing.T) {
	state := t.TempDir()
	for _, c := range []struct {
		mode, want fs.FileMode
		group      int // besides its own
		wrong      bool
	}{
		{0o700, 0o710, 0, false}, {0o710, 0o710, 0, false}, {0o755, 0o755, 0, false}, {0o711, 0o711, 1, false}, {0o750, 0o750, 1, true}, {0o740, 0o750, 0, false},
	} {
		if err := os.Chmod(state, c.mode); err != nil {
			t.Fatal(err)
		}
		err := letReach(state, os.Getegid()+c.group)
		info, _ := os.Stat(state)
		if (err != nil) != c.wrong || info.Mode().Perm() != c.want {
			t.Errorf("%04o becomes %04o, %v; want %04o", c.mode, info.Mode().Perm(), err, c.want)
		}
		if c.wrong && !strings.Contains(err.Error(), "say chgrp") {
			t.Error(err)
		}
	}
}

// A flood of requests that are refused is a line a second.
func TestRefusalsAreFew(t *testing.T) {
	state := t.TempDir()
	d, log := open(t, state)
	for range 50 {
		if got, _ := answerTo(t, func() (net.Conn, error) { return net.Dial("unix", socketPath(state)) }, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"); got != 421 {
			t.Fatalf("the answer is %d", got)
		}
	}
	d.refused.mu.Lock()
	untold := d.refused.byReason["host"].untold
	d.refused.mu.Unlock()
	if all := d.Refused(); all["host"] != 50 || all["token"] != 0 || len(all) != len(guard.Reasons()) {
		t.Errorf("the counts are %v", all)
	}
	said := int64(strings.Count(log.String(), "a request to the daemon is refused"))
	if said < 1 || untold == 0 && !strings.Contains(log.String(), "lines_left_out") {
		t.Errorf("%d lines, %d untold:\n%s", said, untold, log)
	}
}
