package host_test

import (
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// plan is what a reload of the configuration would do.
func (l *lives) plan(toml string) ([]host.Change, error) {
	l.t.Helper()
	cfg, err := l.load(toml)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.h.Plan(l.t.Context(), cfg)
}

// A plan says of each tenant and listener what a reload would do, as the reload does it then, and
// does nothing.
func TestPlan(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes(), "c.wasm": tally('c').Bytes()}
	old := "[tenant.acme]\naccept_rate = 1000\n[tenant.other]\n[tenant.gone]\n"
	first := old + listenerOf("same", "a.wasm", "") + listenerOf("place", "a.wasm", "") + listenerOf("file", "b.wasm", "") +
		listenerOf("key", "a.wasm", "old_for = \"2h\"") + listenerOf("gone", "a.wasm", "") + strings.Replace(listenerOf("stack", "a.wasm", ""), "acme", "other", 1)
	l := newLives(t, files, first, host.Options{})
	key, gone := l.dial("key"), l.dial("gone")
	l.ask(key, "a0")
	l.ask(gone, "a0")
	l.write("b.wasm", tally('B').Bytes())
	second := "drain = \"7s\"\n[tenant.acme]\naccept_rate = 2000\n[tenant.other]\nstack = \"128KiB\"\n[tenant.more]\n" +
		listenerOf("same", "a.wasm", "") + listenerOf("place", "a.wasm", "old_for = \"3h\"") + listenerOf("file", "b.wasm", "") +
		listenerOf("key", "c.wasm", "idle_timeout = \"1m\"\nold_for = \"3h\"") + strings.Replace(listenerOf("stack", "a.wasm", ""), "acme", "other", 1) + listenerOf("more", "a.wasm", "")
	want := []host.Change{
		{Of: "host", What: host.InPlace, Keys: []string{"drain"}},
		{Of: "tenant", Name: "acme", What: host.InPlace, Keys: []string{"accept_rate"}},
		{Of: "tenant", Name: "more", What: host.Added},
		{Of: "tenant", Name: "other", What: host.NewGeneration, Keys: []string{"stack"}},
		{Of: "tenant", Name: "gone", What: host.Removed},
		{Of: "listener", Name: "same", What: host.Same},
		{Of: "listener", Name: "place", What: host.InPlace, Keys: []string{"old_for"}},
		{Of: "listener", Name: "file", What: host.NewGeneration, Keys: []string{"what b.wasm holds"}, OldFor: time.Hour},
		{Of: "listener", Name: "key", What: host.NewGeneration, Keys: []string{"plugin", "idle_timeout", "old_for"}, Draining: 1, OldFor: 3 * time.Hour},
		{Of: "listener", Name: "stack", What: host.NewGeneration, Keys: []string{"its tenant's stack"}, OldFor: time.Hour},
		{Of: "listener", Name: "more", What: host.Added},
		{Of: "listener", Name: "gone", What: host.Removed, Draining: 1, OldFor: time.Hour},
	}
	hosttest.Eventually(t, "nobody else is connected", func() bool { return l.h.Stats().Connections == 2 })
	for range 2 { // the first does nothing that the second could find
		got, err := l.plan(second)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("the plan has %d lines, want %d: %+v", len(got), len(want), got)
		}
		for i := range want {
			if g, w := got[i], want[i]; g.Of != w.Of || g.Name != w.Name || g.What != w.What || g.Draining != w.Draining || g.OldFor != w.OldFor || !sameFiles(g.Keys, w.Keys) {
				t.Errorf("line %d is %+v, want %+v", i, g, w)
			}
		}
	}
	if st := l.h.Stats(); len(st.Tenants) != 3 || len(st.Listeners) != 6 || st.RetiredGenerations != 0 || l.h.Addr("more") != "" {
		t.Error("something of a plan is in force")
	}
	l.ask(key, "a1")
	l.ask(l.dial("file"), "b0")
	l.mustReload(second)
	after, err := l.plan(second)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range after {
		if c.What != host.Same {
			t.Errorf("after the reload there is to do yet: %+v", c)
		}
	}
	l.ask(key, "a2")
	l.ask(gone, "a1")
	l.ask(l.dial("key"), "c0")
}

// sameFiles compares keys; files are without their folders.
func sameFiles(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if at := strings.LastIndex(got[i], "/"); strings.HasPrefix(got[i], "what ") && at >= 0 {
			got[i] = "what " + got[i][at+1:]
		}
		if got[i] != want[i] {
			return false
		}
	}
	return true
}

// What can be found by reading is found by a plan, too.
func TestPlanFails(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "broken.pem": []byte("-----BEGIN NOTHING-----")}
	good := acme + listenerOf("it", "a.wasm", "send_buffer = \"64KiB\"")
	l := newLives(t, files, good, host.Options{})
	for what, bad := range map[string]struct{ toml, want string }{
		"a host's key":     {strings.Replace(good, "[tenant", "log = \"json\"\n[tenant", 1), "[host] log has changed"},
		"a missing module": {good + listenerOf("bad", "none.wasm", ""), "none.wasm"},
		"a certificate":    {good + listenerOf("bad", "a.wasm", "") + "[listener.tls]\ncert = \"broken.pem\"\nkey = \"broken.pem\"\n", "broken.pem"},
		"a socket's key":   {acme + listenerOf("it", "a.wasm", ""), "send_buffer has changed"},
	} {
		cfg, err := l.load(bad.toml)
		if err == nil {
			_, err = l.h.Plan(t.Context(), cfg)
		}
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v; want %q", what, err, bad.want)
		}
	}
	l.ask(l.dial("it"), "a0")
}
