package tenant

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/egress"
	"bulkhead/host/stats"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// pools are large ones.
func newPools(t *testing.T) Pools {
	t.Helper()
	all := cores.New(cores.Options{})
	t.Cleanup(all.Stop)
	return Pools{Cores: all, Mappings: budget.NewPool(1000, 1), Handshakes: budget.NewPool(10, 1), Pipes: budget.NewPool(10, 1), Lookups: egress.Share(nil, 0)}
}

func newTenant(t *testing.T, change func(*config.Tenant)) *Tenant {
	t.Helper()
	c := config.DefaultTenant("acme")
	change(&c)
	one, err := New(c, newPools(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// mustSet has the tenant be configured otherwise.
func mustSet(t *testing.T, one *Tenant, change func(*config.Tenant)) {
	t.Helper()
	c := *one.Config()
	change(&c)
	l, err := one.Limits(c)
	if err != nil {
		t.Fatal(err)
	}
	l.Set(0)
}

// figures are a tenant's.
func figures(one *Tenant) *stats.Tenant {
	var st stats.Tenant
	one.FillStats(&st, false)
	return &st
}

// takes is how many times take succeeds, up to a hundred.
func takes(take func() bool) (n int) {
	for n < 100 && take() {
		n++
	}
	return n
}

// Each limit bounds its account, and a lower or higher one does from when it is set; what is taken
// beyond a lower one stays taken.
func TestLimitsBoundTheirAccounts(t *testing.T) {
	for key, one := range map[string]struct {
		limit func(*config.Tenant, int)
		take  func(*Tenant) bool
		free  func(*Tenant)
	}{
		"memory": {func(c *config.Tenant, n int) { c.Memory = int64(n) },
			func(t *Tenant) bool { return t.Reserve(1) }, func(t *Tenant) { t.Release(1) }},
		"connections": {func(c *config.Tenant, n int) { c.Connections = n },
			func(t *Tenant) bool { return t.Connections.Take() }, func(t *Tenant) { t.Connections.Release() }},
		"dials": {func(c *config.Tenant, n int) { c.Dials, c.Upstreams = n, 1000 },
			(*Tenant).TakeDial, func(t *Tenant) { t.ReleaseDial(); t.ReleaseUpstream() }},
		"upstreams": {func(c *config.Tenant, n int) { c.Dials, c.Upstreams = 1000, n },
			(*Tenant).TakeDial, func(t *Tenant) { t.ReleaseDial(); t.ReleaseUpstream() }},
		"timers": {func(c *config.Tenant, n int) { c.Timers = n },
			(*Tenant).ReserveTimer, func(t *Tenant) { t.ReleaseTimers(1) }},
		"mappings": {func(c *config.Tenant, n int) { c.Mappings = n },
			func(t *Tenant) bool { return mappings{t.mappings}.ReserveMappings(1) }, func(t *Tenant) { mappings{t.mappings}.ReleaseMappings(1) }},
		"handshakes": {func(c *config.Tenant, n int) { c.Handshakes = n },
			func(t *Tenant) bool { return handshakePlaces{t.handshaking}.TakeHandshake() }, func(t *Tenant) { handshakePlaces{t.handshaking}.ReturnHandshake() }},
	} {
		t.Run(key, func(t *testing.T) {
			acme := newTenant(t, func(c *config.Tenant) { one.limit(c, 3) })
			take := func() bool { return one.take(acme) }
			if n := takes(take); n != 3 {
				t.Fatalf("with 3, %d are had", n)
			}
			mustSet(t, acme, func(c *config.Tenant) { one.limit(c, 5) })
			if n := takes(take); n != 2 {
				t.Fatalf("with 5 and 3 taken, %d are had", n)
			}
			mustSet(t, acme, func(c *config.Tenant) { one.limit(c, 1) })
			if n := takes(take); n != 0 {
				t.Fatalf("with 1 and 5 taken, %d are had", n)
			}
			if err := acme.Close(); err == nil || !strings.Contains(err.Error(), `tenant "acme" still holds 5 `) {
				t.Errorf("closing it says %v", err)
			}
			for range 5 {
				one.free(acme)
			}
			if held := acme.Held(); len(held) > 0 {
				t.Errorf("it holds %v when all is given back", held)
			}
			if err := acme.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A dial that finds no place for its connection takes none of the places of those under way.
func TestADialTakesBothOrNeither(t *testing.T) {
	acme := newTenant(t, func(c *config.Tenant) { c.Dials, c.Upstreams = 2, 1 })
	if !acme.TakeDial() {
		t.Fatal("the first has no place")
	}
	for range 5 {
		if acme.TakeDial() {
			t.Fatal("the second has one")
		}
	}
	if held, want := acme.Held(), []string{"1 dials", "1 upstreams"}; !slices.Equal(held, want) {
		t.Errorf("it holds %q, want %q", held, want)
	}
	var st stats.Tenant
	acme.FillStats(&st, false)
	if st.DialsRefused != 0 || st.UpstreamsRefused != 5 {
		t.Errorf("%d dials and %d upstreams were refused, want 0 and 5", st.DialsRefused, st.UpstreamsRefused)
	}
	mustSet(t, acme, func(c *config.Tenant) { c.Dials, c.Upstreams = 1, 9 })
	if acme.TakeDial() {
		t.Fatal("the second has a place")
	}
	if acme.FillStats(&st, false); st.DialsRefused != 1 || st.UpstreamsRefused != 5 {
		t.Errorf("then %d dials and %d upstreams were refused, want 1 and 5", st.DialsRefused, st.UpstreamsRefused)
	}
}

// Bandwidth and accepts are rates, each way by itself.
func TestRates(t *testing.T) {
	acme := newTenant(t, func(c *config.Tenant) { c.Bandwidth, c.AcceptRate = 1000, 1 })
	now := int64(time.Hour)
	if wait := acme.Received(10_000, now); wait <= 0 {
		t.Error("ten seconds' bytes from peers are no reason to wait")
	}
	if wait := acme.Sent(1, now); wait > 0 {
		t.Errorf("what comes from peers has those to them wait for %v", time.Duration(wait))
	}
	acme.Accepts.Spend(100, now)
	if acme.Accepts.Spend(0, now) <= 0 {
		t.Error("a hundred accepts are no reason to wait")
	}
	c := *acme.Config()
	c.Bandwidth, c.AcceptRate = 1<<40, 1e9
	l, err := acme.Limits(c)
	if err != nil {
		t.Fatal(err)
	}
	l.Set(now)
	now += int64(time.Millisecond)
	if wait := acme.Received(1, now); wait > 0 {
		t.Errorf("with bandwidth for all of it, the wait is %v", time.Duration(wait))
	}
	if wait := acme.Accepts.Spend(0, now); wait > 0 {
		t.Errorf("with a rate for all of them, the wait is %v", time.Duration(wait))
	}
}

// A connect list that cannot be read is an error of New and of Limits, and changes nothing.
func TestConnectList(t *testing.T) {
	bad := config.DefaultTenant("acme")
	bad.Connect = []string{"no such thing::"}
	if _, err := New(bad, newPools(t), nil); err == nil || !strings.Contains(err.Error(), `tenant "acme": connect: `) {
		t.Errorf("it is made: %v", err)
	}
	acme := newTenant(t, func(*config.Tenant) {})
	before := acme.Policy()
	if _, err := acme.Limits(bad); err == nil || !strings.Contains(err.Error(), `tenant "acme": connect: `) {
		t.Errorf("it is configured so: %v", err)
	}
	if acme.Policy() != before {
		t.Error("whom it may dial has changed")
	}
	mustSet(t, acme, func(c *config.Tenant) { c.Connect = []string{"127.0.0.1:*"} })
	if acme.Policy() == before {
		t.Error("whom it may dial has not changed")
	}
}

// TLS with each server goes by the server's own name.
func TestClientTLS(t *testing.T) {
	acme := newTenant(t, func(*config.Tenant) {})
	a, b := acme.ClientTLS("a.example"), acme.ClientTLS("b.example")
	if a.ServerName != "a.example" || b.ServerName != "b.example" {
		t.Errorf("the servers' names are %q and %q", a.ServerName, b.ServerName)
	}
	if a.ClientSessionCache == nil || a.ClientSessionCache != b.ClientSessionCache {
		t.Error("they do not share the sessions to resume")
	}
}

// A folder is on the tenant's memory until it is released, and one that has no room there says so.
func TestFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a"), make([]byte, 50_000), 0o600); err != nil {
		t.Fatal(err)
	}
	l := config.DefaultListener()
	l.Folder = folder
	acme := newTenant(t, func(c *config.Tenant) { c.Memory = 90_000 })
	if f, err := acme.ReadFolder(&l); f != nil || err != nil {
		t.Errorf("handlers of events have a folder: %v, %v", f, err)
	}
	l.Shape = "stdio"
	f, err := acme.ReadFolder(&l)
	if err != nil {
		t.Fatal(err)
	}
	if used := figures(acme).Memory; used < 50_000 || used != f.Size() {
		t.Errorf("%d bytes are charged for a folder of %d", used, f.Size())
	}
	if _, err := acme.ReadFolder(&l); err == nil || !strings.Contains(err.Error(), "the tenant's memory (memory) has no room for them") {
		t.Errorf("a second one: %v", err)
	}
	acme.ReleaseFolder(f)
	acme.ReleaseFolder(nil)
	if held := acme.Held(); len(held) > 0 {
		t.Errorf("it holds %v", held)
	}
	l.Folder = filepath.Join(folder, "none")
	if _, err := acme.ReadFolder(&l); err == nil || !strings.HasPrefix(err.Error(), "folder: ") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// The runtime goes by the tenant's limits, also by those that were set while it was made, and
// writes to the tenant's log.
func TestRuntimeGoesByTheLimits(t *testing.T) {
	if err := plugins.CanExecute(); err != nil {
		t.Skip(err)
	}
	acme := newTenant(t, func(c *config.Tenant) { c.LogLines, c.LogBytes = 1, 1000 })
	acme.AskAgain() // there is nothing to ask
	acme.EndLog()
	clock := &selector.Manual{}
	clock.Advance(time.Hour)
	var text bytes.Buffer
	r := acme.NewRuntime(plugins.RuntimeOptions{Clock: clock}, slog.New(slog.NewTextHandler(&text, nil)))
	defer func() {
		r.Close()
		<-r.Done()
		if err := acme.Close(); err != nil {
			t.Error(err)
		}
	}()
	if acme.runtime.Load() != r || acme.log.Load() == nil {
		t.Error("the runtime, or its log, is not the tenant's")
	}
	mustSet(t, acme, func(c *config.Tenant) { c.LogLines, c.Instances = 1000, 3 })
	if st := Status(figures(acme)); st.Limits["instances"].Limit != 3 || st.Rates["log_lines"] != 1000 {
		t.Errorf("its status has %+v and %v", st.Limits["instances"], st.Rates)
	}
	acme.AskAgain()
}
