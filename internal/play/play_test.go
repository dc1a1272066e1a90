package play

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/talk"
)

// few are the ways that differ most, for tests of other things than ways.
var few = Variants(1)[:2]

// reports plays all conversations of a text in the variants.
func reports(t *testing.T, h Handler, text string, variants ...Variant) (all []*Report) {
	t.Helper()
	f, err := talk.Parse("t.talk", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	h.State, h.Engines = hosttest.State(), hosttest.Engines
	for _, c := range f.Cases {
		for _, v := range variants {
			if !v.Suits(h, c) {
				continue
			}
			r, err := Play(context.Background(), h, c, v)
			if err != nil {
				t.Fatalf("%s, %s: %v", c.Name, v.Name, err)
			}
			all = append(all, r)
		}
	}
	return all
}

// wellPlayed wants all conversations to go as written.
func wellPlayed(t *testing.T, h Handler, text string, variants ...Variant) {
	t.Helper()
	for _, r := range reports(t, h, text, variants...) {
		if f := r.Failure; f != nil {
			t.Errorf("%s, %s: t.talk:%d: %s\nwant %q\ngot  %q\n%s", r.Case.Name, r.Variant.Name, f.Line, f.What, f.Want, f.Got, strings.Join(r.Log, "\n"))
		}
	}
}

// script writes a handler in JavaScript.
func script(t *testing.T, text string) Handler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.js")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Handler{Plugin: path, Engines: hosttest.Engines}
}

func TestEcho(t *testing.T) {
	wellPlayed(t, Handler{Plugin: "../../examples/echo/echo.wasm"}, `
== says it again
> hello
< hello
> x 00 01 02
< x 00 ?? 02
>EOF
<EOF
closed OK

== two do not mix
> one
b> two
< one
b< two
b>EOF
b<EOF
`, Variants(1)...)
}

const hello = `
== greets, learns a name
< What is your name?
> Ada
< Hello, Ada!
> hi
< ~ (?P<who>\w+) says hi
> x
< ${who} says x
> quit
<EOF
closed OK

== two clients do not mix
< What is your name?
b< What is your name?
> Ada
b> Bob
< Hello, Ada!
b< Hello, Bob!
b>RST
b closed RESET
fuel < 5M

== pipelined, and the peer ends first
> Ada
> hi
>EOF
< What is your name?
< Hello, Ada!
< Ada says hi
<EOF
`

func TestHello(t *testing.T) {
	for _, plugin := range []string{"hello.js", "hello.lua"} {
		t.Run(plugin, func(t *testing.T) {
			wellPlayed(t, Handler{Plugin: "../../examples/hello/" + plugin}, hello, few...)
		})
	}
}

func TestTimersConfigLogCount(t *testing.T) {
	wellPlayed(t, script(t, `
export default {
  open(c) { c.timer(1, 10000) },
  timer(c) { c.send("tick\r\n"); count("ticks"); c.timer(1, 10000) },
  line(c, text) {
    if (text === "boom") throw new TypeError("no such thing");
    log("said " + text); c.send(config.greeting + " " + text + "\r\n");
  },
};`), `
-- config.toml --
greeting = "hi"
== waits
> me
< hi me
wait 30s
< tick
< tick
< tick
count ticks 3
log said me
== overrides
config greeting = "ho"
> me
< ho me
> boom
log TypeError: no such thing
<EOF
closed INVALID
`, few...)
}

// splicer relays what comes behind the first line, which says whom to dial.
const dialler = `
export default {
  async line(c, text) {
    c.pause();
    try {
      const up = await dial(text, {
        line(u, answer) { c.send("it says " + answer + "\r\n") },
        closed(u, why) { c.send("it left: " + why + "\r\n"); c.close() },
      });
      up.send("hello from " + c.peer.split(":")[0] + " to " + "db" + "\r\n");
    } catch (e) { c.send("no: " + e.message + "\r\n") }
    c.resume();
  },
};`

