package host_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// endings are connections, and the order in which they end.
type endings struct {
	mu    sync.Mutex
	order []int
	all   sync.WaitGroup
}

// watch notes when a connection ends.
func (e *endings) watch(i int, c net.Conn) {
	e.all.Go(func() {
		_, _ = io.Copy(io.Discard, c)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.order = append(e.order, i)
	})
}

// ended is how many connections have ended by a cause.
func (l *lives) ended(cause csa.Cause) int {
	return int(l.h.Stats().Listeners[0].Ended[cause.Info().Name])
}

// settles waits until so many have ended by a cause, and wants no more.
func (l *lives) settles(cause csa.Cause, want int) {
	l.t.Helper()
	hosttest.Eventually(l.t, fmt.Sprintf("%d connections have ended by %s", want, cause.Info().Name), func() bool { return l.ended(cause) >= want })
	if n := l.ended(cause); n != want {
		l.t.Fatalf("%d connections have ended by %s, want %d", n, cause.Info().Name, want)
	}
}

// The connections of a generation that may not go on are closed evenly over drain, in no order of
// theirs: when old_for is over, and when there are more generations than may be.
func TestReloadClosesEvenly(t *testing.T) {
	const connections = 40 // 20 a loop
	for _, cause := range []csa.Cause{csa.OldFor, csa.Generations} {
		t.Run(cause.Info().Name, func(t *testing.T) {
			clock := &selector.Manual{}
			log := hosttest.NewLines(t)
			files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}
			of := func(plugin, old string, generations int) string {
				return "drain = \"100s\"\n" + acme + listenerOf("it", plugin, fmt.Sprintf("idle_timeout = \"720h\"\nfirst_byte_timeout = \"0s\"\nold_for = %q\ngenerations = %d", old, generations))
			}
			l := newLives(t, files, of("a.wasm", "1h", 2), host.Options{Clock: clock, Log: log.Log()})
			hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
			var old endings
			for i := range connections {
				c := l.dial("it")
				l.ask(c, "a0")
				old.watch(i, c)
			}
			l.mustReload(of("b.wasm", "1h", 2))
			next := l.dial("it")
			l.ask(next, "b0")
			switch cause {
			case csa.OldFor:
				clock.Advance(time.Hour - time.Millisecond)
				if n := l.ended(cause); n != 0 {
					t.Fatalf("%d have ended before their time", n)
				}
				clock.Advance(time.Millisecond)
			case csa.Generations:
				l.write("b.wasm", tally('B').Bytes())
				l.mustReload(of("b.wasm", "1h", 2))
			}
			for gone := range 10 {
				// They are the first of each loop, and then one in five seconds.
				l.settles(cause, 2*(gone*2+1))
				clock.Advance(10 * time.Second)
			}
			l.settles(cause, connections)
			old.all.Wait()
			if slices.IsSorted(old.order) {
				t.Errorf("they are closed in the order in which they came: %v", old.order)
			}
			log.Wait("key="+cause.Info().Key, "cause="+cause.Info().Name, "connection closed")
			hosttest.Eventually(t, "what they had is given back", func() bool { return l.h.Stats().RetiredGenerations <= 1 })
			if cause == csa.Generations {
				l.ask(next, "b1") // of the generation before, which is one of two
				l.mustReload(of("b.wasm", "1h", 1))
				hosttest.HearEnd(t, next)
				l.settles(cause, connections+1)
			} else {
				l.ask(next, "b1")
			}
		})
	}
}

// Reloads that follow each other do not pile up generations: the oldest goes, and the others go on.
func TestReloadGenerations(t *testing.T) {
	clock := &selector.Manual{}
	of := func(plugin string) string { return acme + listenerOf("it", plugin, "idle_timeout = \"720h\"") }
	files := make(map[string][]byte)
	for n := range 8 {
		files[fmt.Sprintf("%d.wasm", n)] = tally(byte('a' + n)).Bytes()
	}
	l := newLives(t, files, of("0.wasm"), host.Options{Clock: clock})
	var all []net.Conn
	for n := range 8 {
		if n > 0 {
			l.mustReload(of(fmt.Sprintf("%d.wasm", n)))
		}
		c := l.dial("it")
		l.ask(c, fmt.Sprintf("%c0", 'a'+n))
		if all = append(all, c); n >= 3 { // the default
			hosttest.HearEnd(t, all[n-3])
		}
		for i := max(0, n-2); i < n; i++ {
			l.ask(all[i], fmt.Sprintf("%c%d", 'a'+i, n-i))
		}
	}
	hosttest.Eventually(t, "two are left of those before", func() bool { return l.h.Stats().RetiredGenerations == 2 && l.h.LoadedModules() == 3 })
	if n := l.ended(csa.Generations); n != 5 {
		t.Errorf("%d connections have ended for that, want 5", n)
	}
}

// Reloads that come faster than the connections of earlier generations are closed do not pile these
// up: each that begins to be closed halves the time of those before it.
func TestReloadsFasterThanDrain(t *testing.T) {
	// 1 + generations + log2(100 s / 1 ms), and some that end meanwhile.
	const reloads, most = 40, 24
	clock := &selector.Manual{}
	of := func(plugin string) string {
		return "drain = \"100s\"\n" + acme + listenerOf("it", plugin, "idle_timeout = \"720h\"\nfirst_byte_timeout = \"0s\"\ngenerations = 2")
	}
	files := map[string][]byte{"0.wasm": tally('a').Bytes(), "1.wasm": tally('b').Bytes()}
	l := newLives(t, files, of("0.wasm"), host.Options{Clock: clock})
	hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
	reached := 0
	for n := range reloads {
		for range 24 {
			l.ask(l.dial("it"), string(rune('a'+n%2))+"0")
		}
		l.mustReload(of(fmt.Sprintf("%d.wasm", (n+1)%2)))
		reached = max(reached, l.h.Stats().RetiredGenerations)
		hosttest.Eventually(t, "there are not too many generations", func() bool { return l.h.Stats().RetiredGenerations <= most })
	}
	if reached < 10 {
		t.Errorf("there were only %d retired generations, which is no test", reached)
	}
	clock.Advance(100 * time.Second)
	hosttest.Eventually(t, "all but the last are closed", func() bool { return l.h.Stats().RetiredGenerations == 1 })
	if open := l.h.Stats().Connections; open != 24 {
		t.Errorf("%d connections are open, want 24", open)
	}
}
