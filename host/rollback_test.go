package host_test

import (
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// A rollback serves what was before, also when its files have been overwritten or removed since,
// and when no generation has its plugins any more; everybody goes on.
func TestRollback(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes(), "o.wasm": tally('o').Bytes()}
	first := "[tenant.acme]\naccept_rate = 1000\n" + listenerOf("it", "a.wasm", "") + listenerOf("file", "b.wasm", "") + listenerOf("other", "o.wasm", "") + listenerOf("gone", "o.wasm", "")
	second := "[tenant.acme]\naccept_rate = 2000\n" + listenerOf("it", "c.wasm", "") + listenerOf("file", "b.wasm", "") + listenerOf("other", "o.wasm", "") + listenerOf("more", "o.wasm", "")
	for _, gone := range []bool{false, true} {
		l := newLives(t, files, first, host.Options{})
		nothing := func() {
			t.Helper()
			if err := l.h.Rollback(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to go back to") {
				t.Errorf("there is nothing to go back to, and the error is: %v", err)
			}
		}
		nothing()
		it, other := l.dial("it"), l.dial("other")
		l.ask(it, "a0")
		l.ask(other, "o0")
		if gone {
			it.Close()
		}
		l.write("b.wasm", tally('B').Bytes())
		l.write("c.wasm", tally('c').Bytes())
		l.write("a.wasm", tally('X').Bytes())
		l.mustReload(second)
		l.mustReload(second) // which changes nothing, and is no step to go back
		newer := l.dial("it")
		l.ask(newer, "c0")
		l.ask(l.dial("file"), "B0")
		more := l.dial("more")
		l.ask(more, "o0")
		if gone {
			hosttest.Eventually(t, "what was retired is over", func() bool { return l.h.Stats().RetiredGenerations == 0 })
		}
		if err := l.h.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.ask(l.dial("it"), "a0")
		l.ask(l.dial("file"), "b0")
		l.ask(l.dial("gone"), "o0")
		if l.h.Addr("more") != "" {
			t.Error("a listener is there that was not before")
		}
		l.ask(newer, "c1")
		l.ask(more, "o1")
		l.ask(other, "o1")
		if !gone {
			l.ask(it, "a1")
		}
		nothing()
		// A reload has the files again, as they are.
		l.mustReload(first)
		l.ask(l.dial("it"), "X0")
		l.ask(l.dial("file"), "B0")
		l.ask(newer, "c2")
		if err := l.h.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.ask(l.dial("it"), "a0")
		for name, content := range files {
			l.write(name, content)
		}
	}
}
