package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/health"
	"bulkhead/host/service"
)

// Report is what a guarded reload has found.
type Report struct {
	// Watched is for how long, by the host's clock. It is less than what was asked for when it
	// was clear before, when nothing was to be compared, and when the watch was broken off.
	Watched time.Duration `json:"watched_ns"`
	// Listeners are those, and those routes, that have a new generation and had one before.
	Listeners []health.Comparison `json:"listeners"`
	// RolledBack says that the configuration before is in force again.
	RolledBack bool `json:"rolled_back"`
}

// WorseError says that a guarded reload has found new handlers worse than the old ones.
type WorseError struct {
	// Listeners are those that are worse.
	Listeners []health.Comparison
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

// lookEvery is the time from one look of a watch to the next: a fiftieth of it, and a second at most, so
// that handlers which fail from their first connections on serve few.
func lookEvery(watch time.Duration) time.Duration {
	return min(max(watch/50, time.Millisecond), time.Second)
}

// ReloadGuarded reloads as Reload does, watches the new generations for so long by the host's clock,
// and rolls back as soon as one is worse than the generation that it has replaced: when its
// handlers trap, are stopped by a limit or refuse more often a connection than the others did
// since they began. More often means that there would be so many faults by chance less than once in
// a hundred times, if both were alike. Where so few have come to either that this could not be said
// if each of the new one's had a fault, and none of the old one's, the verdict is health.TooFew, and the
// new generation stays. One new connection is enough beside 100 old ones, and 7 are beside 7; beside
// none there are never enough.
// A listener that is added has nothing to be compared with. It looks fifty times, and each second
// at least.
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
	p, err := h.newReload(cfg, nil)
	if err == nil {
		err = p.carryOut(ctx)
	}
	in := h.now.Load().config
	done()
	if err != nil {
		return Report{}, err
	}
	g := p.guard()
	begun := h.machine.Clock.Now()
	for err == nil && len(g) > 0 {
		left := watch - time.Duration(h.machine.Clock.Now()-begun)
		if left <= 0 || len(g.worse()) > 0 {
			break
		}
		next, stop := h.after(min(left, lookEvery(watch)))
		select {
		case <-next:
		case <-ctx.Done():
			err = fmt.Errorf("watching a reload: the new configuration is in force, and was watched for %v of %v: %w", time.Duration(h.machine.Clock.Now()-begun), watch, context.Cause(ctx))
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
	report := Report{Watched: time.Duration(h.machine.Clock.Now() - begun), Listeners: g.compare()}
	worse := g.worse()
	if len(worse) == 0 || errors.Is(err, errReloadedMeanwhile) || errors.Is(err, errStopping) {
		return report, err
	}
	back := h.backFrom(ctx, in)
	report.RolledBack = back == nil
	err = &WorseError{worse, back}
	h.machine.Log.Error("a reload was watched", "error", err)
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
	now    *service.Server
	before health.Health // of the old one, when it was replaced
}

func (p *reload) guard() (g guard) {
	old := make(map[string]*service.Server)
	for _, r := range p.replaced {
		for _, s := range r.Servers() {
			old[s.Config().Name] = s
		}
	}
	for _, made := range p.made {
		for _, s := range made.Servers() {
			if o := old[s.Config().Name]; o != nil {
				g = append(g, guarded{now: s, before: o.Health()})
			}
		}
	}
	return g
}

func (g guard) compare() []health.Comparison {
	all := make([]health.Comparison, len(g))
	for i, s := range g {
		all[i] = health.Compare(s.now.Config().Name, s.before, s.now.Health())
	}
	return all
}

func (g guard) worse() (worse []health.Comparison) {
	for _, c := range g.compare() {
		if c.Verdict == health.Worse {
			worse = append(worse, c)
		}
	}
	return worse
}
