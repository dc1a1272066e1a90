package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"bulkhead/csa"
	"bulkhead/host/config"
)

// judged are the counts of one server that say whether its handlers are well. Any goroutine may use
// them.
type judged struct {
	connections, traps, stops, refusals atomic.Int64
}

// ended counts a connection that has ended, if its handler did not start, or has refused it.
func (j *judged) ended(cause csa.Cause) {
	if cause == csa.HandlerRefused || cause == csa.NotStarted {
		j.refusals.Add(1)
	}
}

// Health is how the handlers of a listener, or of a route, have done in one generation.
type Health struct {
	// Connections have come. Those of UDP are peers.
	Connections int64 `json:"connections"`
	// Traps are handlers that trapped, LimitStops those that a limit has stopped, and Refusals
	// connections that their handler refused, or that had none because it did not start.
	Traps      int64 `json:"traps"`
	LimitStops int64 `json:"limit_stops"`
	Refusals   int64 `json:"refusals"`
}

func (j *judged) health() Health {
	return Health{j.connections.Load(), j.traps.Load(), j.stops.Load(), j.refusals.Load()}
}

func (h Health) faults() int64 { return h.Traps + h.LimitStops + h.Refusals }

// String is the counts, in words.
func (h Health) String() string {
	return fmt.Sprintf("%d traps, %d limit stops and %d refusals in %d connections", h.Traps, h.LimitStops, h.Refusals, h.Connections)
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

// Report is what a guarded reload has found.
type Report struct {
	// Watched is for how long, by the host's clock. It is less than what was asked for when it
	// was clear before, when nothing was to be compared, and when the watch was broken off.
	Watched time.Duration `json:"watched_ns"`
	// Listeners are those, and those routes, that have a new generation and had one before.
	Listeners []Comparison `json:"listeners"`
	// RolledBack says that the configuration before is in force again.
	RolledBack bool `json:"rolled_back"`
}

// WorseError says that a guarded reload has found new handlers worse than the old ones.
type WorseError struct {
	// Listeners are those that are worse.
	Listeners []Comparison
	// NotBack is why the configuration before is not in force again; nil: it is.
	NotBack error
}

// Error is the figures, and which configuration is in force.
func (e *WorseError) Error() string {
	var said []string
	for _, c := range e.Listeners {
		said = append(said, c.String())
	}
	end := "; the configuration before is in force again"
	if e.NotBack != nil {
		end = "; and the new configuration stays in force: " + e.NotBack.Error()
	}
	return "the new handlers are worse than those before: " + strings.Join(said, "; ") + end
}

// Unwrap is NotBack.
func (e *WorseError) Unwrap() error { return e.NotBack }

// errReloadedMeanwhile is why a watch has no end.
var errReloadedMeanwhile = errors.New("watching a reload: another reload, or a rollback, has been made meanwhile; nothing is judged")

// watchSteps is how often a watch looks.
const watchSteps = 20

// ReloadGuarded reloads as Reload does, watches the new generations for so long by the host's clock,
// and rolls back as soon as one is worse than the generation that it has replaced: when its
// handlers trap, are stopped by a limit or refuse more often a connection than the others did
// since they began. More often means that there would be so many faults by chance less than once in
// a hundred times, if both were alike. Where so few have come to either that this could not be said
// if each of the new one's had a fault, and none of the old one's, the verdict is TooFew, and the
// new generation stays. One new connection is enough beside 100 old ones, and 7 are beside 7; beside
// none there are never enough.
// A listener that is added has nothing to be compared with.
//
// The error is a *WorseError with the figures when one is worse; what Reload's is when that fails;
// or says why the watch had no end: ctx was done, the host stops, or another reload was made, which
// a watch does not hold up. Then the new configuration stays unless it is known to be worse. With
// no time to watch, or less, it is Reload.
func (h *Host) ReloadGuarded(ctx context.Context, cfg *config.Config, watch time.Duration) (Report, error) {
	if err := complete(cfg); err != nil {
		return Report{}, err
	}
	done, err := h.takeTurn(ctx)
	if err != nil {
		return Report{}, err
	}
	p, err := h.plan(cfg, nil)
	if err == nil {
		err = p.carryOut(ctx)
	}
	in := h.now.Load().config
	done()
	if err != nil {
		return Report{}, err
	}
	g := p.guard()
	begun := h.clock.Now()
	for err == nil && len(g) > 0 {
		left := watch - time.Duration(h.clock.Now()-begun)
		if left <= 0 || len(g.worse()) > 0 {
			break
		}
		next, stop := h.after(min(left, max(watch/watchSteps, time.Millisecond)))
		select {
		case <-next:
		case <-ctx.Done():
			err = fmt.Errorf("watching a reload: the new configuration is in force, and was watched for %v of %v: %w", time.Duration(h.clock.Now()-begun), watch, context.Cause(ctx))
		case <-h.abort:
			err = errStopping
		case <-h.closed:
			err = errStopping
		}
		stop()
		if now := h.now.Load(); now.config != in {
			err = errReloadedMeanwhile
		}
	}
	report := Report{Watched: time.Duration(h.clock.Now() - begun), Listeners: g.compare()}
	worse := g.worse()
	if len(worse) == 0 || errors.Is(err, errReloadedMeanwhile) || errors.Is(err, errStopping) {
		return report, err
	}
	back := h.backFrom(ctx, in)
	report.RolledBack = back == nil
	err = &WorseError{worse, back}
	h.log.Error("a reload was watched", "error", err)
	return report, err
}

// backFrom rolls back, if the configuration is in force yet.
func (h *Host) backFrom(ctx context.Context, from *config.Config) error {
	done, err := h.takeTurn(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer done()
	if h.now.Load().config != from {
		return errReloadedMeanwhile
	}
	return h.goBack(context.WithoutCancel(ctx))
}

// guard is what is compared: new servers with those that they have replaced.
type guard []guarded

type guarded struct {
	now    *server
	before Health // of the old one, when it was replaced
}

func (p *plan) guard() (g guard) {
	old := make(map[string]*server)
	for _, r := range p.replaced {
		for _, s := range r.servers {
			old[s.config.Name] = s
		}
	}
	for _, made := range p.made {
		for _, s := range made.servers {
			if o := old[s.config.Name]; o != nil {
				g = append(g, guarded{now: s, before: o.since.health()})
			}
		}
	}
	return g
}

func (g guard) compare() []Comparison {
	all := make([]Comparison, len(g))
	for i, s := range g {
		c := Comparison{Listener: s.now.config.Name, Old: s.before, New: s.now.since.health()}
		c.Verdict = judge(c.Old, c.New)
		all[i] = c
	}
	return all
}

func (g guard) worse() (worse []Comparison) {
	for _, c := range g.compare() {
		if c.Verdict == Worse {
			worse = append(worse, c)
		}
	}
	return worse
}

// chance is how seldom it has to be that alike handlers have so many faults.
const chance = 0.01

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
