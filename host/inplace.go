package host

import (
	"fmt"
	"reflect"

	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/listen"
	"bulkhead/host/service"
)

// inPlace is a change that a reload makes of servers that go on.
type inPlace struct {
	kept    map[*service.Generation]*config.Listener // that go on, and their listeners as they are to be
	servers map[*service.Server]*config.Listener     // of these, and of retired generations of theirs
	terms   map[*service.Server]*service.Terms       // likewise
	sockets []*retuned
}

func newInPlace() inPlace {
	return inPlace{
		kept:    make(map[*service.Generation]*config.Listener),
		servers: make(map[*service.Server]*config.Listener),
		terms:   make(map[*service.Server]*service.Terms),
	}
}

// retuned is a socket that stays open and has other options.
type retuned struct {
	k           accept.Sockets
	l           *config.Listener // whose it is from now on
	before, now listen.Options
	done        bool
}

// change has the generation's servers be what l says, for the keys that a reload changes in place.
// A route is the one of the same name.
func (c *inPlace) change(g *service.Generation, l *config.Listener) {
	set := func(s *service.Server, l *config.Listener) {
		if s.OverUDP() == service.OverUDP(l) {
			c.servers[s] = l
		}
	}
	set(g.Servers()[0], l)
	for _, s := range g.Servers()[1:] {
		for i := range l.Routes {
			if to := &l.Routes[i].Listener; to.Name == s.Config().Name {
				set(s, to)
			}
		}
	}
}

// retuneLater notes that a socket, nil for none, is the listener's from now on.
func (p *reload) retuneLater(k accept.Sockets, l *config.Listener) {
	if k == nil {
		return
	}
	now := service.WithDatagramDefaults(l).Options
	if before := k.Options(); !reflect.DeepEqual(before, now) {
		p.sockets = append(p.sockets, &retuned{k: k, l: l, before: before, now: now})
		if before.SendBuffer > 0 && now.SendBuffer <= 0 && l.Address.Network != "unix" {
			p.cannot(l, "send_buffer")
		}
	}
}

// cannot notes that the socket of a listener stays open and cannot have another value of a key.
func (p *reload) cannot(l *config.Listener, key string) {
	p.errs = append(p.errs, &config.Error{
		File: p.config.File, Line: l.LineOf(key),
		What: fmt.Sprintf("listener %q: %s has changed, and a reload cannot change it for a socket that stays open", l.Name, key),
		Mend: "put the old value back, give the listener another address, or restart",
	})
}

// findTerms finds what all servers go by that a change in place concerns.
func (p *reload) findTerms() {
	listeners := make(map[string]*config.Listener, len(p.kept))
	for g, l := range p.kept {
		listeners[l.Name] = l
		p.change(g, l)
	}
	for _, g := range p.replaced {
		for i := range p.config.Listeners {
			if l := &p.config.Listeners[i]; l.Name == g.Name() {
				listeners[l.Name] = l
				p.change(g, l)
			}
		}
	}
	for _, g := range p.before.retired {
		if l := listeners[g.Name()]; l != nil {
			p.change(g, l)
		}
	}
	for s, l := range p.servers {
		t, err := s.NewTerms(l)
		if err != nil {
			p.errs = append(p.errs, p.config.ListenerError(l, "proxy_from", err))
		}
		p.terms[s] = t
	}
	// First those to which the next connections come: theirs are the certificates that are kept.
	for _, inForce := range []bool{true, false} {
		for s, l := range p.servers {
			if (p.kept[s.Generation()] != nil) != inForce {
				continue
			}
			if err := p.secureInPlace(s, l, p.terms[s]); err != nil {
				p.errs = append(p.errs, p.config.ListenerError(l, "tls", err))
			}
		}
	}
}

// retune gives the sockets that stay open their options, until one cannot have them.
func (p *reload) retune() {
	for _, r := range p.sockets {
		r.done = true
		if err := r.k.Retune(r.before, r.now); err != nil {
			p.errs = append(p.errs, &config.Error{
				File: p.config.File, Line: r.l.LineOf(r.changed()),
				What: fmt.Sprintf("listener %q: the socket that it has cannot have what it is to have now: %v", r.l.Name, err),
				Mend: "put the old value back, or restart",
			})
			return
		}
	}
}

// retuneBack gives them what they had.
func (p *reload) retuneBack() {
	for _, r := range p.sockets {
		if r.done {
			_ = r.k.Retune(r.now, r.before) // as it was, which was possible
		}
	}
}

// changed is the first key that differs.
func (r *retuned) changed() string {
	b, n := &r.before, &r.now
	for _, one := range []struct {
		key    string
		differ bool
	}{
		{"backlog", b.Backlog != n.Backlog}, {"owner", b.Owner != n.Owner}, {"mode", b.Mode != n.Mode},
		{"receive_buffer", b.ReceiveBuffer != n.ReceiveBuffer}, {"send_buffer", b.SendBuffer != n.SendBuffer},
		{"keepalive", b.Keepalive != n.Keepalive}, {"user_timeout", b.UserTimeout != n.UserTimeout},
	} {
		if one.differ {
			return one.key
		}
	}
	return "notsent_lowat"
}

// exchange has the changes be in force, but for the connections that there are: those go by them
// when tellLoops applies what it answers.
func (c *inPlace) exchange() map[*service.Server]*service.Change {
	changes := make(map[*service.Server]*service.Change, len(c.terms))
	for s, t := range c.terms {
		changes[s] = s.Change(t, c.servers[s])
	}
	return changes
}
