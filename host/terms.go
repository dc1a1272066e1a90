package host

import (
	"fmt"
	"reflect"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/listen"
	"bulkhead/host/proxy"
)

// terms are what a server goes by that a reload changes in place: the keys that are
// config.InPlace. They are replaced as a whole, and never changed. server.config has those keys
// as they were at first, so that nobody reads them there.
type terms struct {
	settings csa.Settings
	dialled  csa.Settings // of connections that its handlers have dialled
	tuning   listen.Options
	// sources are whose connections begin with a PROXY header, which introduced reads, by loop.
	sources proxy.Sources

	connectTimeout, routeTimeout, eventTimeout time.Duration
	logBadData                                 bool

	certs            *certs.Certificates // nil: there is no TLS
	handshakeTimeout time.Duration
}

// newTerms are a server's as its listener, or route, is configured.
func (s *server) newTerms(l *config.Listener) (*terms, error) {
	l = whereDatagrams(l)
	t := &terms{
		tuning:         l.Options,
		connectTimeout: l.ConnectTimeout, routeTimeout: l.RouteTimeout, eventTimeout: l.EventTimeout,
		logBadData: l.OnBadData == "log",
		settings: csa.Settings{
			Inbox: l.Inbox, IdleTimeout: l.IdleTimeout, Linger: l.Linger,
			FirstByteTimeout: l.FirstByteTimeout, WriteTimeout: l.WriteTimeout,
			Lifetime: l.Lifetime, MinRate: l.MinRate, UserTimeout: l.UserTimeout,
			WaitingDatagrams: l.WaitingDatagrams, WaitingBytes: l.WaitingBytes,
			Pipes: s.tenant.Pipes, SocketMemory: s.tenant.SocketMemory, Tallies: s.counters.clients,
		},
	}
	if l.TLS != nil {
		t.handshakeTimeout = l.TLS.HandshakeTimeout
	}
	t.dialled = t.settings
	t.dialled.Tallies = s.counters.upstreams
	// Many a server speaks only when it is spoken to. And handlers leave what a server sends
	// while their client is slow, which is not the server's fault: the tenant has chosen whom
	// it dials, and has idle_timeout and write_timeout for it.
	t.dialled.FirstByteTimeout, t.dialled.MinRate = 0, 0
	var err error
	t.sources, err = proxy.ParseSources(l.ProxyFrom)
	return t, err
}

// whereDatagrams is the listener with the defaults of UDP, where it inherits such a socket.
func whereDatagrams(l *config.Listener) *config.Listener {
	if l.Address.Network == "fd" && overUDP(l) {
		own := *l
		own.SetDatagramDefaults()
		return &own
	}
	return l
}

// inPlace is a change that a reload makes of servers that go on.
type inPlace struct {
	kept    map[*generation]*config.Listener // that go on, and their listeners as they are to be
	servers map[*server]*config.Listener     // of these, and of retired generations of theirs
	terms   map[*server]*terms               // likewise
	sockets []*retuned
}

