package health

import (
	"math"
	"testing"

	"bulkhead/csa"
)

// A new generation is worse when what it has of faults is no chance, and not judged when nothing
// could have been told of so few connections.
func TestJudge(t *testing.T) {
	of := func(connections, faults int64) Health { return Health{Connections: connections, Traps: faults} }
	for _, c := range []struct {
		old, now Health
		want     Verdict
	}{
		{of(0, 0), of(100, 100), TooFew}, // nothing to compare with
		{of(1000, 0), of(0, 0), TooFew},
		{of(10, 0), of(1, 1), TooFew},
		{of(1000, 0), of(1, 1), Worse}, // one in a thousand by chance
		{of(100, 0), of(1, 1), Worse},
		{of(50, 0), of(1, 1), TooFew},
		{of(50, 0), of(1, 0), TooFew},
		{of(50, 0), of(2, 1), Good}, // two of two would have told
		{of(1000, 0), of(1000, 0), Good},
		{of(1000, 0), of(1000, 3), Good},
		{of(1000, 0), of(1000, 7), Worse},
		{of(1000, 1000), of(1000, 1000), Good},
		{of(1000, 10), of(100, 1), Good},
		{of(1000, 10), of(100, 9), Worse},
		{of(1000, 100), of(100, 0), Good},
		{of(1e9, 1e6), of(1e8, 1e5), Good},
		{of(1e9, 1e6), of(1e8, 2e5), Worse},
		{of(10, 0), of(10, 1e6), Worse}, // more than one a connection
		{Health{Connections: 100}, Health{10, 1, 1, 1, 1}, Worse},
	} {
		if got := judge(c.old, c.now); got != c.want {
			t.Errorf("%v, and before %v: %s, want %s", c.now, c.old, got, c.want)
		}
	}
	for _, c := range []struct {
		n, k    int64
		p, want float64
	}{{10, 0, 0.5, 1}, {10, 10, 0.5, 1.0 / 1024}, {10, 9, 0.5, 11.0 / 1024}, {4, 2, 0.5, 11.0 / 16}, {1, 1, 0.3, 0.3}, {0, 1, 0.3, 0}} {
		if got := tail(c.n, c.k, c.p); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d or more of %d with %v: %v, want %v", c.k, c.n, c.p, got, c.want)
		}
	}
}

// What is counted of a generation is what it is compared by.
func TestCounts(t *testing.T) {
	var c Counts
	for range 5 {
		c.Came()
	}
	c.Trapped()
	c.Stopped()
	c.Stopped()
	for range 3 {
		c.Failed()
	}
	for cause := range csa.Cause(csa.Causes) {
		c.Ended(cause) // two of them say that the handler would not
	}
	if got, want := c.Health(), (Health{Connections: 5, Traps: 1, LimitStops: 2, Errors: 3, Refusals: 2}); got != want {
		t.Errorf("it has counted %v, want %v", got, want)
	}
	found := Compare("echo", Health{Connections: 100}, c.Health())
	if want := `listener "echo" is worse: 1 traps, 2 limit stops, 3 errors and 2 refusals in 5 connections; before 0 traps, 0 limit stops, 0 errors and 0 refusals in 100 connections`; found.String() != want {
		t.Errorf("it says %q, want %q", found, want)
	}
}
