package js_test

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

// mistake is what an author does wrong: a script that cannot be loaded, or one that does wrong when
// it hears something. It is told in one message, which has all of these parts: where, what, and
// what to do about it where the language does not say.
type mistake struct {
	name, script string
	hears        string // from the client; "end": the end of the stream
	said         []string
}

var mistakes = []mistake{
	{"a syntax error", "export default {\n  line(c text) {} };", "",
		[]string{"SyntaxError", "handler.js:2:"}},
	{"no export", "const x = 1;", "",
		[]string{"handler.js", "the script has no handler; write: export default { line(c, text)"}},
	{"a misspelt function", "export default {\n onLine() {} };", "",
		[]string{"none of the functions that are called: start, open, data, line,", "at onLine (handler.js:2:"}},
	{"no function", "const x = 1;\nexport default { line: x };", "",
		[]string{"line of the handler is not a function", "at export default (handler.js:2:1)"}},
	{"two readers", "export default { data() {},\n line() {} };", "",
		[]string{"a handler has one of data, line and frame, and this one has 2", "at line (handler.js:2:"}},
	{"frames of no length", "export default {\n frame() {} };", "",
		[]string{"a handler with frame needs frameLength, as { bytes: 2 }", "at frame (handler.js:2:"}},
	{"a limit that is none", "export default { lineLimit: '9',\n line() {} };", "",
		[]string{"lineLimit is a whole number, 1 to 65534", "at line (handler.js:2:"}},
	{"an error while it is loaded", "\n\nundefined.x; export default { line() {} };", "",
		[]string{"cannot read property 'x' of undefined", "handler.js:3:"}},
	{"an error in start", "export default { line() {}, start(config) {\n throw new Error('no port') } };", "",
		[]string{"Error: no port", "handler.js:2:"}},
	{"a wait while it is loaded", "await new Promise(() => {}); export default { line() {} };", "",
		[]string{"handler.js", "awaits something while it is loaded, which nothing can end"}},
	{"a timeout while it is loaded", "\nsetTimeout(() => {}, 1); export default { line() {} };", "",
		[]string{"handler.js:2:", "no timeouts before the first connection: the script is loaded once"}},

	{"an error in open", "export default {\n open(c) { c.x.y = 1 } };", "hello",
		[]string{"open of 127.0.0.1:", "cannot set property 'y' of undefined", "handler.js:2:"}},
	{"a misspelt variable", "export default { line(c, text) {\n c.send(txt) } };", "hello",
		[]string{"line of 127.0.0.1:", "'txt' is not defined", "handler.js:2:"}},
	{"a misspelt method", "export default { line(c, text) {\n c.sned(text) } };", "hello",
		[]string{"line of 127.0.0.1:", "not a function", "handler.js:2:"}},
	{"a number that is sent", "export default { line(c, text) {\n c.send(text.length) } };", "hello",
		[]string{"handler.js:2:", "send takes text, a Uint8Array or an ArrayBuffer, and was given a number; JSON.stringify or String make text of it"}},
	{"an object that is sent", "export default { line(c, text) {\n c.send({ text }) } };", "hello",
		[]string{"handler.js:2:", "and was given an object; JSON.stringify or String make text of it"}},
	{"an error in eof", "export default {\n data() {}, eof(c) { null.x } };", "end",
		[]string{"eof of 127.0.0.1:", "handler.js:2:"}},
	{"an error in timer", "export default { open(c) { c.timer(1, 1) },\n timer() { null.x } };", "hello",
		[]string{"timer of 127.0.0.1:", "handler.js:2:"}},
	{"an error in closed", "export default { line(c) { c.close() },\n closed() { null.x } };", "hello",
		[]string{"closed of 127.0.0.1:", "handler.js:2:"}},
	{"an error in a timeout", "export default { line() {\n setTimeout(() => null.x, 1) } };", "hello",
		[]string{"setTimeout of 127.0.0.1:", "handler.js:2:"}},
	{"a rejection that nobody handles", "export default { line() {\n Promise.reject(new Error('lost')) } };", "hello",
		[]string{"a promise that nobody handles of 127.0.0.1:", "Error: lost", "handler.js:2:"}},
	{"an error behind await", "export default { async line() { await sleep(1);\n null.x } };", "hello",
		[]string{"line of 127.0.0.1:", "handler.js:2:"}},
	{"a text that is thrown", "export default { line() { throw 'no' } };", "hello",
		[]string{"line of 127.0.0.1:", "no was thrown, which is no Error and has no line"}},
	{"an endless loop", "export default { line() {\n for (let i = 0; ; i++) ; } };", "hello",
		[]string{"event_timeout", "at line (handler.js:2:"}},
	{"an endless regular expression", "export default { line() {\n /^(a+)+$/.test('a'.repeat(40) + 'b') } };", "hello",
		[]string{"event_timeout", "at line (handler.js:2:"}},
	{"an endless recursion", "export default { line() {\n const f = () => f() + 1; f() } };", "hello",
		[]string{"stack overflow", "handler.js:2:"}},
	{"all of the memory", "const all = []; export default { line() {\n for (;;) all.push(new Uint8Array(1 << 20)) } };", "hello",
		[]string{"out of memory"}},
	{"more than has come", "export default { data(c, b) {\n return 99 } };", "hello",
		[]string{"data of 127.0.0.1:", "data answers how many bytes it has consumed, 0 to 6, or nothing for all of them; it answered 99"}},
	{"a dial that nobody waits for", "export default { async line(c) {\n await dial('tcp://10.0.0.1:1') } };", "hello",
		[]string{"line of 127.0.0.1:", "DENIED"}},
}

