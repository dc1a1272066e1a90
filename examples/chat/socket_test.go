package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// both runs a test for the handler in Go and for the one in JavaScript: whoever talks to them sees
// no difference.
func both(t *testing.T, test func(t *testing.T, plugin string)) {
	for _, plugin := range []string{"chat.wasm", "chat.js"} {
		t.Run(plugin, func(t *testing.T) { test(t, plugin) })
	}
}

// toml serves one of them as quickstart.toml does.
func toml(t *testing.T, plugin string) string {
	t.Helper()
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
[host]
state = %q
[tenant.hobby]
bandwidth = "100GiB/s"
[[listener]]
name = "chat"
tenant = "hobby"
address = "tcp://127.0.0.1:0"
plugin = %q
instance = "listener"
inbox = "16KiB"
`, hosttest.State(), plugin)
}

func serve(t *testing.T, plugin string) *host.Host {
	t.Helper()
	return hosttest.Serve(t, toml(t, plugin), host.Options{})
}

// client is somebody with a terminal.
type client struct {
	*net.TCPConn
	t    *testing.T
	from *bufio.Reader
}

// connect is asked for a name.
func connect(t *testing.T, h *host.Host) *client {
	t.Helper()
	conn := hosttest.Dial(t, h.Addr("chat"))
	c := &client{conn, t, bufio.NewReader(conn)}
	c.hears("* what is your name?")
	return c
}

// enter comes in as name, into a lobby with so many others.
func enter(t *testing.T, h *host.Host, name string, others int) *client {
	t.Helper()
	c := connect(t, h)
	c.says(name)
	c.entered(name, others)
	return c
}

func (c *client) entered(name string, others int) {
	c.t.Helper()
	c.hears("* hello, " + name + ". There is /join ROOM, /who, /quit")
	noun := "others"
	if others == 1 {
		noun = "other"
	}
	c.hears(fmt.Sprintf("* you are in lobby, with %d %s", others, noun))
}

func (c *client) says(line string) {
	c.t.Helper()
	hosttest.Say(c.t, c, line+"\n")
}

// hears wants the next line to be just this.
func (c *client) hears(want string) {
	c.t.Helper()
	if got := c.line(); got != want {
		c.t.Fatalf("heard %q, want %q", got, want)
	}
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.from.ReadString('\n')
	if err != nil {
		c.t.Fatalf("heard %q, %v", s, err)
	}
	return s[:len(s)-1]
}

func (c *client) hearsEnd() {
	c.t.Helper()
	hosttest.HearEnd(c.t, c.from)
}

// reset breaks off, as a machine that is switched off and on again.
func (c *client) reset() {
	_ = c.SetLinger(0)
	c.Close()
}

// What one says the others hear, and it does not.
func TestTalk(t *testing.T) { both(t, testTalk) }

func testTalk(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	bob := enter(t, h, "bob", 1)
	ann.hears("* bob joined")
	eve := enter(t, h, "eve", 2)
	ann.hears("* eve joined")
	bob.hears("* eve joined")
	for i := range 20 {
		bob.says(fmt.Sprint("hello ", i, "\r"))
		ann.hears(fmt.Sprint("bob: hello ", i))
		eve.hears(fmt.Sprint("bob: hello ", i))
	}
	bob.says("/who")
	bob.hears("* in lobby: ann, bob, eve") // and nothing of its own before it

	// A line in pieces is a line, and several in one piece are several.
	hosttest.Say(t, ann, "on")
	eve.says("meanwhile")
	ann.hears("eve: meanwhile")
	bob.hears("eve: meanwhile")
	hosttest.Say(t, ann, "e\n\ntwo\nthree\n")
	for _, line := range []string{"ann: one", "ann: two", "ann: three"} {
		bob.hears(line)
		eve.hears(line)
	}
}

func TestRooms(t *testing.T) { both(t, testRooms) }

func testRooms(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	bob := enter(t, h, "bob", 1)
	ann.hears("* bob joined")
	bob.says("/join attic")
	bob.hears("* you are in attic, with 0 others")
	ann.hears("* bob went to attic")
	eve := enter(t, h, "eve", 1)
	ann.hears("* eve joined")
	eve.says("/join attic")
	eve.hears("* you are in attic, with 1 other")
	ann.hears("* eve went to attic")
	bob.hears("* eve joined")
	bob.says("psst")
	eve.hears("bob: psst")
	ann.says("anybody?")
	ann.says("/who")
	ann.hears("* in lobby: ann")
	bob.says("/who")
	bob.hears("* in attic: bob, eve")
	ann.says("/dance")
	ann.hears("* there is no /dance; there is /join ROOM, /who, /quit")
	eve.says("/join lobby")
	eve.hears("* you are in lobby, with 1 other")
	bob.hears("* eve went to lobby")
	ann.hears("* eve joined")
}

func TestLeaving(t *testing.T) { both(t, testLeaving) }

func testLeaving(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	for name, leave := range map[string]func(c *client){
		"quits": func(c *client) {
			c.says("/quit")
			c.hears("* good-bye")
			c.hearsEnd()
			c.Close()
		},
		"finishes": func(c *client) {
			_ = c.CloseWrite()
			c.hearsEnd()
		},
		"hangs-up":  func(c *client) { c.Close() },
		"breaks":    func(c *client) { c.reset() },
		"mid-line":  func(c *client) { hosttest.Say(t, c, "half a li"); c.reset() },
		"unanswerd": func(c *client) { c.says(strings.Repeat("/who\n", 200)); c.reset() },
	} {
		bob := enter(t, h, name, 1)
		ann.hears("* " + name + " joined")
		leave(bob)
		ann.hears("* " + name + " left")
	}
	ann.says("/who")
	ann.hears("* in lobby: ann")
	hosttest.Eventually(t, "only ann is connected", func() bool { return h.Stats().Connections == 1 })
	if n := h.Stats().Tenants[0].Counts["chat_members"]; n != 1 {
		t.Errorf("the metric says %d members", n)
	}
}

// Who leaves before it has a name was never there.
func TestLeavingWithoutAName(t *testing.T) { both(t, testLeavingWithoutAName) }

func testLeavingWithoutAName(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	connect(t, h).reset()
	c := connect(t, h)
	_ = c.CloseWrite()
	c.hearsEnd()
	hosttest.Eventually(t, "both are gone", func() bool { return h.Stats().Connections == 1 })
	ann.says("/who")
	ann.hears("* in lobby: ann")
}

func TestNames(t *testing.T) { both(t, testNames) }

func testNames(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	c := connect(t, h)
	c.says("ANN")
	c.hears("* ANN is taken; what else may we call you?")
	c.says("two words")
	c.hears("* a name is 1 to 20 letters, digits, - and _; what is yours?")
	c.says("bob")
	c.entered("bob", 1)
	ann.hears("* bob joined")

	// A name is free when its member is gone, however that was.
	ann.reset()
	c.hears("* ann left")
	enter(t, h, "ann", 1)
	c.hears("* ann joined")
}

// A long line is refused, whatever pieces it comes in, and the next is heard.
func TestLongLines(t *testing.T) { both(t, testLongLines) }

func testLongLines(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	bob := enter(t, h, "bob", 1)
	ann.hears("* bob joined")
	const refused = "* that line is longer than 512 bytes, so nobody has seen it; please make it shorter"
	for _, n := range []int{513, 600, 5000, 300_000} {
		for _, piece := range []int{n, 700, 50_000} {
			for rest := strings.Repeat("x", n); rest != ""; {
				part := rest[:min(piece, len(rest))]
				rest = rest[len(part):]
				hosttest.Say(t, bob, part)
			}
			bob.says("")
			bob.says("in sync")
			bob.hears(refused)
			ann.hears("bob: in sync")
		}
	}
	longest := strings.Repeat("y", 512)
	bob.says(longest)
	ann.hears("bob: " + longest)
}

// What one types cannot play with the others' terminals.
func TestControlCharacters(t *testing.T) { both(t, testControlCharacters) }

func testControlCharacters(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	bob := enter(t, h, "bob", 1)
	ann.hears("* bob joined")
	bob.says("\x1b[2Jgone?\a \xff\xfe")
	ann.hears("bob: [2Jgone? ??")
}

// A client that does not read is dropped. The others go on and miss nothing.
func TestTooSlow(t *testing.T) { both(t, testTooSlow) }

func testTooSlow(t *testing.T, plugin string) {
	h := serve(t, plugin)
	ann := enter(t, h, "ann", 0)
	bob := enter(t, h, "bob", 1)
	ann.hears("* bob joined")
	eve := enter(t, h, "eve", 2)
	_ = eve.SetReadBuffer(64 << 10)
	ann.hears("* eve joined")
	bob.hears("* eve joined")

	// The kernel takes some megabytes for eve before the host has to.
	const most, batch = 64 << 20, 8
	text := strings.Repeat("n", 500)
	said, dropped := 0, false
	for !dropped {
		if said > most {
			t.Fatalf("%d bytes were said, and eve is still there", said)
		}
		hosttest.Say(t, ann, strings.Repeat(text+"\n", batch))
		for heard := 0; heard < batch; {
			switch line := bob.line(); line {
			case "ann: " + text:
				heard++
			case "* eve was too slow, and is gone":
				dropped = true
			default:
				t.Fatalf("bob heard %q", line)
			}
		}
		said += batch * len(text)
	}
	ann.hears("* eve was too slow, and is gone")
	ann.says("/who")
	ann.hears("* in lobby: ann, bob")
	// It finds out when it reads what the kernel still has for it.
	_, _ = io.Copy(io.Discard, eve.from)
	bob.says("still here")
	ann.hears("bob: still here")
	if n := h.Stats().Tenants[0].Counts["chat_dropped"]; n != 1 {
		t.Errorf("the metric says that %d were dropped", n)
	}
	hosttest.Eventually(t, "eve is gone", func() bool { return h.Stats().Connections == 2 })
}

// Many come, talk and go at once; then nobody is left.
func TestCrowd(t *testing.T) { both(t, testCrowd) }

func testCrowd(t *testing.T, plugin string) {
	h := serve(t, plugin)
	const n = 50
	all := make([]*client, n)
	for i := range all {
		all[i] = enter(t, h, fmt.Sprint("member", i), i)
		for _, other := range all[:i] {
			other.hears(fmt.Sprint("* member", i, " joined"))
		}
	}
	all[0].says("everybody?")
	for _, c := range all[1:] {
		c.hears("member0: everybody?")
	}
	for i, c := range all {
		if i%2 == 0 {
			c.reset()
		} else {
			c.Close()
		}
	}
	hosttest.Eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
	last := enter(t, h, "last", 0)
	last.says("/who")
	last.hears("* in lobby: last")
}

// When the host drains, everyone is told and all is over without waiting for
// the deadline.
func TestTheServerStops(t *testing.T) { both(t, testTheServerStops) }

func testTheServerStops(t *testing.T, plugin string) {
	cfg, err := config.Load(hosttest.WriteConfig(t, strings.Replace(toml(t, plugin), "[host]", "[host]\ndrain = \"1h\"", 1)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	ann := enter(t, h, "ann", 0)
	unnamed := connect(t, h)
	stop()
	ann.hears("* the server stops; good-bye")
	ann.hearsEnd()
	unnamed.hears("* the server stops; good-bye")
	unnamed.hearsEnd()
	ann.Close()
	unnamed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
