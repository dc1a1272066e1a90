package enginetest

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// by is what there is for each language, by the extension of its scripts.
type by map[string]string

// mistake is what an author does wrong: a script that cannot be loaded, or one that does wrong when
// it hears something. It is told in one message, which has all of the parts: where, what, and what
// to do about it where the language does not say. In them and in scripts FILE is the script's file.
type mistake struct {
	name    string
	hears   string            // from the client; "end": the end of the stream; "": it cannot be loaded
	scripts by                // a language that cannot make the mistake has none
	files   map[string]string // beside the script; all languages have them
	said    []string
	also    by // further parts, which differ; "|" is between two
	toml    string
	// waits: the script logs that it has heard it, and the host ends the connection later: the
	// message is that of the end.
	waits bool
}

// mistakes are kinds of them, whatever the language is.
var mistakes = []mistake{
	{name: "a syntax error", said: []string{"FILE:2:"},
		scripts: by{".js": "export default {\n  line(c text) {} };", ".lua": "return {\n  line = function(c text) end }"},
		also:    by{".js": "SyntaxError", ".lua": "')' expected near 'text'"}},
	{name: "no handler", said: []string{"FILE"},
		scripts: by{".js": "const x = 1;", ".lua": "local x = 1"},
		also:    by{".js": "the script has no handler; write: export default { line(c, text)", ".lua": "the script returns no handler; write: return { line = function(c, text)"}},
	{name: "a misspelt function", said: []string{"FILE", "none of the functions that are called: start, open, data, line,"},
		scripts: by{".js": "export default { onLine() {} };", ".lua": "return { onLine = function() end }"}},
	{name: "no function", said: []string{"FILE", "line of the handler is not a function"},
		scripts: by{".js": "export default { line: 7 };", ".lua": "return { line = 7 }"}},
	{name: "two readers", said: []string{"FILE", "a handler has one of data, line and frame, and this one has 2"},
		scripts: by{".js": "export default { line() {}, data() {} };", ".lua": "return { line = print, data = print }"}},
	{name: "frames of no length", said: []string{"FILE", "a handler with frame needs "},
		scripts: by{".js": "export default { frame() {} };", ".lua": "return { frame = print }"},
		also:    by{".js": "frameLength, as { bytes: 2 }", ".lua": "frame_length, as { bytes = 2 }"}},
	{name: "a limit that is none", said: []string{"FILE", " is a whole number, 1 to 65534"},
		scripts: by{".js": "export default { lineLimit: '9', line() {} };", ".lua": "return { line_limit = '9', line = print }"}},
	{name: "an error while it is loaded", said: []string{"FILE:3"},
		scripts: by{".js": "\n\nundefined.x; export default { line() {} };", ".lua": "\n\nlocal x; x.y = 1 return { line = print }"},
		also:    by{".js": "cannot read property 'x' of undefined", ".lua": "attempt to index a nil value (local 'x')"}},
	{name: "an error in start", said: []string{"no port", "FILE:2"},
		scripts: by{".js": "export default { line() {}, start(config) {\n throw new Error('no port') } };", ".lua": "return { line = print, start = function(config)\n error('no port') end }"}},
	{name: "a wait while it is loaded", said: []string{"FILE"},
		scripts: by{".js": "await new Promise(() => {}); export default { line() {} };", ".lua": "\nsleep(1) return { line = print }"},
		also:    by{".js": "awaits something while it is loaded, which nothing can end", ".lua": "FILE:2|sleep: there is no time before the first connection: the script is loaded once, for many"}},
	{name: "a timeout while it is loaded", said: []string{"FILE:2", "before the first connection: the script is loaded once"},
		scripts: by{".js": "\nsetTimeout(() => {}, 1); export default { line() {} };", ".lua": "\nafter(1, print) return { line = print }"}},
	{name: "an import of a missing file", said: []string{": there is no "},
		scripts: by{".js": "\nimport x from './x.js'; export default { line() {} };", ".lua": "\nlocal x = require 'lib.x' return { line = print }"},
		also: by{".js": `FILE:2:15: import of "./x.js": there is no such file; write its path from this file, with its ending`,
			".lua": `FILE:2:19: require of "lib.x": there is no lib/x.lua and no lib/x/init.lua in the script's folder; put the file there`}},
	{name: "an import of a folder above",
		scripts: by{".js": "\nimport x from '../x.js'; export default { line() {} };", ".lua": "\nlocal x = require '../x' return { line = print }"},
		also: by{".js": `FILE:2:15: import of "../x.js": it is outside of the script's folder, and nothing is read there; put it into the folder`,
			".lua": `FILE:2:19: require of "../x": a name is a path from the script's folder, with dots for slashes and without .lua; write, for example: require "lib.parse"`}},
	{name: "imports in a circle",
		scripts: by{".lua": "require 'circle' return { line = print }"}, // bundled JavaScript has no order to get wrong
		files:   map[string]string{"circle.lua": "return\n require 'round'", "round.lua": "return\n require 'circle'"},
		also:    by{".lua": "round.lua:2: require of 'circle': it is being loaded already, as files require each other in a circle|let one of them require the other inside of a function|circle.lua:2"}},

	{name: "an error in open", hears: "hello", said: []string{"open of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n open(c) { c.x.y = 1 } };", ".lua": "return { open = function(c)\n c.x.y = 1 end }"},
		also:    by{".js": "cannot set property 'y' of undefined", ".lua": "attempt to index a nil value (field 'x')"}},
	{name: "an error in data", hears: "hello", said: []string{"data of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n data(c, b) { null.x } };", ".lua": "return { data = function(c, b)\n b.x.y = 1 end }"}},
	{name: "an error in frame", hears: "\x01", said: []string{"frame of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { frameLength: { bytes: 1 },\n frame(c, b) { null.x } };", ".lua": "return { frame_length = { bytes = 1 }, frame = function(c, b)\n b.x.y = 1 end }"}},
	{name: "an error in eof", hears: "end", said: []string{"eof of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n data() {}, eof(c) { null.x } };", ".lua": "return { data = print, eof = function(c)\n c.x.y = 1 end }"}},
	{name: "an error in timer", hears: "hello", said: []string{"timer of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { open(c) { c.timer(1, 1) },\n timer() { null.x } };", ".lua": "return { open = function(c) c:timer(1, 1) end, timer = function(c)\n c.x.y = 1 end }"}},
	{name: "an error in writable", hears: "hello", said: []string{"writable of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c) { c.send('x'.repeat(200000)) },\n writable() { null.x } };", ".lua": "return { line = function(c) c:send(('x'):rep(200000)) end, writable = function(c)\n c.x.y = 1 end }"},
		toml:    "inbox = \"16KiB\"\nsend_buffer = \"8KiB\""},
	{name: "an error in closed", hears: "hello", said: []string{"closed of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c) { c.close() },\n closed() { null.x } };", ".lua": "return { line = function(c) c:close() end, closed = function(c)\n c.x.y = 1 end }"}},
	{name: "an error in a timeout", hears: "hello", said: []string{" of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line() {\n setTimeout(() => null.x, 1) } };", ".lua": "return { line = function(c)\n after(1, function() c.x.y = 1 end) end }"},
		also:    by{".js": "setTimeout of", ".lua": "after of"}},
	{name: "an error behind a wait", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { async line() { await sleep(1);\n null.x } };", ".lua": "return { line = function(c) sleep(1)\n c.x.y = 1 end }"}},
	{name: "an error that nobody waits for", hears: "hello", said: []string{" of 127.0.0.1:", "lost", "FILE:2"},
		scripts: by{".js": "export default { line() {\n Promise.reject(new Error('lost')) } };", ".lua": "return { line = function()\n spawn(function() error('lost') end) end }"},
		also:    by{".js": "a promise that nobody handles of", ".lua": "spawn of"}},
	{name: "a wait where there can be none", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".lua": "return { line = function()\n table.sort({ 1, 2 }, function() sleep(1) end) end }"},
		also:    by{".lua": "sleep waits, and here nothing can; begin what waits by spawn(function() ... end)"}},
	{name: "what is thrown is no error", hears: "hello", said: []string{"line of 127.0.0.1:", " was thrown, which is no "},
		scripts: by{".js": "export default { line() { throw 'no' } };", ".lua": "return { line = function()\n error({}) end }"},
		also:    by{".js": "no was thrown, which is no Error and has no line", ".lua": "a table was thrown, which is no text and has no line, at a function (FILE:2)"}},

	{name: "a misspelt variable", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.send(txt) } };", ".lua": "return { line = function(c, text)\n c:send(txt) end }"},
		also:    by{".js": "'txt' is not defined", ".lua": "send takes text, and was given nothing; json.encode or tostring make text of it"}},
	{name: "a misspelt method", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.sned(text) } };", ".lua": "return { line = function(c, text)\n c:sned(text) end }"},
		also:    by{".js": "not a function", ".lua": "attempt to call a nil value (method 'sned')"}},
	{name: "a method that is called as a function", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line(c, text) { const { send } = c;\n send(text) } };", ".lua": "return { line = function(c, text)\n c.send(text) end }"},
		also:    by{".js": "Connection object expected", ".lua": "send is a method of a connection: write c:send(...), with a colon"}},
	{name: "a number that is sent", hears: "hello", said: []string{"FILE:2:"},
		scripts: by{".js": "export default { line(c, text) {\n c.send(text.length) } };"},
		also:    by{".js": "send takes text, a Uint8Array or an ArrayBuffer, and was given a number; JSON.stringify or String make text of it"}},
	{name: "an object that is sent", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.send({ text }) } };", ".lua": "return { line = function(c, text)\n c:send({ text }) end }"},
		also:    by{".js": "and was given an object; JSON.stringify or String make text of it", ".lua": "and was given a table; json.encode or tostring make text of it"}},
	{name: "sending on and on", hears: "hello", said: []string{"FILE:2", "bytes wait already, and 100000 more are beyond "},
		scripts: by{".js": "export default { line(c) { for (;;)\n c.send('x'.repeat(100000)) } };", ".lua": "return { line = function(c) while true do\n c:send(('x'):rep(100000)) end end }"},
		toml:    "inbox = \"16KiB\"\nsend_buffer = \"8KiB\""},
	{name: "more than has come", hears: "hello", said: []string{"data of 127.0.0.1:", "data answers how many bytes it has consumed, 0 to 6, or nothing for all of them; it answered 99"},
		scripts: by{".js": "export default { data(c, b) {\n return 99 } };", ".lua": "return { data = function(c, b)\n return 99 end }"}},
	{name: "nothing is consumed", hears: "hello", waits: true,
		said:    []string{"its handler has left 6 bytes unconsumed and wants more, and the peer has not sent the rest in time"},
		scripts: by{".js": "export default { data(c, b) { log('has heard'); return 0 } };", ".lua": "return { data = function(c, b) log('has heard') return 0 end }"}},
	{name: "a line that is too long", hears: "hello", said: []string{"line of 127.0.0.1:", "the peer's line is longer than ", ", which is 3 bytes"},
		scripts: by{".js": "export default { lineLimit: 3, line() {} };", ".lua": "return { line_limit = 3, line = print }"}},
	{name: "a dial that is not allowed", hears: "hello", said: []string{"line of 127.0.0.1:", "DENIED"},
		scripts: by{".js": "export default { async line(c) {\n await dial('tcp://10.0.0.1:1') } };", ".lua": "return { line = function(c)\n assert(dial('tcp://10.0.0.1:1')) end }"}},

	{name: "an endless loop", hears: "hello", said: []string{"event_timeout", "(FILE:2"}, toml: Brief,
		scripts: by{".js": "export default { line() {\n for (let i = 0; ; i++) ; } };", ".lua": "return { line = function()\n while true do end end }"}},
	{name: "an endless search", hears: "hello", said: []string{"event_timeout", "(FILE:2"}, toml: Brief,
		scripts: by{".js": "export default { line() {\n /^(a+)+$/.test('a'.repeat(40) + 'b') } };", ".lua": "return { line = function()\n ('a'):rep(64):find(('a-'):rep(32) .. 'b') end }"}},
	{name: "an endless recursion", hears: "hello", said: []string{"stack overflow", "FILE:2"},
		scripts: by{".js": "export default { line() {\n const f = () => f() + 1; f() } };", ".lua": "return { line = function()\n local function f() return f() + 1 end f() end }"}},
	{name: "all of the memory", hears: "hello", said: []string{"memory"},
		scripts: by{".js": "const all = []; export default { line() {\n for (;;) all.push(new Uint8Array(1 << 20)) } };", ".lua": "local all = {} return { line = function()\n while true do all[#all + 1] = ('x'):rep(1 << 20) .. #all end end }"},
		also:    by{".js": "out of memory", ".lua": "not enough memory, at a function (FILE:2)"}},
}

