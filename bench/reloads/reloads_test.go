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
	if err := run([]string{"-reloads", "20", "-quiet", "100ms", "-tenants", "3", "-connections", "20", "-echo", "../../examples/echo/echo.wasm"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"under reloads", "after 20", "number 3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-reloads", "5"}, {"more"}, {"-tenants", "-1"}, {"-connections", "30000"}, {"-quiet", "0s"}, {"-echo", "nowhere.wasm", "-reloads", "20"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q pass", args)
		}
	}
}
