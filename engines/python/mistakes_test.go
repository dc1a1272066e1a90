package python_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// mistakes are what authors do wrong: a script that cannot be loaded, or one that does wrong when
// it hears something. Each is told in one message, which has all of these parts: where, what, and
// what to do about it where the language does not say.
var mistakes = []struct {
	name, script string
	hears        string // from the client; "end": the end of the stream
	said         []string
}{
	{"a syntax error", "\ndef line(c text): pass\n", "",
		[]string{"SyntaxError: invalid syntax", "handler.py:2)"}},
	{"a wrong indentation", "def line(c, text):\n    c.send(text)\n  c.close()\n", "",
		[]string{"IndentationError: unindent doesn't match any outer indent level", "handler.py:2)"}},
	{"no handler", "x = 1\n", "",
		[]string{"the script has none of the functions that are called: start, open, data, line,", "write: def line(c, text): c.send("}},
	{"a misspelt function", "def on_line(c, text): pass\n", "",
		[]string{"handler.py", "none of the functions that are called: start, open, data, line,"}},
	{"no function", "line = 'text'\n", "",
		[]string{"handler.py", "line of the handler is not a function, but of type str"}},
	{"two readers", "def line(c, text): pass\ndef data(c, b): pass\n", "",
		[]string{"handler.py", "a handler has one of data, line and frame, and this one has 2"}},
	{"frames of no length", "def frame(c, b): pass\n", "",
		[]string{"handler.py", "a handler with frame needs frame_length, as {\"bytes\": 2}"}},
	{"a limit that is none", "line_limit = '8k'\ndef line(c, text): pass\n", "",
		[]string{"handler.py", "line_limit is a whole number, 1 to 65534"}},
	{"an error while it is loaded", "\n\nNone.x\ndef line(c, text): pass\n", "",
		[]string{"'NoneType' object has no attribute 'x'", "at the script (handler.py:3)"}},
	{"an error in start", "def line(c, text): pass\ndef start(config):\n    raise ValueError('no port')\n", "",
		[]string{"start: ValueError: no port", "handler.py:3)"}},
	{"a module that is not there", "import json\nimport helper\ndef line(c, text): pass\n", "",
		[]string{"handler.py:2:8: import of \"helper\": there is no helper.py and no helper/__init__.py in the script's folder, and the engine has no such module; put the file there"}},
	{"a module of Python's", "import json, os\ndef line(c, text): pass\n", "",
		[]string{"handler.py:1:14: import of \"os\": the engine does not have it, and there is no os.py in the script's folder; a guest has no files"}},
	{"an import of a folder above", "from .. import helper\ndef line(c, text): pass\n", "",
		[]string{"handler.py:1:6: import of \"..\": its dots lead out of the packages in the script's folder; a file beside the script is imported by its name alone; write, for example: import helper"}},
	{"imports in a circle", "import circle\ndef line(c, text): pass\n", "",
		[]string{"ImportError: can't import name x: its file does not define it, or not yet, as files import each other in a circle; let one of them import the other inside of a function",
			"at the script (round.py:2), at the script (circle.py:1), at the script (handler.py:1)"}},
	{"a syntax error in an imported file", "import wrong\ndef line(c, text): pass\n", "",
		[]string{"SyntaxError: invalid syntax", "at the script (wrong.py:3), at the script (handler.py:1)"}},
	{"a module that is not there when it is asked for", "def line(c, text):\n    try:\n        import helper\n    finally: pass\n", "hello",
		[]string{"line of 127.0.0.1:", "ImportError: no module named 'helper', neither of the engine nor among the files that the script's import statements name", "at line (handler.py:3)"}},
	{"a wait while it is loaded", "\nsleep(1)\ndef line(c, text): pass\n", "",
		[]string{"sleep: there is no time before the first connection: the script is loaded once", "handler.py:2)"}},
	{"a timeout while it is loaded", "\nafter(1, print)\ndef line(c, text): pass\n", "",
		[]string{"after: there is no time before the first connection", "handler.py:2)"}},
	{"a dial while it is loaded", "\ndial('tcp://127.0.0.1:1')\ndef line(c, text): pass\n", "",
		[]string{"nothing can be dialled before the first connection", "handler.py:2)"}},
	{"an endless loop while it is loaded", "def line(c, text): pass\nwhile True:\n    pass\n", "",
		[]string{"event_timeout", "handler.py:"}},

	{"an error in open", "def open(c):\n    c.x.y = 1\n", "hello",
		[]string{"open of 127.0.0.1:", "'connection' object has no attribute 'x'", "at open (handler.py:2)"}},
	{"a misspelt variable", "def line(c, text):\n    c.send(txt)\n", "hello",
		[]string{"line of 127.0.0.1:", "name 'txt' isn't defined", "at line (handler.py:2)"}},
	{"a misspelt method", "def line(c, text):\n    c.sned(text)\n", "hello",
		[]string{"line of 127.0.0.1:", "'connection' object has no attribute 'sned'", "at line (handler.py:2)"}},
	{"too few parameters", "def line(c):\n    c.send('x')\n", "hello",
		[]string{"line of 127.0.0.1:", "TypeError: line() takes 1 positional arguments but 2 were given, in handler.py"}},
	{"a number that is sent", "def line(c, text):\n    c.send(len(text))\n", "hello",
		[]string{"send takes str or bytes, and was given a value of type int; json.dumps or str make text of it", "at line (handler.py:2)"}},
	{"text and bytes", "def data(c, b):\n    c.send('got ' + b)\n", "hello",
		[]string{"TypeError: unsupported types for __add__: 'str', 'bytes'", "at data (handler.py:2)"}},
	{"an error in eof", "def data(c, b): pass\ndef eof(c):\n    None.x\n", "end",
		[]string{"eof of 127.0.0.1:", "at eof (handler.py:3)"}},
	{"an error in timer", "def open(c): c.timer(1, 1)\ndef timer(c, token):\n    None.x\n", "hello",
		[]string{"timer of 127.0.0.1:", "at timer (handler.py:3)"}},
	{"an error in closed", "def line(c, text): c.close()\ndef closed(c, reason):\n    None.x\n", "hello",
		[]string{"closed of 127.0.0.1:", "at closed (handler.py:3)"}},
	{"an error in a timeout", "def line(c, text):\n    after(1, lambda: None.x)\n", "hello",
		[]string{"after of 127.0.0.1:", "handler.py:2)"}},
	{"an error behind await", "async def line(c, text):\n    await sleep(1)\n    None.x\n", "hello",
		[]string{"line of 127.0.0.1:", "at line (handler.py:3)"}},
	{"an await of nothing to await", "async def line(c, text):\n    await c.send(text)\n", "hello",
		[]string{"line of 127.0.0.1:", "'bool' object isn't iterable", "at line (handler.py:2)"}},
	{"a sleep that nobody awaits", "def line(c, text):\n    sleep(1)\n    c.close()\n", "hello",
		[]string{"sleep or dial was called, and nothing awaits it, so that it does nothing; write: await sleep(ms), in an async def"}},
	{"a yield", "def line(c, text):\n    yield 1\n", "hello",
		[]string{"line of 127.0.0.1:", "yield in line: a callback waits by await, for sleep, dial or an async function"}},
	{"time.sleep", "import time\ndef line(c, text):\n    time.sleep(1)\n", "hello",
		[]string{"time.sleep would keep all others waiting; write: await sleep(ms), in an async def", "at line (handler.py:3)"}},
	{"a file", "def data(c, b):\n    open('x')\n", "hello",
		[]string{"OSError: open: a guest has no files", "at data (handler.py:2)"}},
	{"an endless loop", "def line(c, text):\n    while True: pass\n", "hello",
		[]string{"event_timeout", "at line (handler.py:2)"}},
	{"an endless recursion", "def f():\n    return f() + 1\ndef line(c, text): f()\n", "hello",
		[]string{"maximum recursion depth exceeded", "at f (handler.py:2)"}},
	{"all of the memory", "def line(c, text):\n    all = []\n    while True: all.append(bytes(1 << 20))\n", "hello",
		[]string{"MemoryError: memory allocation failed", "at line (handler.py:3)"}},
	{"more than has come", "def data(c, b):\n    return 99\n", "hello",
		[]string{"data of 127.0.0.1:", "data answers how many bytes it has consumed, 0 to 6, or None for all of them"}},
	{"a dial that is not allowed", "async def line(c, text):\n    await dial('tcp://10.0.0.1:1')\n", "hello",
		[]string{"line of 127.0.0.1:", "OSError: dial tcp://10.0.0.1:1: DENIED", "at line (handler.py:2)"}},
}

