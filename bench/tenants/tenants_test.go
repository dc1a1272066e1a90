package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"bulkhead/bench/internal/daemon"
	"bulkhead/bench/internal/proc"
)

// TestMain is also the daemon and the compiler, since those are this program started again.
func TestMain(m *testing.M) {
	if daemon.Again() {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	if _, err := proc.CPU(os.Getpid()); err != nil {
		t.Skip("needs Linux:", err)
	}
	var out bytes.Buffer
	if err := run([]string{"-tenants", "20", "-scripts", "20", "-go", "0", "-rounds", "1", "-rest", "0"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, k := range []kind{small, script} {
		if rows := strings.Count(out.String(), k.name); rows != 2 {
			t.Errorf("it has %d rows of %s:\n%s", rows, k.name, &out)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"more"}, {"-tenants", "5"}, {"-go", "3"}, {"-scripts", "3"}, {"-chat", "nowhere.wasm", "-tenants", "20", "-scripts", "0"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q pass", args)
		}
	}
}
