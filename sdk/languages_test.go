package sdk_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/conns"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
	"bulkhead/internal/playtest"
	"bulkhead/internal/talk"
	"bulkhead/sdk"
)

// language is a guest library that conversations try.
type language struct {
	name    string
	library []sdk.File // a folder called bulkhead
	end     string     // of the names of handlers in testdata
	handler string     // where a project has its handler
	project []sdk.File // what a project has besides
}

var languages = []language{
	{"Rust", sdk.Rust(), ".rs", "src/lib.rs", []sdk.File{{Path: "Cargo.toml", Text: []byte(`[package]
name = "handler"
version = "0.1.0"
edition = "2021"
[lib]
crate-type = ["cdylib"]
[dependencies]
bulkhead = { path = "bulkhead" }
[profile.release]
opt-level = 1
panic = "abort"
strip = "debuginfo"
`)}}},
	{"Go", sdk.Go(), ".go", "handler.go", []sdk.File{
		{Path: "go.mod", Text: []byte("module handler\n\ngo 1.24\n\nrequire bulkhead v0.0.0\n\nreplace bulkhead => ./bulkhead\n")},
		{Path: "bulkhead/go.mod", Text: []byte("module bulkhead\n\ngo 1.24\n")},
	}},
	{"AssemblyScript", sdk.AssemblyScript(), ".ts", "assembly/index.ts", nil},
	{"Zig", sdk.Zig(), ".zig", "handler.zig", nil},
	{"C", nil, ".c", "handler.c", nil}, // whose headers the build brings
	{"C++", nil, ".cc", "handler.cc", nil},
}

// build makes a module of a handler in testdata. Where this machine has no compiler for it, the
// test is skipped; CI installs them.
func (l *language) build(t *testing.T, name string) (plugin string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", name+l.end))
	if err != nil {
		t.Fatal(err)
	}
	files := append([]sdk.File{{Path: l.handler, Text: text}}, l.project...)
	for _, f := range l.library {
		files = append(files, sdk.File{Path: "bulkhead/" + f.Path, Text: f.Text})
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plugin = filepath.Join(dir, "handler.wasm")
	playtest.Build(t, dir, plugin)
	return plugin
}

// Each function of each library, in the same conversations. What the inbox has no room for waits in
// the queue, and comes whole and in order; what the queue has no room for is refused whole.
func TestLibraries(t *testing.T) {
	everything := everythingTalk(t)
	x := func(n int) string { return strings.Repeat("x", n) }
	const refused = "> many 70000\n< QUOTA\n"
	queue := fmt.Appendf(nil, `
== more than an inbox
eol lf
< hello
> many 60000
< %[1]s
> many 60000
< %[1]s
%[3]s> limit 200000
> many 150000
> quit
< %[2]s
<EOF
closed OK
`, x(60000), x(150000), refused)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			plugin := l.build(t, "everything")
			playtest.Plays(t, plugin, "everything.talk", everything)
			queue := queue
			if l.name == "Go" { // whose Write takes a part of what is too long
				queue = bytes.Replace(queue, []byte(refused), nil, 1)
			}
			playtest.Plays(t, plugin, "queue.talk", queue)
			switch l.name {
			case "Rust":
				playRust(t, plugin)
			case "Go":
				playtest.Plays(t, plugin, "go.talk", []byte(goroutines))
			}
			keepsMessages(t, plugin)
		})
	}
}

// everythingTalk are the conversations that all languages have.
func everythingTalk(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/everything.talk")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Scripts have the same conversations, but for one: no callback of theirs names a code.
func TestScripts(t *testing.T) {
	before, rest, found := bytes.Cut(everythingTalk(t), []byte("== an error of a callback is the reason\n"))
	_, after, ok := bytes.Cut(rest, []byte("\n== "))
	if !found || !ok {
		t.Fatal("everything.talk has no such conversation any more")
	}
	text := slices.Concat(before, []byte("== "), after)
	for _, end := range []string{".js", ".lua", ".py"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			playtest.Plays(t, "testdata/everything"+end, "everything.talk", text)
		})
	}
}