func newInPlace() inPlace {
	return inPlace{
		kept:    make(map[*generation]*config.Listener),
		servers: make(map[*server]*config.Listener),
		terms:   make(map[*server]*terms),
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
func (c *inPlace) change(g *generation, l *config.Listener) {
	set := func(s *server, l *config.Listener) {
		if s.udp == overUDP(l) {
			c.servers[s] = l
		}
	}
	set(g.servers[0], l)
	for _, s := range g.servers[1:] {
		for i := range l.Routes {
			if to := &l.Routes[i].Listener; to.Name == s.config.Name {
				set(s, to)
			}
		}
	}
}

// retuneLater notes that a socket, nil for none, is the listener's from now on.
func (p *plan) retuneLater(k accept.Sockets, l *config.Listener) {
	if k == nil {
		return
	}
	now := whereDatagrams(l).Options
	if before := k.Options(); !reflect.DeepEqual(before, now) {
		p.sockets = append(p.sockets, &retuned{k: k, l: l, before: before, now: now})
		if before.SendBuffer > 0 && now.SendBuffer <= 0 && l.Address.Network != "unix" {
			p.cannot(l, "send_buffer")
		}
	}
}

// cannot notes that the socket of a listener stays open and cannot have another value of a key.
func (p *plan) cannot(l *config.Listener, key string) {
	p.errs = append(p.errs, &config.Error{
		File: p.config.File, Line: l.LineOf(key),
		What: fmt.Sprintf("listener %q: %s has changed, and a reload cannot change it for a socket that stays open", l.Name, key),
		Mend: "put the old value back, give the listener another address, or restart",
	})
}

// findTerms finds what all servers go by that a change in place concerns.
func (p *plan) findTerms() {
	listeners := make(map[string]*config.Listener, len(p.kept))
	for g, l := range p.kept {
		listeners[l.Name] = l
		p.change(g, l)
	}
	for _, g := range p.replaced {
		for i := range p.config.Listeners {
			if l := &p.config.Listeners[i]; l.Name == g.name() {
				listeners[l.Name] = l
				p.change(g, l)
			}
		}
	}
	for _, g := range p.before.retired {
		if l := listeners[g.name()]; l != nil {
			p.change(g, l)
		}
	}
	for s, l := range p.servers {
		t, err := s.newTerms(l)
		if err != nil {
			p.errs = append(p.errs, p.config.ListenerError(l, "proxy_from", err))
		}
		p.terms[s] = t
	}
	// First those to which the next connections come: theirs are the certificates that are kept.
	for _, inForce := range []bool{true, false} {
		for s, l := range p.servers {
			if (p.kept[s.gen] != nil) != inForce {
				continue
			}
			if err := p.secureInPlace(s, l, p.terms[s]); err != nil {
				p.errs = append(p.errs, p.config.ListenerError(l, "tls", err))
			}
		}
	}
}

// retune gives the sockets that stay open their options, until one cannot have them.
func (p *plan) retune() {
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
func (p *plan) retuneBack() {
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

// hold has the changes be in force, but for what the connections that there are go by:
// changeConnections does that, by the servers that it answers.
func (c *inPlace) hold() map[*server]*before {
	changed := make(map[*server]*before, len(c.terms))
	for s, t := range c.terms {
		changed[s] = &before{s.change(t).tuning}
		if s.front != nil {
			continue
		}
		l := c.servers[s]
		s.bySource.Set(l.PerSource, l.PerSourceRate, l.PerSourcePrefix)
		if s.router != nil {
			s.home.Post(s.router.Watch)
		}
		if d, ok := s.socket.(*accept.Datagrams); ok && !t.sources.Empty() {
			d.ReadHeaders(s)
		}
	}
	return changed
}

// before is what of a server's terms before a change is needed after it.
type before struct{ tuning listen.Options }

// change has the server go by other terms from now on, and answers those before. Any
// goroutine may call it.
func (s *server) change(t *terms) (before *terms) {
	s.changing.Lock()
	defer s.changing.Unlock()
	before = s.terms.Swap(t)
	if s.guests != nil {
		s.guests.Set(t.eventTimeout, t.logBadData)
	}
	return before
}

// goesBy has a connection of the server's go by what the server does now, on its loop. dialled says that a
// handler has dialled it.
func (b *before) goesBy(c *csa.CSA, s *server, dialled bool) {
	t := s.terms.Load()
	settings := &t.settings
	if dialled {
		settings = &t.dialled
	}
	if c.Settings() == settings {
		return
	}
	c.SetSettings(settings)
	if s.udp && !dialled {
		return
	}
	before, now := b.tuning, t.tuning
	if s.udp { // whose buffer is for datagrams
		before.SendBuffer, now.SendBuffer = 0, 0
	}
	if fd := c.Socket(); fd >= 0 {
		_ = listen.Retune(fd, before, now) // a unix socket has none of these
	}
}
