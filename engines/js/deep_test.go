package js_test

import (
	"testing"

	"bulkhead/engines/internal/enginetest"
)

// What is too deep is an error with its line. Of a recursion the line has one round, so that it has
// room for who began it.
func TestTooDeep(t *testing.T) {
	script := func(body string) string { return "export default { line(c, text) {\n" + body + "\n} };" }
	const said = "InternalError: stack overflow"
	scripts.TooDeep(t, []enginetest.Deep{
		{"a function", script("const f = () => f() + 1; f();"), said + ", at f (FILE:2:", ", ... ", " more, at line (FILE:2:"},
		{"two functions", script("const f = () => g() + 1,\n g = () => f() + 1; f();"), said + ", at ", ", ... ", " more, at ", "at line (FILE:3:"},
		{"a getter", script("const o = { get x() { return o.x; } }; o.x;"), said, "(FILE:2:"},
		{"a text of an object", script("const o = { toString: () => `${o}` }; `${o}`;"), said, "at toString (FILE:2:"},
		{"a function that sorts", script("const f = () => [2, 1].sort(f); f();"), said, "at f (FILE:2:", ", ... "},
		{"JSON of arrays", script("let a = []; for (let i = 0; i < 20000; i++) a = [a]; JSON.stringify(a);"), said, "at line (FILE:2:"},
		{"a proxy", script("const p = new Proxy({}, { get: (t, n) => p[n] }); p.x;"), said, "at get (FILE:2:"},
		{"an async function", script("const f = async () => { await f(); }; return f();"), said, "at f (FILE:2:"},
	})
}
