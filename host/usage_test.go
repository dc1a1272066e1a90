package host_test

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/billing"
	"bulkhead/host/stats"
	"bulkhead/internal/hosttest"
)

// usages is a host whose tenants' use is recorded, and what clients have counted of it.
type usages struct {
	*lives
	folder string
	r      *billing.Recorder
	in     map[string]int64 // bytes to the host, by tenant
	out    map[string]int64
}

func newUsages(t *testing.T, toml string) *usages {
	u := &usages{folder: filepath.Join(t.TempDir(), billing.Folder), in: make(map[string]int64), out: make(map[string]int64)}
	u.r = billing.New(u.folder, slog.New(slog.DiscardHandler))
	u.r.Set(billing.Settings{Interval: time.Hour, Size: 1 << 20, Keep: 24 * time.Hour})
	u.lives = newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}, toml, host.Options{Usage: u.r})
	return u
}

// record ends an interval, and wants the sums of all to be what the clients have counted.
func (u *usages) record() map[string]*stats.Used {
	u.t.Helper()
	if !u.r.Record(u.t.Context(), u.h) {
		u.t.Fatal("the records are not written")
	}
	sums := make(map[string]*stats.Used)
	found, err := billing.Read(u.folder, billing.Query{}, func(r *billing.Record) error {
		if sums[r.Tenant] == nil {
			sums[r.Tenant] = new(stats.Used)
		}
		sums[r.Tenant].Add(r.Used())
		return nil
	})
	if err != nil || found.Missing+found.Repeated+found.Damaged != 0 {
		u.t.Fatalf("%v, %+v", err, found)
	}
	for tenant, in := range u.in {
		got := sums[tenant]
		if got == nil || got.In != in || got.Out != u.out[tenant] {
			u.t.Errorf("the records of %s say %+v, and its clients have sent %d bytes and got %d", tenant, got, in, u.out[tenant])
		}
	}
	return sums
}

// talk says something n times, and hears the answers.
func (u *usages) talk(c net.Conn, tenant, letter string, from, n int) {
	u.t.Helper()
	for i := range n {
		hosttest.Say(u.t, c, "hello")
		hosttest.Hear(u.t, c, fmt.Sprint(letter, from+i))
		u.in[tenant] += 5
		u.out[tenant] += 2
	}
}

// The records of all intervals add up to the bytes that clients have counted: of open connections,
// over reloads, of listeners and tenants that go, and of a listener that another tenant gets.
func TestUsageAddsUp(t *testing.T) {
	listener := func(name, tenant, plugin string) string {
		return fmt.Sprintf("[[listener]]\nname = %q\ntenant = %q\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n", name, tenant, plugin)
	}
	const acme, beta = "[tenant.acme]\n", "[tenant.beta]\n"
	u := newUsages(t, acme+listener("one", "acme", "a.wasm")+listener("two", "acme", "a.wasm"))
	one := hosttest.Dial(t, u.h.Addr("one"))
	u.talk(one, "acme", "a", 0, 2)
	if got := u.record()["acme"]; got.Connections < 1 || got.Fuel == 0 || got.CPU == 0 {
		t.Errorf("the records say %+v", got)
	}

	// Another generation, while the connection of the one before goes on.
	u.mustReload(acme + listener("one", "acme", "b.wasm") + listener("two", "acme", "a.wasm"))
	newer := hosttest.Dial(t, u.h.Addr("one"))
	two := hosttest.Dial(t, u.h.Addr("two"))
	u.talk(one, "acme", "a", 2, 2)
	u.talk(newer, "acme", "b", 0, 2)
	u.talk(two, "acme", "a", 0, 1)
	u.record()

	// A listener goes, its connection goes on, and is over between two records.
	u.mustReload(acme + listener("one", "acme", "b.wasm"))
	u.talk(two, "acme", "a", 1, 3)
	u.record()
	u.talk(two, "acme", "a", 4, 1)
	two.Close()
	one.Close()
	hosttest.Eventually(t, "the generations before are over", func() bool { return u.h.Stats().RetiredGenerations == 0 })
	u.record()

	// Another tenant gets the listener: what its connections have used before stays the first
	// one's.
	u.mustReload(acme + beta + listener("one", "beta", "b.wasm"))
	moved := hosttest.Dial(t, u.h.Addr("one"))
	u.talk(moved, "beta", "b", 0, 2)
	u.talk(newer, "acme", "b", 2, 2)
	u.record()
	for _, l := range u.h.Stats().Listeners {
		if want := map[string]int64{"beta": 10}[l.Tenant]; !l.Removed && l.Received != want {
			t.Errorf("listener %s of %s has received %d bytes, want %d", l.Name, l.Tenant, l.Received, want)
		}
	}

	// The tenant goes, and is over between two records.
	u.mustReload(beta + listener("one", "beta", "b.wasm"))
	u.talk(newer, "acme", "b", 4, 2)
	newer.Close()
	hosttest.Eventually(t, "the tenant is over", func() bool {
		st := u.h.Stats()
		return len(st.Tenants) == 1 && st.RetiredGenerations == 0
	})
	sums := u.record()
	// And comes back, beginning at nothing.
	u.mustReload(acme + beta + listener("one", "beta", "b.wasm") + listener("three", "acme", "a.wasm"))
	three := hosttest.Dial(t, u.h.Addr("three"))
	u.talk(three, "acme", "a", 0, 1)
	again := u.record()
	if again["acme"].Connections != sums["acme"].Connections+1 || again["acme"].Fuel <= sums["acme"].Fuel {
		t.Errorf("the records of the tenant that has come back say %+v, and before %+v", again["acme"], sums["acme"])
	}
	three.Close()
	moved.Close()
	hosttest.Eventually(t, "all have ended", func() bool { return u.h.Stats().Connections == 0 })
	u.h.Close()
	sums = u.record()
	for _, of := range u.h.Stats().Tenants {
		if of.Name == "beta" && sums["beta"].Fuel != of.Fuel {
			t.Errorf("the records say that beta has used %d units of fuel, and the host %d", sums["beta"].Fuel, of.Fuel)
		}
	}
}

// What embeds a host without records is told of no tenant that is over, and has the figures.
func TestUsageOfEach(t *testing.T) {
	before := runtime.NumGoroutine()
	cfg, native := hosttest.Tenants(t, 1, "", hosttest.NewEcho)
	h := hosttest.ServeConfig(t, cfg, host.Options{Native: native}, before)
	c := hosttest.Dial(t, h.Addr("l0"))
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "hello")
	h.Refresh(t.Context())
	all := h.Usage(nil)
	if len(all) != 1 || all[0].Tenant != "t0" || all[0].Life == 0 || all[0].Open != 1 || all[0].In != 5 || all[0].Out != 5 || all[0].Connections != 1 {
		t.Errorf("the tenants have used %+v", all)
	}
}
