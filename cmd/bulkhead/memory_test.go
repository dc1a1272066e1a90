package main

import (
	"bytes"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"

	"bulkhead/host/shares"
)

// Go's heap has the limit that the plan leaves, unless GOMEMLIMIT says another.
func TestLimitMemory(t *testing.T) {
	const gib = 1 << 30
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	fits := shares.MemoryPlan{Tenants: 2, Budgets: 2 * gib, Have: 16 * gib, Source: "MemTotal", Heap: 13 * gib}
	tight := shares.MemoryPlan{Tenants: 2, Budgets: 20 * gib, Have: 16 * gib, Source: "memory.max", Heap: 4 * gib}
	for _, test := range []struct {
		plan  shares.MemoryPlan
		given string
		want  int64
		says  []string
	}{
		{fits, "", 13 * gib, []string{"level=INFO", "tenants=2", "budgets=2GiB", "have=16GiB", "source=MemTotal", "heap_limit=13GiB"}},
		{fits, "3GiB", before, []string{"level=INFO", "GOMEMLIMIT=3GiB"}},
		{fits, "off", before, []string{"GOMEMLIMIT=off"}},
		{tight, "", 4 * gib, []string{"level=WARN", "budgets=20GiB", "have=16GiB", "source=memory.max", "lower memory in [tenant.NAME]", "heap_limit=4GiB"}},
		{shares.MemoryPlan{Tenants: 1, Budgets: gib}, "", before, []string{"level=INFO", "budgets=1GiB"}},
	} {
		debug.SetMemoryLimit(before)
		var log bytes.Buffer
		limitMemory(test.plan, test.given, slog.New(slog.NewTextHandler(&log, nil)))
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("%+v, GOMEMLIMIT %q: the limit is %d, not %d", test.plan, test.given, got, test.want)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 {
			t.Errorf("%d lines: %s", lines, &log)
		}
		for _, want := range test.says {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q does not have %q", &log, want)
			}
		}
	}
}
