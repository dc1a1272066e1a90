package play

import (
	"os"
	"path/filepath"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// module writes a handler in WebAssembly.
func module(t *testing.T, m *w.Module) Handler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.wasm")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return Handler{Plugin: path}
}

// ignoresShortSends is an echo that does not look at what send returns.
func ignoresShortSends() *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop, w.LocalGet(1))
	return m
}

// answers answers each end of a line with an answer of 40 bytes, which it sends as the inbox has
// room. atEOF is what it says then, before it has sent all; -1: it waits for that.
func answers(atEOF int32) *w.Module {
	const answer = "a rather long answer of forty bytes is\r\n"
	const at = 100
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"control", "ii:i"})
	send, control := f[0], f[1]
	m.Data(at, answer)
	left := m.Global('i', true, w.I32Const(0))  // of the answer
	ended := m.Global('i', true, w.I32Const(0)) // the peer has
	over := w.If(w.Cat(w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop))
	flush := w.Cat( // local 1 is free
		w.LocalGet(0), w.I32Const(at+int32(len(answer))), w.GlobalGet(left), w.I32Sub, w.GlobalGet(left), w.Call(send), w.LocalTee(1),
		w.I32Const(0), w.I32GtS, w.If(w.GlobalGet(left), w.LocalGet(1), w.I32Sub, w.GlobalSet(left)),
		w.GlobalGet(left), w.I32Eqz, w.GlobalGet(ended), w.I32And, over)
	m.Func("csa_writable", "i:", "i", flush)
	answerIt := m.Func("answer", "i:", "i", w.Cat(w.I32Const(int32(len(answer))), w.GlobalSet(left)), flush)
	m.Func("csa_data", "ii:i", "",
		w.I32Const(w.WindowAt-1), w.LocalGet(1), w.I32Add, w.I32Load8U(0), w.I32Const('\n'), w.I32Eq,
		w.If(w.LocalGet(0), w.Call(answerIt)), w.LocalGet(1))
	if atEOF >= 0 {
		m.Func("csa_eof", "i:", "", w.LocalGet(0), w.I32Const(atEOF), w.Call(control), w.Drop)
	} else {
		m.Func("csa_eof", "i:", "", w.I32Const(1), w.GlobalSet(ended), w.GlobalGet(left), w.I32Eqz, over)
	}
	return m
}

const asked = "== asks once\n> hello\n< a rather long answer of forty bytes is\n"

// Faults that a handler has, though the conversation as written goes well and was not written to
// find them, are found by the ways in which it is played.
func TestVariantsFindFaults(t *testing.T) {
	shared := func(h Handler) Handler { h.Instance = "listener"; return h }
	for _, c := range []struct {
		name    string
		handler Handler
		text    string
		way     string // which finds the fault; "": there is none
	}{
		{"an event is taken for a message", script(t, `
export default { data(c, b) { c.send(text(b).trim() === "PING" ? "+PONG\r\n" : "-ERR\r\n") } };`),
			"== a\n> PING\n< +PONG\n", "byte by byte"},

		{"what waits is taken for sent", script(t, `
export default { line(c, t) { for (const word of t.split(" ")) if (!c.send(word + "\r\n")) break } };`),
			"== a\n> red green blue\n< red\n< green\n< blue\n", "with short sends"},
		{"what waits is dropped at the half-close", script(t, `
export default { line(c, t) { c.send("you have said: " + t + "\r\n") }, eof(c) { c.abort() } };`),
			"== a\n> hello\n< you have said: hello\n", "ended at once"},
		{"a short send is ignored", module(t, ignoresShortSends()), "== a\n> hello\n< hello\n> a\n< a\n", "with short sends"},
		{"bytes are lost at the half-close", module(t, answers(0)), asked, "ended at once"},
		{"bytes are dropped at the half-close", module(t, answers(1)), asked + "\n>EOF\n<EOF\n", "ended at once"},
		{"all is sent before the end", module(t, answers(-1)), asked + ">EOF\n<EOF\nclosed OK\n", ""},

		{"what one connection says is another's", shared(script(t, `
let last = "";
export default { line(c, t) { c.send(last + "|" + t + "\r\n"); last = t } };`)),
			"== a\n> one\n< |one\n> two\n< one|two\n", "beside other clients"},
		{"a name is another's", shared(script(t, `
let name = null;
export default {
  open(c) { name = null },
  line(c, t) { if (name === null) { name = t; c.send("hello " + t + "\r\n") } else c.send(name + ": " + t + "\r\n") },
};`)), "== a\n> Ada\n< hello Ada\n\n> hi\n< Ada: hi\n", "beside other clients"},
		{"half a line is another's", shared(script(t, `
let half = "";
export default { data(c, b) { half += text(b); const all = half.split("\n"); half = all.pop(); for (const one of all) c.send(one + "\n") } };`)),
			"== a\n> hello\n< hello\n", "beside other clients"},
		{"each has its own", shared(script(t, `
const names = new Map();
export default { line(c, t) { c.send((names.get(c) ?? "-") + t + "\r\n"); names.set(c, t) } };`)),
			"== a\n> one\n< -one\n> two\n< onetwo\n", ""},
		{"random bytes are drawn", shared(script(t, `
export default { line(c, t) { c.send(`+"`${t} ${randomBytes(2).join()}\\r\\n`"+`) } };`)),
			"== a\n> one\n< one 108,87\n> two\n< two 196,169\n", ""},
		{"it is shared on purpose", shared(script(t, `
let n = 0;
export default { line(c, t) { c.send(++n + "\r\n") } };`)), "== a\nalone\n> one\n< 1\n> two\n< 2\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			way, cause, mend := "", "", ""
			for _, r := range reports(t, c.handler, c.text, Variants(1)...) {
				if r.Failure != nil && way == "" {
					way, cause, mend = r.Variant.Name, r.Variant.Cause, r.Variant.Mend
					t.Logf("line %d: %s; got %q", r.Failure.Line, r.Failure.What, r.Failure.Got)
				}
			}
			if way != c.way {
				t.Errorf("it fails first %q, want %q", way, c.way)
			}
			if way != "" && (cause == "" || mend == "") {
				t.Errorf("%s tells neither cause nor mend", way)
			}
		})
	}
}

// What may change how a conversation goes is not tried.
func TestSuits(t *testing.T) {
	for _, c := range []struct {
		text, instance string
		ended, beside  bool
	}{
		{"> a\n< b\n", "listener", true, true},
		{"> a\n< b\n", "loop", true, true},
		{"> a\n< b\n", "", true, false},
		{"alone\n> a\n< b\n", "loop", true, false},
		{"< a\n", "loop", false, false},
		{"> a\nwait 1s\n< b\n", "loop", false, true},
		{"wait 1s\n> a\n< b\n>EOF\n<EOF\n", "loop", true, true},
		{"> a\nb> b\n", "loop", false, true},
		{"> a\ndial tcp://x:1 as x\n", "loop", false, false},
		{"> a\nsecured\n< b\n", "loop", false, false},
		{"> a\nsecured\n> b\n", "", true, false},
		{"> a\n>RST\n", "", false, false},
	} {
		conversation := parsed(t, "== a\n"+c.text)
		for _, v := range Variants(1) {
			want := v.ended && c.ended || v.beside && c.beside || v.anew && c.instance == "" || !v.ended && !v.beside && !v.anew
			if got := v.Suits(Handler{Instance: c.instance}, conversation); got != want {
				t.Errorf("%q, %s, in instance %q: %v, want %v", c.text, v.Name, c.instance, got, want)
			}
		}
	}
}
