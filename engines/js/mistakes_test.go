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

// Each mistake is told in one message, with what it has to say.
func TestMistakesInTypeScript(t *testing.T) {
	for _, m := range mistakesInTypeScript {
		t.Run(m.name, func(t *testing.T) {
			// It is CPU time: only the endless ones are stopped, however slow the machine is.
			limit := `event_timeout = "1m"`
			if slices.Contains(m.said, "event_timeout") {
				limit = enginetest.Brief
			}
			toml := inTypeScript.Config(t, enginetest.Handler{Name: "handler", Script: m.script, TOML: limit})
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
