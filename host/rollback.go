package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"bulkhead/host/config"
	"bulkhead/host/plan"
	"bulkhead/host/rollback"
	"bulkhead/host/statefolder"
	"bulkhead/plugins/codestore"
)

// past is what a rollback goes back to.
type past struct {
	config *config.Config // nil: see kept
	// sums are what plugins were, by the name of their listener or route. Those that were not
	// loaded have none.
	sums map[string]codestore.Sum
	// kept is what an earlier process has left, of which config is not made yet.
	kept *rollback.Record
}

// Rollback serves the configuration again that the last reload has replaced, with the plugins that
// it had, whatever their files hold now: they are what a generation yet has, or what the state
// folder keeps by SHA-256. It is made as a Reload is: all or nothing, and every connection goes on
// with the handlers that it has. Those that were told to stop (csa_stop) cannot be told otherwise,
// so that connections that come have handlers of a generation of their own also where an old one is
// there.
//
// There is one step back. There is none before the first reload that changes something, and none
// after a Rollback until the next such reload. The state folder keeps what is needed for
// configurations that come from a file and have plugins, so that a host that is made later from the
// same file can go back, too. Call it as Reload.
func (h *Host) Rollback(ctx context.Context) error {
	done, err := h.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return h.goBack(ctx)
}

// errNoPast is why there is no rollback.
var errNoPast = errors.New("rolling back: there is nothing to go back to: since the first start, or since the last rollback, no reload has changed anything")

// goBack rolls back. No reload is made meanwhile.
func (h *Host) goBack(ctx context.Context) error {
	back := h.now.Load().past
	if back == nil {
		return errNoPast
	}
	if back.config == nil {
		cfg, err := config.ParseToRun(back.kept.File, back.kept.Text, back.kept.Folder)
		if err == nil {
			err = complete(cfg)
		}
		if err != nil {
			return fmt.Errorf("rolling back to what was served before the host was started again: %w", err)
		}
		back = &past{config: cfg, sums: back.sums}
	}
	p, err := h.newReload(back.config, back)
	if err != nil {
		return err
	}
	return p.carryOut(ctx)
}

// past is what a rollback goes back to when the reload has been carried out.
func (p *reload) past() *past {
	next := p.before.past
	switch {
	case p.back != nil:
		next = nil
	case plan.Anything(p.changes):
		next = &past{config: p.before.config, sums: make(map[string]codestore.Sum)}
		for _, s := range p.before.servers() {
			if sum, loaded := s.LoadedSum(); loaded {
				next.sums[s.Config().Name] = sum
			}
		}
	}
	p.h.plugins.Keep(next.plugins())
	return next
}

// pin has the new generations of a rollback get the plugins that there were.
func (p *reload) pin() {
	if p.back == nil {
		return
	}
	for _, g := range p.made {
		for _, s := range g.Servers() {
			if sum, known := p.back.sums[s.Config().Name]; known {
				s.Pin(sum)
			}
		}
	}
}

// plugins are those that a rollback needs; nil: there is nothing to go back to.
func (b *past) plugins() []codestore.Sum {
	if b == nil {
		return nil
	}
	return slices.Collect(maps.Values(b.sums))
}

// readPast is what an earlier host of the same configuration's file has left to go back to; nil:
// nothing.
func (h *Host) readPast(cfg *config.Config) *past {
	if !h.plugins.Prepared() || cfg.Text == nil {
		return nil
	}
	r, err := rollback.Read(cfg.Host.State)
	if err != nil {
		h.machine.Log.Warn("there is no rollback to what was served before the last reload", "error", err)
		return nil
	}
	if file, err := filepath.Abs(cfg.File); r == nil || err != nil || file != r.File {
		return nil
	}
	return &past{sums: r.Plugins, kept: r}
}

// keepPast keeps what is gone back to for a host that is made later. That it cannot is no reason
// not to serve.
func (h *Host) keepPast(next *past) {
	if !h.plugins.Prepared() {
		return
	}
	var r *rollback.Record
	if next != nil && next.kept != nil {
		return // it is kept
	}
	if next != nil && next.config.Text != nil {
		if file, err := filepath.Abs(next.config.File); err == nil {
			r = &rollback.Record{File: file, Folder: next.config.Folder, Text: next.config.Text, Plugins: next.sums}
		}
	}
	if err := rollback.Keep(h.now.Load().config.Host.State, r); err != nil {
		h.machine.Log.Warn("after a restart there will be no rollback to what was served before the last reload", "error", statefolder.WithMend(err))
	}
}
