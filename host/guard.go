package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/health"
	"bulkhead/host/service"
)

// What a guarded reload has found: package health says what each figure means.
type (
	Report     = health.Report
	WorseError = health.WorseError
)

// errReloadedMeanwhile is why a watch has no end.
var errReloadedMeanwhile = errors.New("watching a reload: another reload, or a rollback, has been made meanwhile; nothing is judged")

// ReloadGuarded reloads as Reload does, and then watches each new generation for the time watch, by
// the host's clock. If a generation is worse than the one that it replaced, it rolls back at once.
// It looks fifty times in that time, and at least each second. If watch is zero or negative, it is
// Reload.
//
// A generation is worse if its handlers trap, are stopped by a limit or refuse in a larger share of
// their connections than those of the old one have since they began. Larger means that chance alone
// would give so many faults less than once in a hundred times. Sometimes too few connections have
// come to say that, even if each of the new ones had a fault and none of the old ones: the verdict
// is then health.TooFew, and the new generation stays. One new connection is enough beside 100 old
// ones, and 7 are enough beside 7. Beside no old connection there are never enough. An added
// listener is not compared with anything.
//
// The error is a *WorseError with the figures after such a rollback, and Reload's own if the reload
// fails. It may also say why the watch ended early: ctx was done, the host stops, or another reload
// was made, which need not wait for a watch. In these cases the new configuration stays in force,
// unless it is already known to be worse. ReloadGuarded may be called wherever Reload may be.
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
	w := p.watch()
	begun := h.machine.Clock.Now()
	for err == nil && !w.Empty() {
		left := watch - time.Duration(h.machine.Clock.Now()-begun)
		if left <= 0 || len(w.Worse()) > 0 {
			break
		}
		next, stop := h.after(min(left, health.LookEvery(watch)))
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
	report := Report{Watched: time.Duration(h.machine.Clock.Now() - begun), Listeners: w.Compare()}
	worse := w.Worse()
	if len(worse) == 0 || errors.Is(err, errReloadedMeanwhile) || errors.Is(err, errStopping) {
		return report, err
	}
	back := h.backFrom(ctx, in)
	report.RolledBack = back == nil
	err = &WorseError{Listeners: worse, NotBack: back}
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

// watch compares the new servers with those that they replace.
func (p *reload) watch() *health.Watch {
	old := make(map[string]*service.Server)
	for _, r := range p.replaced {
		for _, s := range r.Servers() {
			old[s.Config().Name] = s
		}
	}
	w := new(health.Watch)
	for _, made := range p.made {
		for _, s := range made.Servers() {
			if o := old[s.Config().Name]; o != nil {
				w.Add(s.Config().Name, o.Health(), s.Health)
			}
		}
	}
	return w
}
