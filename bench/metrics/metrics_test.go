package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"bulkhead/bench/internal/daemon"
	"bulkhead/bench/internal/proc"
)

// TestMain is also the daemon, the compiler and the load generator, since those are this program
// started again.
func TestMain(m *testing.M) {
	if daemon.Again() || len(os.Args) == 2 && os.Args[1] == "load" {
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
	if err := run([]string{"-rounds", "1", "-duration", "1500ms", "-tenants", "3", "-connections", "4", "-plugin", "../../examples/echo/echo.wasm"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 tenants, 4 connections", "left alone: ", "scraped each second: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "; 0 scrapes") {
		t.Errorf("nobody has scraped:\n%s", &out)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-tenants", "0"}, {"-connections", "0"}, {"-duration", "1ms"}, {"-plugin", "nowhere.wasm"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q pass", args)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		all         []float64
		least, most float64
	}{
		{[]float64{3}, 3, 3},
		{[]float64{2, 1}, 1, 2},
		{[]float64{9, 1, 3, 2}, 2, 3},
		{[]float64{8, 7, 6, 5, 4, 3, 2, 1}, 3, 6},
	} {
		if least, most := middle(c.all); least != c.least || most != c.most {
			t.Errorf("of %v they are %v and %v, want %v and %v", c.all, least, most, c.least, c.most)
		}
	}
}
