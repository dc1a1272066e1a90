package examples_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

const quickstart = "quickstart.toml"

// load reads the shipped file, with a state folder that tests share.
func load(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range cfg.Warnings {
		t.Errorf("a newcomer's first file should be without warnings: %v", w)
	}
	cfg.Host.State = hosttest.State()
	return cfg
}

func TestQuickstartChecks(t *testing.T) {
	if err := host.Check(load(t), host.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
}

// The ports are those that the file's own comments and the READMEs name, and
// nobody but this machine can reach them.
func TestQuickstartAddresses(t *testing.T) {
	cfg := load(t)
	for i, want := range []struct{ name, network, addr string }{
		{"echo", "tcp", "127.0.0.1:7001"}, {"chat", "tcp", "127.0.0.1:7002"}, {"chat-ws", "ws", "127.0.0.1:7014"}, {"echo-ws", "ws", "127.0.0.1:7015"}, {"rot13", "tcp", "127.0.0.1:7003"},
		{"hello", "tcp", "127.0.0.1:7007"}, {"hello-lua", "tcp", "127.0.0.1:7008"},
		{"hello-ts", "tcp", "127.0.0.1:7009"},
		{"hello-python", "tcp", "127.0.0.1:7010"}, {"modbus", "tcp", "127.0.0.1:7011"}, {"http", "tcp", "127.0.0.1:7012"}, {"resp", "tcp", "127.0.0.1:7016"}, {"pop3", "tcp", "127.0.0.1:7013"},
		{"smtp", "tcp", "127.0.0.1:7004"}, {"socks5", "tcp", "127.0.0.1:7005"}, {"sni-router", "tcp", "127.0.0.1:7006"},
		{"dns", "udp", "127.0.0.1:7053"}, {"dns-tcp", "tcp", "127.0.0.1:7053"},
	} {
		if i >= len(cfg.Listeners) {
			t.Fatalf("%s is not there", want.name)
		}
		l := &cfg.Listeners[i]
		network, _, _ := strings.Cut(l.Address.String(), "://")
		if l.Name != want.name || network != want.network || l.Address.Host != want.addr {
			t.Errorf("%s listens on %s; want %s on %s://%s", l.Name, l.Address, want.name, want.network, want.addr)
		}
		if addr, err := netip.ParseAddrPort(l.Address.Host); err != nil || !addr.Addr().IsLoopback() {
			t.Errorf("%s can be reached from elsewhere: %s", l.Name, l.Address)
		}
	}
}

// They serve: the conversations that the file's comments promise.
func TestQuickstartServes(t *testing.T) {
	before := runtime.NumGoroutine()
	cfg := load(t)
	for i := range cfg.Listeners {
		cfg.Listeners[i].Address.Host = "127.0.0.1:0" // a daemon may have the others
	}
	h := hosttest.ServeConfig(t, cfg, host.Options{}, before)

	echo := hosttest.Dial(t, h.Addr("echo"))
	hosttest.Say(t, echo, "hello")
	if err := echo.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hosttest.Hear(t, echo, "hello")
	hosttest.HearEnd(t, echo)

	rot13 := hosttest.Dial(t, h.Addr("rot13"))
	hosttest.Say(t, rot13, "Hello\n")
	if err := rot13.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hosttest.Hear(t, rot13, "Uryyb\n")
	hosttest.HearEnd(t, rot13)

	for _, name := range []string{"hello", "hello-lua", "hello-ts", "hello-python"} {
		hello := hosttest.Dial(t, h.Addr(name))
		hosttest.Say(t, hello, "Bob\r\nit works\nquit\n")
		hosttest.Hear(t, hello, "What is your name?\r\nHello, Bob!\r\nBob says it works\r\n")
		hosttest.HearEnd(t, hello)
		hello.Close()
	}

	ann, bob := hosttest.Dial(t, h.Addr("chat")), hosttest.Dial(t, h.Addr("chat"))
	hosttest.Say(t, ann, "ann\n")
	lines := bufio.NewReader(ann)
	hears(t, lines, "you are in lobby")
	hosttest.Say(t, bob, "bob\n")
	hears(t, lines, "bob joined")
	hosttest.Say(t, bob, "hello, ann\n")
	hears(t, lines, "bob: hello, ann")

	const page = "null" // from a file, such as chat/chat.html
	eve := hosttest.DialWebSocket(t, "ws://"+h.Addr("chat-ws")+"/chat", page)
	eve.Hear("* what is your name?\n")
	eve.Say("eve\n")
	eve.Hear("* hello, eve. There is /join ROOM, /who, /quit\n")
	eve.Hear("* you are in lobby, with 0 others\n")
	again := hosttest.DialWebSocket(t, "ws://"+h.Addr("echo-ws")+"/echo", page)
	again.Say("hello")
	again.Hear("hello")

	for _, over := range []struct{ network, name string }{{"udp", "dns"}, {"tcp", "dns-tcp"}} {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, over.network, h.Addr(over.name))
		}}
		if got, err := r.LookupHost(t.Context(), "www.example.test."); err != nil || !slices.Equal(got, []string{"192.0.2.80"}) {
			t.Errorf("%s says %v, %v", over.name, got, err)
		}
	}
}

// The handler that README.md shows is the one that is served.
func TestFirstHandlerOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("hello/hello.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, first, _ := strings.Cut(string(readme), "\n```js\n"); !strings.HasPrefix(first, string(script)+"```\n") {
		t.Errorf("README.md does not begin with\n%s", script)
	}
}

// hears reads lines until one has the text.
func hears(t *testing.T, lines *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(line, text) {
			return
		}
	}
}
