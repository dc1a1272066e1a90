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

// Plan is what Reload would do with a configuration, and does nothing of it: [host] where it
// differs, then the tenants, then the listeners, each in the order of the configuration, followed
// by those that it does not have any more. The errors are those that Reload would find by reading
// and comparing: keys that a reload cannot change, plugins and certificates that cannot be read.
// Nothing is compiled or started, and no socket is opened, so that these may still fail.
//
// It may be called as Reload may be, and waits like it.
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