func TestDial(t *testing.T) {
	wellPlayed(t, script(t, dialler), `
== answers
> tcp://db:5432
dial tcp://db:5432 as db
db< hello from 192.0.2.1 to db
db> ready
< it says ready
db>EOF
< it left: OK
<EOF

== over TLS
> tls://db:5432
dial tls://db:5432 as db
db< ~ hello from .*
db> ready
< it says ready

== refused
> tcp://db:5432
dial tcp://db:5432 refused
< ~ no: .*REFUSED.*
> tcp://db:5433
dial tcp://db:5433 denied
< ~ no: .*DENIED.*
`, few...)
}

func TestSecured(t *testing.T) {
	wellPlayed(t, script(t, `
export default {
  line(c, text) { if (text === "STARTTLS") { c.send("go on\r\n"); c.secure("server") } else c.send(text + "\r\n") },
  secured(c, result) { log("secured " + result); count("secured") },
};`), `
== both sides
> a
< a
> STARTTLS
< go on
secured
> b
< b
log secured OK
>EOF
<EOF

== the client does not trust it
> STARTTLS
< go on
secured TLS
count secured 1
`, few...)
}

// What goes wrong is found at its line, and said.
func TestFailures(t *testing.T) {
	echo := Handler{Plugin: "../../examples/echo/echo.wasm"}
	for _, c := range []struct {
		handler Handler
		text    string
		line    int
		want    string
	}{
		{echo, "== a\n> hello\n< Hello\n", 3, "the client has got something else"},
		{echo, "== a\n> hello\n< hello\n< more\n", 4, "the client has not got all of it, and the handler waits for more"},
		{echo, "== a\n> hello\n< hel\n", 3, "the client has got something else"},
		{echo, "== a\n> hello\n", 2, "the conversation is over, and the client has got more"},
		{echo, "== a\n> hello\n<EOF\n", 3, "the client has got more before the end"},
		{echo, "== a\n<EOF\n", 2, "the connection of the client goes on"},
		{echo, "== a\nb>EOF\nb<RST\n", 3, "the connection of b has ended in order, it was not reset"},
		{echo, "== a\n>EOF\n<EOF\n> x\n", 4, "the client sends, and its connection is over"},
		{echo, "== a\n>EOF\nclosed RESET\n", 3, "the connection of the client has ended with OK, not with RESET"},
		{echo, "== a\nlog hello\n", 2, `no line of the log has "hello"`},
		{echo, "== a\ncount x 1\n", 2, "the handler has counted x 0 times, not 1"},
		{echo, "== a\n> x\n< x\nfuel < 2\n", 4, "the handler has used "},
		{echo, "== a\nsecured\n", 2, "the handshake of the client has failed: "},
		{echo, "== a\ndial tcp://x:1 as x\n", 2, "the handler has not dialled tcp://x:1"},
		{echo, "== a\ndial tcp://x:1 as x\nx> hello\n", 2, "the handler has not dialled tcp://x:1"},
		{script(t, `export default { line() {}, start(c) { if (!c.user) throw Error("no user") } }`), "== a\nconfig usr = 1 2\n> x\n", 2, ""},
		{script(t, dialler), "== a\n> tcp://db:1\n", 2, "the handler dials tcp://db:1, and no line says who answers"},
	} {
		r := reports(t, c.handler, c.text, Written)[0]
		if f := r.Failure; f == nil || f.Line != c.line || !strings.HasPrefix(f.What, c.want) {
			t.Errorf("%q: %+v; want line %d: %s...", c.text, f, c.line, c.want)
		}
	}
}

// parsed is the only conversation of a text.
func parsed(t *testing.T, text string) *talk.Case {
	t.Helper()
	f, err := talk.Parse("t.talk", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.Cases[0]
}

// A program is refused, with what can be done instead.
func TestProgram(t *testing.T) {
	f := parsed(t, "== a\n> hello\n< uryyb\n")
	h := Handler{Plugin: "../../examples/rot13-stdio/rot13.wasm", State: hosttest.State()}
	_, err := Play(context.Background(), h, f, Written)
	if err == nil || !strings.Contains(err.Error(), "time cannot be virtual; talk to it without --script, or test it over a socket") {
		t.Errorf("Play: %v", err)
	}
}
