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
	warns bool // the message is a warning, and the script ends the connection itself
}

// mistakes are kinds of them, whatever the language is.
var mistakes = []mistake{
	{name: "a syntax error", said: []string{"FILE:2"},
		scripts: by{".js": "export default {\n  line(c text) {} };", ".lua": "return {\n  line = function(c text) end }", ".py": "\ndef line(c text): pass\n"},
		also:    by{".js": "SyntaxError", ".lua": "')' expected near 'text'", ".py": "SyntaxError: invalid syntax|(FILE:2)"}},
	{name: "no handler", said: []string{"FILE"},
		scripts: by{".js": "const x = 1;", ".lua": "local x = 1", ".py": "x = 1\n"},
		also:    by{".js": "the script has no handler; write: export default { line(c, text)", ".lua": "the script returns no handler; write: return { line = function(c, text)", ".py": "the script has none of the functions that are called: start, open, data, line,|write: def line(c, text): c.send("}},
	{name: "a misspelt function", said: []string{"none of the functions that are called: start, open, data, line,", "(FILE:2"},
		scripts: by{".js": "export default {\n onLine() {} };", ".lua": "return {\n onLine = function() end }", ".py": "import json\ndef on_line(c, text): pass\ndef help(): pass\n"},
		also:    by{".py": "at on_line (FILE:2)"}},
	{name: "no function", said: []string{"line of the handler is not a function", ", at line (FILE:4"},
		scripts: by{".js": "// line: 1\nconst help = 'line: 2';\nexport default { open() {},\n line: 7 };", ".lua": "-- line = 1\nlocal help = 'line = 2'\nreturn { open = function() end,\n line = 7 }", ".py": "# line = 1\nhelp = 'line = 2'\ndef open(c): pass\nline = 'text'\n"},
		also:    by{".py": "but of type str, at line (FILE:4)"}},
	{name: "two readers", said: []string{"a handler has one of data, line and frame, and this one has 2, at line (FILE:3"},
		scripts: by{".js": "export default {\n data() {},\n line() {} };", ".lua": "return {\n data = print,\n line = function() end }", ".py": "\ndef data(c, b): pass\ndef line(c, text): pass\n"}},
	{name: "two readers that the language has itself", said: []string{"and this one has 2, at line (FILE:2"},
		scripts: by{".lua": "return {\n line = print, data = print }"}},
	{name: "frames of no length", said: []string{"a handler with frame needs ", ", at frame (FILE:2"},
		scripts: by{".js": "export default {\n frame() {} };", ".lua": "return {\n frame = print }", ".py": "\ndef frame(c, b): pass\n"},
		also:    by{".js": "frameLength, as { bytes: 2 }", ".lua": "frame_length, as { bytes = 2 }", ".py": "frame_length, as {\"bytes\": 2}"}},
	{name: "a limit that is none", said: []string{" is a whole number, 1 to 65534, at ", "(FILE:3"},
		scripts: by{".js": "const handler = { line() {} };\n\nhandler.lineLimit = '9'; export default handler;", ".lua": "local handler = { line = print }\n\nhandler.line_limit = '9' return handler", ".py": "def line(c, text): pass\n\nline_limit = '8k'\n"},
		also:    by{".py": "line_limit is"}},
	{name: "an error while it is loaded", said: []string{"FILE:3"},
		scripts: by{".js": "\n\nundefined.x; export default { line() {} };", ".lua": "\n\nlocal x; x.y = 1 return { line = print }", ".py": "\n\nNone.x\ndef line(c, text): pass\n"},
		also:    by{".js": "cannot read property 'x' of undefined", ".lua": "attempt to index a nil value (local 'x')", ".py": "'NoneType' object has no attribute 'x'|at the script (FILE:3)"}},
	{name: "an error in start", said: []string{"no port", "FILE:2"},
		scripts: by{".js": "export default { line() {}, start(config) {\n throw new Error('no port') } };", ".lua": "return { line = print, start = function(config)\n error('no port') end }", ".py": "def start(config):\n    raise ValueError('no port')\ndef line(c, text): pass\n"},
		also:    by{".py": "start: ValueError: no port"}},
	{name: "a wait while it is loaded", said: []string{"FILE"},
		scripts: by{".js": "await new Promise(() => {}); export default { line() {} };", ".lua": "\nsleep(1) return { line = print }", ".py": "\nsleep(1)\ndef line(c, text): pass\n"},
		also:    by{".js": "awaits something while it is loaded, which nothing can end", ".lua": "FILE:2|sleep: there is no time before the first connection: the script is loaded once, for many", ".py": "FILE:2|sleep: there is no time before the first connection: the script is loaded once, for many"}},
	{name: "a timeout while it is loaded", said: []string{"FILE:2", "before the first connection: the script is loaded once"},
		scripts: by{".js": "\nsetTimeout(() => {}, 1); export default { line() {} };", ".lua": "\nafter(1, print) return { line = print }", ".py": "\nafter(1, print)\ndef line(c, text): pass\n"}},
	{name: "an import of a missing file", said: []string{": there is no "},
		scripts: by{".js": "\nimport x from './x.js'; export default { line() {} };", ".lua": "\nlocal x = require 'lib.x' return { line = print }", ".py": "\nimport helper\ndef line(c, text): pass\n"},
		also: by{".js": `FILE:2:15: import of "./x.js": there is no such file; write its path from this file, with its ending`,
			".lua": `FILE:2:19: require of "lib.x": there is no lib/x.lua and no lib/x/init.lua in the script's folder; put the file there`, ".py": "FILE:2:8: import of \"helper\": there is no helper.py and no helper/__init__.py in the script's folder, and the engine has no such module; put the file there"}},
	{name: "an import of a folder above",
		scripts: by{".js": "\nimport x from '../x.js'; export default { line() {} };", ".lua": "\nlocal x = require '../x' return { line = print }", ".py": "\nfrom .. import helper\ndef line(c, text): pass\n"},
		also: by{".js": `FILE:2:15: import of "../x.js": it is outside of the script's folder, and nothing is read there; put it into the folder`,
			".lua": `FILE:2:19: require of "../x": a name is a path from the script's folder, with dots for slashes and without .lua; write, for example: require "lib.parse"`, ".py": "FILE:2:6: import of \"..\": its dots lead out of the packages in the script's folder; a file beside the script is imported by its name alone; write, for example: import helper"}},
	{name: "imports in a circle",
		scripts: by{".lua": "require 'circle' return { line = print }", ".py": "import circle\ndef line(c, text): pass\n"}, // bundled JavaScript has no order to get wrong
		files:   map[string]string{"circle.lua": "return\n require 'round'", "round.lua": "return\n require 'circle'", "circle.py": "from round import y\nx = 1", "round.py": "\nfrom circle import x\ny = 1"},
		also:    by{".lua": "round.lua:2: require of 'circle': it is being loaded already, as files require each other in a circle|let one of them require the other inside of a function|circle.lua:2", ".py": "ImportError: can't import name x: its file does not define it, or not yet, as files import each other in a circle; let one of them import the other inside of a function|at the script (round.py:2), at the script (circle.py:1), at the script (FILE:1)"}},

	{name: "an error in open", hears: "hello", said: []string{"open of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n open(c) { c.x.y = 1 } };", ".lua": "return { open = function(c)\n c.x.y = 1 end }", ".py": "def open(c):\n    c.x.y = 1\n"},
		also:    by{".js": "cannot set property 'y' of undefined", ".lua": "attempt to index a nil value (field 'x')", ".py": "'connection' object has no attribute 'x'|at open (FILE:2)"}},
	{name: "an error in data", hears: "hello", said: []string{"data of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n data(c, b) { null.x } };", ".lua": "return { data = function(c, b)\n b.x.y = 1 end }", ".py": "def data(c, b):\n    b.x\n"}},
	{name: "an error in frame", hears: "\x01", said: []string{"frame of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { frameLength: { bytes: 1 },\n frame(c, b) { null.x } };", ".lua": "return { frame_length = { bytes = 1 }, frame = function(c, b)\n b.x.y = 1 end }", ".py": "frame_length = {'bytes': 1}\ndef frame(c, b): b.x\n"}},
	{name: "an error in eof", hears: "end", said: []string{"eof of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default {\n data() {}, eof(c) { null.x } };", ".lua": "return { data = print, eof = function(c)\n c.x.y = 1 end }", ".py": "def data(c, b): pass\ndef eof(c): None.x\n"},
		also:    by{".py": "at eof (FILE:2)"}},
	{name: "an error in timer", hears: "hello", said: []string{"timer of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { open(c) { c.timer(1, 1) },\n timer() { null.x } };", ".lua": "return { open = function(c) c:timer(1, 1) end, timer = function(c)\n c.x.y = 1 end }", ".py": "def open(c): c.timer(1, 1)\ndef timer(c, token): None.x\n"},
		also:    by{".py": "at timer (FILE:2)"}},
	{name: "an error in writable", hears: "hello", said: []string{"writable of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c) { c.send('x'.repeat(200000)) },\n writable() { null.x } };", ".lua": "return { line = function(c) c:send(('x'):rep(200000)) end, writable = function(c)\n c.x.y = 1 end }", ".py": "def line(c, text): c.send('x' * 200000)\ndef writable(c): None.x\n"},
		toml:    "inbox = \"16KiB\"\nsend_buffer = \"8KiB\"",
		also:    by{".py": "at writable (FILE:2)"}},
	{name: "an error in closed", hears: "hello", said: []string{"closed of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c) { c.close() },\n closed() { null.x } };", ".lua": "return { line = function(c) c:close() end, closed = function(c)\n c.x.y = 1 end }", ".py": "def line(c, text): c.close()\ndef closed(c, reason): None.x\n"},
		also:    by{".py": "at closed (FILE:2)"}},
	{name: "an error in a timeout", hears: "hello", said: []string{" of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line() {\n setTimeout(() => null.x, 1) } };", ".lua": "return { line = function(c)\n after(1, function() c.x.y = 1 end) end }", ".py": "def line(c, text):\n    after(1, lambda: None.x)\n"},
		also:    by{".js": "setTimeout of", ".lua": "after of", ".py": "after of"}},
	{name: "an error behind a wait", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { async line() { await sleep(1);\n null.x } };", ".lua": "return { line = function(c) sleep(1)\n c.x.y = 1 end }", ".py": "async def line(c, text):\n    await sleep(1); None.x\n"},
		also:    by{".py": "at line (FILE:2)"}},
	{name: "an error that nobody waits for", hears: "hello", said: []string{" of 127.0.0.1:", "lost", "FILE:2"},
		scripts: by{".js": "export default { line() {\n Promise.reject(new Error('lost')) } };", ".lua": "return { line = function()\n spawn(function() error('lost') end) end }", ".py": "async def lost():\n    raise ValueError('lost')\ndef line(c, text): spawn(lost())\n"},
		also:    by{".js": "a promise that nobody handles of", ".lua": "spawn of", ".py": "spawn of"}},
	{name: "a wait where there can be none", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".lua": "return { line = function()\n table.sort({ 1, 2 }, function() sleep(1) end) end }"},
		also:    by{".lua": "sleep waits, and here nothing can; begin what waits by spawn(function() ... end)"}},
	{name: "what is thrown is no error", hears: "hello", said: []string{"line of 127.0.0.1:", " was thrown, which is no "},
		scripts: by{".js": "export default { line() { throw 'no' } };", ".lua": "return { line = function()\n error({}) end }"},
		also:    by{".js": "no was thrown, which is no Error and has no line", ".lua": "a table was thrown, which is no text and has no line, at a function (FILE:2)"}},

	{name: "a misspelt variable", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.send(txt) } };", ".lua": "return { line = function(c, text)\n c:send(txt) end }", ".py": "def line(c, text):\n    c.send(txt)\n"},
		also:    by{".js": "'txt' is not defined", ".lua": "send takes text, and was given nothing; json.encode or tostring make text of it", ".py": "name 'txt' isn't defined"}},
	{name: "a misspelt method", hears: "hello", said: []string{"line of 127.0.0.1:", "FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.sned(text) } };", ".lua": "return { line = function(c, text)\n c:sned(text) end }", ".py": "def line(c, text):\n    c.sned(text)\n"},
		also:    by{".js": "not a function", ".lua": "attempt to call a nil value (method 'sned')", ".py": "'connection' object has no attribute 'sned'"}},
	{name: "a method that is called as a function", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line(c, text) { const { send } = c;\n send(text) } };", ".lua": "return { line = function(c, text)\n c.send(text) end }"},
		also:    by{".js": "Connection object expected", ".lua": "send is a method of a connection: write c:send(...), with a colon"}},
	{name: "a number that is sent", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.send(text.length) } };", ".py": "def line(c, text):\n    c.send(len(text))\n"},
		also:    by{".js": "send takes text, a Uint8Array or an ArrayBuffer, and was given a number; JSON.stringify or String make text of it", ".py": "send takes str or bytes, and was given a value of type int; json.dumps or str make text of it"}},
	{name: "an object that is sent", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line(c, text) {\n c.send({ text }) } };", ".lua": "return { line = function(c, text)\n c:send({ text }) end }", ".py": "def line(c, text):\n    c.send({'text': text})\n"},
		also:    by{".js": "and was given an object; JSON.stringify or String make text of it", ".lua": "and was given a table; json.encode or tostring make text of it", ".py": "and was given a value of type dict; json.dumps or str make text of it"}},
	{name: "sending on and on", hears: "hello", said: []string{"FILE:2", "bytes wait already, and 100000 more are beyond "},
		scripts: by{".js": "export default { line(c) { for (;;)\n c.send('x'.repeat(100000)) } };", ".lua": "return { line = function(c) while true do\n c:send(('x'):rep(100000)) end end }", ".py": "def line(c, text):\n    while True: c.send('x' * 100000)\n"},
		toml:    "inbox = \"16KiB\"\nsend_buffer = \"8KiB\""},
	{name: "more than has come", hears: "hello", said: []string{"data of 127.0.0.1:", "data answers how many bytes it has consumed, 0 to 6, or "},
		scripts: by{".js": "export default { data(c, b) {\n return 99 } };", ".lua": "return { data = function(c, b)\n return 99 end }", ".py": "def data(c, b):\n    return 99\n"},
		also:    by{".py": "or None for all of them"}},
	{name: "nothing is consumed", hears: "hello", waits: true,
		said:    []string{"its handler has left 6 bytes unconsumed and wants more, and the peer has not sent the rest in time"},
		scripts: by{".js": "export default { data(c, b) { log('has heard'); return 0 } };", ".lua": "return { data = function(c, b) log('has heard') return 0 end }", ".py": "def data(c, b):\n    log('has heard')\n    return 0\n"}},
	{name: "a line that is too long", hears: "hello", said: []string{"line of 127.0.0.1:", "the peer's line is longer than ", ", which is 3 bytes"},
		scripts: by{".js": "export default { lineLimit: 3, line() {} };", ".lua": "return { line_limit = 3, line = print }", ".py": "line_limit = 3\ndef line(c, text): pass\n"}},
	{name: "a dial that is not allowed", hears: "hello", said: []string{"line of 127.0.0.1:", "DENIED"},
		scripts: by{".js": "export default { async line(c) {\n await dial('tcp://10.0.0.1:1') } };", ".lua": "return { line = function(c)\n assert(dial('tcp://10.0.0.1:1')) end }", ".py": "async def line(c, text):\n    await dial('tcp://10.0.0.1:1')\n"},
		also:    by{".py": "OSError: dial tcp://10.0.0.1:1: DENIED|at line (FILE:2)"}},

	{name: "an endless loop", hears: "hello", said: []string{"event_timeout", "(FILE:2"}, toml: Brief,
		scripts: by{".js": "export default { line() {\n for (let i = 0; ; i++) ; } };", ".lua": "return { line = function()\n while true do end end }", ".py": "def line(c, text):\n    while True: pass\n"},
		also:    by{".py": "at line (FILE:2)"}},
	{name: "an endless search", hears: "hello", said: []string{"event_timeout", "(FILE:2"}, toml: Brief,
		scripts: by{".js": "export default { line() {\n /^(a+)+$/.test('a'.repeat(40) + 'b') } };", ".lua": "return { line = function()\n ('a'):rep(64):find(('a-'):rep(32) .. 'b') end }"}},
	{name: "an endless recursion", hears: "hello", said: []string{"FILE:2"},
		scripts: by{".js": "export default { line() {\n const f = () => f() + 1; f() } };", ".lua": "return { line = function()\n local function f() return f() + 1 end f() end }", ".py": "def f():\n    return f() + 1\ndef line(c, text): f()\n"},
		also:    by{".py": "maximum recursion depth exceeded|at f (FILE:2)"}},
	{name: "all of the memory", hears: "hello", said: []string{"memory"},
		scripts: by{".js": "const all = []; export default { line() {\n for (;;) all.push(new Uint8Array(1 << 20)) } };", ".lua": "local all = {} return { line = function()\n while true do all[#all + 1] = ('x'):rep(1 << 20) .. #all end end }", ".py": "def line(c, text):\n    all = []\n    while True: all.append(bytes(1 << 20))\n"},
		also:    by{".js": "out of memory", ".lua": "not enough memory, at a function (FILE:2)", ".py": "MemoryError: memory allocation failed|at line (FILE:3)"}},

	// Mistakes that only Python has.
	{name: "a wrong indentation", said: []string{"IndentationError: unindent doesn't match any outer indent level", "(FILE:2)"},
		scripts: by{".py": "def line(c, text):\n    c.send(text)\n  c.close()\n"}},
	{name: "a module that the engine does not have", said: []string{"FILE:1:14: import of \"os\": the engine does not have it, and there is no os.py in the script's folder; a guest has no files"},
		scripts: by{".py": "import json, os\ndef line(c, text): pass\n"}},
	{name: "a syntax error in an imported file", files: map[string]string{"wrong.py": "\n\nx = = 1"}, said: []string{"SyntaxError: invalid syntax", "at the script (wrong.py:3), at the script (FILE:1)"},
		scripts: by{".py": "import wrong\ndef line(c, text): pass\n"}},
	{name: "a module that is not there when it is asked for", hears: "hello", said: []string{"line of 127.0.0.1:", "ImportError: no module named 'helper', neither of the engine nor among the files that the script's import statements name", "at line (FILE:3)"},
		scripts: by{".py": "def line(c, text):\n    try:\n        import helper\n    finally: pass\n"}},
	{name: "a dial while it is loaded", said: []string{"nothing can be dialled before the first connection", "FILE:2)"},
		scripts: by{".py": "\ndial('tcp://127.0.0.1:1')\ndef line(c, text): pass\n"}},
	{name: "an endless loop while it is loaded", toml: Brief, said: []string{"event_timeout", "FILE:"},
		scripts: by{".py": "def line(c, text): pass\nwhile True:\n    pass\n"}},
	{name: "too few parameters", hears: "hello", said: []string{"line of 127.0.0.1:", "TypeError: line() takes 1 positional arguments but 2 were given, in FILE"},
		scripts: by{".py": "def line(c):\n    c.send('x')\n"}},
	{name: "text and bytes", hears: "hello", said: []string{"TypeError: unsupported types for __add__: 'str', 'bytes'", "at data (FILE:2)"},
		scripts: by{".py": "def data(c, b):\n    c.send('got ' + b)\n"}},
	{name: "an await of nothing to await", hears: "hello", said: []string{"line of 127.0.0.1:", "'bool' object isn't iterable", "at line (FILE:2)"},
		scripts: by{".py": "async def line(c, text):\n    await c.send(text)\n"}},
	{name: "a sleep that nobody awaits", hears: "hello", warns: true, said: []string{"sleep or dial was called, and nothing awaits it, so that it does nothing; write: await sleep(ms), in an async def"},
		scripts: by{".py": "def line(c, text):\n    sleep(1)\n    c.close()\n"}},
	{name: "a yield", hears: "hello", said: []string{"line of 127.0.0.1:", "yield in line: a callback waits by await, for sleep, dial or an async function"},
		scripts: by{".py": "def line(c, text):\n    yield 1\n"}},
	{name: "time.sleep", hears: "hello", said: []string{"time.sleep would keep all others waiting; write: await sleep(ms), in an async def", "at line (FILE:3)"},
		scripts: by{".py": "import time\ndef line(c, text):\n    time.sleep(1)\n"}},
	{name: "a file", hears: "hello", said: []string{"OSError: open: a guest has no files", "at data (FILE:2)"},
		scripts: by{".py": "def data(c, b):\n    open('x')\n"}},
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
	closed, failed := ` msg="connection closed" `, " level=ERROR "
	if m.warns {
		failed = ` level=WARN msg="handler says" `
	}
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
