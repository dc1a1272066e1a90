package service

import (
	"fmt"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/certs"
	"bulkhead/host/config"
	"bulkhead/host/front"
	"bulkhead/host/listen"
	"bulkhead/host/proxy"
	"bulkhead/internal/websocket"
)

// Terms are what a server goes by that a reload changes in place: the keys that are config.InPlace.
// They are replaced as a whole, and not changed once they are in force. Server.Config has those
// keys as they were at first, so that nobody reads them there.
type Terms struct {
	settings csa.Settings
	dialled  csa.Settings // of connections that its handlers have dialled
	tuning   listen.Options
	// sources are whose connections begin with a PROXY header, which proxyReaders read.
	sources proxy.Sources

	connectTimeout, routeTimeout, eventTimeout time.Duration
	logBadData                                 bool

	// upgrade is what the requests of WebSocket connections go by.
	upgrade front.UpgradeTerms

	// Certificates and HandshakeTimeout are those of the next handshakes; nil: there is no TLS.
	Certificates     *certs.Certificates
	HandshakeTimeout time.Duration
}

// NewTerms are the server's if its listener, or route, is configured so, but for the certificates.
// The error is of the keys proxy_from and origins.
func (s *Server) NewTerms(l *config.Listener) (*Terms, error) {
	l = WithDatagramDefaults(l)
	t := &Terms{
		tuning:         l.Options,
		connectTimeout: l.ConnectTimeout, routeTimeout: l.RouteTimeout, eventTimeout: l.EventTimeout,
		logBadData: l.OnBadData == "log",
		settings: csa.Settings{
			Inbox: l.Inbox, IdleTimeout: l.IdleTimeout, Linger: l.Linger,
			FirstByteTimeout: l.FirstByteTimeout, WriteTimeout: l.WriteTimeout,
			Lifetime: l.Lifetime, MinRate: l.MinRate, UserTimeout: l.UserTimeout,
			WaitingDatagrams: l.WaitingDatagrams, WaitingBytes: l.WaitingBytes,
			Pipes: s.tenant.Pipes, SocketMemory: s.tenant.SocketMemory, Tallies: s.totals.clients,
		},
	}
	if n := s.machine.ShortSends; n > 0 && !OverUDP(l) {
		t.settings.Inbox, t.settings.InboxOnly = n, true
	}
	if l.TLS != nil {
		t.HandshakeTimeout = l.TLS.HandshakeTimeout
	}
	if l.Address.WebSocket() {
		t.settings.Messages = csa.Messages{Size: l.MessageSize, Frames: l.MessageFrames, ControlRate: l.ControlRate, Ping: l.Ping, SendAs: sendAs(l.SendAs)}
		origins, err := websocket.ParseOrigins(l.Origins)
		if err != nil {
			return nil, fmt.Errorf("origins: %w", err)
		}
		t.upgrade = front.UpgradeTerms{Rules: websocket.Rules{Path: l.Address.Path, Origins: origins, Protocols: l.Protocols, MostHead: l.RequestSize}, Timeout: l.RequestTimeout}
	}
	t.dialled = t.settings
	t.dialled.Messages = csa.Messages{}
	t.dialled.Tallies = s.totals.upstreams
	// Many a server speaks only when it is spoken to. And handlers leave what a server sends
	// while their client is slow, which is not the server's fault: the tenant has chosen whom
	// it dials, and has idle_timeout and write_timeout for it.
	t.dialled.FirstByteTimeout, t.dialled.MinRate = 0, 0
	var err error
	t.sources, err = proxy.ParseSources(l.ProxyFrom)
	return t, err
}

// sendAs is the key's word as csa has it.
func sendAs(word string) csa.MessageKind {
	switch word {
	case "text":
		return csa.TextMessage
	case "binary":
		return csa.BinaryMessage
	}
	return csa.AsReceived
}

// upgradeTerms are what a request for WebSocket goes by now.
func (s *Server) upgradeTerms() *front.UpgradeTerms { return &s.terms.Load().upgrade }

// WithDatagramDefaults is the listener with the defaults of UDP, where it inherits such a socket.
func WithDatagramDefaults(l *config.Listener) *config.Listener {
	if l.Address.Network == "fd" && OverUDP(l) {
		own := *l
		own.SetDatagramDefaults()
		return &own
	}
	return l
}

// Terms are those that it goes by now. Any goroutine may call it.
func (s *Server) Terms() *Terms { return s.terms.Load() }

// Change is an exchange of a server's terms, for the connections that there are: Apply.
type Change struct {
	s      *Server
	before listen.Options
}

// Change has the server go by other terms from now on; l is how its listener, or route, is
// configured then. Any goroutine may call it. The connections that there are keep theirs until
// Apply.
func (s *Server) Change(t *Terms, l *config.Listener) *Change {
	change := &Change{s, s.exchange(t).tuning}
	if s.front != nil {
		return change
	}
	s.bySource.Set(l.PerSource, l.PerSourceRate, l.PerSourcePrefix)
	if s.router != nil {
		s.home.Post(s.router.Watch)
	}
	if d, ok := s.generation.sockets.(*accept.Datagrams); ok && !t.sources.Empty() {
		d.ReadHeaders(s)
	}
	return change
}

// exchange puts terms in the place of others, and answers those.
func (s *Server) exchange(t *Terms) (before *Terms) {
	s.changing.Lock()
	defer s.changing.Unlock()
	before = s.terms.Swap(t)
	if s.guests != nil {
		s.guests.Set(t.eventTimeout, t.logBadData)
	}
	return before
}

// Apply has a connection of the server's, also one that a handler has dialled, go by what the
// server does now. It is called on its loop.
func (b *Change) Apply(c *csa.CSA) {
	s := b.s
	t := s.terms.Load()
	settings := &t.settings
	dialled := c.Creator() != csa.Creator(s)
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
	before, now := b.before, t.tuning
	if s.udp { // whose buffer is for datagrams
		before.SendBuffer, now.SendBuffer = 0, 0
	}
	if fd := c.Socket(); fd >= 0 {
		_ = listen.Retune(fd, before, now) // a unix socket has none of these
	}
}