// leastMistakes is how many of them each language is tried with, at least.
const leastMistakes = 20

// Mistakes checks what is said of each mistake that can be made in the language.
func (l *Language) Mistakes(t *testing.T) {
	var loaded, served []Handler
	kinds := make(map[string]*mistake)
	for i := range mistakes {
		m := &mistakes[i]
		script, ok := m.scripts[l.Extension]
		if !ok {
			continue
		}
		one := Handler{Name: fmt.Sprintf("mistake%d", i), Script: script, TOML: m.toml, Files: m.files}
		if !strings.Contains(one.TOML, "event_timeout") {
			one.TOML += "\nevent_timeout = \"1m\""
		}
		kinds[one.Name] = m
		if m.hears == "" {
			loaded = append(loaded, one)
		} else {
			served = append(served, one)
		}
	}
	if len(kinds) < leastMistakes {
		t.Errorf("there are %d mistakes in this language", len(kinds))
	}
	said := l.refusalOf(t, loaded)
	for _, one := range loaded {
		t.Run(kinds[one.Name].name, func(t *testing.T) {
			l.judge(t, kinds[one.Name], one.Name, linesWith(said, fmt.Sprintf("listener %q: ", one.Name)))
		})
	}
	clock := &selector.Manual{}
	log := &Log{}
	h := hosttest.Serve(t, l.Config(t, served...), host.Options{
		Clock: clock,
		Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	for _, one := range served {
		t.Run(kinds[one.Name].name, func(t *testing.T) { l.makeOne(t, h, clock, log, kinds[one.Name], one.Name) })
	}
}

// refusalOf is what a host says that cannot load the scripts.
func (l *Language) refusalOf(t *testing.T, handlers []Handler) string {
	t.Helper()
	cfg, err := config.Load(hosttest.WriteConfig(t, l.Config(t, handlers...)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), Engines: hosttest.Engines})
	if err == nil {
		h.Close()
		t.Fatal("they are loaded")
	}
	return err.Error()
}

func linesWith(text, part string) (lines []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return lines
}

// makeOne has the script of a listener make its mistake. Time goes on while it waits for that.
func (l *Language) makeOne(t *testing.T, h *host.Host, clock *selector.Manual, log *Log, m *mistake, listener string) {
	c := Dial(t, h, listener)
	if m.hears == "end" {
		_ = c.CloseWrite()
	} else {
		_, _ = fmt.Fprintln(c, m.hears) // it may have closed already
	}
	about := func(part string) []string {
		return linesWith(strings.Join(linesWith(log.String(), " listener="+listener+" "), ""), part)
	}
	step := time.Millisecond
	if m.waits {
		hosttest.Eventually(t, "it has heard it", func() bool { return len(about("has heard")) > 0 })
		step = time.Second
	}
	go func() { // it closes when the host has
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}()
	const closed, failed = ` msg="connection closed" `, " level=ERROR "
	hosttest.Eventually(t, "it is closed, and the log says why", func() bool {
		clock.Advance(step)
		return len(about(closed)) > 0 && (m.waits || len(about(failed)) > 0)
	})
	if m.waits {
		l.judge(t, m, listener, about(closed))
	} else {
		l.judge(t, m, listener, about(failed))
	}
}

// judge checks the messages about a mistake.
func (l *Language) judge(t *testing.T, m *mistake, listener string, said []string) {
	t.Helper()
	all := strings.ReplaceAll(strings.Join(said, ""), `\"`, `"`) // the log has them in quotes
	if len(said) != 1 {
		t.Errorf("it is told in %d messages:\n%s", len(said), all)
	}
	want := slices.Clone(m.said)
	if also, ok := m.also[l.Extension]; ok {
		want = append(want, strings.Split(also, "|")...)
	}
	for _, part := range want {
		if part = strings.ReplaceAll(part, "FILE", listener+l.Extension); !strings.Contains(all, part) {
			t.Errorf("%q is missing in:\n%s", part, all)
		}
	}
}
