package host_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/health"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// trapsAtData is a plugin that traps when it is spoken to.
func trapsAtData() *w.Module {
	m, _ := w.Handler()
	m.Func("csa_data", "ii:i", "", w.Unreachable)
	return m
}

// guarded is a reload that is watched.
type guarded struct {
	report host.Report
	err    error
}

// watch begins a guarded reload.
func (l *lives) watch(ctx context.Context, cfg *config.Config, d time.Duration) chan guarded {
	done := make(chan guarded, 1)
	go func() {
		r, err := l.h.ReloadGuarded(ctx, cfg, d)
		done <- guarded{r, err}
	}()
	return done
}

// mustLoad is load where nothing is wrong.
func (l *lives) mustLoad(toml string) *config.Config {
	l.t.Helper()
	cfg, err := l.load(toml)
	if err != nil {
		l.t.Fatal(err)
	}
	return cfg
}

// converse has so many connections come to the listener, say something and go.
func (l *lives) converse(n int, want string) {
	l.t.Helper()
	for range n {
		c := l.dial("it")
		l.ask(c, want)
		c.Close()
	}
}

// A watched reload of handlers that trap is rolled back, with the figures; one
// of handlers that are well stays; one that nobody has come to stays, and is not judged.
func TestReloadGuarded(t *testing.T) {
	clock := &selector.Manual{}
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes(), "traps.wasm": trapsAtData().Bytes(), "starts.wasm": trapsAtStart().Bytes()}
	of := func(plugin string) string {
		return acme + listenerOf("it", plugin, "idle_timeout = \"720h\"\nlifetime = \"8760h\"\nold_for = \"720h\"") + listenerOf("other", "a.wasm", "")
	}
	l := newLives(t, files, of("a.wasm"), host.Options{Clock: clock})
	l.converse(30, "a0")
	old := l.dial("it")
	l.ask(old, "a0")
	// end moves the clock on until the watch is over.
	end := func(done chan guarded) (g guarded) {
		t.Helper()
		hosttest.Eventually(t, "the watch is over", func() bool {
			clock.Advance(5 * time.Minute)
			select {
			case g = <-done:
				return true
			default:
				return false
			}
		})
		return g
	}
	// serves waits until the listener's new connections have a plugin.
	serves := func(plugin string) {
		t.Helper()
		hosttest.Eventually(t, plugin+" serves", func() bool {
			changes, err := l.plan(of(plugin))
			return err == nil && !slices.ContainsFunc(changes, func(c host.Change) bool { return c.What != host.Same })
		})
	}

	done := l.watch(t.Context(), l.mustLoad(of("traps.wasm")), time.Hour)
	serves("traps.wasm")
	for range 3 {
		c := l.dial("it")
		hosttest.Say(t, c, "?")
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	}
	g := end(done)
	var worse *host.WorseError
	if !errors.As(g.err, &worse) || !g.report.RolledBack || worse.NotBack != nil || len(worse.Listeners) != 1 || len(g.report.Listeners) != 1 {
		t.Fatalf("a reload whose handlers trap: %+v, %v", g.report, g.err)
	}
	if c := worse.Listeners[0]; c.Listener != "it" || c.New.Traps < 1 || c.New.Connections < c.New.Traps || c.Old.Connections < 31 || c.Old.Traps != 0 {
		t.Errorf("the figures are %+v", c)
	}
	l.converse(1, "a0")
	l.ask(old, "a1")

	done = l.watch(t.Context(), l.mustLoad(of("b.wasm")), time.Hour)
	serves("b.wasm")
	l.converse(20, "b0")
	if g := end(done); g.err != nil || g.report.RolledBack || g.report.Watched < time.Hour || len(g.report.Listeners) != 1 || g.report.Listeners[0].Verdict != health.TooFew {
		t.Errorf("a reload of handlers that are well, after a generation that had one connection: %+v, %v", g.report, g.err)
	}
	done = l.watch(t.Context(), l.mustLoad(of("a.wasm")), time.Hour)
	serves("a.wasm")
	l.converse(20, "a0")
	if g := end(done); g.err != nil || g.report.Listeners[0].Verdict != health.Good {
		t.Errorf("a reload of handlers that are well: %+v, %v", g.report, g.err)
	}

	// Who does not wait any more leaves what is there, unless it is known to be worse.
	ctx, cancel := context.WithCancel(t.Context())
	done = l.watch(ctx, l.mustLoad(of("b.wasm")), time.Hour)
	serves("b.wasm")
	cancel()
	if g := <-done; !errors.Is(g.err, context.Canceled) || g.report.RolledBack {
		t.Errorf("nobody waits for the watch any more: %+v, %v", g.report, g.err)
	}
	l.converse(1, "b0")

	// Another reload is made at once, and nothing is judged.
	done = l.watch(t.Context(), l.mustLoad(of("traps.wasm")), time.Hour)
	serves("traps.wasm")
	l.mustReload(of("a.wasm"))
	if g := end(done); g.err == nil || g.report.RolledBack {
		t.Errorf("another reload was made meanwhile: %+v, %v", g.report, g.err)
	}
	l.converse(1, "a0")

	// A reload that changes nothing has nothing to watch, and one that fails is the error of
	// Reload.
	if g := <-l.watch(t.Context(), l.mustLoad(of("a.wasm")), time.Hour); g.err != nil || len(g.report.Listeners) != 0 {
		t.Errorf("a reload that changes nothing: %+v, %v", g.report, g.err)
	}
	if g := <-l.watch(t.Context(), l.mustLoad(of("starts.wasm")), time.Hour); g.err == nil || !strings.Contains(g.err.Error(), "starts.wasm") {
		t.Errorf("a reload that fails: %+v, %v", g.report, g.err)
	}
}

// A watch finds what is worse at its next look, which comes within a second however long it is: the
// clock moves by far less here than the hours after which a fiftieth of the watch is over.
func TestReloadGuardedLooksEachSecond(t *testing.T) {
	clock := &selector.Manual{}
	of := func(plugin string) string {
		return acme + listenerOf("it", plugin, "idle_timeout = \"720h\"\nlifetime = \"0s\"\nold_for = \"720h\"")
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "traps.wasm": trapsAtData().Bytes()}, of("a.wasm"), host.Options{Clock: clock})
	l.converse(100, "a0")
	done := l.watch(t.Context(), l.mustLoad(of("traps.wasm")), 700*time.Hour)
	hosttest.Eventually(t, "the new handlers have trapped", func() bool {
		c := l.dial("it")
		defer c.Close()
		hosttest.Say(t, c, "?")
		_, _ = c.Read(make([]byte, 2)) // the old handlers answer, the new ones trap
		for _, one := range l.h.Stats().Listeners {
			if one.Name == "it" && one.Traps > 0 {
				return true
			}
		}
		return false
	})
	var g guarded
	hosttest.Eventually(t, "the watch is over", func() bool {
		clock.Advance(time.Second)
		select {
		case g = <-done:
			return true
		default:
			return false
		}
	})
	var worse *host.WorseError
	if !errors.As(g.err, &worse) || !g.report.RolledBack || g.report.Watched >= 14*time.Hour {
		t.Errorf("after %v of the watch: %+v, %v", g.report.Watched, g.report, g.err)
	}
	l.converse(1, "a0")
}
