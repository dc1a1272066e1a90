package host_test

import (
	"slices"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	"bulkhead/selector"
)

// tenantCase changes one key of the tenant. before and after are values in TOML.
type tenantCase struct {
	before, after string
	limit         int64   // that it has afterwards, as its account says; 0: it has no account, or a share of one
	rate          float64 // that it has afterwards; 0: it is no rate
	do            func(l *lives)
	see           func(l *lives)
}

// one connects, asks, and wants to be answered by a new instance.
func one(l *lives) {
	l.t.Helper()
	l.ask(l.dial("it"), "a0")
}

var tenantCases = map[string]tenantCase{
	"memory":        {before: `"256MiB"`, after: `"128MiB"`, limit: 128 << 20},
	"cpu":           {before: "1", after: "0.5", rate: 0.5},
	"mappings":      {before: "2000", after: "3000", limit: 3000},
	"socket_memory": {before: `"256MiB"`, after: `"64MiB"`, see: one},
	"timers":        {before: "1000", after: "77", limit: 77},
	"log_lines":     {before: "200", after: "7", rate: 7},
	"log_bytes":     {before: `"128KiB/s"`, after: `"64KiB/s"`, rate: 64 << 10},
	"accept_rate":   {before: "100000", after: "200000", rate: 200000},
	"bandwidth":     {before: `"64MiB/s"`, after: `"1MiB/s"`, rate: 1 << 20},
	"dials":         {before: "64", after: "7", limit: 7},
	"handshakes":    {before: "1000", after: "77", limit: 77},
	"upstreams":     {before: "1000", after: "77", limit: 77},
	"connections": {before: "2", after: "3", limit: 3, do: func(l *lives) {
		one(l)
		third := l.dial("it")
		hosttest.Say(l.t, third, "?")
		waits(l.t, third)
	}, see: func(l *lives) {
		hosttest.Eventually(l.t, "who waited is there", func() bool { return l.h.Stats().Connections == 3 })
	}},
	"instances": {before: "2", after: "3", limit: 3, do: one, see: one},
	"connect": {before: `[]`, after: `["localhost:*"]`, do: func(l *lives) {
		dialsTo(l, "?")
	}, see: func(l *lives) {
		dialsTo(l, "!")
	}},
}

// dialsTo has a handler dial, and wants its answer to begin so: "?" where it may not, and "!" where
// nobody listens.
func dialsTo(l *lives, want string) {
	l.t.Helper()
	c := l.dial("dials")
	hosttest.Say(l.t, c, "tcp://localhost:1")
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil || string(b) != want {
		l.t.Errorf("who dials is told %q, %v; not %q", b, err, want)
	}
}

// Each key of a tenant that changes in place does, through a reload: a connection that was there
// before goes on with its instance, no generation is made, and the accounts have the new value. A
// key without a case fails.
func TestReloadOfTenantInPlace(t *testing.T) {
	files := map[string][]byte{"a.wasm": tally('a').Bytes(), "dials.wasm": dialler(false).Bytes()}
	keys := config.KeysThat(config.InPlace)["[tenant.NAME]"]
	for key := range tenantCases {
		if !slices.Contains(keys, key) {
			t.Errorf("%s does not change in place", key)
		}
	}
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			c, ok := tenantCases[key]
			if !ok {
				t.Fatal("it changes in place, and has no case here")
			}
			of := func(value string) string {
				file := "[tenant.acme]\n" + key + " = " + value + "\n"
				if key != "accept_rate" {
					file += "accept_rate = 100000\n"
				}
				more := "idle_timeout = \"720h\"\nfirst_byte_timeout = \"0s\"\nlifetime = \"0s\""
				return file + listenerOf("it", "a.wasm", more) + listenerOf("dials", "dials.wasm", more)
			}
			l := newLives(t, files, of(c.before), host.Options{Clock: &selector.Manual{}})
			hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
			old := l.dial("it")
			l.ask(old, "a0")
			if c.do != nil {
				c.do(l)
			}
			l.mustReload(of(c.after))
			l.ask(old, "a1")
			if n := l.h.Stats().RetiredGenerations; n != 0 {
				t.Errorf("%d generations are retired", n)
			}
			now := l.h.Status().Tenants[0]
			if got := now.Limits[key].Limit; c.limit != 0 && got != c.limit {
				t.Errorf("the limit is %d, not %d", got, c.limit)
			}
			if got := now.Rates[key]; c.rate != 0 && got != c.rate {
				t.Errorf("the rate is %v, not %v", got, c.rate)
			}
			if c.limit == 0 && c.rate == 0 && c.see == nil {
				t.Error("nothing is looked at")
			}
			if c.see != nil {
				c.see(l)
			}
			l.ask(old, "a2")
			changes, err := l.plan(of(c.after))
			if err != nil || slices.ContainsFunc(changes, func(c host.Change) bool { return c.What != host.Same }) {
				t.Errorf("it is not in force: %v, %v", changes, err)
			}
		})
	}
}
