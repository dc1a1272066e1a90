package host_test

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/stats"
	"bulkhead/internal/hosttest"
)

// Status tells of what is in use beside its limit, and of each generation of a listener until it
// ends.
func TestStatus(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes()}
	l := newLives(t, files, acme+listenerOf("it", "a.wasm", "")+listenerOf("goes", "a.wasm", ""), host.Options{})
	it, goes := l.dial("it"), l.dial("goes")
	l.ask(it, "a0")
	l.ask(goes, "a0")
	before := l.h.Status()
	if before.PID == 0 || before.Since.IsZero() || before.InForce.Before(before.Since) || before.Draining || len(before.Tenants) != 1 || len(before.Listeners) != 2 {
		t.Fatalf("the status is %+v", before)
	}
	if u := before.Tenants[0].Limits["connections"]; u != (stats.Use{Used: 2, Limit: 1000}) {
		t.Errorf("the tenant's connections are %+v", u)
	}
	if u := before.Tenants[0].Limits["memory"]; u.Used <= 0 || u.Limit != 256<<20 {
		t.Errorf("the tenant's memory is %+v", u)
	}
	if r := before.Tenants[0].Rates["accept_rate"]; r != 100000 {
		t.Errorf("the tenant's accept_rate is %v", r)
	}
	if len(before.Loops) == 0 || before.Loops[0].LongestEvent <= 0 {
		t.Errorf("the loops are %+v", before.Loops)
	}
	first := before.Listeners[0]
	if first.Name != "it" || first.Tenant != "acme" || first.Address != "tcp://"+l.h.Addr("it") || first.Metrics["bulkhead_listener_instances"] != "1" {
		t.Errorf("the listener is %+v", first)
	}
	if g := first.Generations; len(g) != 1 || g[0].Connections != 1 || g[0].Instances != 1 || g[0].Retired || g[0].Until != nil || g[0].Changed != nil {
		t.Errorf("its generations are %+v", g)
	}

	began := time.Now()
	l.mustReload(acme + listenerOf("it", "a.wasm", "old_for = \"20m\"\nsnapshot = false"))
	l.ask(l.dial("it"), "a0")
	st := l.h.Status()
	if !st.InForce.After(before.InForce) || st.Since != before.Since {
		t.Errorf("the configuration is in force since %v, the one before was since %v", st.InForce, before.InForce)
	}
	if len(st.Listeners) != 2 || st.Listeners[0].Name != "it" || st.Listeners[1].Name != "goes" || !st.Listeners[1].Removed || st.Listeners[0].Removed {
		t.Fatalf("the listeners are %+v", st.Listeners)
	}
	g := st.Listeners[0].Generations
	for _, g := range append(g, st.Listeners[1].Generations...) {
		if g.Memory < 64<<10 || g.Mappings < 2 {
			t.Errorf("generation %d holds %d bytes and %d mappings; it has an instance of 64 KiB at least", g.Number, g.Memory, g.Mappings)
		}
	}
	for _, f := range l.h.Stats().Generations { // as metrics
		i := slices.IndexFunc(st.Listeners, func(one stats.ListenerStatus) bool { return one.Name == f.Listener })
		for _, g := range st.Listeners[i].Generations {
			if g.Number == f.Number && (f.Memory != g.Memory || f.Code != g.Code || f.Mappings != g.Mappings) {
				t.Errorf("the figures are %+v, and the status is %+v", f, g)
			}
		}
	}
	held := g[0].Memory + g[1].Memory + st.Listeners[1].Generations[0].Memory
	if all := st.Tenants[0].Limits["memory"].Used; held > all || held < all/2 {
		t.Errorf("the generations hold %d bytes of the %d of their tenant", held, all)
	}
	if len(g) != 2 || g[0].Retired || !g[1].Retired || !slices.Contains(g[0].Changed, "snapshot") || g[0].Connections != 1 || g[1].Connections != 1 || g[0].Instances != 1 || g[1].Instances != 1 {
		t.Fatalf("the generations are %+v", g)
	}
	if u := g[1].Until; u == nil || u.Before(began.Add(20*time.Minute)) || u.After(time.Now().Add(20*time.Minute)) {
		t.Errorf("the one before may go on until %v", g[1].Until)
	}
	if g := st.Listeners[1].Generations; len(g) != 1 || !g[0].Retired || g[0].Connections != 1 {
		t.Errorf("the generations of the one that was removed are %+v", g)
	}
	text, err := json.Marshal(st)
	var again host.Status
	if err != nil || json.Unmarshal(text, &again) != nil || again.Listeners[0].Metrics["bulkhead_listener_instances"] != "2" {
		t.Errorf("JSON gives %v, %+v", err, again)
	}

	it.Close()
	goes.Close()
	hosttest.Eventually(t, "the earlier generations are over", func() bool {
		st := l.h.Status()
		return len(st.Listeners) == 1 && len(st.Listeners[0].Generations) == 1
	})
}

// A tenant that was removed is told of until its last connection is gone.
func TestStatusOfARemovedTenant(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes()}
	other := "[[listener]]\nname = \"other\"\ntenant = \"guest\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"a.wasm\"\n"
	l := newLives(t, files, acme+"[tenant.guest]\n"+listenerOf("it", "a.wasm", "")+other, host.Options{})
	c := l.dial("other")
	l.ask(c, "a0")
	l.mustReload(acme + listenerOf("it", "a.wasm", ""))
	st := l.h.Status()
	if len(st.Tenants) != 2 || st.Tenants[1].Name != "guest" || !st.Tenants[1].Removed || st.Tenants[1].Limits["connections"].Used != 1 {
		t.Fatalf("the tenants are %+v", st.Tenants)
	}
	c.Close()
	hosttest.Eventually(t, "it is gone", func() bool { return len(l.h.Status().Tenants) == 1 })
}

// BenchmarkStatus asks a host of a thousand tenants with a listener each, and writes the answer as
// JSON.
func BenchmarkStatus(b *testing.B) {
	cfg, native := hosttest.Tenants(b, 1000, "", hosttest.NewEcho)
	h, err := host.New(cfg, host.Options{Native: native, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	bytes := 0
	for b.Loop() {
		text, err := json.Marshal(h.Status())
		if err != nil {
			b.Fatal(err)
		}
		bytes = len(text)
	}
	b.ReportMetric(float64(bytes), "bytes")
}
