package host

import (
	"context"
	"errors"

	"bulkhead/host/config"
	"bulkhead/plugins/codestore"
)

// past is what a rollback goes back to.
type past struct {
	config *config.Config
	// sums are what plugins were, by the name of their listener or route. Those that were not
	// loaded have none.
	sums map[string]codestore.Sum
}

// Rollback serves the configuration again that the last reload has replaced, with the plugins that
// it had, whatever their files hold now: they are what a generation yet has, or what the state folder
// keeps by SHA-256. It is made as a Reload is: all or nothing, and every connection goes on with the
// handlers that it has. Those that were told to stop (csa_stop) cannot be told otherwise, so that
// connections that come have handlers of a generation of their own also where an old one is there.
//
// There is one step back: none before the first reload that changes something, nor after a
// Rollback, until there is another. It may be called as Reload may be.
func (h *Host) Rollback(ctx context.Context) error {
	done, err := h.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return h.goBack(ctx)
}

// errNoPast is why there is no rollback.
var errNoPast = errors.New("rolling back: there is nothing to go back to: since the host began, or since the last rollback, no reload has changed anything")

// goBack rolls back. No reload is made meanwhile.
func (h *Host) goBack(ctx context.Context) error {
	back := h.now.Load().past
	if back == nil {
		return errNoPast
	}
	p, err := h.plan(back.config, back)
	if err != nil {
		return err
	}
	return p.carryOut(ctx)
}

// past is what a rollback goes back to when the plan has been carried out.
func (p *plan) past() *past {
	next := p.before.past
	switch {
	case p.back != nil:
		next = nil
	case p.changesAnything():
		next = &past{p.before.config, make(map[string]codestore.Sum)}
		for _, s := range p.before.servers() {
			if sum, loaded := s.loadedSum(); loaded {
				next.sums[s.config.Name] = sum
			}
		}
	}
	p.h.plugins.want(next)
	return next
}

func (p *plan) changesAnything() bool {
	for _, c := range p.changes {
		if c.What != Same {
			return true
		}
	}
	return false
}

// pin has the new generations of a rollback get the plugins that there were.
func (p *plan) pin() {
	if p.back == nil {
		return
	}
	for _, g := range p.made {
		for _, s := range g.servers {
			if sum, known := p.back.sums[s.config.Name]; known {
				s.pinned = &sum
			}
		}
	}
}

// want has the plugins stay kept in the state folder that a rollback needs; nil: there is none.
func (p *loader) want(past *past) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = make(map[codestore.Sum]bool)
	if past != nil {
		for _, sum := range past.sums {
			p.wanted[sum] = true
		}
	}
}