// mistakesInTypeScript are told with the lines of the file in TypeScript, which has more of them
// than the script that runs: types are not in that.
var mistakesInTypeScript = []mistake{
	{"a syntax error", "type T = {\n  a: string,\n};\nexport default {\n  line(c: any text: string) {} };", "",
		[]string{`handler.ts:5:15: Expected ")" but found "text"`}},
	{"an import of a missing file", "type T = {\n  a: string,\n};\nimport { a } from './none.ts';\nexport default { line() { a() } };", "",
		[]string{`handler.ts:4:19: import of "./none.ts": there is no such file; write its path from this file`}},
	{"an import of a name that is not there", "import { a } from './handler.ts';\nexport default { line() { a() } };", "",
		[]string{`handler.ts:1:10: No matching export in "handler.ts" for import "a"`}},
	{"a module of Node", "\nimport { readFile } from 'node:fs';\nexport default { line() { readFile() } };", "",
		[]string{`handler.ts:2:26: import of "node:fs": it comes with Node, and a handler has none of it`}},
	{"no export", "type T = {\n  a: string,\n};\nconst x: T = { a: '' };", "",
		[]string{"handler.ts exports no handler; write, for example: export default { line(c, text)"}},
	{"another export", "type T = {\n  a: string,\n};\nexport const x: T = { a: '' };", "",
		[]string{"handler.ts", "the script has no handler; write: export default { line(c, text)"}},
	{"an error while it is loaded", "type T = {\n  a: string,\n};\nconst t = undefined as any as T;\nt.a.length; export default { line() {} };", "",
		[]string{"cannot read property 'a' of undefined", "handler.ts:5:"}},
	{"an error in start", "type T = {\n  a: string,\n};\nexport default { line() {}, start(config: T) {\n throw new Error('no port') } };", "",
		[]string{"Error: no port", "at start (handler.ts:5:"}},
	{"an error in line", "type T = {\n  a: string,\n};\nexport default { line(c: any, text: string) {\n const t: T | null = null; t!.a.length } };", "hello",
		[]string{"line of 127.0.0.1:", "cannot read property 'a' of null", "at line (handler.ts:5:"}},
	{"an error in a timeout", "type T = {\n  a: string,\n};\nexport default { line() {\n setTimeout(() => { (null as any).a }, 1) } };", "hello",
		[]string{"setTimeout of 127.0.0.1:", "handler.ts:5:"}},
	{"a rejection that nobody handles", "type T = {\n  a: string,\n};\nexport default { line() {\n Promise.reject(new Error('lost')) } };", "hello",
		[]string{"a promise that nobody handles of 127.0.0.1:", "Error: lost", "at line (handler.ts:5:"}},
	{"an error behind await", "type T = {\n  a: string,\n};\nexport default { async line() { await sleep(1);\n (null as any).a } };", "hello",
		[]string{"line of 127.0.0.1:", "at line (handler.ts:5:"}},
	{"an endless loop", "type T = {\n  a: string,\n};\nexport default { line() {\n for (let i: number = 0; ; i++) ; } };", "hello",
		[]string{"event_timeout", "at line (handler.ts:5:"}},
	{"an endless recursion", "type T = {\n  a: string,\n};\nexport default { line() {\n const f = (): number => f() + 1; f() } };", "hello",
		[]string{"stack overflow", "at f (handler.ts:5:"}},
	{"a number that is sent", "type T = {\n  a: string,\n};\nexport default { line(c: any, text: string) {\n c.send(text.length) } };", "hello",
		[]string{"handler.ts:5:", "send takes text, a Uint8Array or an ArrayBuffer, and was given a number"}},
}

func TestMistakes(t *testing.T) { tellMistakes(t, &scripts, mistakes) }

func TestMistakesInTypeScript(t *testing.T) {
	tellMistakes(t, &inTypeScript, mistakesInTypeScript)
}

// tellMistakes checks that each mistake is told in one message, with what it has to say.
func tellMistakes(t *testing.T, scripts *enginetest.Language, mistakes []mistake) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			// It is CPU time: only the endless ones are stopped, however slow the machine is.
			limit := `event_timeout = "1m"`
			if slices.Contains(m.said, "event_timeout") {
				limit = enginetest.Brief
			}
			toml := scripts.Config(t, enginetest.Handler{Name: "handler", Script: m.script, TOML: limit})
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
				h := hosttest.Serve(t, toml, host.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))})
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
					said = append(said, line)
				}
			}
			if len(said) != 1 {
				t.Errorf("it is told in %d messages:\n%s", len(said), strings.Join(said, ""))
			}
			for _, part := range m.said {
				if !strings.Contains(strings.Join(said, ""), part) {
					t.Errorf("%q is missing in:\n%s", part, strings.Join(said, ""))
				}
			}
		})
	}
}
