package host

import (
	"slices"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/certs"
	"bulkhead/host/config"
)

// certificatesEvery is how often the files of certificates are looked at.
const certificatesEvery = 10 * time.Second

// certificates are those of the next handshakes; nil: there is no TLS.
func (s *server) certificates() *certs.Certificates { return s.terms.Load().certs }

// serverHandshake is the host's part when the peer is the client.
func (s *server) serverHandshake() csa.Handshake {
	t := s.terms.Load()
	return csa.Handshake{Config: t.certs.Config(), Timeout: t.handshakeTimeout, Share: s.tenant.Handshakes}
}

// makeSSL is the ABI's makessl.
func (s *server) makeSSL(c *csa.CSA, role int32, name string) abi.Code {
	if c.Transport() == "udp" {
		return abi.Invalid
	}
	if role == abi.TLSClient {
		return c.MakeSSL(s.ClientHandshake(name, s.ConnectTimeout()))
	}
	if s.certificates() == nil {
		return abi.Denied
	}
	return c.MakeSSL(s.serverHandshake())
}

// certificates are those of a table [listener.tls]: known, which may be nil, where they are made by the same
// keys, so that tickets stay good, and else read anew. Servers with the same table have the same ones.
func (b *build) certificates(t *config.TLS, known *certs.Certificates) (c *certs.Certificates, err error) {
	if c = b.certs[t]; c != nil {
		return c, nil
	}
	if c = known; c == nil || !c.MadeBy(t.Options()) {
		if c, err = certs.Load(t.Options()); err != nil {
			return nil, err
		}
	}
	b.certs[t] = c
	return c, nil
}

// secure has a server go by its certificates. It is not in force.
func (b *build) secure(s *server) error {
	c, err := b.certificates(s.config.TLS, s.certificates())
	if err == nil {
		t := *s.terms.Load()
		t.certs = c
		s.terms.Store(&t)
	}
	return err
}

// secureInPlace finds the certificates that servers go by which go on, and their handshakes' time. Those
// that have TLS otherwise than they had, or did not have it, stay as they are: that is another
// generation's.
func (p *plan) secureInPlace(s *server, l *config.Listener, t *terms) error {
	before, was, now := s.terms.Load(), s.config.TLS, l.TLS
	if was == nil {
		return nil
	}
	t.certs, t.handshakeTimeout = before.certs, before.handshakeTimeout
	if now == nil || len(now.Renewing(was)) > 0 {
		return nil
	}
	c, err := p.certificates(now, before.certs)
	if err == nil {
		t.certs, t.handshakeTimeout = c, now.HandshakeTimeout
	}
	return err
}

// RefreshCertificates reads the certificates of all listeners again if their files have
// changed. What is wrong with one is logged, and it stays as it was. Run does so every
// ten seconds. Any goroutine may call it, but no loop.
func (h *Host) RefreshCertificates() {
	for _, g := range h.now.Load().generations {
		g.refreshCertificates()
	}
}

func (g *generation) refreshCertificates() {
	for _, s := range g.servers {
		c := s.certificates()
		if c == nil || s.front != nil && c == s.front.certificates() {
			continue
		}
		switch changed, err := c.Refresh(); {
		case err != nil:
			s.log.Error("the certificates have changed and cannot be used; the old ones stay in use", "error", err)
		case changed:
			s.log.Info("the certificates have changed; new connections get the new ones", "expire", c.Expires())
			for _, w := range c.Warnings() {
				s.log.Warn(w.Text())
			}
		}
		if c.Expired() {
			s.log.Warn("a certificate has expired, and clients refuse it; put a new one into its file", "expired", c.Expires())
		}
	}
}

// watchCertificates begins to refresh them now and then, until the host has stopped, if there are
// any and it has not begun yet. Who calls it has the right to reload.
func (h *Host) watchCertificates() {
	secured := func(s *server) bool { return s.certificates() != nil }
	if h.watching || !slices.ContainsFunc(h.now.Load().servers(), secured) {
		return
	}
	h.watching = true
	go func() {
		tick := time.NewTicker(certificatesEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.RefreshCertificates()
			case <-h.closed:
				return
			}
		}
	}()
}
