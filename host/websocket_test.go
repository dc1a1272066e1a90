package host_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"

	"github.com/coder/websocket"
)

// sockets are listeners over WebSocket, as a browser's pages and other clients see them.
type sockets struct {
	*host.Host
	t    *testing.T
	path string
	ca   *certstest.Authority
}

func serveWebSockets(t *testing.T, toml string) *sockets {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "chat.test", "*.apps.test")
	hello, err := filepath.Abs("../examples/hello/hello.js")
	if err != nil {
		t.Fatal(err)
	}
	toml = strings.NewReplacer("STATE", hosttest.State(), "CERT", cert, "KEY", key, "ECHO", writeModule(t, w.Echo()), "HELLO", hello).Replace(toml)
	path := filepath.Join(dir, "bulkhead.toml")
	s := &sockets{t: t, path: path, ca: ca}
	s.Host = hosttest.ServeConfig(t, s.load(toml), host.Options{}, 1<<20) // others run beside it
	return s
}

func (s *sockets) load(toml string) *config.Config {
	s.t.Helper()
	if err := os.WriteFile(s.path, []byte(toml), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// dial connects by a library to the listener, with a request's headers; name is the server's over
// TLS.
func (s *sockets) dial(listener, name, target string, header http.Header, subprotocols ...string) (*websocket.Conn, *http.Response, error) {
	scheme, config := "ws", (*tls.Config)(nil)
	if name != "" {
		scheme, config = "wss", &tls.Config{RootCAs: s.ca.Pool(), ServerName: name}
	}
	transport := &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Addr(listener))
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return websocket.Dial(s.t.Context(), scheme+"://it.test"+target, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: subprotocols})
}

