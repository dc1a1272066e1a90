// Package health tells whether new handlers do worse than those before them: it counts what goes
// wrong, and says whether a difference may be chance.
package health

import (
	"fmt"
	"math"
	"sync/atomic"

	"bulkhead/csa"
)

// Counts are what says whether the handlers of one listener, or route, are well. The zero value has
// counted nothing. Any goroutine may use it.
type Counts struct {
	connections, traps, stops, errors, refusals atomic.Int64
}

// Came counts a connection that has come, or a peer of UDP.
func (c *Counts) Came() { c.connections.Add(1) }

// Trapped counts a handler that has trapped.
func (c *Counts) Trapped() { c.traps.Add(1) }

// Stopped counts a handler that a limit has stopped.
func (c *Counts) Stopped() { c.stops.Add(1) }

// Failed counts an error that a handler did not deal with.
func (c *Counts) Failed() { c.errors.Add(1) }

// Ended counts a connection that has ended, if its handler did not start, or has refused it.
func (c *Counts) Ended(cause csa.Cause) {
	if cause == csa.HandlerRefused || cause == csa.NotStarted {
		c.refusals.Add(1)
	}
}

// Health is the counts as they are now.
func (c *Counts) Health() Health {
	return Health{c.connections.Load(), c.traps.Load(), c.stops.Load(), c.errors.Load(), c.refusals.Load()}
}

// Health is how the handlers of a listener, or of a route, have done in one generation.
type Health struct {
	// Connections have come. Those of UDP are peers.
	Connections int64 `json:"connections"`
	// Traps are handlers that trapped, LimitStops those that a limit has stopped, Errors those that
	// handlers did not deal with, and Refusals connections that their handler refused, or that had
	// none because it did not start.
	Traps      int64 `json:"traps"`
	LimitStops int64 `json:"limit_stops"`
	Errors     int64 `json:"errors"`
	Refusals   int64 `json:"refusals"`
}

func (h Health) faults() int64 { return h.Traps + h.LimitStops + h.Errors + h.Refusals }

// String is the counts, in words.
func (h Health) String() string {
	return fmt.Sprintf("%d traps, %d limit stops, %d errors and %d refusals in %d connections", h.Traps, h.LimitStops, h.Errors, h.Refusals, h.Connections)
}

// Verdict is what a guarded reload finds of one listener, or route.
type Verdict string

// Verdicts.
const (
	// Good: the new handlers are not worse than the old ones were.
	Good Verdict = "good"
	// Worse: they trap, are stopped or refuse more often a connection, and that is no chance.
	Worse Verdict = "worse"
	// TooFew: so few connections have come that a fault in each, and none before, might be chance.
	TooFew Verdict = "too few connections"
)

// Comparison is a listener, or route, that has a new generation, with the old one's figures beside.
type Comparison struct {
	Listener string  `json:"listener"`
	Verdict  Verdict `json:"verdict"`
	// Old is since that generation began, and New since the reload.
	Old Health `json:"old"`
	New Health `json:"new"`
}

// String is the verdict, with the figures.
func (c Comparison) String() string {
	return fmt.Sprintf("listener %q is %s: %v; before %v", c.Listener, c.Verdict, c.New, c.Old)
}

// chance is how seldom it has to be that alike handlers have so many faults.
const chance = 0.01

// Compare compares the old handlers of a listener with the new ones.
func Compare(listener string, old, now Health) Comparison {
	return Comparison{Listener: listener, Verdict: judge(old, now), Old: old, New: now}
}

// judge compares faults a connection. If both were alike, each fault would be the new one's with
// the new one's share of the connections: how likely so many of them are is a sum of the
// binomial distribution.
func judge(old, now Health) Verdict {
	if old.Connections <= 0 || now.Connections <= 0 {
		return TooFew
	}
	share := float64(now.Connections) / float64(now.Connections+old.Connections)
	faults := old.faults() + now.faults()
	if tail(faults, now.faults(), share) < chance {
		return Worse
	}
	if tail(now.Connections, now.Connections, share) >= chance {
		return TooFew
	}
	return Good
}

// tail is the probability of k or more of n, where each is with probability p.
func tail(n, k int64, p float64) float64 {
	if k <= 0 {
		return 1
	}
	all, _ := math.Lgamma(float64(n + 1))
	sum := 0.0
	for ; k <= n; k++ {
		in, _ := math.Lgamma(float64(k + 1))
		out, _ := math.Lgamma(float64(n - k + 1))
		term := math.Exp(all - in - out + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		sum += term
		if float64(k) > float64(n)*p && term <= sum*1e-12 { // from here on they only get less
			break
		}
	}
	return min(sum, 1)
}
