package main

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"bulkhead/bench/internal/proc"
)

// TestMain is also the daemon and the hog, since those are this program started again.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && (os.Args[1] == "daemon" || os.Args[1] == "hog") {
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
	if err := run([]string{"-echo", "../../examples/echo/echo.wasm", "-rounds", "1", "-duration", "50ms", "-warmup", "10ms", "-spinners", "2"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		if !strings.Contains(out.String(), "| "+l.name) {
			t.Errorf("%s is not in\n%s", l.name, &out)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-spinners", "0"}, {"more"}, {"-cpu", "2"}, {"-cpu", "NaN"}, {"-echo", "nowhere.wasm"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	bounds := []float64{0, 1, 2, 4, math.Inf(1)}
	for _, c := range []struct {
		counts []uint64
		q      float64
		want   time.Duration
	}{
		{[]uint64{0, 0, 0, 0}, 0.5, 0},
		{[]uint64{98, 0, 2, 0}, 0.5, time.Second},
		{[]uint64{98, 0, 2, 0}, 0.99, 4 * time.Second},
		{[]uint64{1, 0, 0, 1}, 1, 4 * time.Second},
	} {
		if got := quantile(c.counts, bounds, c.q); got != c.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.counts, c.q, got, c.want)
		}
	}
}