// mustDial is dial for who is let in.
func (s *sockets) mustDial(listener, name, target string, subprotocols ...string) *websocket.Conn {
	s.t.Helper()
	c, _, err := s.dial(listener, name, target, nil, subprotocols...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func (s *sockets) say(c *websocket.Conn, kind websocket.MessageType, text string) {
	s.t.Helper()
	if err := c.Write(s.t.Context(), kind, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sockets) hear(c *websocket.Conn, kind websocket.MessageType, text string) {
	s.t.Helper()
	got, p, err := c.Read(s.t.Context())
	if err != nil || got != kind || string(p) != text {
		s.t.Fatalf("heard %v %q, %v; want %v %q", got, p, err, kind, text)
	}
}

// ended is how many of the listener's connections have ended so.
func (s *sockets) ended(listener, cause string) int64 {
	s.Refresh(s.t.Context())
	for _, l := range s.Status().Listeners {
		if l.Name == listener {
			return l.Ended[cause]
		}
	}
	return -1
}

const webSockets = `
[host]
state = "STATE"
drain = "100ms"
[tenant.acme]
[[listener]]
name = "echo"
tenant = "acme"
address = "ws://127.0.0.1:0/echo"
plugin = "ECHO"
origins = ["https://app.test"]
subprotocols = ["mqtt"]
linger = "50ms"
proxy_from = ["127.0.0.2"]
[[listener]]
name = "hello"
tenant = "acme"
address = "ws://127.0.0.1:0/"
plugin = "HELLO"
[[listener]]
name = "secure"
tenant = "acme"
address = "wss://127.0.0.1:0/echo"
plugin = "ECHO"
[listener.tls]
cert = "CERT"
key = "KEY"
[[listener.route]]
sni = ["*.apps.test"]
plugin = "HELLO"
`

// A library's client talks to a module and to a script, in the clear and over TLS, by routes, and
// is seen in the status.
func TestWebSocketClients(t *testing.T) {
	t.Parallel()
	s := serveWebSockets(t, webSockets)
	for _, name := range []string{"", "chat.test"} {
		listener := map[string]string{"": "echo", "chat.test": "secure"}[name]
		c := s.mustDial(listener, name, "/echo?x=1")
		s.say(c, websocket.MessageText, "héllo")
		s.hear(c, websocket.MessageText, "héllo")
		s.say(c, websocket.MessageBinary, strings.Repeat("\xff", 4000))
		s.hear(c, websocket.MessageBinary, strings.Repeat("\xff", 4000))
		if err := func() error { // whose pong a reader hears
			ctx := c.CloseRead(t.Context())
			defer func() { <-ctx.Done() }()
			if err := c.Ping(t.Context()); err != nil {
				return err
			}
			return c.Close(websocket.StatusNormalClosure, "bye")
		}(); err != nil {
			t.Errorf("%s: %v", listener, err)
		}
		hosttest.Eventually(t, "it has ended in order", func() bool { return s.ended(listener, "finished") == 1 })
	}
	c := s.mustDial("hello", "", "/")
	s.hear(c, websocket.MessageText, "What is your name?\r\n")
	s.say(c, websocket.MessageText, "Ann\n")
	s.hear(c, websocket.MessageText, "Hello, Ann!\r\n")
	s.say(c, websocket.MessageText, "qu")
	s.say(c, websocket.MessageText, "it\n")
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("then it heard %v", err)
	}
	for _, tenant := range s.Stats().Tenants { // that of request_timeout is over
		if tenant.Timers != 0 {
			t.Errorf("its connections hold %d timers", tenant.Timers)
		}
	}
	routed := s.mustDial("secure", "a.apps.test", "/echo")
	s.hear(routed, websocket.MessageText, "What is your name?\r\n")
	spoken := s.mustDial("echo", "", "/echo", "soap", "mqtt")
	if spoken.Subprotocol() != "mqtt" {
		t.Errorf("the subprotocol is %q", spoken.Subprotocol())
	}
	for _, l := range s.Status().Listeners {
		if want := map[string]string{"echo": "ws://" + s.Addr("echo") + "/echo", "secure": "wss://" + s.Addr("secure") + "/echo"}[l.Name]; want != "" && l.Address != want {
			t.Errorf("the status has %s at %s, not %s", l.Name, l.Address, want)
		}
	}
}

// Who asks for something else is told so, counted and let go.
func TestWebSocketRefusals(t *testing.T) {
	t.Parallel()
	s := serveWebSockets(t, webSockets)
	for _, x := range []struct {
		target, origin string
		status         int
		cause          string
	}{
		{"/other", "", 404, "wrong_path"},
		{"/echo", "https://evil.test", 403, "wrong_origin"},
		{"/echo", "https://app.test", 101, ""},
	} {
		header := http.Header{}
		if x.origin != "" {
			header.Set("Origin", x.origin)
		}
		c, answer, err := s.dial("echo", "", x.target, header)
		if answer == nil || answer.StatusCode != x.status {
			t.Errorf("%s from %q: %v, %v; want %d", x.target, x.origin, answer, err, x.status)
		}
		if err == nil {
			_ = c.CloseNow()
		} else {
			hosttest.Eventually(t, "it is counted", func() bool { return s.ended("echo", x.cause) == 1 })
		}
	}
	link := hosttest.Dial(t, s.Addr("echo"))
	hosttest.Say(t, link, "GET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(link), nil)
	if err != nil || answer.StatusCode != 426 || answer.Header.Get("Upgrade") != "websocket" {
		t.Errorf("a page's link: %v, %v", answer, err)
	}
	_ = link.Close()
	hosttest.Eventually(t, "it is counted", func() bool { return s.ended("echo", "not_websocket") == 1 })

	c := hosttest.Dial(t, s.Addr("echo"))
	hosttest.Say(t, c, upgradeRequest)
	hosttest.Hear(t, c, "HTTP/1.1 101 ")
	if _, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 101 "), c)), nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	// That of the page was, too.
	hosttest.Eventually(t, "its end is abrupt", func() bool { return s.ended("echo", "websocket_cut") == 2 })
}

// The header of a load balancer comes before the request, and before TLS.
func TestWebSocketBehindProxy(t *testing.T) {
	t.Parallel()
	s := serveWebSockets(t, webSockets)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	raw, err := from.Dial("tcp", s.Addr("echo"))
	if err != nil {
		t.Skip("this system has no 127.0.0.2: ", err)
	}
	defer raw.Close()
	hosttest.Say(t, raw, "PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\r\n"+upgradeRequest+"\x81\x82\x00\x00\x00\x00hi")
	r := bufio.NewReader(raw)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != 101 {
		t.Fatal(answer, err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "\x81\x02hi" {
		t.Errorf("the frame that came with the request is answered by %q, %v", got, err)
	}
}

// A reload with other origins keeps the connections; an end that
// the operator wants is told as 1001.
func TestWebSocketReload(t *testing.T) {
	t.Parallel()
	s := serveWebSockets(t, webSockets)
	old := s.mustDial("echo", "", "/echo")
	s.say(old, websocket.MessageText, "before")
	s.hear(old, websocket.MessageText, "before")
	text, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "https://app.test", "https://new.test", 1)
	if err := s.Reload(t.Context(), s.load(changed)); err != nil {
		t.Fatal(err)
	}
	renewed, _, err := s.dial("echo", "", "/echo", http.Header{"Origin": {"https://new.test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer renewed.CloseNow()
	s.say(renewed, websocket.MessageText, "after")
	s.hear(renewed, websocket.MessageText, "after")
	s.say(old, websocket.MessageText, "still")
	s.hear(old, websocket.MessageText, "still")
	if err := s.Reload(t.Context(), s.load(strings.Replace(changed, "subprotocols", "old_for = \"0s\"\nsnapshot = false\nsubprotocols", 1))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*websocket.Conn{old, renewed} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("at the end a client heard %v", err)
		}
	}
}

// upgradeRequest is a request for WebSocket.
const upgradeRequest = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// What is wrong with a file is said with its line.
func TestWebSocketConfigErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plugin := writeModule(t, w.Echo())
	for name, want := range map[string]string{
		"address = \"ws://:7080\"":                                                            `address = "ws://:7080" has no path; write the path that clients ask for behind the port, like "ws://:7080/chat"`,
		"address = \"ws://:7080/a b\"":                                                        "has a path with characters",
		"address = \"ws://:7080/a?b\"":                                                        "has a path with characters",
		"address = \"wss://:7080/a\"":                                                         "is WebSocket over TLS, and the listener has no certificate",
		"address = \"tcp://:7080\"\norigins = [\"*\"]":                                        `origins is for WebSocket, and address is "tcp://:7080"`,
		"address = \"udp://:7080\"\nping = \"30s\"":                                           `ping is for WebSocket, and address is "udp://:7080"`,
		"address = \"ws://:7080/a\"\norigins = [\"a.test\"]":                                  "a.test is no origin",
		"address = \"ws://:7080/a\"\n[listener.tls]\nself_signed = [\"a\"]":                   `[listener.tls] does not go with address "ws://:7080/a"`,
		"address = \"wss://:7080/a\"\n[listener.tls]\nself_signed = [\"a\"]\nstarttls = true": "starttls does not go with address",
		"address = \"wss://:7080/a\"\n[listener.tls]\nself_signed = [\"a\"]\n[[listener.route]]\nsni=[\"a\"]\ntls=false": "the route's TLS does not go with address",
	} {
		path := filepath.Join(dir, "b.toml")
		if err := os.WriteFile(path, fmt.Appendf(nil, "[tenant.acme]\n[[listener]]\nname = \"a\"\ntenant = \"acme\"\nplugin = %q\n%s\n", plugin, name), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "b.toml:") {
			t.Errorf("%s: %v; want: %s", name, err, want)
		}
	}
}
