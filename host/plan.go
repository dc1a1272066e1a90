package host

import (
	"context"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
	"bulkhead/host/plan"
)

// What a reload does with what differs: package plan says what each means.
type (
	Effect = plan.Effect
	Change = plan.Change
)

// Effects.
const (
	Same          = plan.Same
	InPlace       = plan.InPlace
	NewGeneration = plan.NewGeneration
	Added         = plan.Added
	Removed       = plan.Removed
)

// Plan says what Reload would do with cfg, and changes nothing. The changes are of [host] and
// [admin] if they differ, of each tenant and of each listener, in the order of the configuration;
// those that cfg no longer has follow. The error holds what Reload would find by reading and
// comparing: keys that a reload cannot change, and plugins and certificates that cannot be read.
// Nothing is compiled or started, and no socket is opened, so a Reload may still fail at that.
//
// Any goroutine but a loop's may call Plan while Run serves. It waits until a Reload that is under
// way is over, or until ctx is done.
func (h *Host) Plan(ctx context.Context, cfg *config.Config) ([]Change, error) {
	if err := complete(cfg); err != nil {
		return nil, err
	}
	done, err := h.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := h.newReload(cfg, nil)
	if err != nil {
		return nil, err
	}
	defer p.drop()
	p.readPlugins()
	p.front()
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.changes, nil
}

// readPlugins reads what load would load.
func (p *reload) readPlugins() {
	for _, g := range p.made {
		for _, s := range g.Servers() {
			if p.h.wantsPlugin(s) {
				if _, _, err := p.h.plugins.Read(s.Config()); err != nil {
					p.fail(s, "plugin", err)
					continue
				}
			}
			s.SetProvider(handlers.None)
		}
	}
	p.errs = append(p.errs, wrongOwners(p.config)...)
}