// goroutines are conversations with everything.go of what the other libraries do not have. What
// wakes the one that sleeps is a single byte, which is one event however the client's bytes are
// cut.
const goroutines = `
eol lf

== goroutines that are ready go on at the end of an event
< hello
> goroutines 1
< 0
> goroutines 1000
< 499500
> stages 100
< 100
>EOF
< over after 3
<EOF
closed OK

== one that sleeps goes on with the first event after that
< hello
> sleep 500
wait 400ms
> lines
< 2
wait 200ms
> "\n"
< ?
< awake
`

// keepsMessages wants each write to be a message over WebSocket, also where it has to wait for a
// client that does not read, and a datagram over UDP, also where it waits for the connection.
func keepsMessages(t *testing.T, plugin string) {
	t.Helper()
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connect = ["udp://127.0.0.1:*"]
[[listener]]
name = "it"
tenant = "acme"
address = "ws://127.0.0.1:0/it"
plugin = %q
inbox = "4KiB"
send_buffer = "16KiB"
`, hosttest.State(), plugin), host.Options{})
	c := hosttest.DialWebSocket(t, "ws://"+h.Addr("it")+"/it", "")
	const many = 60
	c.Say("limit 300000\n" + strings.Repeat("many 3000\n", many)) // two writes each
	hosttest.Eventually(t, "something waits in its queue", func() bool {
		list, err := h.Connections(t.Context(), conns.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Connections) == 1 && slices.Contains(list.Connections[0].State, "blocked")
	})
	c.Hear("hello\n")
	for range many {
		c.Hear(strings.Repeat("x", 3000))
		c.Hear("\n")
	}
	c.Say("dial udp://" + peer.LocalAddr().String() + "\nup one\nup two\n")
	_ = peer.SetReadDeadline(awaittest.Deadline())
	for _, want := range []string{"one\n", "two\n"} {
		p := make([]byte, 100)
		if n, _, err := peer.ReadFrom(p); err != nil || string(p[:n]) != want {
			t.Errorf("a datagram is %q, %v; want %q", p[:n], err, want)
		}
	}
}

// What of a library needs no connection holds: the handler tries it when it starts.
func TestUnits(t *testing.T) {
	for _, l := range languages {
		if _, err := os.Stat("testdata/units" + l.end); err != nil {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			playtest.Plays(t, l.build(t, "units"), "units.talk", []byte("== units\n< all hold\n<EOF\n"))
		})
	}
}

// csa_configure takes what the fields say, and says of everything else what it has to be.
func TestCConfiguration(t *testing.T) {
	t.Parallel()
	c := languages[slices.IndexFunc(languages, func(l language) bool { return l.name == "C" })]
	plugin := c.build(t, "units")
	playtest.Plays(t, plugin, "config.talk", []byte("config limit = -1\nconfig loud = true\nconfig greeting = \"seven 7\"\n\n== units\n< all hold\n<EOF\n"))
	for config, want := range map[string]string{
		`limit = 11`:            `config: "limit" has to be a whole number from -1 to 10`,
		`limit = 1.5`:           `config: "limit" has to be a whole number from -1 to 10`,
		`loud = 1`:              `config: "loud" has to be true or false`,
		`greeting = "12345678"`: `config: "greeting" has to be a string of at most 7 bytes`,
		`greeting = ["a"]`:      `config: "greeting" has to be a string of at most 7 bytes`,
		`greetin = "a"`:         `config: "greetin" is no key of this handler`,
	} {
		f, err := talk.Parse("config.talk", []byte("config "+config+"\n\n== units\n< all hold\n"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = play.Play(t.Context(), play.Handler{Plugin: plugin, State: hosttest.State(), Engines: hosttest.Engines}, f.Cases[0], play.Variants(1)[0])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