// imported are files beside each of the scripts.
var imported = map[string]string{
	"circle.py": "from round import y\nx = 1", "round.py": "\nfrom circle import x\ny = 1", "wrong.py": "\n\nx = = 1",
}

func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			// It is CPU time: only the endless ones are stopped, however slow the machine is.
			limit := `event_timeout = "1m"`
			if slices.Contains(m.said, "event_timeout") {
				limit = enginetest.Brief
			}
			toml := scripts.Config(t, enginetest.Handler{Name: "handler", Script: m.script, Files: imported, TOML: limit})
			var said []string
			if m.hears == "" {
				cfg, err := config.Load(hosttest.WriteConfig(t, toml))
				if err != nil {
					t.Fatal(err)
				}
				h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), Engines: hosttest.Engines})
				if err == nil {
					h.Close()
					t.Fatal("it is loaded")
				}
				said = append(said, err.Error())
			} else {
				log := &enginetest.Log{}
				h := hosttest.Serve(t, toml, host.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
				c := enginetest.Dial(t, h, "handler")
				if m.hears == "end" {
					_ = c.CloseWrite()
				} else {
					_, _ = fmt.Fprintln(c, m.hears) // it may have closed already
				}
				enginetest.Gone(t, c)
				c.Close()
				hosttest.Eventually(t, "it is closed and the log says why", func() bool { return h.Stats().Connections == 0 && log.String() != "" })
				for line := range strings.Lines(log.String()) {
					if !strings.Contains(line, `msg="connection closed"`) && !strings.Contains(line, `msg="a handler may not dial"`) {
						said = append(said, line)
					}
				}
			}
			if len(said) != 1 {
				t.Errorf("it is told in %d messages:\n%s", len(said), strings.Join(said, ""))
			}
			for _, part := range m.said {
				// The log quotes what has quotes in it.
				if all := strings.Join(said, ""); !strings.Contains(all, part) && !strings.Contains(all, strings.ReplaceAll(part, `"`, `\"`)) {
					t.Errorf("%q is missing in:\n%s", part, all)
				}
			}
		})
	}
}

// What a script does not catch ends its connection with a cause of its own, and is counted.
func TestFailures(t *testing.T) { scripts.Failures(t) }

// A handler that consumes nothing of all that there is room for is told of, once.
func TestNothingIsConsumed(t *testing.T) { scripts.Stuck(t) }

// Each send is a message over WebSocket, whoever does not read; what is known of the connection is
// told.
func TestMessages(t *testing.T) { scripts.Messages(t) }
