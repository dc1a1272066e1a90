package host_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/rollback"
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

// A host that is made later of the same file goes back, also when the plugins' files and the file
// itself hold something else by then; one of another file does not, and after that there is nothing
// to go back to.
func TestRollbackAfterRestart(t *testing.T) {
	dir := t.TempDir()
	of := func(plugin, more string) string {
		return acme + listenerOf("it", plugin, "") + listenerOf("other", "o.wasm", "") + more
	}
	state := filepath.Join(t.TempDir(), "state") // which no test of another process writes to
	// life serves what the file says until what is done with it is done.
	life := func(name, toml string, do func(l *lives)) {
		t.Run(name, func(t *testing.T) {
			l := &lives{t: t, dir: dir, state: state}
			cfg := l.mustLoad(toml)
			l.h = hosttest.ServeConfig(t, cfg, host.Options{}, runtime.NumGoroutine())
			<-l.h.Serving()
			do(l)
		})
	}
	nothing := func(l *lives) {
		l.t.Helper()
		if err := l.h.Rollback(l.t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to go back to") {
			l.t.Errorf("there is nothing to go back to, and the error is: %v", err)
		}
	}
	files := &lives{t: t, dir: dir}
	for name, letter := range map[string]byte{"a.wasm": 'a', "b.wasm": 'b', "o.wasm": 'o'} {
		files.write(name, tally(letter).Bytes())
	}
	gone := listenerOf("gone", "o.wasm", "")
	life("first", of("a.wasm", gone), func(l *lives) {
		nothing(l)
		l.mustReload(of("b.wasm", ""))
		l.ask(l.dial("it"), "b0")
	})
	files.write("a.wasm", tally('X').Bytes())
	life("restarted", of("b.wasm", ""), func(l *lives) {
		l.ask(l.dial("it"), "b0")
		if err := l.h.Rollback(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
		l.ask(l.dial("it"), "a0")
		l.ask(l.dial("gone"), "o0")
		l.ask(l.dial("other"), "o0")
		nothing(l)
	})
	life("after a rollback", of("b.wasm", ""), func(l *lives) {
		nothing(l)
		l.mustReload(of("a.wasm", ""))
		l.ask(l.dial("it"), "X0")
	})
	own := dir
	dir = t.TempDir()
	for name, letter := range map[string]byte{"a.wasm": 'a', "o.wasm": 'o'} {
		(&lives{t: t, dir: dir}).write(name, tally(letter).Bytes())
	}
	life("another file", of("a.wasm", ""), nothing)
	dir = own
	// A file that others may read is not taken.
	path := filepath.Join(state, rollback.FileName)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	life("a file that is open to others", of("a.wasm", ""), nothing)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	life("at last", of("a.wasm", ""), func(l *lives) {
		if err := l.h.Rollback(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
		l.ask(l.dial("it"), "b0")
	})
}
