package host_test

import (
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// listenerStats are those of one listener, when the loops have shown what they count.
func (l *lives) listenerStats(name string) (one host.ListenerStats) {
	l.t.Helper()
	hosttest.Eventually(l.t, "all loops have answered", func() bool { return l.h.Refresh(l.t.Context()) })
	for _, s := range l.h.Stats().Listeners {
		if s.Name == name {
			return s
		}
	}
	l.t.Fatalf("there is no listener %s", name)
	return one
}

// What an open connection moves counts while it is open; and nothing is counted anew when a reload
// removes its listener, or brings it back.
func TestTotalsOfOpenConnections(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes()}
	rest := acme + listenerOf("other", "a.wasm", "")
	l := newLives(t, files, rest+listenerOf("it", "a.wasm", ""), host.Options{})
	c := l.dial("it")
	l.ask(c, "a0")
	before, first := l.listenerStats("it"), l.h.Stats().Generation
	if before.Received == 0 || before.Sent == 0 || before.Active != 1 || before.Accepted != 1 {
		t.Fatalf("with an open connection: %+v", before)
	}
	if n := before.FirstByte.Counts; sum(n[:]) != 1 {
		t.Errorf("the first bytes are %v", n)
	}
	if n := before.Events.Counts; sum(n[:]) < 2 {
		t.Errorf("the events are %v", n)
	}
	for i, toml := range []string{rest, rest + listenerOf("it", "a.wasm", "snapshot = false"), rest, rest + listenerOf("it", "a.wasm", "")} {
		l.mustReload(toml)
		now := l.listenerStats("it")
		if now.Received < before.Received || now.Sent < before.Sent || now.Accepted < before.Accepted || now.Active < 1 || now.Removed != (toml == rest) {
			t.Errorf("after reload %d: %+v, before %+v", i, now, before)
		}
		before = now
		if toml != rest {
			l.ask(l.dial("it"), "a0")
		}
	}
	c.Close()
	hosttest.Eventually(t, "its end has come", func() bool { return l.listenerStats("it").Active == 2 })
	if now := l.listenerStats("it"); now.Received <= before.Received || now.Accepted != 3 || now.Ended["finished"] != 1 {
		t.Errorf("at the end: %+v", now)
	}
	if n := l.h.Stats().Generation; n != first+4 {
		t.Errorf("the configuration is number %d, want %d", n, first+4)
	}
}

func sum(counts []int64) (n int64) {
	for _, one := range counts {
		n += one
	}
	return n
}

// Who asks does not wait longer than a second for a loop that stands still, and is told how late it
// is.
func TestRefreshOfALoopThatStandsStill(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes()}
	l := newLives(t, files, acme+listenerOf("it", "a.wasm", ""), host.Options{})
	free := host.BlockLoop(l.h)
	if l.h.Refresh(t.Context()) {
		t.Error("it has answered")
	}
	longest := l.h.Stats().Loops[0].Lag
	if longest < host.RefreshPatience {
		t.Errorf("its lag is %v", longest)
	}
	if l.h.Refresh(t.Context()) { // which does not wait for it again
		t.Error("it has answered, the second time")
	}
	if now := l.h.Stats().Loops[0].Lag; now < longest {
		t.Errorf("its lag is %v, and was %v", now, longest)
	}
	free()
	hosttest.Eventually(t, "it has answered", func() bool {
		return l.h.Refresh(t.Context()) && l.h.Stats().Loops[0].Lag < longest
	})
}
