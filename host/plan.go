package host

import (
	"context"
	"strings"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/handlers"
)

// Effect is what a reload does with something that is configured.
type Effect string

// Effects.
const (
	// Same: nothing differs, and nothing is touched.
	Same Effect = "same"
	// InPlace: what differs holds at once, for what is there.
	InPlace Effect = "in place"
	// NewGeneration: connections that come have handlers of their own, and those that are there go
	// on with theirs. Of a tenant, each of its listeners has a new generation.
	NewGeneration Effect = "new generation"
	// Added: it was not there.
	Added Effect = "added"
	// Removed: it is not there any more; its connections go on for a while.
	Removed Effect = "removed"
)

// Change is what a reload does with the host, a tenant or a listener.
type Change struct {
	// Of is "host", "admin", "tenant" or "listener", and Name whose it is, "" for the first two.
	Of   string `json:"of"`
	Name string `json:"name,omitempty"`
	What Effect `json:"what"`
	// Keys are what differs: keys, and tables like "config". "what FILE holds" is a plugin's file
	// that has changed, and "its tenant's KEY" a key of the tenant that makes a new generation of
	// a listener.
	Keys []string `json:"keys,omitempty"`
	// Draining is how many connections go on with the handlers that they have, those that
	// handlers have dialled included, and OldFor for how long at most: old_for. Of a tenant that
	// is removed it is how many connections it has. Both are zero for anything else.
	Draining int           `json:"draining,omitempty"`
	OldFor   time.Duration `json:"old_for_ns,omitempty"`
}

// logged is the change as the log has it.
func (c Change) logged() []any {
	what := strings.Join(c.Keys, ", ")
	switch c.What {
	case Added:
		what = "it is new"
	case Removed:
		what = "it is removed"
	}
	if c.Name == "" {
		return []any{c.Of, "", "changed", what}
	}
	return []any{c.Of, c.Name, "changed", what}
}

// Plan is what Reload would do with a configuration, and does nothing of it: [host] where it differs,
// then the tenants, then the listeners, each in the order of the configuration, followed by those
// that it does not have any more. The errors are those that Reload would find by reading and comparing:
// keys that a reload cannot change, plugins and certificates that cannot be read. Nothing is
// compiled or started, and no socket is opened, so that these may still fail.
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
	p, err := h.plan(cfg, nil)
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
func (p *plan) readPlugins() {
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
