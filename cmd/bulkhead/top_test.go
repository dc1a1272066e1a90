package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/stats"
)

// topStatus has a tenant "a", and one "b" that has nothing.
func topStatus(cpu, deferred, refused, traps json.Number) admin.Status {
	var st admin.Status
	st.Tenants = []stats.TenantStatus{
		{Name: "b"},
		{
			Name: "a", Rates: map[string]float64{"cpu": 0.5},
			Limits: map[string]stats.Use{"memory": {Used: 1 << 20, Limit: 64 << 20}, "connections": {Used: 3, Limit: 10}, "instances": {Used: 3}},
			Metrics: stats.Metrics{
				"bulkhead_tenant_cpu_seconds_total": cpu, "bulkhead_tenant_events_deferred_total": deferred,
				"bulkhead_tenant_memory_refused_total": refused, "bulkhead_tenant_instances_asleep": "2",
			},
		},
	}
	st.Listeners = []stats.ListenerStatus{{Name: "l", Tenant: "a", Metrics: stats.Metrics{"bulkhead_listener_traps_total": traps}}}
	return st
}

// What a tenant used, waited for and got wrong is of the time between two looks.
func TestTopFrame(t *testing.T) {
	f := newTopFrame(topStatus("1.5", "10", "0", "4"), topStatus("2.5", "17", "1", "6"), time.Now(), 2*time.Second, "cpu")
	a := f.Tenants[0]
	if a.Name != "a" || a.CPU != 0.5 || a.CPULimit != 0.5 || a.Failed != 2 || a.Waits["cpu"] != 7 || a.Waits["memory"] != 1 || len(a.Waits) != 2 || a.Asleep != 2 {
		t.Errorf("it is %+v", a)
	}
	// Another daemon has begun meanwhile: its totals are less.
	f = newTopFrame(topStatus("9", "10", "0", "4"), topStatus("1", "0", "0", "0"), time.Now(), time.Second, "name")
	if a := f.Tenants[0]; a.Name != "a" || a.CPU != 0 || a.Failed != 0 || len(a.Waits) != 0 {
		t.Errorf("beside those of another daemon it is %+v", a)
	}
	var b strings.Builder
	if err := writeTop(&b, topStatus("1", "0", "0", "0"), f, 5, true); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"\x1b[H\x1b[J", "0.00 of 0.50", "1MiB of 64MiB", "3 of 10", "3 other tenants"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// Each limit that a tenant can wait for is known by its key.
func TestTopWaits(t *testing.T) {
	for _, key := range []string{"cpu", "memory", "accept_rate", "bandwidth", "instances", "mappings", "handshakes", "socket_memory", "timers", "log_lines, log_bytes"} {
		found := false
		for _, k := range topWaits {
			found = found || k == key
		}
		if !found {
			t.Errorf("no total is about %s", key)
		}
	}
	if key := topWaits["bulkhead_tenant_cpu_seconds_total"]; key != "" {
		t.Errorf("CPU time itself is taken for a wait for %s", key)
	}
}
